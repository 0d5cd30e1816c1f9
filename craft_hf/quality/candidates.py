"""Candidates for near-duplicates: few texts, among them all whose token-set ratio with a new one reaches a threshold.

The token-set ratio of texts A and B is the greatest of three ratios, of which it takes one to reach the threshold t (a
share). Let a word weigh its letters and one for the blank behind it, and let A and B weigh a and b in different words.

1. Common words against all of A: less than the share r = 2 (1 - t) / (2 - t) of a may be words that B does not have.
   So among any words of A that weigh r a or more, B has one: A's rarest such words are looked up in lists of the texts
   that have them.
2. Common words against all of B: likewise, with the rarest words of B, which are kept in lists of their own.
3. A against B, words in order: they differ in at most d = (1 - t) (a + b - 2) insertions and deletions. One of these
   changes the count of one letter by one, and those of pairs of neighbouring letters by three in all. So the counts of
   letters differ by d at most, in sum, those of pairs by 3 d, and neither needs an alignment: the pairs of a text, with
   a blank before and behind each word, do not depend on the order of its words.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from craft_hf.base import jit_compiled
from craft_hf.quality.growing import GrowingArray

_LETTERS = 40
"""Classes of letters: a to z, blank, ten digits, and three for all others."""

_OWN = 27
"""The first classes, a to z and blank, whose pairs have classes of their own."""

_PAIRS = _OWN**2 + 39
"""Classes of pairs of neighbouring letters; that some share a class makes the sum of differences only smaller."""

_SLACK = 1e-6
"""On the side of a candidate too many, for rounding."""

_MOST = np.iinfo(np.uint8).max

_ASCII = np.full(128, _LETTERS - 1)
_ASCII[ord("a") : ord("z") + 1] = np.arange(26)
_ASCII[ord(" ")] = 26
_ASCII[ord("0") : ord("9") + 1] = np.arange(27, 37)

_Ints = np.ndarray[tuple[int, ...], np.dtype[np.integer]]


class Candidates:
    """Texts, and an index that finds those that may be near a new one.

    Texts must be as `rapidfuzz.utils.default_process` makes them: lower case, words separated by blanks.

    Args:
        threshold: token-set ratio, 0 to 100.
    """

    def __init__(self, threshold: float) -> None:
        share = threshold / 100
        self._apart, self._lacking = 1 - share, 2 * (1 - share) / (2 - share)
        self._word_ids: dict[str, int] = {}
        self._with_word: list[list[int]] = []
        self._with_rare_word: defaultdict[int, list[int]] = defaultdict(list)
        self._word_weights = GrowingArray(np.int32)
        self._words, self._ends = GrowingArray(np.int32), GrowingArray(np.int64)
        self._weights = GrowingArray(np.int64)
        self._letters, self._pairs = GrowingArray(np.uint8, _LETTERS), GrowingArray(np.uint8, _PAIRS)

    def add(self, text: str) -> None:
        """Remember a text; its number is how many there were before it."""
        words, number = set(text.split()), len(self._weights.values)
        for word in sorted(word for word in words if word not in self._word_ids):
            self._word_ids[word] = len(self._word_ids)
            self._with_word.append([])
            self._word_weights.append([len(word) + 1])
        for word in self._rarest(words):
            self._with_rare_word[self._word_ids[word]].append(number)
        ids = sorted(self._word_ids[word] for word in words)
        for word_id in ids:
            self._with_word[word_id].append(number)
        self._words.append(ids)
        self._ends.append([len(self._words.values)])
        self._weights.append([_weight(words)])
        letters, pairs = _counts(words)
        self._letters.append(letters[None])
        self._pairs.append(pairs[None])

    def find(self, text: str) -> list[int]:
        """Return the numbers of all texts that may reach the threshold with a new one, in order."""
        words = set(text.split())
        ids = sorted(self._word_ids[word] for word in words if word in self._word_ids)
        with_word = {n for word in self._rarest(words) for n in self._with(word)}
        with_word.update(n for word_id in ids for n in self._with_rare_word.get(word_id, ()))
        weight, (letters, pairs) = _weight(words), _counts(words)
        contained = _machine_code(_contained)(
            np.fromiter(with_word, np.int64, len(with_word)), np.array(ids, np.int32), weight, self._words.values,
            self._ends.values, self._word_weights.values, self._weights.values, self._lacking,
        )  # fmt: skip
        alike = _machine_code(_alike)(
            self._letters.values, self._pairs.values, self._weights.values, letters, pairs, weight, self._apart
        )
        return sorted({*contained.tolist(), *alike.tolist()})

    def _with(self, word: str) -> list[int]:
        return self._with_word[self._word_ids[word]] if word in self._word_ids else []

    def _rarest(self, words: set[str]) -> Iterable[str]:
        """Yield the rarest of a text's words, one at least, until they weigh what a near text may lack."""
        needed = self._lacking * _weight(words) - _SLACK
        for word in sorted(words, key=lambda w: (len(self._with(w)), w)):
            yield word
            needed -= len(word) + 1
            if needed <= 0:
                return


def _weight(words: set[str]) -> int:
    return sum(map(len, words)) + len(words)


def _counts(words: set[str]) -> tuple[_Ints, _Ints]:
    """Return how often each class of letters, and of pairs, stands in the words, with blanks around each."""
    codes = np.frombuffer(f" {' '.join(words)} ".encode("utf-32-le"), np.uint32)
    letters = np.where(codes < 128, _ASCII[np.minimum(codes, 127)], _LETTERS - 3 + codes % 3)
    first, second = letters[:-1], letters[1:]
    own = (first < _OWN) & (second < _OWN)
    pairs = np.where(own, first * _OWN + second, _OWN**2 + (first * _LETTERS + second) % (_PAIRS - _OWN**2))
    counted = np.bincount(letters, minlength=_LETTERS), np.bincount(pairs, minlength=_PAIRS)
    return tuple(np.minimum(c, _MOST).astype(np.uint8) for c in counted)  # type: ignore[return-value]


def _contained(rows, ids, weight, words, ends, word_weights, weights, lacking):  # type: ignore[no-untyped-def]
    """Return those of the rows whose common words with mine leave few enough of one of us."""
    found = np.empty(len(rows), np.int64)
    size = 0
    for row in rows:
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


def _alike(letters, pairs, weights, my_letters, my_pairs, weight, apart):  # type: ignore[no-untyped-def]
    """Return the rows whose counts differ from mine by no more than those of texts of these weights may."""
    found = np.empty(len(weights), np.int64)
    size = 0
    for row in range(len(weights)):
        most = apart * (weights[row] + weight - 2) + _SLACK
        if abs(weights[row] - weight) > most:
            continue
        difference = np.int32(0)
        for place in range(_LETTERS):
            difference += abs(np.int32(letters[row, place]) - np.int32(my_letters[place]))
        if difference > most:
            continue
        difference = np.int32(0)
        for place in range(_PAIRS):
            difference += abs(np.int32(pairs[row, place]) - np.int32(my_pairs[place]))
        if difference <= 3 * most:
            found[size] = row
            size += 1
    return found[:size]


@functools.cache
def _machine_code(function: Callable[..., Any]) -> Callable[..., Any]:
    return jit_compiled(function)
