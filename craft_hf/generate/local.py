"""The model in this process: prompts come in, a transformers model answers them, prefixes are read once.

Three things make it fast: the few-shots that prompts share are run through the model once and their key-value cache
is shared; prompts of like length decode in one batch; finished rows leave the batch at once. Nothing of this changes
an answer's random draw: each prompt has random numbers of its own, made from its key and the seed.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from craft_hf.errors import GeneratorError
from craft_hf.generate import Sampling
from craft_hf.generate.cache import PrefixCache, batch_cache, shares_prefixes
from craft_hf.generate.grammar import JsonGrammar
from craft_hf.models import EMBEDDED, Weights, generator_identity, generator_weights
from craft_hf.records import JSON, Answer, Prompt, fingerprint

_ESCAPE = re.compile(r"\\u[0-9a-fA-F]{4}|\\.")
_LOOK_EVERY = 16
"""Tokens between two looks at whether a row still can become a valid answer."""


@dataclass(frozen=True)
class _Encoded:
    """A prompt as token ids: those that it shares with others of its group, and its own."""

    prompt: Prompt
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]


class LocalGenerator:
    """A causal language model with a chat template, on this machine's CPU or GPU.

    Args:
        name: "embedded", a Hub id, or a transformers folder.
        device: a torch device; by default CUDA where there is one, else the CPU.
        batch_size: how many answers are decoded at a time; more is faster until memory or cores run out.
        prefix_bytes: how much memory the key-value caches of prefixes may take.
    """

    def __init__(
        self, name: str = EMBEDDED, device: str | None = None, batch_size: int = 8, prefix_bytes: int = 2**30
    ) -> None:
        self._name = name
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._batch_size = batch_size
        self._prefix_bytes = prefix_bytes
        self._prefixes: OrderedDict[tuple[int, ...], PrefixCache] = OrderedDict()

    @cached_property
    def _weights(self) -> Weights:
        return generator_identity(self._name)

    @property
    def identity(self) -> Mapping[str, JSON]:
        """Model and revision, and that the answers come from transformers in bf16."""
        return {"model": self._weights.name, "revision": self._weights.revision, "weights": "transformers bfloat16"}

    @cached_property
    def _loaded(self):  # type: ignore[no-untyped-def]  # transformers' Auto classes have no types
        from transformers import AutoModelForCausalLM, AutoTokenizer, logging

        location = generator_weights(self._name).location
        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            tokenizer = AutoTokenizer.from_pretrained(location)
            model = AutoModelForCausalLM.from_pretrained(location, dtype=torch.bfloat16)
        except (OSError, ValueError) as e:
            raise GeneratorError(
                f"the generator {self._weights.name} cannot be loaded: {e} "
                "Pass the folder of a causal language model with its tokenizer, or a Hub id that can be reached."
            ) from e
        finally:
            if shown:
                logging.enable_progress_bar()
        if not tokenizer.chat_template:
            raise GeneratorError(f"{self._weights.name} has no chat template; pass an instruction-tuned model.")
        return model.to(self._device).eval(), tokenizer

    def generate(
        self, prompts: Sequence[Prompt], schema: Mapping[str, JSON], sampling: Sampling
    ) -> Iterator[tuple[Prompt, Answer]]:
        """Answer every prompt; see `Generator.generate`. Order: by shared prefix, then by length."""
        if not prompts:
            return
        model, tokenizer = self._loaded
        context = getattr(model.config, "max_position_embeddings", None) or 2**31
        grammar = JsonGrammar(tokenizer, model.get_output_embeddings().weight.shape[0], schema)
        fitting = []
        for prompt in prompts:
            encoded = self._encode(prompt)
            length = len(encoded.prefix) + len(encoded.suffix)
            if length + sampling.max_new_tokens > context:
                yield prompt, Answer("", "prompt_too_long", length)
            else:
                fitting.append(encoded)
        fitting.sort(key=lambda e: (e.prefix, len(e.suffix), e.prompt.key))
        for start in range(0, len(fitting), self._batch_size):
            yield from self._decode(fitting[start : start + self._batch_size], grammar, sampling)

    def _encode(self, prompt: Prompt) -> _Encoded:
        """Tokenize a prompt; its prefix is all turns but the last, as far as the tokens agree."""
        model, tokenizer = self._loaded
        messages = [dict(m) for m in prompt.messages]
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
        shared = tokenizer.apply_chat_template(messages[:-1], return_dict=True)["input_ids"] if messages[1:] else []
        agree = next(
            (i for i, (a, b) in enumerate(zip(ids, shared, strict=False)) if a != b), min(len(ids), len(shared))
        )
        agree = min(agree, len(ids) - 1) if shares_prefixes(model) else 0
        return _Encoded(prompt, tuple(ids[:agree]), tuple(ids[agree:]))

    @torch.inference_mode()
    def _prefix(self, ids: tuple[int, ...]) -> PrefixCache:
        """Return the key-value cache of a prefix, computed once and kept while there is room."""
        if ids not in self._prefixes:
            model, _ = self._loaded
            self._prefixes[ids] = PrefixCache.compute(model, ids)
        self._prefixes.move_to_end(ids)
        while len(self._prefixes) > 1 and sum(p.nbytes for p in self._prefixes.values()) > self._prefix_bytes:
            self._prefixes.popitem(last=False)
        return self._prefixes[ids]

    @torch.inference_mode()
    def _decode(
        self, batch: Sequence[_Encoded], grammar: JsonGrammar, sampling: Sampling
    ) -> Iterator[tuple[Prompt, Answer]]:
        """Decode one batch; a row leaves when its JSON is complete or can no longer be valid, or at the token limit."""
        model, tokenizer = self._loaded
        distinct = {e.prefix: self._prefix(e.prefix) for e in batch}
        cache, cached_mask = batch_cache(model, [distinct[e.prefix] for e in batch])
        width = max(len(e.suffix) for e in batch)
        ids = torch.zeros((len(batch), width), dtype=torch.long)
        own = torch.zeros((len(batch), width), dtype=torch.long)
        for row, e in enumerate(batch):
            ids[row, width - len(e.suffix) :] = torch.tensor(e.suffix)
            own[row, width - len(e.suffix) :] = 1
        mask = torch.cat([cached_mask, own], dim=1).to(model.device)
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -width:]
        ids = ids.to(model.device)
        states, longest = grammar.rows(len(batch)), grammar.longest_string
        draws = np.stack([_uniforms(e.prompt.key, sampling) for e in batch])
        open_rows = list(range(len(batch)))
        tokens: list[list[int]] = [[] for _ in batch]
        for step in range(sampling.max_new_tokens):
            logits = (
                model(
                    input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, logits_to_keep=1
                )
                .logits[:, -1]
                .float()
            )
            states.mask(logits)
            drawn = sample_tokens(logits, sampling, draws[open_rows, step])
            for row, token in zip(open_rows, drawn, strict=True):
                tokens[row].append(token)
            complete = states.accept(drawn)
            last = step + 1 == sampling.max_new_tokens
            going = []
            for i, row in enumerate(open_rows):
                look = complete[i] or last or (step + 1) % _LOOK_EVERY == 0
                text = tokenizer.decode(tokens[row], skip_special_tokens=True) if look else ""
                if complete[i] or last or characters_of_last_string(text) > longest:
                    length = len(batch[row].prefix) + len(batch[row].suffix)
                    reason = "stop" if complete[i] else "length" if last else "overlong"
                    yield batch[row].prompt, Answer(text, reason, length, len(tokens[row]))
                else:
                    going.append(i)
            if not going:
                return
            if len(going) < len(open_rows):
                states.keep(going)
                cache.batch_select_indices(torch.tensor(going, device=model.device))
                mask, positions = mask[going], positions[going]
                open_rows = [open_rows[i] for i in going]
            ids = torch.tensor([[tokens[row][-1]] for row in open_rows], device=model.device)
            mask = torch.cat([mask, mask.new_ones((len(open_rows), 1))], dim=1)
            positions = positions[:, -1:] + 1


def characters_of_last_string(json_text: str) -> int:
    """Return how many characters are behind the last quote that is not escaped; an escape counts as one."""
    return len(_ESCAPE.sub("x", json_text).rpartition('"')[2])


def _uniforms(key: str, sampling: Sampling) -> np.ndarray:
    """Return one uniform number in [0, 1) for every token that the prompt's answer may have."""
    seed = int(fingerprint([key, sampling.seed]), 16)
    return np.random.default_rng(seed).random(sampling.max_new_tokens)


