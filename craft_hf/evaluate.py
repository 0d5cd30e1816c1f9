"""Scores of a model or adapter: a file of multiple-choice questions comes in, accuracies with 95% intervals go out.

Two readings of the same answer: "letter" shows the lettered options and takes the letter that the model would most
likely write first; "option_text" shows the question alone and takes the option whose text the model finds likeliest per
byte. Letters ask a small model to follow a format as well as to know; texts ask it only to know.
"""

from __future__ import annotations

import gzip
import json
import math
import random
import string
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from craft_hf.errors import InputError
from craft_hf.extras import require
from craft_hf.models import EMBEDDED, generator_weights
from craft_hf.records import JSON
from craft_hf.templates import chat_template

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

METHODS = ("letter", "option_text")
LETTERS = string.ascii_uppercase
_Z = 1.959964
"""Two-sided 95% quantile of the normal distribution."""


@dataclass(frozen=True)
class Question:
    """A multiple-choice question: options without their letters, and the position of the right one, from 0."""

    question: str
    options: tuple[str, ...]
    answer: int


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


def read_questions(path: Path) -> list[Question]:
    """Read questions from JSONL or JSONL.gz.

    A line has `question`, `options` (with or without "A. " in front) and the right option as `answer_index`, from 0, or
    as `answer`, a letter, as the rows of craft_hf's multiple-choice tasks have it; other keys are left alone.

    Raises:
        InputError: no such file, no question in it, or a broken line, which is named.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}; expected JSONL, also as .gz, with question, options and answer_index.")
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            questions = [_question(line, f"{path}, line {n}") for n, line in enumerate(file, 1) if line.strip()]
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as e:
        raise InputError(f"{path} cannot be read as {'gzipped ' * (path.suffix == '.gz')}UTF-8 text: {e}") from e
    if not questions:
        raise InputError(f"{path} holds no question; expected one JSON object on each line.")
    return questions


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
        adapter: folder or Hub id of a PEFT adapter for the model; its tokenizer and chat template are used if it has any.
        limit: how many questions to draw without replacement, 1 or more; all by default, or if there are no more.
        methods: of "letter" and "option_text" (log-probability of the option's text, divided by its UTF-8 bytes).
        seed: draws the questions.
        device: torch device; CUDA if there is one, else the CPU.
        batch_size: texts that the model reads at once; changes no score but by rounding.
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
    from tqdm.auto import tqdm

    scores = []
    for method in methods:
        asked = [_ask(q, method, tokenizer) for q in questions]
        texts = [text for candidates in asked for text in candidates]
        with tqdm(total=len(texts), desc=method, unit="text", disable=not progress) as bar:
            sums = iter(log_probabilities(loaded, texts, batch_size, tokenizer.pad_token_id or 0, bar.update))
        guesses = []
        for q in questions:
            by_option = [next(sums) / (len(option.encode()) if method == "option_text" else 1) for option in q.options]
            guesses.append(max(range(len(by_option)), key=by_option.__getitem__))  # a tie goes to the first
        correct = sum(guess == q.answer for guess, q in zip(guesses, questions, strict=True))
        chance = sum(1 / len(q.options) for q in questions) / len(questions)
        n = len(questions)
        scores.append(Score(method, n, correct, correct / n, *wilson(correct, n), chance))
    return scores
