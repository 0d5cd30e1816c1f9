"""The words of texts in any script, and runs of them, by which texts are compared."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_TWO_A_WORD = (
    r"\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
)
"""Kana and Chinese characters."""

_FOUR_A_WORD = (
    r"\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ecd\u0f40-\u0f84\u0f86-\u0fbc\u1000-\u1049\u1050-\u109d\u1780-\u17d3"
)
"""Letters, vowel signs and tone marks of Thai, Lao, Tibetan, Burmese and Khmer."""

UNSPACED = re.compile(f"[{_TWO_A_WORD}{_FOUR_A_WORD}]")
"""A character of a script without blanks between words."""

_HALF = re.compile(f"[{_TWO_A_WORD}]")
_WORD = re.compile(r"\w+")
_WORD_OR_CHARACTER = re.compile(rf"[{_TWO_A_WORD}{_FOUR_A_WORD}]|[^\W{_TWO_A_WORD}{_FOUR_A_WORD}]+")


def words(text: str) -> list[str]:
    """Return the words and numbers of a text in order, lower-cased, without punctuation.

    Where a script has no blanks between words, as in Chinese, Japanese and Thai, each character counts as one.
    """
    return _split(_folded(text))


def word_runs(text: str, length: int) -> Iterator[tuple[str, ...]]:
    """Yield all runs of so many words of a text, in order; none if it has fewer.

    Where a script has no blanks, a run has as many characters as such words have on average: two for each word of
    Chinese and Japanese, four for each of Thai, Lao, Tibetan, Burmese and Khmer.
    """
    text = _folded(text)
    found = _split(text)
    if not UNSPACED.search(text):
        yield from zip(*(found[start:] for start in range(length)), strict=False)
        return
    quarters = [4 if not UNSPACED.match(word) else 2 if _HALF.match(word) else 1 for word in found]
    end = size = 0
    for start, first in enumerate(quarters):
        while size < 4 * length and end < len(found):
            size += quarters[end]
            end += 1
        if size < 4 * length:
            return
        yield tuple(found[start:end])
        size -= first


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _split(folded: str) -> list[str]:
    return (_WORD_OR_CHARACTER if UNSPACED.search(folded) else _WORD).findall(folded)
