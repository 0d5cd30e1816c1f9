"""Candidates for near-duplicates: few texts, among them all that share enough words with a new one to be near.

Let a word weigh its letters and one for the blank behind it, and let A and B weigh a and b in different words. The
token-set ratio is the greatest of three ratios, of which it takes one to reach the threshold t (a share):

1. Common words against all of A: less than the share 2 (1 - t) / (2 - t) of a may be words that B does not have.
2. Common words against all of B: likewise.
3. A against B, words in order, letter by letter. What words have in common hardly bounds this one: texts without a
   common word reach it, if each word is spelled a little differently. Among longer texts that does not happen, and to
   look for it would mean to align each text with nearly all others. So texts count as near only where the words that
   they share weigh half of one of them, or more.

So with r, the greater of that share and a half, among any words of A that weigh r a or more, B has one: A's rarest such
words are looked up in lists of the texts that have them; and, because it may be B whose words are shared, all words of
A in lists of the texts among whose rarest words they are. What is found is weighed.
"""

from __future__ import annotations

import functools
import re
from array import array
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import numpy as np

from craft_hf.base import UNSPACED, jit_compiled
from craft_hf.quality.growing import GrowingArray

LEAST_SHARED = 0.5
"""Share of the words of a text, by weight, that another one must have to be near it."""

_SLACK = 1e-6
"""On the side of a candidate too many, for rounding."""

_NONE = array("i")

Numbers = np.ndarray[tuple[int], np.dtype[np.int32]]


class Candidates:
    """Texts, and an index that finds those that may be near a new one.

    Texts must be as `rapidfuzz.utils.default_process` makes them: lower case, words separated by blanks. Where a script
    has no blanks, pairs of neighbouring characters are words.

    Args:
        threshold: token-set ratio, 0 to 100.
    """

    def __init__(self, threshold: float) -> None:
        share = threshold / 100
        self._lacking = max(2 * (1 - share) / (2 - share), 1 - LEAST_SHARED)
        self._word_ids: dict[str, int] = {}
        self._with_word: list[array[int]] = []
        self._with_rare_word: dict[int, array[int]] = {}
        self._word_weights = GrowingArray(np.int32)
        self._words, self._ends, self._weights = GrowingArray(np.int32), GrowingArray(np.int64), GrowingArray(np.int32)

    def __len__(self) -> int:
        return len(self._weights.values)

    def add(self, text: str) -> None:
        """Remember a text; its number is how many there were before it."""
        words, number = words_of(text), len(self)
        for word in sorted(word for word in words if word not in self._word_ids):
            self._word_ids[word] = len(self._with_word)
            self._with_word.append(array("i"))
            self._word_weights.append([len(word) + 1])
        for word_id in self._rarest(self._known(words)):
            self._with_rare_word.setdefault(word_id, array("i")).append(number)
        ids = sorted(self._word_ids[word] for word in words)
        for word_id in ids:
            self._with_word[word_id].append(number)
        self._words.append(ids)
        self._ends.append([len(self._words.values)])
        self._weights.append([weight_of(words)])

    def find(self, text: str, start: int = 0) -> list[int]:
        """Return the numbers of all texts from `start` on that may reach the threshold with a new one, in order."""
        words = words_of(text)
        known, weight = self._known(words), weight_of(words)
        unknown = weight - sum(size for _, size in known)
        lists = [self._with_word[word_id] for word_id in self._rarest(known, unknown)]
        lists += [self._with_rare_word.get(word_id, _NONE) for word_id, _ in known]
        parts = [np.frombuffer(numbers, np.int32) for numbers in lists if numbers]
        if start:
            parts = [part[np.searchsorted(part, start) :] for part in parts]
        if not parts:
            return []
        found: list[int] = _shares_enough_in_machine_code()(
            np.sort(np.concatenate(parts)), np.array(sorted(word_id for word_id, _ in known), np.int32), weight,
            self._words.values, self._ends.values, self._word_weights.values, self._weights.values, self._lacking,
        ).tolist()  # fmt: skip
        return found

    def _known(self, words: Iterable[str]) -> list[tuple[int, int]]:
        """Return number and weight of each word that occurs in some text."""
        return [(self._word_ids[word], len(word) + 1) for word in words if word in self._word_ids]

    def _rarest(self, words: Sequence[tuple[int, int]], unknown: int = 0) -> Iterable[int]:
        """Yield the rarest of a text's words until what is left weighs less than what must be shared.

        Args:
            words: number and weight of each that occurs in some text.
            unknown: weight of those that occur in none, which are the rarest.
        """
        needed = self._lacking * (unknown + sum(size for _, size in words)) + _SLACK - unknown
        for _, word_id, size in sorted((len(self._with_word[word_id]), word_id, size) for word_id, size in words):
            if needed < 0:
                return
            yield word_id
            needed -= size


def weight_of(words: Collection[str]) -> int:
    """Return the letters of words, and one for the blank behind each."""
    return sum(map(len, words)) + len(words)


def words_of(text: str) -> set[str]:
    """Return the words of a text as `Candidates` takes them."""
    words = set(text.split())
    if text.isascii():
        return words
    return {part for word in words for part in (_pairs(word) if UNSPACED.search(word) else (word,))}


def _pairs(word: str) -> Iterable[str]:
    return re.findall(r"(?s)(?=(..))", word) or [word]


def _shares_enough(rows, ids, weight, words, ends, word_weights, weights, lacking):  # type: ignore[no-untyped-def]
    """Return those of the rows, sorted, whose common words with mine leave few enough of one of us, each once."""
    found = np.empty(len(rows), np.int64)
    size, before = 0, -1
    for row in rows:
        if row == before:
            continue
        before = row
        at, end = (ends[row - 1] if row else 0), ends[row]
        common = place = 0
        while at < end and place < len(ids):
            if words[at] == ids[place]:
                common += word_weights[words[at]]
                at += 1
                place += 1
            elif words[at] < ids[place]:
                at += 1
            else:
                place += 1
        if weight - common <= lacking * weight + _SLACK or weights[row] - common <= lacking * weights[row] + _SLACK:
            found[size] = row
            size += 1
    return found[:size]


@functools.cache
def _shares_enough_in_machine_code() -> Callable[..., Any]:
    return jit_compiled(_shares_enough)
