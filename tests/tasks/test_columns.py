"""The columns of a sample's fields: every type that a table can hold, and a refusal of all others when a task loads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from craft_hf.base.errors import InputError
from craft_hf.base.records import JSON
from craft_hf.tasks.columns import Column, columns_of
from craft_hf.tasks.task import load_task
from tests.own_task import write_task

TEXT: JSON = {"type": "string"}
WHOLE: JSON = {"type": "integer"}


@pytest.mark.parametrize(
    ("schema", "column"),
    [
        (TEXT, "string"),
        (WHOLE, "int64"),
        ({"type": "number"}, "float64"),
        ({"type": "boolean"}, "bool"),
        ({"enum": ["a", "b"]}, "string"),
        ({"const": "a"}, "string"),
        ({"type": "array", "items": TEXT}, ["string"]),
        ({"type": "array", "items": {"type": "array", "items": WHOLE}}, [["int64"]]),
        ({"type": "object", "properties": {"a": TEXT, "b": WHOLE}}, {"a": "string", "b": "int64"}),
        ({"type": "array", "prefixItems": [TEXT, {"const": "a"}], "items": False}, ["string"]),
        ({"type": "array", "prefixItems": [TEXT, TEXT], "items": TEXT}, ["string"]),
        ({"type": "array", "prefixItems": [TEXT, TEXT], "maxItems": 2}, ["string"]),
    ],
)
def test_a_type_has_a_column(schema: JSON, column: Column) -> None:
    """Scalars, lists of one type, and objects of them."""
    assert columns_of({"properties": {"a": schema}}) == {"a": column}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({}, "field 'a' has schema {}, which is no column type"),
        ({"type": ["string", "null"]}, "no column type"),
        ({"enum": ["a", 1]}, "no column type"),
        ({"type": "array"}, r"field 'a\[\]' has schema {}"),
        ({"type": "array", "items": True}, r"field 'a\[\]' has schema {}"),
        ({"type": "array", "items": False}, r"field 'a\[\]' has schema {}"),
        ({"type": "object"}, "no column type"),
        ({"type": "array", "prefixItems": [TEXT, WHOLE], "items": False},
         r"field 'a' is a list with items of the types string and int64, but a column holds one; give all items one"),
        ({"type": "array", "prefixItems": [TEXT, TEXT], "items": WHOLE}, "types string and int64"),
        ({"type": "array", "prefixItems": [TEXT, TEXT]}, "any type behind its 2 prefixItems; write items: false"),
        ({"type": "array", "prefixItems": [TEXT], "items": True}, "any type behind its 1 prefixItems"),
        ({"type": "array", "prefixItems": [TEXT], "maxItems": 2}, "any type behind its 1 prefixItems"),
        ({"type": "array", "prefixItems": [{}], "items": False}, r"field 'a\[\]' has schema {}"),
        ({"type": "object", "properties": {"b": {"type": "array", "prefixItems": [TEXT, WHOLE], "items": TEXT}}},
         r"field 'a\.b' is a list"),
    ],
)  # fmt: skip
def test_a_field_without_a_column_is_refused_when_the_task_is_loaded(
    tmp_path: Path, schema: JSON, message: str
) -> None:
    """Before anything is paid for, with the file and the field."""
    folder = write_task(tmp_path / "task", {"a": schema}, [("Text.", {"a": "x"})] * 3)
    with pytest.raises(InputError, match=rf"{re.escape(folder)}/task\.yaml: .*{message}"):
        load_task(folder)
