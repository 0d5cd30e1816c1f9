"""Accuracy on multiple-choice questions, by the likeliest letter or by the likeliest option text.

`score_letters` shows the lettered options and takes the letter that is the most likely first token of the answer.
`score_option_texts` shows the question alone and takes the option whose text is the most likely per byte. The first
asks a small model to follow a format as well as to know the answer, the second only to know it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from craft_hf.evaluation.items import Item
from craft_hf.evaluation.likelihood import likelihood_request, log_probabilities
from craft_hf.evaluation.model import EvaluatedModel
from craft_hf.evaluation.statistics import Scores, summarize


def score_letters(model: EvaluatedModel, items: Sequence[Item], *, batch_size: int = 16, seed: int = 0) -> list[Scores]:
    """Return the accuracy by the most likely letter ("letter"), and the bits of the right letter ("letter_bits").

    The accuracy is that of the CRAFT paper, and of lm-eval's multiple choice with the letters as choices. Ties go to
    the first option. Arguments and errors are those of `score_bits_per_byte`.
    """
    requests = []
    for item in items:
        prefix, continuations = likelihood_request(model, item.prompt, item.labels, item.id)
        first = [tokens[:1] for tokens in continuations]
        requests.append((prefix, first if len(set(map(tuple, first))) == len(first) else continuations))
    found = log_probabilities(model, requests, batch_size, "Scoring letters")
    correct = [float(_argmax(values) == item.answer) for values, item in zip(found, items, strict=True)]
    bits = [-values[item.answer] / math.log(2) for values, item in zip(found, items, strict=True)]
    uniform = sum(math.log2(len(item.options)) for item in items) / len(items)
    cost = "bits of the right letter as the answer's first token"
    return [
        summarize(
            "letter", "accuracy by the most likely letter", _ids(items), correct, chance=chance(items), seed=seed
        ),
        summarize("letter_bits", cost, _ids(items), bits, chance=uniform, higher_is_better=False, seed=seed),
    ]


def score_option_texts(
    model: EvaluatedModel, items: Sequence[Item], *, batch_size: int = 16, seed: int = 0
) -> list[Scores]:
    """Return the accuracy by the option text most likely per UTF-8 byte, and the bits per byte of the right one.

    Ties go to the first option. Arguments and errors are those of `score_bits_per_byte`.
    """
    requests = [likelihood_request(model, item.question, item.options, item.id) for item in items]
    found = log_probabilities(model, requests, batch_size, "Scoring option texts")
    correct, bits, sizes = [], [], []
    for values, item in zip(found, items, strict=True):
        lengths = [len(option.encode()) for option in item.options]
        per_byte = [value / length for value, length in zip(values, lengths, strict=True)]
        correct.append(float(_argmax(per_byte) == item.answer))
        bits.append(-per_byte[item.answer] / math.log(2))
        sizes.append(lengths[item.answer])
    accuracy = "accuracy by the option text most likely per byte, options not shown"
    cost = "bits per UTF-8 byte of the right option's text, options not shown"
    return [
        summarize("option_text", accuracy, _ids(items), correct, chance=chance(items), seed=seed),
        summarize(
            "option_bits_per_byte", cost, _ids(items), bits, weights=sizes, higher_is_better=False, seed=seed
        ),
    ]  # fmt: skip


def chance(items: Sequence[Item]) -> float:
    """Return the expected accuracy of random guessing."""
    return sum(1 / len(item.options) for item in items) / len(items)


def _argmax(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def _ids(items: Sequence[Item]) -> list[str]:
    return [item.id for item in items]
