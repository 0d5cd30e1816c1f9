"""Multiple choice: which option of a sample is right, what the options say, and the same in another order.

Question banks write "A. pier", "a) pier", "(1) pier" or "pier", and give the answer as a label ("A"), as a number or
as the option's text. All of these are read here, and nowhere else; a sample keeps its way of writing them.
"""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from craft_hf.base import JSON

_LABEL = re.compile(r"\s*[(\[]?([A-Za-z]|\d{1,2}(?!.\d))[.):\]]\s*")
"""What may stand before an option; "1.5 kg" has none."""

_BARE = re.compile(r"\W*(\w+)\W*")
"""An answer that is a label alone, with or without the punctuation of the options."""

MOST_LETTERS = len(string.ascii_uppercase)
"""Options that letters can name; of more than these without labels, an answer says the right one by number or text."""

_SEQUENCES = (string.ascii_uppercase, string.ascii_lowercase)

_OF_OTHERS = re.compile(
    r"(?i:\b(?:all|none|any|both|neither|either|some|one|two)\s+(?:of\s+)?(?:the\s+)?"
    r"(?:above|these|those|them|two|others?|options|answers|choices|statements)\b)"
)

LABEL, NUMBER, TEXT = "label", "number", "text"
"""What an answer may be: a label of the options, the number of one, or its text."""


@dataclass(frozen=True)
class Choice:
    """The options of one sample.

    `labels` stand in front of them ("A"), each "" where the options have none; `prefixes` are the labels with their
    punctuation and blanks ("A. "), `texts` what is behind. `right` is the position of the right option, None where the
    answer names none of them. `kind` says what the answer is: `LABEL`, `NUMBER` or `TEXT`.
    """

    labels: tuple[str, ...]
    prefixes: tuple[str, ...]
    texts: tuple[str, ...]
    right: int | None = None
    kind: str = LABEL

    @property
    def right_text(self) -> str:
        """The text of the right option without its label, "" where none is."""
        return "" if self.right is None else self.texts[self.right]

    @property
    def depends_on_order(self) -> bool:
        """Whether another order would make the options odd or wrong.

        That is so where one speaks of others by their place or their labels ("all of the above", "both A and B"), and
        where the texts themselves begin like labels in order.
        """
        label = "|".join(filter(None, self.labels)) or "[A-H]"
        named = re.compile(rf"\b(?:{label})\)?\s*(?:,|and|or|nor|&)\s*\(?(?:{label})\b")
        counted = any(options_of(self.texts).labels)
        return counted or any(_OF_OTHERS.search(text) or named.search(text) for text in self.texts)


