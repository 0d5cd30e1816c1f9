"""Finds, counts and masks personal data in texts: what has a form by which it is known."""

from __future__ import annotations

import ipaddress
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import phonenumbers
from stdnum import iban, luhn
from stdnum.us import ssn

from craft_hf.base import JSON
from craft_hf.tasks import ID_COLUMN, map_texts, texts_of

KINDS = {
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


def count_personal(rows: Sequence[Mapping[str, JSON]], rejects: Sequence[Mapping[str, JSON]] = ()) -> str:
    """Return what is found of each kind in a dataset's rows, and how many rejects have anything, in two sentences.

    Ids and links are not searched in: they say where a text is from.
    """
    found = Counter(kind for row in rows for kind in found_in(_searched(row), country_of(row)))
    first, *others = ("e-mail", "phone", *(kind for kind in KINDS if kind not in ("e-mail", "phone")))
    more = "".join(f", {found[kind]:,} with {KINDS[kind]}" for kind in others)
    rejected = sum(bool(found_in(_searched(reject), country_of(reject))) for reject in rejects)
    return (
        f"Searched for in all texts of the {len(rows):,} rows, documents included: {found[first]:,} rows with "
        f"{KINDS[first]}{more}. "
        + (f"Of the {len(rejects):,} rejects, {rejected:,} have any of these. " if rejects else "")
        + "Names, addresses and other personal data were not searched for."
    )


def masked_row(row: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return a row of a dataset or of its rejects with all masked that is found in it, but for ids and links.

    What a reject holds as JSON stays JSON.
    """
    country = country_of(row)
    return {name: value if name in _ORIGIN else _masked_column(value, country) for name, value in row.items()}


_ORIGIN = ("document_id", "url", ID_COLUMN, "prompt_hash", "partner", "retrieved_by", "prompt_few_shots")


def _masked_column(value: JSON, country: str) -> JSON:
    parsed = _as_json(value)
    return masked(value, country) if parsed is None else json.dumps(masked(parsed, country), ensure_ascii=False)


def _searched(row: Mapping[str, JSON]) -> list[JSON]:
    return [value if (parsed := _as_json(value)) is None else parsed for n, value in row.items() if n not in _ORIGIN]


def _as_json(value: JSON) -> JSON:
    """Return the object or list that a text is as JSON, in which line breaks are letters; None for any other value."""
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")) or "\\" not in value:
        return None
    try:
        parsed: JSON = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return parsed


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
