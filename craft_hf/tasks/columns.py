"""The columns of a dataset's rows: those that every row has, and those of the fields of a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from craft_hf.base import JSON, InputError

Column: TypeAlias = "str | list[Column] | dict[str, Column]"
"""The name of a scalar type as Arrow calls it, a list of one column for an array, or the columns of an object."""

LINEAGE_COLUMNS: Mapping[str, Column] = {
    "is_few_shot": "bool",
    "document_id": "string",
    "document": "string",
    "source": "string",
    "title": "string",
    "url": "string",
    "license": "string",
    "license_spdx": "string",
    "author": "string",
    "similarity": "float32",
    "retrieved_by": ["string"],
    "prompt_few_shots": ["string"],
    "prompt_hash": "string",
    "generator": "string",
    "finish_reason": "string",
    "checks": [{"check": "string", "score": "float64", "partner": "string", "remark": "string"}],
}
"""Where a row came from; `retrieved_by` holds few-shot ids and "average", or "random"; `generator` is "model@revision".
`license` is what the source says, `license_spdx` the SPDX expression that it stands for, "" where it is not recognised.
`checks` are those that the row passed, with what they measured."""

_TURNS: Column = [{"role": "string", "content": "string"}]

TRAINING_COLUMNS: Mapping[str, Column] = {"prompt": _TURNS, "completion": _TURNS}
"""A sample as the task's templates render it for training, in turns of a conversation: what TRL and others read."""

ID_COLUMN = "sample_id"
"""Holds what stands for a sample wherever it comes up, see `Task.sample_id`."""

REASONING_COLUMN = "model_reasoning"
"""Holds what the model wrote before its answer, where that was asked for."""

COLUMNS = (*TRAINING_COLUMNS, ID_COLUMN, *LINEAGE_COLUMNS, REASONING_COLUMN)
"""Columns that the rows of every dataset have beside the task's fields: no field may have such a name."""

_SCALARS = {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool"}


def columns_of(schema: Mapping[str, JSON]) -> dict[str, Column]:
    """Return the columns of the fields of a sample, by name.

    Args:
        schema: JSON Schema of an object with properties.

    Raises:
        InputError: a field, or a part of it, has no type that a column can have.
    """
    properties = schema["properties"]
    assert isinstance(properties, Mapping)
    return {name: _column(name, part) for name, part in properties.items()}


def _column(name: str, schema: JSON) -> Column:
    schema = schema if isinstance(schema, Mapping) else {}
    kind = schema.get("type")
    if kind is None and isinstance(values := schema.get("enum", [schema.get("const")]), Sequence):
        kind = "string" if all(isinstance(v, str) for v in values) else None
    if isinstance(kind, str) and kind in _SCALARS:
        return _SCALARS[kind]
    if kind == "array":
        return [_items(name, schema)]
    if kind == "object" and isinstance(inner := schema.get("properties"), Mapping):
        return {key: _column(f"{name}.{key}", part) for key, part in inner.items()}
    raise InputError(
        f"field {name!r} has schema {schema!r}, which is no column type; "
        f"use type {', '.join(_SCALARS)}, array with items, or object with properties."
    )


def _items(name: str, schema: Mapping[str, JSON]) -> Column:
    """Return the one column of all items that an array may have."""
    first, items, most = schema.get("prefixItems"), schema.get("items"), schema.get("maxItems")
    parts = list(first) if isinstance(first, Sequence) else []
    if parts and items in (None, True) and not (isinstance(most, int | float) and most <= len(parts)):
        raise InputError(
            f"field {name!r} allows for items of any type behind its {len(parts)} prefixItems; write items: false for "
            "no more of them, or items with the type of the others."
        )
    if not parts or items not in (None, True, False):
        parts.append(items)
    found = [_column(f"{name}[]", part) for part in parts]
    if different := next((column for column in found if column != found[0]), None):
        raise InputError(
            f"field {name!r} is a list with items of the types {found[0]} and {different}, but a column holds one; "
            "give all items one type, or make each a field of an object."
        )
    return found[0]
