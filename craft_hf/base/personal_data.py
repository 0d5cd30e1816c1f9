"""Where personal data stands in a text: what has a form by which it is known."""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Callable, Iterator
from functools import partial

import phonenumbers
from stdnum import iban, luhn
from stdnum.us import ssn

PERSONAL_KINDS = {
    "e-mail": "an e-mail address", "IBAN": "an IBAN", "card": "a card number", "SSN": "a US social security number",
    "IP": "an IP address", "phone": "a phone number",
}  # fmt: skip
"""What is looked for, in this order: what was taken for one kind is not taken for a later one."""

_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,8}\.[^\W\d_]{2,24}")
_IBAN = re.compile(r"(?i)(?<![a-z0-9])[a-z]{2}\d{2}(?: ?[a-z0-9]{4}){2,7}(?: ?[a-z0-9]{1,3})?(?![a-z0-9])")
_CARD = re.compile(  # Visa, Mastercard and JCB, American Express, Discover, by their first digits and lengths
    r"(?<![\w.,-])(?:4(?:[ -]?\d){12}(?:(?:[ -]?\d){3}){0,2}|(?:5[1-5]|2[2-7]|35)(?:[ -]?\d){14}"
    r"|3[47](?:[ -]?\d){13}|(?:6011|65\d\d)(?:[ -]?\d){12})(?![\w-]|[.,]\d)"
)
_CARD_BEFORE = re.compile(
    r"(?i)(?:card|visa|master|amex|american express|discover|jcb|kreditkarte|carte|tarjeta)[^\n]{0,40}$"
)
_SSN = re.compile(
    r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])|(?i:(?<=ssn )|(?<=ssn: )|(?<=security number ))\d{3} \d{2} \d{4}(?!\d)"
)
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){1,7}[0-9A-Fa-f:]{1,39}(?![\w:])")
_MANY_DIGITS = re.compile(r"(?:\d[\W_]{0,3}){7}")
"""Phone numbers have at least seven digits; the slow search is made only in texts that have so many in a row."""
_MAY_BE_IP = re.compile(
    r"\d\.\d{1,3}\.\d{1,3}\.\d|[0-9A-Fa-f]:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{0,4}:|[0-9A-Fa-f]::[0-9A-Fa-f]"
)

_SECTION = 32
"""Of four numbers with dots between them two are this high or higher, or they are those of a section or a version."""

HOME_COUNTRY = "US"
"""Whose national way of writing numbers is known, beside the international one, where an address names no country."""


def may_have_personal_data(text: str) -> bool:
    """Whether a text, or one of several that were joined, is worth a closer look."""
    return "@" in text or bool(_MANY_DIGITS.search(text) or _MAY_BE_IP.search(text))


def personal_data_in(text: str, country: str = HOME_COUNTRY) -> list[tuple[int, int, str]]:
    """Return start, end and kind (one of `PERSONAL_KINDS`) of all that is found; they do not overlap.

    Args:
        text: any text.
        country: whose national way of writing phone numbers counts, two letters (ISO 3166).
    """
    if not may_have_personal_data(text):
        return []
    found = list[tuple[int, int, str]]()
    for kind in PERSONAL_KINDS:
        places = _phones(text, country) if kind == "phone" else _SEARCHES[kind](text)
        free = [(start, end) for start, end in places if not any(start < e and at < end for at, e, _ in found)]
        found += [(start, end, kind) for start, end in free]
    return found


def _phones(text: str, country: str) -> Iterator[tuple[int, int]]:
    if _MANY_DIGITS.search(text):
        yield from ((match.start, match.end) for match in phonenumbers.PhoneNumberMatcher(text, country))


def _matches(pattern: re.Pattern[str], is_valid: Callable[[str], bool], text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in pattern.finditer(text) if is_valid(match.group()))


def _cards(text: str) -> Iterator[tuple[int, int]]:
    """Yield card numbers: in groups, or behind a word that says what they are; other long numbers are of anything."""
    for found in _CARD.finditer(text):
        number = re.sub(r"\D", "", found.group())
        told = len(number) < len(found.group()) or _CARD_BEFORE.search(text, max(0, found.start() - 60), found.start())
        if told and luhn.is_valid(number):
            yield found.span()


def _is_address(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if address.version == 4:
        return address.is_global and sum(int(part) >= _SECTION for part in text.split(".")) > 1
    groups = [group for group in text.split(":") if group]  # neither a time of day nor a name in C++
    return address.is_global and len(groups) > 2 and max(map(len, groups)) > 2


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    return itertools.chain(_matches(_IPV4, _is_address, text), _matches(_IPV6, _is_address, text))


_SEARCHES: dict[str, Callable[[str], Iterator[tuple[int, int]]]] = {
    "e-mail": lambda text: _matches(_EMAIL, bool, text) if "@" in text else iter(()),
    "IBAN": partial(_matches, _IBAN, iban.is_valid),
    "card": _cards,
    "SSN": partial(_matches, _SSN, lambda number: ssn.is_valid(number.replace(" ", "-"))),
    "IP": _addresses,
}
