"""A generator that runs a transformers model in this process.

Three things make it fast: the few-shots that prompts begin with go through the model once for all of them, and
attention reads them once a step for a whole batch (see `shared_prefix_attention`); prompts of similar length are
decoded in one batch; finished rows leave the batch at once. Each prompt has random numbers of its own, derived from its
key and the seed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

from craft_hf.base import (
    EMBEDDED,
    JSON,
    PROMPT_TOO_LONG,
    Activity,
    Answer,
    ControlTokens,
    GeneratorError,
    Prompt,
    Weights,
    generator_identity,
    generator_weights,
    inference_dtype,
    quiet_loading,
    torch_device,
)  # fmt: skip
from craft_hf.generation.generator import BATCH_SIZE, Sampling, ignore_answer, send_all
from craft_hf.generation.local import shared_prefix_attention
from craft_hf.generation.local.batches import EncodedPrompt, Tokens, early_first, plan_batches
from craft_hf.generation.local.constrained_decoding import JsonConstraint
from craft_hf.generation.local.decoding import decode
from craft_hf.generation.local.kv_cache import PrefixCache, causal_mask, keeps_all_tokens, max_batch_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_MIN_CORRELATION = 0.99
"""Least correlation of next-token logits for two attention implementations to count as the same.

On the embedded default it is 0.9996, and 0.896 if the prefix is ignored.
"""

_logger = logging.getLogger("craft_hf")


class LocalGenerator:
    """A causal language model with a chat template, on this machine's CPU or GPU.

    Args:
        name: "embedded", a Hub id, or a transformers folder.
        device: a torch device; by default CUDA where there is one, else the CPU.
        batch_size: how many answers are decoded at a time at most; by default that of `BATCH_SIZE`. A larger batch is
            faster until memory or cores run out.
    """

    def __init__(self, name: str = EMBEDDED, device: str | None = None, batch_size: int | None = None) -> None:
        self._name = name
        self._device = torch_device(device)
        self._batch_size = batch_size or BATCH_SIZE.get(self._device.type, BATCH_SIZE["cpu"])
        self._rendered: dict[tuple[str, ...], Tokens] = {}

    @cached_property
    def _weights(self) -> Weights:
        return generator_identity(self._name)

    @property
    def identity(self) -> Mapping[str, JSON]:
        """Model, revision, and that transformers runs it; in which number format is the device's affair."""
        return {"model": self._weights.name, "revision": self._weights.revision, "weights": "transformers"}

    @cached_property
    def _loaded(self):  # type: ignore[no-untyped-def]  # transformers' Auto classes have no types
        location = generator_weights(self._name).location
        try:
            with quiet_loading():
                from transformers import AutoModelForCausalLM, AutoTokenizer

                tokenizer = AutoTokenizer.from_pretrained(location)
                model = AutoModelForCausalLM.from_pretrained(location, dtype=inference_dtype(self._device.type))
        except (OSError, ValueError) as e:
            raise GeneratorError(
                f"the generator {self._weights.name} cannot be loaded: {e} "
                "Pass the folder of a causal language model with its tokenizer, or a Hub id that can be reached."
            ) from e
        if not tokenizer.chat_template:
            raise GeneratorError(f"{self._weights.name} has no chat template; pass an instruction-tuned model.")
        return model.to(self._device).eval(), tokenizer

    @cached_property
    def _control_tokens(self) -> ControlTokens:
        return ControlTokens(self._loaded[1])

    @cached_property
    def _can_share_prefixes(self) -> bool:
        """Whether shared-prefix attention computes what the model's own attention does; if not, the latter is kept."""
        model, _ = self._loaded
        own = model.config._attn_implementation
        try:
            if keeps_all_tokens(model) and _correlation_with_shared_prefix_attention(model) > _MIN_CORRELATION:
                return True
        except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError) as e:
            _logger.info("few-shots are not shared between prompts: %s", e)
        model.set_attn_implementation(own)
        _logger.warning(
            "Generation is slower with %s: its attention cannot share few-shots between prompts.", self._weights.name
        )
        return False

    def generate(
        self,
        prompts: Sequence[Prompt],
        schema: Mapping[str, JSON],
        sampling: Sampling,
        should_send: Callable[[Prompt], bool] = send_all,
        on_answer: Callable[[Prompt, Answer], None] = ignore_answer,
    ) -> Iterator[tuple[Prompt, Answer]]:
        """Answer every prompt, in the order of batches; see `Generator.generate`."""
        if not prompts:
            return
        with Activity("Loading the generator"):
            model, tokenizer = self._loaded
        context = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2**31
        constraint = JsonConstraint(tokenizer, model.get_output_embeddings().weight.shape[0], schema)
        fitting = []
        for prompt in prompts:
            encoded = self._encode(prompt)
            if len(encoded) + sampling.max_new_tokens <= context:
                fitting.append(encoded)
            elif should_send(prompt):
                answer = Answer("", PROMPT_TOO_LONG, len(encoded))
                on_answer(prompt, answer)
                yield prompt, answer
        prefix_cache = PrefixCache(model)
        batches = plan_batches(fitting, self._batch_size, max_batch_tokens(model), sampling.max_new_tokens)
        for batch in early_first(batches, [row.prompt.key for row in fitting]):
            missing = [should_send(row.prompt) for row in batch.rows]
            if not any(missing):
                continue
            shared, computed = prefix_cache.get(batch.shared) if self._can_share_prefixes else (None, 0)
            for row, answer in decode(model, tokenizer, batch, shared, constraint, sampling):
                if missing[row]:  # known rows stay in the batch: another batch shape would round differently
                    answer = replace(answer, cached_tokens=answer.cached_tokens - computed)
                    computed = 0
                    on_answer(batch.rows[row].prompt, answer)
                    yield batch.rows[row].prompt, answer

    def _encode(self, prompt: Prompt) -> EncodedPrompt:
        """Tokenize a prompt and split it behind each few-shot, where its tokens are those of the few-shots alone."""
        messages = [dict(m) for m in prompt.messages]
        ids = self._render(messages, answer=True)
        cuts = [0]
        for end in range(2, len(messages), 2) if self._can_share_prefixes else ():
            turns = messages[:end]
            name = tuple(turn["content"] for turn in turns)
            if name not in self._rendered:
                self._rendered[name] = self._render(turns, answer=False)
            beginning = self._rendered[name]
            same = next((i for i, (a, b) in enumerate(zip(ids, beginning, strict=False)) if a != b), len(beginning))
            if cuts[-1] < (cut := min(same, len(ids) - 1)):
                cuts.append(cut)
        return EncodedPrompt(prompt, tuple(ids[a:b] for a, b in pairwise(cuts)), ids[cuts[-1] :])

    def _render(self, messages: list[dict[str, str]], answer: bool) -> Tokens:
        """Return the token ids of chat turns; `answer` adds the beginning of the turn in which the model answers."""
        _, tokenizer = self._loaded
        turns = self._control_tokens.broken_up(messages)
        rendered: Any = tokenizer.apply_chat_template(turns, add_generation_prompt=answer, return_dict=True)
        return tuple(rendered["input_ids"])


@torch.inference_mode()
def _correlation_with_shared_prefix_attention(model: PreTrainedModel) -> float:
    """Switch a model to shared-prefix attention; return the correlation of its next-token logits before and after."""
    count = 32
    ids = torch.arange(1, count + 1, device=model.device)[None] % model.config.get_text_config().vocab_size
    before = model(input_ids=ids).logits[:, -1].float()
    model.set_attn_implementation(shared_prefix_attention.NAME)
    parts = tuple(tuple(ids[0, start : start + 8].tolist()) for start in range(0, count - 8, 8))
    last, (prefix, _) = ids[:, -8:], PrefixCache(model).get(parts)
    mask = causal_mask(torch.ones_like(last), 8, model.dtype)
    positions = torch.arange(count - 8, count, device=model.device)[None]
    out = model(input_ids=last, attention_mask=mask, position_ids=positions, shared_prefix=prefix, use_cache=False)
    return torch.corrcoef(torch.cat([before, out.logits[:, -1].float()]))[0, 1].item()
