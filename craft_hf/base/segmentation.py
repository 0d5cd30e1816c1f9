"""Where the sentences of a text stand."""

from __future__ import annotations

import re

SENTENCE_END = r"(?<=[.!?])\s+|(?<=[。！？｡．])\s*"
"""What stands between two sentences of a line, as a regular expression; in scripts without blanks it may be empty."""

_END = re.compile(rf"{SENTENCE_END}|\n+")
_WORD = re.compile(r"\w")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Return start and end of each sentence, without the blanks around it.

    A text is split at line breaks, and after full stops, question marks and exclamation marks; what holds no word is no
    sentence.
    """
    found, start = [], 0
    for end, following in [*((match.start(), match.end()) for match in _END.finditer(text)), (len(text), len(text))]:
        part = text[start:end]
        if _WORD.search(part):
            first = start + len(part) - len(part.lstrip())
            found.append((first, first + len(part.strip())))
        start = following
    return found


def sentences(text: str) -> list[str]:
    """Return the sentences of a text; see `sentence_spans`."""
    return [text[start:end] for start, end in sentence_spans(text)]
