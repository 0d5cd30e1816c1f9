"""Finds, counts and masks personal data in the rows of a dataset."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import phonenumbers

from craft_hf.base import HOME_COUNTRY, JSON, PERSONAL_KINDS, may_have_personal_data, personal_data_in
from craft_hf.tasks import ID_COLUMN, map_texts, texts_of

_COUNTRY = re.compile(r"^[a-z]+://[^/?#]*\.([a-z]{2})(?::\d+)?(?:[/?#]|$)")


def found_in(value: JSON, country: str = HOME_COUNTRY) -> set[str]:
    """Return which of `PERSONAL_KINDS` occur in a text, or in any text of a list or mapping.

    Args:
        value: any value.
        country: whose national way of writing phone numbers counts, two letters (ISO 3166).
    """
    texts = list(texts_of(value))
    if not may_have_personal_data(" ".join(texts)):  # one look in place of one at each text: most rows have none
        return set()
    return {kind for text in texts for _, _, kind in personal_data_in(text, country)}


def masked(value: JSON, country: str = HOME_COUNTRY) -> JSON:
    """Return a value with all that is found replaced by its kind, such as [e-mail]; arguments as for `found_in`."""
    return map_texts(value, partial(_masked, country=country))


def country_of(row: Mapping[str, JSON]) -> str:
    """Return the country in whose domain a row's document lies; by default `HOME_COUNTRY`."""
    found = _COUNTRY.match(str(row.get("url") or "").lower())
    name = {"uk": "GB"}.get(found[1], found[1].upper()) if found else HOME_COUNTRY
    return name if name in phonenumbers.SUPPORTED_REGIONS else HOME_COUNTRY


def count_personal(rows: Sequence[Mapping[str, JSON]], rejects: Sequence[Mapping[str, JSON]] = ()) -> str:
    """Return what is found of each kind in a dataset's rows, and how many rejects have anything, in two sentences.

    Ids and links are not searched in: they say where a text is from.
    """
    found = Counter(kind for row in rows for kind in found_in(_searched(row), country_of(row)))
    first, *others = ("e-mail", "phone", *(kind for kind in PERSONAL_KINDS if kind not in ("e-mail", "phone")))
    more = "".join(f", {found[kind]:,} with {PERSONAL_KINDS[kind]}" for kind in others)
    rejected = sum(bool(found_in(_searched(reject), country_of(reject))) for reject in rejects)
    return (
        f"Searched for in all texts of the {len(rows):,} rows, documents included: {found[first]:,} rows with "
        f"{PERSONAL_KINDS[first]}{more}. "
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
    for start, end, kind in sorted(personal_data_in(text, country), reverse=True):
        text = f"{text[:start]}[{kind}]{text[end:]}"
    return text
