"""Multiple choice: questions come in, which of them a model answers right goes out, by two readings of its answer.

"letter" shows the lettered options and takes the letter that the model would most likely write first; "option_text"
shows the question alone and takes the option whose text the model finds likeliest per byte. Letters ask a small model
to follow a format as well as to know; texts ask it only to know.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from craft_hf.evaluate.items import LETTERS, Item
from craft_hf.evaluate.likelihood import continuations, log_probabilities
from craft_hf.evaluate.model import Student
from craft_hf.evaluate.statistics import Scores, summarize


def letter(
    student: Student, items: Sequence[Item], *, batch_size: int = 16, seed: int = 0, progress: bool = True
) -> list[Scores]:
    """Return the accuracy by the letter likeliest to be the answer's first token, and the bits of the right letter.

    Arguments and errors are those of `bits_per_byte`; a tie goes to the first option. The accuracy is that of the CRAFT
    paper, and of lm-eval's multiple choice with the letters as choices.
    """
    asked = []
    for item in items:
        prefix, tails = continuations(student, item.prompt, LETTERS[: len(item.options)], item.id)
        asked.append((prefix, [tail[:1] for tail in tails]))
    found = log_probabilities(student, asked, batch_size, "letter" if progress else "")
    right = [float(_best(values) == item.answer) for values, item in zip(found, items, strict=True)]
    bits = [-values[item.answer] / math.log(2) for values, item in zip(found, items, strict=True)]
    guess = sum(math.log2(len(item.options)) for item in items) / len(items)
    what = "bits that the right letter costs as the answer's first token"
    return [
        summarize("letter", "right by the likeliest letter", _ids(items), right, chance=chance(items), seed=seed),
        summarize("letter_bits", what, _ids(items), bits, chance=guess, higher_is_better=False, seed=seed),
    ]


def option_text(
    student: Student, items: Sequence[Item], *, batch_size: int = 16, seed: int = 0, progress: bool = True
) -> list[Scores]:
    """Return the accuracy by the option with the likeliest text per UTF-8 byte, and the bits per byte of the right one.

    Arguments and errors are those of `bits_per_byte`; a tie goes to the first option.
    """
    asked = [continuations(student, item.question, item.options, item.id) for item in items]
    found = log_probabilities(student, asked, batch_size, "option_text" if progress else "")
    right, bits, sizes = [], [], []
    for values, item in zip(found, items, strict=True):
        lengths = [len(option.encode()) for option in item.options]
        per_byte = [value / length for value, length in zip(values, lengths, strict=True)]
        right.append(float(_best(per_byte) == item.answer))
        bits.append(-per_byte[item.answer] / math.log(2))
        sizes.append(lengths[item.answer])
    what = "right by the likeliest option text per byte, options not shown"
    cost = "bits for each UTF-8 byte of the right option's text, options not shown"
    return [
        summarize("option_text", what, _ids(items), right, chance=chance(items), seed=seed),
        summarize(
            "option_bits_per_byte", cost, _ids(items), bits, weights=sizes, higher_is_better=False, seed=seed
        ),
    ]  # fmt: skip


def chance(items: Sequence[Item]) -> float:
    """Return the accuracy of guessing."""
    return sum(1 / len(item.options) for item in items) / len(items)


def _best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def _ids(items: Sequence[Item]) -> list[str]:
    return [item.id for item in items]
