"""Fields: the usual spellings, names that are given, and values that are none."""

from __future__ import annotations

import json
import math
from datetime import date
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from craft_hf.base.errors import InputError
from craft_hf.base.records import Document
from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.fields import Fields, as_line

TEXT = "The quick brown fox jumps over the lazy dog. " * 6


@pytest.mark.parametrize(
    ("row", "document"),
    [
        (
            {"_id": 7, "Body": TEXT, "licence": "CC0", "uri": "u", "authors": ["Ann", "Bob"]},
            Document("7", TEXT, "c", "", "u", "CC0", "Ann, Bob"),
        ),
        (
            {"Doc ID": "x", "content": TEXT, "LINK": "l", "headline": "h"},
            Document("x", TEXT, "c", "h", "l", "MIT"),
        ),
        (
            {"docid": 3.0, "text": TEXT, "body": "other", "url": "", "url_or_path": "p"},
            Document("3", TEXT, "c", url="p", license="MIT"),
        ),
        ({"text": None, "body": TEXT}, Document("c:1", TEXT, "c", license="MIT")),
        (
            {"id": math.nan, "text": TEXT, "title": math.nan, "license": ["cc-by-4.0"], "url": [None, math.nan]},
            Document("c:1", TEXT, "c", license="cc-by-4.0"),
        ),
        ({"id": " ", "text": TEXT, "license": [], "author": {}}, Document("c:1", TEXT, "c", license="MIT")),
    ],
)  # fmt: skip
def test_usual_names_and_missing_values_are_known(row: dict[str, object], document: Document) -> None:
    """Spellings in any case are found, the first that holds something; NaN, null and what is empty are none."""
    (found,) = Corpus([row], name="c", license="MIT")  # type: ignore[list-item]
    assert found == document


def test_nan_in_json_is_none(tmp_path: Path) -> None:
    """NaN, as pandas and Python write it, stands for what is not there, also in the text."""
    rows = [{"id": math.nan, "text": TEXT, "license": math.nan}, {"text": math.nan}]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert list(Corpus(tmp_path / "c.jsonl", license="MIT")) == [Document("c:1", TEXT, "c", license="MIT")]


def test_fields_are_given_by_name_nested_too() -> None:
    """A name that is given goes before the usual ones, which are not tried then; a dot leads into a field."""
    rows = [
        {"text": "other", "story": TEXT, "meta": {"license": "CC0", "link": "u"}, "url": "other", "a.b": "dotted"},
        {"text": "other", "story": TEXT, "license": "other", "meta": None},
    ]
    fields = {"text": "story", "license": "meta.license", "url": "meta.link", "title": "a.b"}
    found = list(Corpus(rows, fields=fields, name="c", license="MIT"))
    assert found == [Document("c:1", TEXT, "c", "dotted", "u", "CC0"), Document("c:2", TEXT, "c", license="MIT")]


def test_a_name_that_no_record_has_is_an_error_that_lists_those_there_are() -> None:
    """It comes at the end, or after 1,000 records; the message lists all fields, nested ones as they are named."""
    rows = [{"text": TEXT, "meta": {"rights": "CC0"}}, {"text": TEXT, "n": 1}]
    message = (
        r"c: no field 'meta\.license' for the license in 2 records; their fields: text, meta\.rights, n\. .*--field"
    )
    with pytest.raises(InputError, match=message):
        list(Corpus(rows, fields={"license": "meta.license"}, name="c"))
    read = []
    with pytest.raises(InputError, match="in 1,000 records"):
        read.extend(Corpus(rows * 5000, fields={"license": "meta.license"}))
    empty = [{"text": TEXT, "meta": {"license": None}}] * 1000
    assert len(list(Corpus(empty, fields={"license": "meta.license"}))) == 1000
    late = [{"text": TEXT}] * 999 + [{"text": TEXT, "licence of it": "CC0"}]
    assert len(list(Corpus(late, fields={"license": "licence of it"}))) == 1000


