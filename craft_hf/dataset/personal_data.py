"""Finds, counts and masks e-mail addresses and phone numbers in texts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import phonenumbers

from craft_hf.base import JSON
from craft_hf.tasks import TRAINING_COLUMNS, map_texts, texts_of

_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}\b")
_MANY_DIGITS = re.compile(r"(?:\d[\W_]{0,3}){7}")
"""Phone numbers have at least seven digits; the slow search is made only in texts that have so many in a row."""

_SHORTEST = len("a@b.co")
"""Characters of an address or number at least: most texts of a row are names of checks and documents."""

_HOME = "US"
"""Whose national way of writing numbers is known beside the international one. In the first 3,000 documents of each of
the five development corpora (textbooks, medical, recipes, how-to, Wikipedia) this finds 6 numbers, all of them real."""

KINDS = ("e-mail", "phone")


def found_in(value: JSON) -> set[str]:
    """Return which of `KINDS` occur in a text, or in any text of a list or mapping."""
    texts = list(texts_of(value))
    if not _may_have_any(" ".join(texts)):  # one look in place of one at each text: most rows have none
        return set()
    return {kind for text in texts for _, _, kind in _places(text)}


def masked(value: JSON) -> JSON:
    """Return a value with every e-mail address and phone number replaced by [e-mail] or [phone]."""
    return map_texts(value, _masked)


def _masked(text: str) -> str:
    for start, end, kind in sorted(_places(text), reverse=True):
        text = f"{text[:start]}[{kind}]{text[end:]}"
    return text


def count_personal(rows: Sequence[Mapping[str, JSON]]) -> str:
    """Return a sentence on how many rows have an e-mail address or a phone number, in sample or document."""
    found = Counter(
        kind for row in rows for kind in found_in([row[name] for name in row.keys() - TRAINING_COLUMNS.keys()])
    )
    mails, phones = (found[kind] for kind in KINDS)
    return (
        f"Searched for in all texts of the {len(rows):,} rows, documents included: {mails:,} rows with an e-mail "
        f"address, {phones:,} with a phone number. Names, addresses and other personal data were not searched for."
    )


def _may_have_any(text: str) -> bool:
    return "@" in text or bool(_MANY_DIGITS.search(text))


def _places(text: str) -> list[tuple[int, int, str]]:
    """Return start, end and kind of each address or number; they do not overlap."""
    if len(text) < _SHORTEST or not _may_have_any(text):
        return []
    mails = [(match.start(), match.end(), "e-mail") for match in _EMAIL.finditer(text)] if "@" in text else []
    if not _MANY_DIGITS.search(text):
        return mails
    numbers = [(match.start, match.end, "phone") for match in phonenumbers.PhoneNumberMatcher(text, _HOME)]
    return mails + [n for n in numbers if not any(n[0] < end and start < n[1] for start, end, _ in mails)]
