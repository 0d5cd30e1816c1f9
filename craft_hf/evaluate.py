"""Scores of a model or adapter: a file of multiple-choice questions comes in, accuracies with 95% intervals go out.

Two readings of the same answer: "letter" shows the lettered options and takes the letter that the model would most
likely write first; "option_text" shows the question alone and takes the option whose text the model finds likeliest per
byte. Letters ask a small model to follow a format as well as to know; texts ask it only to know.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from craft_hf.errors import InputError
from craft_hf.extras import require
from craft_hf.models import generator_weights
from craft_hf.questions import LETTERS, Question, read_questions
from craft_hf.templates import chat_template

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

METHODS = ("letter", "option_text")
_Z = 1.959964
"""Two-sided 95% quantile of the normal distribution."""


@dataclass(frozen=True)
class Score:
    """How many of `n` questions a model answers right by one method.

    `low` and `high` bound the accuracy with 95% confidence. `chance` is the accuracy of guessing.
    """

    method: str
    n: int
    correct: int
    accuracy: float
    low: float
    high: float
    chance: float

    def __str__(self) -> str:
        """Say the score in a line."""
        return (
            f"{self.method}: {self.accuracy:.3f} ({self.correct} of {self.n}; 95% interval {self.low:.3f} to "
            f"{self.high:.3f}; chance {self.chance:.3f})"
        )


def wilson(correct: int, n: int) -> tuple[float, float]:
    """Return the 95% Wilson score interval of a proportion.

    Args:
        correct: successes, 0..n.
        n: trials, 1 or more.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927),
    209-212; the interval that Brown, Cai and DasGupta (Statistical Science 16, 2001) advise for small n.

    Raises:
        ValueError: `n` is below 1, or `correct` outside 0..n.
    """
    if n < 1 or not 0 <= correct <= n:
        raise ValueError(f"{correct} of {n} is no proportion; expected n of at least 1 and correct from 0 to n.")
    p, z2 = correct / n, _Z * _Z
    centre, half = p + z2 / (2 * n), _Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    low, high = (centre - half) / (1 + z2 / n), (centre + half) / (1 + z2 / n)
    return (0.0 if correct == 0 else low), (1.0 if correct == n else high)


def evaluate(
    model: str,
    data: str | Path,
    *,
    adapter: str | Path | None = None,
    limit: int | None = None,
    methods: Sequence[str] = METHODS,
    seed: int = 0,
    device: str | None = None,
    batch_size: int = 16,
    progress: bool = True,
) -> list[Score]:
    """Return the accuracy of a model, with or without an adapter, on a multiple-choice file, by each method.

    Args:
        model: "embedded", a Hub id, or a transformers folder.
        data: JSONL or JSONL.gz as `read_questions` takes it.
        adapter: folder or Hub id of a PEFT adapter for the model; a folder's tokenizer and chat template go first.
        limit: how many questions to draw without replacement, 1 or more; all by default, or if there are no more.
        methods: of "letter" and "option_text" (log-probability of the option's text, divided by its UTF-8 bytes).
        seed: draws the questions.
        device: torch device; CUDA if there is one, else the CPU.
        batch_size: questions that the model reads at once; changes no score but by rounding.
        progress: show a bar.

    Raises:
        InputError: data, model or adapter do not exist, or a value is out of range.
        MissingExtra: an adapter was given, but peft is not installed.
    """
    if unknown := [m for m in methods if m not in METHODS] or (not methods and [""]):
        raise InputError(f"there is no method {unknown[0]!r}; expected some of {', '.join(METHODS)}.")
    for name, value in (("limit", limit), ("batch_size", batch_size)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}, expected 1 or more.")
    questions = read_questions(Path(data))
    if limit is not None and limit < len(questions):
        questions = random.Random(seed).sample(questions, limit)
    loaded, tokenizer = _load(model, adapter, device)
    scores = []
    for method in methods:
        asked = [candidates(q, method, tokenizer) for q in questions]
        likely = log_probabilities(loaded, asked, batch_size, method if progress else "")
        correct = 0
        for q, sums in zip(questions, likely, strict=True):
            sizes = [len(option.encode()) if method == "option_text" else 1 for option in q.options]
            values = [value / size for value, size in zip(sums, sizes, strict=True)]
            correct += values.index(max(values)) == q.answer  # a tie goes to the first option
        chance = sum(1 / len(q.options) for q in questions) / len(questions)
        n = len(questions)
        scores.append(Score(method, n, correct, correct / n, *wilson(correct, n), chance))
    return scores


def candidates(
    question: Question, method: str, tokenizer: PreTrainedTokenizerBase
) -> tuple[list[int], list[list[int]]]:
    """Return the tokens of a question, up to where the answer starts, and the tokens of each answer to choose from.

    The question is asked as the recipes train it: a user's turn in the chat template, which the assistant answers.
    Both are tokenized together, so that an answer's first token is the one that the model would write there.
    """
    lettered = [f"{letter}. {option}" for letter, option in zip(LETTERS, question.options, strict=False)]
    content = "\n".join([question.question, *(lettered if method == "letter" else [])])
    head = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
    )
    answers = LETTERS[: len(question.options)] if method == "letter" else question.options
    start = tokenizer(head, add_special_tokens=False)["input_ids"]
    whole = [tokenizer(head + answer, add_special_tokens=False)["input_ids"] for answer in answers]
    shared = min(_common(start, ids) for ids in whole)
    tails = [ids[shared:] for ids in whole]
    return start[:shared], [tail[:1] for tail in tails] if method == "letter" else tails


def log_probabilities(
    model: PreTrainedModel, asked: Sequence[tuple[list[int], list[list[int]]]], batch_size: int, bar: str = ""
) -> list[list[float]]:
    """Return the natural log-probability of each continuation of each prefix, in the order given.

    Args:
        model: a causal language model with a key-value cache.
        asked: tokens of a prefix, and of its continuations, one or more tokens each.
        batch_size: prefixes that the model reads at once.
        bar: name of the progress bar; no bar without one.
    """
    from datasets.utils import tqdm

    order = sorted(range(len(asked)), key=lambda i: (len(asked[i][1]), len(asked[i][0])), reverse=True)
    results: list[list[float]] = [[] for _ in asked]
    with tqdm(total=len(asked), desc=bar, unit="question", disable=not bar) as progress:
        for _, group in itertools.groupby(order, key=lambda i: len(asked[i][1])):
            rest = list(group)
            for start in range(0, len(rest), batch_size):
                batch = rest[start : start + batch_size]
                for i, sums in zip(batch, _score([asked[i] for i in batch], model), strict=True):
                    results[i] = sums
                progress.update(len(batch))
    return results


def _score(batch: Sequence[tuple[list[int], list[list[int]]]], model: PreTrainedModel) -> list[list[float]]:
    """Read each prefix once, then all of its continuations on copies of its cache."""
    import torch

    k, device = len(batch[0][1]), model.device
    tails = [tail for _, options in batch for tail in options]
    ids, mask = _padded([prefix for prefix, _ in batch], device, left=True)
    with torch.inference_mode():
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        more = max(map(len, tails)) > 1
        out = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=more, logits_to_keep=1)
        first = out.logits[:, -1].float().log_softmax(-1).repeat_interleave(k, 0)
        sums = first[torch.arange(len(tails)), torch.tensor([tail[0] for tail in tails], device=device)]
        if more:
            cache = out.past_key_values
            cache.batch_repeat_interleave(k)
            said, said_mask = _padded([tail[:-1] for tail in tails], device)
            target, _ = _padded([tail[1:] for tail in tails], device)
            before = mask.repeat_interleave(k, 0)
            logits = model(
                input_ids=said,
                attention_mask=torch.cat([before, said_mask], 1),
                position_ids=before.sum(-1, keepdim=True) + torch.arange(said.shape[1], device=device),
                past_key_values=cache,
            ).logits
            each = logits.float().log_softmax(-1).gather(-1, target.unsqueeze(-1)).squeeze(-1)
            sums = sums + (each * said_mask).sum(-1)
    values: list[list[float]] = sums.view(len(batch), k).tolist()
    return values


def _padded(rows: Sequence[list[int]], device: torch.device, left: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask of shape (rows, longest); token 0 fills up, for the mask hides it."""
    import torch

    longest = max(map(len, rows))
    gaps = [[0] * (longest - len(row)) for row in rows]
    ids = [gap + row if left else row + gap for gap, row in zip(gaps, rows, strict=True)]
    ones = [gap + [1] * len(row) if left else [1] * len(row) + gap for gap, row in zip(gaps, rows, strict=True)]
    return torch.tensor(ids, device=device), torch.tensor(ones, device=device)


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common start of two sequences."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _load(
    model: str, adapter: str | Path | None, device: str | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model, with its adapter if there is one, and tokenizer with a chat template; in fp32 on the CPU."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = Path(adapter) if adapter is not None else None
    if folder is not None and folder.is_dir() and not (folder / "adapter_config.json").is_file():
        raise InputError(f"the adapter folder {folder} has no adapter_config.json; expected what a recipe writes.")
    peft = require("peft", "train") if adapter is not None else None
    location = generator_weights(model).location
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        loaded = AutoModelForCausalLM.from_pretrained(location, dtype=torch.float32 if place == "cpu" else "auto")
        own = folder is not None and folder.is_dir() and (folder / "tokenizer_config.json").is_file()
        tokenizer = AutoTokenizer.from_pretrained(str(folder) if own else location)
        if peft is not None:
            loaded = peft.PeftModel.from_pretrained(loaded, str(adapter))
    except (OSError, ValueError) as e:
        what = f"{model} with the adapter {adapter}" if adapter is not None else model
        raise InputError(f"the model {what} cannot be loaded; expected a Hub id or a folder: {e}") from e
    tokenizer.chat_template = tokenizer.chat_template or chat_template()
    return loaded.to(place).eval(), tokenizer