@dataclass(frozen=True)
class MultipleChoice:
    """How the samples of a task hold options and answer.

    Args:
        options_field: the field with the options, a list of texts.
        answer_field: the field that says which one is right.
        first: the number of the first option, where options have no numbers in front and an answer is one.
    """

    options_field: str
    answer_field: str
    first: int = 0

    def read(self, fields: Mapping[str, JSON]) -> Choice:
        """Return the options of a sample, and which one is right.

        An answer that repeats a whole option, with what looks like its label, says that this belongs to the text: the
        options then have no labels ("2. Februar 1910").
        """
        answer = fields.get(self.answer_field)
        named = answer if isinstance(answer, str | int) and not isinstance(answer, bool) else None
        return self._read(_texts_in(fields.get(self.options_field)), named)

    @functools.lru_cache(maxsize=1024)  # noqa: B019 (a task has one, and each check reads the same sample)
    def _read(self, given: tuple[str, ...], answer: str | int | None) -> Choice:
        options = options_of(given)
        whole = _unlabelled([f"{prefix}{text}" for prefix, text in zip(options.prefixes, options.texts, strict=True)])
        for found in (whole, options):
            right, kind = self._find(found, answer)
            if right is not None and kind == TEXT:
                options = found
                break
        return Choice(options.labels, options.prefixes, options.texts, right, kind)

    def position(self, options: Choice, answer: JSON) -> int | None:
        """Return the position of the option that an answer names, None if it names none."""
        return self._find(options, answer)[0]

    def _find(self, options: Choice, answer: JSON) -> tuple[int | None, str]:
        if isinstance(answer, bool) or not isinstance(answer, str | int):
            return None, LABEL
        given, count = str(answer).strip(), len(options.texts)
        whole = [f"{prefix}{text}".strip() for prefix, text in zip(options.prefixes, options.texts, strict=True)]
        if isinstance(answer, str):
            bare = found[1] if (found := _BARE.fullmatch(given)) else ""
            named = ((bare, options.labels, LABEL), (given, whole, TEXT), (given, options.texts, TEXT))
            for name, names, kind in named:
                if name and (place := _only(name, names)) is not None:
                    return place, kind
            letter = _place_of_letter(bare)
            if letter is not None and not any(map(_LABEL.match, whole)):
                return (letter if letter < count <= MOST_LETTERS else None), LABEL
            for name, names, kind in named:
                folded = [other.casefold() for other in names]
                if name and (place := _only(name.casefold(), folded)) is not None:
                    return place, kind
        elif given in options.labels:
            return options.labels.index(given), LABEL
        numbered = any(label.isdigit() for label in options.labels)
        number = int(given) - self.first if given.isdecimal() and not numbered else -1
        return (number if 0 <= number < count else None), NUMBER

    def reordered(self, fields: Mapping[str, JSON], order: Sequence[int]) -> dict[str, JSON]:
        """Return a sample with its options in another order; labels stay in their places, and the answer follows.

        Args:
            fields: a sample whose answer names an option.
            order: the positions of its options, in the order wanted.

        Raises:
            ValueError: the answer names no option.
        """
        options = self.read(fields)
        if options.right is None:
            raise ValueError(f"{self.answer_field} is {fields.get(self.answer_field)!r}, which is none of the options.")
        texts = [options.texts[n] for n in order]
        return {**fields, **self.written(texts, list(order).index(options.right), fields)}

    def written(self, texts: Sequence[str], right: int, like: Mapping[str, JSON]) -> dict[str, JSON]:
        """Return the fields for options and answer, written as in another sample.

        Args:
            texts: of the options, without labels; at most `MOST_LETTERS` if the other sample has letters.
            right: the position of the right one.
            like: the other sample; its answer names one of its options.
        """
        style, answer = self.read(like), like.get(self.answer_field)
        labels, prefixes = style.labels[: len(texts)], style.prefixes[: len(texts)]
        if len(texts) > len(labels) and labels and labels[0]:
            sequence = _sequence(style.labels)
            labels = tuple(sequence[: len(texts)])
            prefixes = tuple(style.prefixes[0].replace(style.labels[0], label) for label in labels)
        elif len(texts) > len(labels):
            labels = prefixes = ("",) * len(texts)
        options = [f"{prefix}{text}" for prefix, text in zip(prefixes, texts, strict=True)]
        if style.kind == NUMBER:
            named: JSON = right + self.first if isinstance(answer, int) else str(right + self.first)
        elif style.kind == TEXT:
            named = texts[right]
        elif isinstance(answer, int):
            named = int(labels[right])
        else:
            named = _relabelled(str(answer), labels[right] or string.ascii_uppercase[right])
        return {self.options_field: options, self.answer_field: named}

    def name_of(self, fields: Mapping[str, JSON]) -> str:
        """Return a short name for the place of the right option: its label or number; the answer itself if it is none.

        Samples whose right options stand in the same place have the same name, so that these can be counted.
        """
        options, answer = self.read(fields), fields.get(self.answer_field)
        if options.right is None or options.kind == NUMBER:
            return str(answer)
        letter = string.ascii_uppercase[options.right : options.right + 1]
        return options.labels[options.right] or letter or str(self.first + options.right)

    def expected(self, options: Choice) -> str:
        """Say what answer is expected for some options, in words for whoever wrote another one."""
        if not options.texts:
            return f'expected options in {self.options_field}, such as ["A. pier", "B. crane"], and the letter of one'
        shown = options.prefixes[0] + options.texts[0]
        last = self.first + len(options.texts) - 1
        if options.labels[0]:
            return f'expected the label of an option ("{options.labels[0]}" for "{shown}"), or its text'
        if len(options.texts) > MOST_LETTERS:
            return f"expected the text of an option, or its number from {self.first} to {last}"
        return (
            f"expected the text of an option, its letter (A for the first), or its number from {self.first} to {last} "
            '(options that begin with "A. ", "B. ", and the letter of one, are always understood)'
        )


def multiple_choice_of(schema: Mapping[str, JSON], options_field: str, answer_field: str) -> MultipleChoice | None:
    """Return how the samples of a schema hold options and answer; None for a task without one of the two.

    Answers that are numbers count from 0, or from what `enum` or `minimum` of the field gives.
    """
    if not (options_field and answer_field):
        return None
    first = first_number(schema, answer_field)
    return MultipleChoice(options_field, answer_field, 0 if first is None else first)


def first_number(schema: Mapping[str, JSON], answer_field: str) -> int | None:
    """Return the number of the first option as a schema states it, None if it states none."""
    properties = schema.get("properties")
    answer = properties.get(answer_field) if isinstance(properties, Mapping) else None
    if not isinstance(answer, Mapping):
        return None
    named = answer.get("enum")
    values = named if isinstance(named, Sequence) else [answer.get("minimum")]
    numbers = [int(str(value)) for value in values if str(value).isdecimal()]
    return min(numbers, default=None)