def test_a_wrong_name_is_told_though_few_records_are_read(tmp_path: Path) -> None:
    """Also with a limit, behind an interruption, and in Parquet, of which only the columns in use are read."""
    rows = [{"text": f"{TEXT}{i}", "licence_name": "CC0"} for i in range(5)]
    wrong = {"license": "licence"}
    message = r"no field 'licence' for the license in \d records; their fields: text, licence_name"
    with pytest.raises(InputError, match=message):
        list(Corpus(rows, fields=wrong, limit=2))
    begun = Corpus(rows, fields=wrong)
    next(begun.read())
    resumed = Corpus(rows, fields=wrong)
    resumed.resume(json.loads(json.dumps(begun.state())))
    with pytest.raises(InputError, match=message):
        list(resumed.read())
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=message):
        list(Corpus(tmp_path / "a.parquet", fields=wrong))


def test_records_without_a_text_stop_no_corpus_that_has_one(tmp_path: Path) -> None:
    """A settings file beside notes is counted as without text; names that are given do not apply to whole files."""
    (tmp_path / "package.json").write_text('{"name": "x"}')
    (tmp_path / "note.txt").write_text(TEXT)
    (tmp_path / "a.jsonl").write_text(json.dumps({"story": TEXT}))
    corpus = Corpus(tmp_path, fields={"text": "story"})
    assert len(list(corpus)) == 2
    (tmp_path / "a.jsonl").unlink()
    assert len(list(Corpus(tmp_path))) == 1


@pytest.mark.parametrize("given", [{"words": "body"}, {"text": ""}])
def test_a_field_that_documents_do_not_have_is_refused(given: dict[str, str]) -> None:
    """The error lists the fields of a document."""
    with pytest.raises(InputError, match="expected one of text, id, title, url, license, author, source"):
        Fields(given)


def test_only_columns_that_are_used_are_read_from_parquet(tmp_path: Path) -> None:
    """Other columns are not touched, of nested ones only the part that is named; without a text, columns are listed."""
    rows = [{"body": TEXT, "meta": {"license": "CC0", "blob": "x"}, "vector": [0.5], "id": math.nan, "link": "u"}]
    path = tmp_path / "c.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    corpus = Corpus(path, fields={"license": "meta.license"})
    seen = [row for _, row in corpus._source.rows(corpus.ledger)]
    assert [set(row) for row in seen] == [{"body", "meta", "id", "link"}]
    assert seen[0]["meta"] == {"license": "CC0"}
    assert list(corpus) == [Document("c:1", TEXT, "c", url="u", license="CC0")]
    with pytest.raises(InputError, match=r"c\.parquet: has no column 'words' for the text; its columns: body, meta\.l"):
        list(Corpus(path, fields={"text": "words"}))
    with pytest.raises(InputError, match=r"no field 'meta\.licence' .* fields: body, meta\.license, meta\.blob, vec"):
        list(Corpus(path, fields={"license": "meta.licence"}))
    schema = pyarrow.schema([("text", pyarrow.string()), ("meta", pyarrow.struct([("license", pyarrow.string())]))])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"text": TEXT}], schema), path)
    assert list(Corpus(path, fields={"license": "meta.license"})) == [Document("c:1", TEXT, "c")]


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, ""), (math.nan, ""), (" ", ""), ([], ""), ({}, ""), (0, "0"), (2.0, "2"), (True, "True"),
        (b"caf\xe9", "caf\ufffd"), ({"since": date(2020, 1, 2)}, '{"since": "2020-01-02"}'), ({2020: 1}, '{"2020": 1}'),
        ([1, None, "a"], "1, a"), ({"name": "CC0"}, '{"name": "CC0"}'), ("a\0b\ud800", "ab?"),
    ],
)  # fmt: skip
def test_values_become_lines(value: object, line: str) -> None:
    """Numbers without a fraction have none, lists are joined, and what HDF5 cannot hold goes."""
    assert as_line(value) == line  # type: ignore[arg-type]
