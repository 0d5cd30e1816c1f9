"""What of a sample is compared with others: its values, not what all samples of the task have in common."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from rapidfuzz import fuzz, utils
from rapidfuzz.distance import Levenshtein

from craft_hf.base import JSON
from craft_hf.quality.candidates import weight_of, words_of
from craft_hf.quality.text import stop_words
from craft_hf.tasks import Task, sample_json, texts_of

VALUES, AS_JSON = COMPARED = ("values", "json")
"""How samples are compared: by their values; or, as CRAFT's authors do, by their JSON with names, labels and all."""

SHARED = 0.7
"""Share of the content words of both samples, by letters, that must be the same in samples that are nearly the same.

`tests/benchmarks/bench_quality.py --thresholds` says how many different questions are dropped, and how many are found
again with a few words changed.
"""

ALIKE = 80.0
"""Ratio of all options from which two samples have the same."""

_LEAST_STEM, _ENDING = 4, 3
"""Letters that words with different endings have in common at least, and those of an ending at most."""

_TELLING = frozenset(
    (
        "no", "not", "never", "none", "without", "before", "after", "above", "below", "over", "under", "first", "last",
        "more", "less", "most", "least", "up", "down", "out", "off",
    )
)  # fmt: skip
"""Stop words of English that turn a question into another one."""

_IN_MANY = 0.25
"""Share of the few-shots that have a word from which it belongs to the frame of the task's questions."""
_LEAST_SHOTS = 8


@dataclass(frozen=True)
class Compared:
    """What of a sample is compared.

    Attributes:
        text: the values that are compared, in one text; of multiple choice the question.
        options: texts of the options that differ from sample to sample.
        right: that of the right one.
        frame: words that say little, for many samples have them.
        language: of the task.
    """

    text: str
    options: tuple[str, ...] = ()
    right: str = ""
    frame: frozenset[str] = frozenset()

    def is_near(self, other: Compared) -> bool:
        """Whether two samples of near texts are nearly the same: in their content words, and in what is answered."""
        if not _share_content(self.content, other.content) or not self._options_alike(other):
            return False
        return _plain(self.right) == _plain(other.right) or not self.options or self.content == other.content

    @cached_property
    def content(self) -> frozenset[str]:
        """The words of the text that say something; all of them where none does."""
        words = frozenset(words_of(utils.default_process(self.text)))
        return words - self.frame or words

    def _options_alike(self, other: Compared) -> bool:
        if not (self.options and other.options) or _plain(self.right) == _plain(other.right):
            return True
        return fuzz.token_set_ratio(_joined(self.options), _joined(other.options)) >= ALIKE


class Comparison:
    """Tells what of the samples of a task is compared.

    Not compared are names of fields, constants and what the schema enumerates, labels of options, and which option is
    right; where all options are constants, as "Yes" and "No", neither are they.

    Args:
        task: its schema and few-shots.
        by: `VALUES` or `AS_JSON`.
    """

    def __init__(self, task: Task, by: str = VALUES) -> None:
        self._task, self._by = task, by
        properties = task.schema["properties"]
        assert isinstance(properties, Mapping)
        self._fixed = {name for name, schema in properties.items() if _is_fixed(schema)}
        self._frame = (stop_words(task.language) | self._frame_of_few_shots()) - _TELLING

    def of(self, fields: Mapping[str, JSON]) -> Compared:
        """Return what of a sample is compared."""
        if self._by == AS_JSON:
            return Compared(sample_json(fields))
        choices = self._task.multiple_choice
        own = (choices.options_field, choices.answer_field) if choices else (self._task.options_field,)
        text = "\n".join(self._values({name: value for name, value in fields.items() if name not in own}))
        if not _plain(text) and not (choices and _plain(" ".join(choices.read(fields).texts))):
            return Compared(sample_json(fields))  # signs alone, or nothing but what the schema names
        if choices is None or choices.options_field in self._fixed:
            return Compared(text, frame=self._frame)
        options = choices.read(fields)
        return Compared(text or "\n".join(options.texts), options.texts, options.right_text, self._frame)

    def is_near(self, one: Compared, other: Compared) -> bool:
        """Whether samples whose texts are near are nearly the same; those compared as JSON are."""
        return self._by == AS_JSON or one.is_near(other)

    def _values(self, fields: Mapping[str, JSON]) -> Iterator[str]:
        for name, value in fields.items():
            if name not in self._fixed:
                yield from _texts_and_numbers(value)

    def _frame_of_few_shots(self) -> frozenset[str]:
        shots = self._task.few_shots
        if len(shots) < _LEAST_SHOTS:
            return frozenset()
        names = [name for name in self._task.fields if name not in self._fixed]
        found = Counter(
            word
            for shot in shots
            for word in {
                word
                for text in texts_of([shot.sample.get(name) for name in names if name != self._task.options_field])
                for word in utils.default_process(text).split()
            }
        )
        return frozenset(word for word, count in found.items() if count >= _IN_MANY * len(shots))


def _is_fixed(schema: JSON) -> bool:
    """Whether a value can be but one of a few that the schema names."""
    if not isinstance(schema, Mapping):
        return False
    if "const" in schema or "enum" in schema or schema.get("type") == "boolean":
        return True
    items = schema.get("prefixItems")
    return isinstance(items, Sequence) and bool(items) and all(map(_is_fixed, items))


def _texts_and_numbers(value: JSON) -> Iterator[str]:
    """Yield every text and number in a value, at any depth, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts_and_numbers(part)
    elif isinstance(value, Sequence):
        for part in value:
            yield from _texts_and_numbers(part)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _share_content(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether the words of both are the same in the greater part of each, by letters."""
    mine, others = one - other, other - one
    same = weight_of(one & other)
    left = set(others)
    for word in sorted(mine):
        twin = next((w for w in sorted(left) if _is_same_word(word, w)), None)
        if twin is not None:
            left.discard(twin)
            mine = mine - {word}
            same += max(len(word), len(twin)) + 1
    least = min(same / weight if (weight := same + weight_of(words)) else 1.0 for words in (mine, left))
    return least >= SHARED


def _is_same_word(one: str, other: str) -> bool:
    if any(map(str.isdigit, one + other)):
        return False
    shorter, longer = sorted((one, other), key=len)
    same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(shorter, longer, strict=False)))
    if same >= max(_LEAST_STEM, len(shorter) - _ENDING) and len(longer) - same <= _ENDING:
        return True
    return same > 0 and len(shorter) > _LEAST_STEM and Levenshtein.distance(one, other, score_cutoff=1) == 1


def _plain(text: str) -> str:
    return str(utils.default_process(text))


def _joined(texts: Sequence[str]) -> str:
    return str(utils.default_process(" ".join(texts)))