def sample_tokens(logits: torch.Tensor, sampling: Sampling, uniforms: np.ndarray) -> list[int]:
    """Draw one token a row: temperature, then top-k, then top-p, then the inverse of the cumulative distribution.

    Args:
        logits: (rows, vocabulary), masked tokens at minus infinity.
        sampling: a temperature of 0 takes the likeliest token.
        uniforms: (rows,), in [0, 1).
    """
    if sampling.temperature == 0:
        return [int(t) for t in logits.argmax(-1)]
    k = min(sampling.top_k, logits.shape[-1]) if sampling.top_k > 0 else logits.shape[-1]
    best, tokens = (logits / sampling.temperature).topk(k, dim=-1)
    probabilities = best.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    probabilities = probabilities.masked_fill(before >= sampling.top_p, 0.0)
    cumulative = probabilities.cumsum(-1)
    threshold = torch.as_tensor(uniforms, device=logits.device, dtype=cumulative.dtype)[:, None] * cumulative[:, -1:]
    choice = (cumulative <= threshold).sum(-1, keepdim=True).clamp(max=k - 1)
    # A draw of exactly the total, through rounding, must not land on a token of probability 0.
    choice = torch.minimum(choice, (probabilities > 0).sum(-1, keepdim=True) - 1)
    return [int(t) for t in tokens.gather(-1, choice)[:, 0]]
