"""The values of a sample, whoever wrote it: reading its JSON, one form for what means the same, its texts, its JSON."""

from __future__ import annotations

import json
import math
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NoReturn

from craft_hf.base import JSON

_SURROGATE = re.compile("[\ud800-\udfff]")

_WHOLE = 2**53
"""Below this every whole number is one float."""

MOST_NESTED = 100
"""Brackets inside one another in a JSON text; what validates, compares and writes values calls itself for each."""

_TOO_DEEP = f"brackets are nested more than {MOST_NESTED} deep"


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _no_number(digits[:20])


class _Decoder(json.JSONDecoder):
    """A decoder whose values every function that calls itself for the parts of a value can walk."""

    def raw_decode(self, s: str, idx: int = 0) -> tuple[JSON, int]:
        try:
            value, end = super().raw_decode(s, idx)
        except RecursionError:
            raise ValueError(_TOO_DEEP) from None
        nested: list[JSON] = [value]
        for _ in range(MOST_NESTED):
            nested = [part for outer in nested for part in _parts(outer) if isinstance(part, dict | list)]
            if not nested:
                return value, end
        raise ValueError(_TOO_DEEP)


def _parts(value: JSON) -> Iterable[JSON]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


DECODER = _Decoder(parse_float=_finite, parse_constant=_no_number)
"""Reads what RFC 8259 calls JSON, nested no deeper than `MOST_NESTED`: Python's own decoder takes NaN, Infinity and
1e999 as well."""

NAN_IS_NULL = _Decoder(parse_float=_finite, parse_constant=lambda name: None)
"""Reads NaN and Infinity as null, as which some tools write a missing number."""


LENIENT = _Decoder(parse_float=_finite, parse_constant=_no_number, strict=False)
"""Takes line breaks and tabs inside of texts as well, which JSON wants escaped and models forget to."""


def parse_json(text: str | bytes, *, nan_is_null: bool = False) -> JSON:
    """Return the value of a JSON text.

    Args:
        text: the JSON, of bytes in UTF-8.
        nan_is_null: read NaN and Infinity, as which some tools write a missing number, as null.

    Raises:
        ValueError: it is none: also NaN and Infinity, unless they are null, a number too great for a float (1e999), or
            brackets that are nested deeper than `MOST_NESTED`.
    """
    decoder = NAN_IS_NULL if nan_is_null else DECODER
    value: JSON = decoder.decode(text if isinstance(text, str) else text.decode("utf-8"))
    return value


def sample_json(sample: Mapping[str, JSON]) -> str:
    """Return a sample as the model sees and writes it: one line of JSON, keys in their order.

    Raises:
        ValueError: it holds NaN or infinity, which JSON does not have.
    """
    return json.dumps(sample, ensure_ascii=False, allow_nan=False)


def unwritable(value: JSON) -> str:
    """Say why no dataset can hold a value that is valid JSON; "" if it can."""
    if isinstance(value, str):
        return "" if value.isascii() or not _SURROGATE.search(value) else "half a character (a lone surrogate)"
    if isinstance(value, int):
        return "" if -(2**63) <= value < 2**63 else "a whole number beyond 64 bits"
    if isinstance(value, Mapping):
        return next(filter(None, map(unwritable, [*value.keys(), *value.values()])), "")
    return next(filter(None, map(unwritable, value)), "") if isinstance(value, Sequence) else ""


def normalized(fields: Mapping[str, JSON], schema: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return a sample's fields in the one form in which all steps compare and write them.

    Two samples that say the same have the same form, whether a model's answer, a row of a dataset or a person's edit
    gave them: keys stand in the order of the schema; an optional field that is null is left out; so is a field that
    the schema allows without declaring it, for it has no column; keys and texts are Unicode NFC; a number without a
    fraction is an int, unless it is so great that only its field being an integer makes it one; NaN and infinity, as
    which some tools write a missing number, are null. Whether a dataset can hold it, `unwritable` tells of this form.

    Args:
        fields: the sample; it need not follow the schema.
        schema: JSON Schema of an object.
    """
    fields = {unicodedata.normalize("NFC", name): value for name, value in fields.items()}
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return {name: normalized_value(value) for name, value in fields.items()}
    required = schema.get("required")
    required = required if isinstance(required, Sequence) else ()
    names = [name for name in properties if name in fields]
    if schema.get("additionalProperties") is False:  # no valid sample has others; of an invalid one they say why
        names += [name for name in fields if name not in properties]
    values = {name: normalized_value(fields[name], properties.get(name)) for name in names}
    return {name: value for name, value in values.items() if value is not None or name in required}


def normalized_value(value: JSON, schema: JSON = None) -> JSON:
    """Return a value in the form that `normalized` gives the fields of a sample; `schema` is that of the value."""
    schema = schema if isinstance(schema, Mapping) else {}
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, Mapping):
        return normalized(value, schema)
    if isinstance(value, Sequence):
        items, first = schema.get("items"), schema.get("prefixItems")
        first = first if isinstance(first, Sequence) else ()
        return [normalized_value(item, first[n] if n < len(first) else items) for n, item in enumerate(value)]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    kind = schema.get("type")
    if isinstance(value, int):
        inexact = kind == "number" and _WHOLE <= abs(value) <= sys.float_info.max
        return float(value) if inexact else value  # as its column will hold it
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and (kind == "integer" or abs(value) < _WHOLE) else value


def placed_texts(value: JSON, *place: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield every text in a value, at any depth, in order, each with the keys that lead to it (behind `place`)."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from placed_texts(part, *place, str(key))
    elif isinstance(value, Sequence):
        for part in value:
            yield from placed_texts(part, *place)


def texts_of(value: JSON) -> Iterator[str]:
    """Yield every text in a value, at any depth, in order; keys are none."""
    return (text for _, text in placed_texts(value))


def map_texts(value: JSON, function: Callable[[str], JSON]) -> JSON:
    """Return a value in which a function's result stands in place of every text; keys stay."""
    if isinstance(value, str):
        return function(value)
    if isinstance(value, Mapping):
        return {key: map_texts(part, function) for key, part in value.items()}
    return [map_texts(part, function) for part in value] if isinstance(value, Sequence) else value


_MOST = ("maxLength", "maxItems", "maxProperties")


def without_most(schema: JSON) -> JSON:
    """Return a JSON Schema without its upper lengths, which keep a model from running on, and no person."""
    if isinstance(schema, Mapping):
        return {
            key: dict(part) if key in ("const", "enum", "default") and isinstance(part, Mapping) else without_most(part)
            for key, part in schema.items()
            if key not in _MOST or not isinstance(part, int)
        }
    return [without_most(part) for part in schema] if isinstance(schema, list | tuple) else schema
