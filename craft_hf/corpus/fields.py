"""Which fields of a record are the text, the id, the licence and so on of a document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from craft_hf.base import JSON, InputError
from craft_hf.tasks import normalized_value

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "text": ("text", "body", "content", "contents"),
    "id": ("id", "_id", "doc_id", "docid", "document_id"),
    "title": ("title", "headline"),
    "url": ("url", "link", "uri", "url_or_path", "href"),
    "license": ("license", "licence"),
    "author": ("author", "authors", "creator"),
    "source": ("source",),
}
"""The names under which the fields of a document are found, the first that has a value; case, "-" and "_" are equal."""

_CONTROLS = bytes({*range(32), 127} - set(b"\t\n\r\f"))
"""Bytes of control characters, which in UTF-8 stand for nothing else."""

_MOST_PLANS = 1000


class TableRow(dict[str, JSON]):
    """A record of a table of which not all columns were read.

    Attributes:
        columns: the names of all, as `names_of` gives them.
    """

    columns: Sequence[str] = ()


class WholeFile(dict[str, JSON]):
    """A record that is made of a whole file: its fields are a document's already, so that no mapping applies."""


class Fields:
    """Finds the fields of a document in records.

    Args:
        given: field of a document to the name of the record's field; "meta.license" is the field `license` within
            `meta`, unless there is a field of that whole name; "" for none. What is not given is found by its usual
            names.

    Raises:
        InputError: a document has no such field, or the text is to come from none.
    """

    def __init__(self, given: Mapping[str, str] | None = None) -> None:
        self.given = dict(given or {})
        for field, name in self.given.items():
            if field not in SPELLINGS or (field == "text" and not name):
                raise InputError(
                    f"{field!r} was mapped to {name!r}; expected one of {', '.join(SPELLINGS)} and the name of a "
                    "record's field, such as text=body."
                )
        self._plans: dict[tuple[str, ...], dict[str, list[str]]] = {}

    def value(self, record: Mapping[str, JSON], field: str) -> JSON:
        """Return the value of a document's field, None where the record has none."""
        name = self.given.get(field)
        if name is not None and not isinstance(record, WholeFile):
            return walk(record, name)
        for name in self._plan(record)[field]:
            value = record[name]
            if value is not None and value != "":
                return value
        return None

    def line(self, record: Mapping[str, JSON], field: str) -> str:
        """Return the value of a field other than the text as a string, "" where there is none."""
        return as_line(self.value(record, field))

    def has(self, record: Mapping[str, JSON], field: str) -> bool:
        """Return whether a record has a field, if only an empty one."""
        name = self.given.get(field)
        if name == "":
            return True
        if name is None:
            return bool(self._plan(record)[field])
        return name in names_of(record) or walk(record, name) is not None

    def columns(self, names: Iterable[str]) -> dict[str, list[str]]:
        """Return for each field of a document the columns of a table that it is taken from, nested ones as paths."""
        names = list(names)
        plan = self._plan(dict.fromkeys(names))
        for field, name in self.given.items():
            plan = {**plan, field: [name] if name in names or name.partition(".")[0] in names else []}
        return plan

    def describe(self, field: str) -> str:
        """Say by which names a field is looked for."""
        return repr(self.given[field]) if field in self.given else " or ".join(map(repr, SPELLINGS[field]))

    def _plan(self, record: Mapping[str, JSON]) -> dict[str, list[str]]:
        names = tuple(record)
        plan = self._plans.get(names)
        if plan is None:
            plain = {re.sub(r"[\s_-]+", "_", str(name).strip().casefold()): name for name in reversed(names)}
            plan = {
                field: [plain[spelling] for spelling in spellings if spelling in plain]
                for field, spellings in SPELLINGS.items()
            }
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            self._plans[names] = plan
        return plan


def parse_fields(texts: Iterable[str]) -> dict[str, str]:
    """Return the mapping that texts such as "license=meta.license" stand for.

    Raises:
        InputError: a text is no such pair, or a field is given twice.
    """
    fields: dict[str, str] = {}
    for text in texts:
        name, equals, field = text.partition("=")
        if not equals or name in fields:
            wrong = "is given twice" if equals else "expected NAME=FIELD, such as text=body"
            raise InputError(f"--field {text}: {wrong}.")
        fields[name] = field
    return fields


def walk(record: Mapping[str, JSON], name: str) -> JSON:
    """Return the value at a name such as "meta.license", None where there is none."""
    if name in record or "." not in name:
        return record.get(name)
    first, _, rest = name.partition(".")
    inner = record.get(first)
    return walk(inner, rest) if isinstance(inner, Mapping) else None


def names_of(record: Mapping[str, JSON]) -> list[str]:
    """Return the names of a record's fields, those within others as paths such as "meta.license"."""
    if isinstance(record, TableRow):
        return list(record.columns)
    found = []
    for name, value in record.items():
        inner = [f"{name}.{part}" for part in names_of(value)] if isinstance(value, Mapping) else []
        found.extend(inner or [str(name)])
    return found


def as_line(value: JSON) -> str:
    """Return a value as a line for a metadata field; of a list, its values joined by commas.

    "" stands for null, NaN and what holds nothing.
    """
    value = normalized_value(value if isinstance(value, str) else _plain(value))
    if value is None:
        return ""
    if isinstance(value, str):
        return as_text(value).strip()
    if isinstance(value, Mapping):
        return as_text(json.dumps(value, ensure_ascii=False)) if value else ""
    if isinstance(value, list):
        return ", ".join(filter(None, map(as_line, value)))
    return str(value)


def _plain(value: object) -> JSON:
    """Return a value of a Parquet file or of YAML in the types of JSON."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    return list(map(_plain, value)) if isinstance(value, Sequence) else str(value)


def as_text(text: str) -> str:
    """Return a text as it is indexed.

    Control characters go: at one of them, NUL, HDF5 strings would end. Lone surrogates, which JSON can hold, but
    neither UTF-8 nor a tokenizer can, become "?".
    """
    return text.encode("utf-8", "replace").translate(None, _CONTROLS).decode("utf-8")
