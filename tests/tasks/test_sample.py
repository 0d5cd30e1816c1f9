"""A sample's values: strict JSON, one form for what means the same, and one way through all texts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_hf.base.records import JSON
from craft_hf.tasks.sample import (
    MOST_NESTED,
    map_texts,
    normalized,
    parse_json,
    placed_texts,
    sample_json,
    texts_of,
    unwritable,
)

SCHEMA: Mapping[str, JSON] = {
    "type": "object",
    "required": ["headline", "items"],
    "properties": {
        "headline": {"type": "string"},
        "note": {"type": "string"},
        "price": {"type": "number"},
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "count": {"type": "integer"}},
            },
        },
    },
}

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | TEXTS,
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(TEXTS, parts, max_size=3),
    max_leaves=8,
)
SAMPLES = st.fixed_dictionaries(
    {},
    optional={
        "headline": TEXTS,
        "note": st.none() | TEXTS,
        "price": st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(),
        "items": st.lists(
            st.fixed_dictionaries({"name": TEXTS}, optional={"count": st.none() | st.integers(-9, 9), "colour": TEXTS})
        ),
        "more": VALUES,
    },
)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}', "1e999", "-1e999", '{"a": {"b": NaN}}'])
def test_what_python_alone_takes_for_json_is_refused(text: str) -> None:
    """NaN and infinity are no JSON, and a number that no float holds would become one of them."""
    json.loads(text)  # Python does
    with pytest.raises(ValueError, match="no number in JSON"):
        parse_json(text)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a": [', "]}")])
def test_what_is_nested_too_deep_to_be_walked_is_refused(opening: str, closing: str) -> None:
    """Up to a fixed depth, wherever in the stack the reader stands; beyond it, always and as other texts are."""
    most = MOST_NESTED // (len(closing))
    assert parse_json(opening * most + closing * most)
    for count in (most + 1, 600, 990, 100_000):
        with pytest.raises(ValueError, match="nested more than 100 deep"):
            parse_json(opening * count + closing * count)


@given(VALUES)
def test_what_is_written_as_json_can_be_read_by_everybody(value: JSON) -> None:
    """A sample is either refused or written as JSON that is read back as it was."""
    finite = all(not isinstance(number, float) or math.isfinite(number) for number in numbers(value))
    try:
        assert parse_json(sample_json({"value": value})) == {"value": value}
        assert finite
    except ValueError:
        assert not finite


def numbers(value: JSON) -> list[JSON]:
    """All values that are neither list nor mapping."""
    if isinstance(value, dict):
        return [number for part in value.values() for number in numbers(part)]
    return [n for part in value for n in numbers(part)] if isinstance(value, list) else [value]


def test_absent_and_null_are_the_same_for_optional_fields() -> None:
    """Also inside of lists, and where a missing number became NaN; a required field that is null stays to be told."""
    bare = {"headline": "Pier", "items": [{"name": "oak"}]}
    row = {"items": [{"count": None, "name": "oak"}], "price": math.nan, "note": None, "headline": "Pier"}
    assert normalized(row, SCHEMA) == bare
    assert list(normalized(row, SCHEMA)) == ["headline", "items"]
    assert normalized({"headline": None}, SCHEMA) == {"headline": None}


def test_fields_without_a_column_are_left_out_unless_the_schema_forbids_them() -> None:
    """What is allowed but not declared cannot be in a row; what is forbidden says why an answer is none."""
    fields = {"more": 1, "headline": "Pier"}
    assert normalized(fields, SCHEMA) == {"headline": "Pier"}
    assert normalized(fields, {**SCHEMA, "additionalProperties": False}) == {"headline": "Pier", "more": 1}


def test_texts_are_composed_and_numbers_are_as_their_column_gives_them_back() -> None:
    """An accent behind its letter is one letter; 2, 2.0 and a whole number in a column of floats are the same."""
    two = [normalized({"price": price, "headline": "Cafe\u0301"}, SCHEMA) for price in (2, 2.0)]
    assert two == [{"headline": "Caf\u00e9", "price": 2}] * 2
    assert [type(fields["price"]) for fields in two] == [int, int]
    assert normalized({"price": 2**62 + 1}, SCHEMA) == {"price": float(2**62)}


@given(SAMPLES)
def test_one_form_is_reached_at_once_and_is_strict_json(fields: Mapping[str, JSON]) -> None:
    """Normalizing again changes nothing, and neither does writing and reading."""
    once = normalized(fields, SCHEMA)
    assert normalized(once, SCHEMA) == once
    assert parse_json(sample_json(once)) == once
    assert "more" not in once


def test_what_no_dataset_can_hold_is_told() -> None:
    """Half a character, in a key too, and whole numbers beyond 64 bits."""
    assert unwritable({"a": [{"b": "\ud800"}]}) == unwritable({"\udfff": 1}) == "half a character (a lone surrogate)"
    assert unwritable([2**63]) == unwritable(-(2**63) - 1) == "a whole number beyond 64 bits"
    assert unwritable({"a": ["\U0001f600", True, None, 1.5, 2**63 - 1]}) == ""


def test_texts_are_found_at_any_depth() -> None:
    """Lists in mappings in lists, each with the keys that lead there; what is no text is passed over."""
    value: JSON = {"a": ["x", {"b": "y", "c": 3}], "d": None, "e": True, "f": "z"}
    assert list(texts_of(value)) == ["x", "y", "z"]
    assert list(placed_texts(value, "row 1")) == [
        (("row 1", "a"), "x"),
        (("row 1", "a", "b"), "y"),
        (("row 1", "f"), "z"),
    ]
    assert map_texts(value, str.upper) == {"a": ["X", {"b": "Y", "c": 3}], "d": None, "e": True, "f": "Z"}