def options_of(value: JSON, *, may_repeat: bool = False) -> Choice:
    """Read options, without an answer.

    They have labels if all of them begin with one, these are the first letters of the alphabet or the first numbers,
    from 0 or 1, in order, and what is behind them differs: "C. elegans" and "A. baumannii" have none, nor have "1. Mai"
    and "2. Mai". What no rule can tell from the options alone are different texts that begin like labels in order,
    such as "1. Januar 1900" and "2. Februar 1910": they are read as labelled. See `MultipleChoice.read` for what the
    answer tells.

    Args:
        value: a list of texts; anything else has no options.
        may_repeat: read labels also where the texts behind them are the same, to find options that repeat.
    """
    return _options_of(_texts_in(value), may_repeat)


def _texts_in(value: JSON) -> tuple[str, ...]:
    """The texts in a list; none in anything else."""
    listed = value if isinstance(value, Sequence) and not isinstance(value, str) else ()
    return tuple(option for option in listed if isinstance(option, str))


@functools.lru_cache(maxsize=1024)
def _options_of(given: tuple[str, ...], may_repeat: bool) -> Choice:
    matches = [match for option in given if (match := _LABEL.match(option))]
    labels, prefixes = tuple(match[1] for match in matches), tuple(match[0] for match in matches)
    if len(labels) < len(given) or not _sequence(labels):
        return _unlabelled(given)
    texts = tuple(option[len(prefix) :] for option, prefix in zip(given, prefixes, strict=True))
    distinct = len({text.strip() for text in texts}) == len(texts)
    return Choice(labels, prefixes, texts) if distinct or may_repeat else _unlabelled(given)


def _unlabelled(options: Sequence[str]) -> Choice:
    none = ("",) * len(options)
    return Choice(none, none, tuple(options))


def split_options(text: str) -> tuple[str, list[str]]:
    """Split a question from the labelled options behind it, each of which begins a line and may have several.

    Returns:
        The question, and the options with their labels; none where the text has no two.
    """
    lines = text.split("\n")
    for start in range(len(lines) - 1, -1, -1):
        for sequence in (*_SEQUENCES, *(_digits(first) for first in (0, 1))):
            options = _labelled_lines(lines[start:], sequence)
            if len(options) > 1:
                return "\n".join(lines[:start]).strip(), [option.strip() for option in options]
    return text.strip(), []


def _labelled_lines(lines: Sequence[str], sequence: Sequence[str]) -> list[str]:
    """Join lines to options, of which each begins with the next label; none where the first line does not."""
    options: list[str] = []
    for line in lines:
        match = _LABEL.match(line)
        if match and len(options) < len(sequence) and match[1] == sequence[len(options)]:
            options.append(line)
        elif options:
            options[-1] += f"\n{line}"
        else:
            return []
    return options


def leading_option(text: str, labels: Sequence[str]) -> int | None:
    """Return the position of the option whose label an answer begins with, None if it begins with none.

    Punctuation around labels does not matter: "B", "(B)" and "B, for ..." begin with each of "B", "(B)" and "B.". Case
    matters unless the answer is a label alone, for "a fox" does not begin with the label A.

    Args:
        text: an answer.
        labels: the options' labels, or whatever else names them in an answer, such as their texts.
    """
    bare = [found[1] if (found := _BARE.fullmatch(label)) else label.strip() for label in labels]
    names = bare if len(set(bare)) == len(bare) else [label.strip() for label in labels]
    longest_first = "|".join(re.escape(name) for name in sorted(filter(None, names), key=len, reverse=True))
    if not longest_first:
        return None
    if found := re.match(rf"[\s(\[*\"']*({longest_first})(?![\w'’]|[.,-]\d)", text):
        return _only(found[1], names)
    alone = _BARE.fullmatch(text)
    return _only(alone[1].casefold(), [name.casefold() for name in names]) if alone else None


@functools.cache
def _digits(first: int) -> tuple[str, ...]:
    return tuple(str(n) for n in range(first, first + 100))


def _sequence(labels: Sequence[str]) -> Sequence[str]:
    """The sequence of which these are the first labels, in order; an empty one if there is none."""
    known = (*_SEQUENCES, _digits(0), _digits(1))
    return next((s for s in known if labels and list(labels) == list(s[: len(labels)])), "")


def _relabelled(answer: str, label: str) -> str:
    """An answer that is a label alone, with another one: its punctuation and case stay."""
    old = _BARE.fullmatch(answer)
    assert old
    label = label.upper() if old[1].isupper() else label.lower()
    return answer[: old.start(1)] + label + answer[old.end(1) :]


def _place_of_letter(text: str) -> int | None:
    """The place of a letter in the alphabet, from 0; None for what is no letter."""
    return next((s.index(text) for s in _SEQUENCES if len(text) == 1 and text in s), None)


def _only(wanted: str, names: Sequence[str]) -> int | None:
    """The position of a name; None where it is none, or several."""
    found = [n for n, name in enumerate(names) if name.strip() == wanted]
    return found[0] if len(found) == 1 else None
