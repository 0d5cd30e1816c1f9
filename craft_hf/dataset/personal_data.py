"""Finds, counts and masks personal data in texts: what has a form by which it is known."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import phonenumbers
from stdnum import iban, luhn
from stdnum.us import ssn

from craft_hf.base import JSON
from craft_hf.tasks import TRAINING_COLUMNS, map_texts, texts_of

KINDS = {
    "e-mail": "an e-mail address", "IBAN": "an IBAN", "card": "a card number", "SSN": "a US social security number",
    "IP": "an IP address", "phone": "a phone number",
}  # fmt: skip
"""What is looked for, in this order: what was taken for one kind is not taken for a later one."""

_EMAIL = re.compile(r"[\w.%+-]+@[\w-]+(?:\.[\w-]+)*\.[^\W\d_]{2,}")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(  # Visa, Mastercard and JCB, American Express, Discover, by their first digits and lengths
    r"(?<![\w.,-])(?:4(?:[ -]?\d){12}(?:(?:[ -]?\d){3}){0,2}|(?:5[1-5]|2[2-7]|35)(?:[ -]?\d){14}"
    r"|3[47](?:[ -]?\d){13}|(?:6011|65\d\d)(?:[ -]?\d){12})(?! ?\d|[\w-]|[.,]\d)"
)
_SSN = re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])")
_IP = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[0-9A-Fa-f]{1,4}:){3,7}[0-9A-Fa-f:]*[0-9A-Fa-f])(?![\w:]|\.\d)"
)
_MANY_DIGITS = re.compile(r"(?:\d[\W_]{0,3}){7}")
"""Phone numbers have at least seven digits; the slow search is made only in texts that have so many in a row."""
_MAY_BE_IP = re.compile(r"\d\.\d{1,3}\.\d{1,3}\.\d|[0-9A-Fa-f]:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{0,4}:")

_SECTION = 32
"""Numbers below this, four with dots between them, are rather those of a section or a version than an address."""

_HOME = "US"
"""Whose national way of writing numbers is known, beside the international one, where an address names no country."""

_COUNTRY = re.compile(r"^[a-z]+://[^/?#]*\.([a-z]{2})(?::\d+)?(?:[/?#]|$)")


def found_in(value: JSON, country: str = _HOME) -> set[str]:
    """Return which of `KINDS` occur in a text, or in any text of a list or mapping.

    Args:
        value: any value.
        country: whose national way of writing phone numbers counts, two letters (ISO 3166).
    """
    texts = list(texts_of(value))
    if not _may_have_any(" ".join(texts)):  # one look in place of one at each text: most rows have none
        return set()
    return {kind for text in texts for _, _, kind in _places(text, country)}


def masked(value: JSON, country: str = _HOME) -> JSON:
    """Return a value with all that is found replaced by its kind, such as [e-mail]; arguments as for `found_in`."""
    return map_texts(value, partial(_masked, country=country))


def country_of(row: Mapping[str, JSON]) -> str:
    """Return the country in whose domain a row's document lies; by default `_HOME`."""
    found = _COUNTRY.match(str(row.get("url") or "").lower())
    name = {"uk": "GB"}.get(found[1], found[1].upper()) if found else _HOME
    return name if name in phonenumbers.SUPPORTED_REGIONS else _HOME


def count_personal(rows: Sequence[Mapping[str, JSON]]) -> str:
    """Return a sentence on how many rows have personal data of each kind, in sample or document."""
    found = Counter(
        kind
        for row in rows
        for kind in found_in([row[name] for name in row.keys() - TRAINING_COLUMNS.keys()], country_of(row))
    )
    first, *others = ("e-mail", "phone", *(kind for kind in KINDS if kind not in ("e-mail", "phone")))
    more = "".join(f", {found[kind]:,} with {KINDS[kind]}" for kind in others)
    return (
        f"Searched for in all texts of the {len(rows):,} rows, documents included: {found[first]:,} rows with "
        f"{KINDS[first]}{more}. Names, addresses and other personal data were not searched for."
    )


def _masked(text: str, country: str) -> str:
    for start, end, kind in sorted(_places(text, country), reverse=True):
        text = f"{text[:start]}[{kind}]{text[end:]}"
    return text


def _may_have_any(text: str) -> bool:
    return "@" in text or bool(_MANY_DIGITS.search(text) or _MAY_BE_IP.search(text))


def _places(text: str, country: str) -> list[tuple[int, int, str]]:
    """Return start, end and kind of all that is found; they do not overlap."""
    if not _may_have_any(text):
        return []
    found = list[tuple[int, int, str]]()
    for kind in KINDS:
        places = _phones(text, country) if kind == "phone" else _SEARCHES[kind](text)
        free = [(start, end) for start, end in places if not any(start < e and at < end for at, e, _ in found)]
        found += [(start, end, kind) for start, end in free]
    return found


def _phones(text: str, country: str) -> Iterator[tuple[int, int]]:
    if _MANY_DIGITS.search(text):
        yield from ((match.start, match.end) for match in phonenumbers.PhoneNumberMatcher(text, country))


def _matches(pattern: re.Pattern[str], is_valid: Callable[[str], bool], text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in pattern.finditer(text) if is_valid(match.group()))


def _is_card(text: str) -> bool:
    return bool(luhn.is_valid(re.sub(r"\D", "", text)))


def _is_address(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.is_global and (address.version == 6 or any(int(part) >= _SECTION for part in text.split(".")))


_SEARCHES: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    "e-mail": partial(_matches, _EMAIL, bool),
    "IBAN": partial(_matches, _IBAN, iban.is_valid),
    "card": partial(_matches, _CARD, _is_card),
    "SSN": partial(_matches, _SSN, ssn.is_valid),
    "IP": partial(_matches, _IP, _is_address),
}
