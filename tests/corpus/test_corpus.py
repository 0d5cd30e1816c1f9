"""Corpora: every way in, the length filter, and what bad input says."""

from __future__ import annotations

import bz2
import gzip
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from backports import zstd

from craft_hf.base.errors import InputError
from craft_hf.base.records import Document
from craft_hf.corpus.corpus import Corpus, parse_named_source
from craft_hf.corpus.ledger import Reason
from craft_hf.corpus.sample import sample_corpus
from tests.corpus import left_out

TEXT = "The quick brown fox jumps over the lazy dog. " * 6
ROWS: Sequence[Mapping[str, str]] = (
    {"id": "a", "text": TEXT + "a", "source": "s", "title": "t", "url": "u", "license": "CC0"},
    {"text": TEXT + "b", "url_or_path": "p"},
)


def write_jsonl(path: Path, rows: Sequence[Mapping[str, object]] = ROWS) -> Path:
    """Write rows as JSONL, compressed if the name says so."""
    text = "".join(json.dumps(row) + "\n" for row in rows)
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".zst": zstd.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(text.encode()))
    return path


def expected(name: str, license: str = "") -> list[Document]:
    """The documents of ROWS."""
    return [
        Document("a", TEXT + "a", "s", "t", "u", "CC0"),
        Document(f"{name}:2", TEXT + "b", name, "", "p", license),
    ]


@pytest.mark.parametrize(
    "file", [f"corpus.{kind}{packed}" for kind in ("jsonl", "json") for packed in ("", ".gz", ".bz2", ".zst")]
)
def test_json_lines_are_read_with_their_columns(tmp_path: Path, file: str) -> None:
    """JSON lines, plain or compressed, keep id, source, title, url and licence; what is missing gets a default."""
    assert list(Corpus(write_jsonl(tmp_path / file), license="MIT")) == expected("corpus", "MIT")


def test_parquet_is_read_like_json(tmp_path: Path) -> None:
    """A Parquet file gives the documents that the same rows in JSONL give."""
    columns = sorted({name for row in ROWS for name in row})
    table = pyarrow.table({name: [row.get(name) for row in ROWS] for name in columns})
    pyarrow.parquet.write_table(table, tmp_path / "corpus.parquet")
    assert list(Corpus(tmp_path / "corpus.parquet")) == expected("corpus")


def test_other_column_names_are_read(tmp_path: Path) -> None:
    """The text may be in a column of any name."""
    path = write_jsonl(tmp_path / "c.jsonl", [{"words": TEXT}])
    assert [d.text for d in Corpus(path, fields={"text": "words"})] == [TEXT]


def test_folder_of_mixed_files_is_one_corpus(tmp_path: Path) -> None:
    """JSONL, compressed JSONL, Parquet and text stand side by side; ids count on through all files."""
    write_jsonl(tmp_path / "a.jsonl", [{"words": TEXT + "1"}])
    write_jsonl(tmp_path / "b.jsonl.gz", [{"words": TEXT + "2"}, {"words": "short"}])
    pyarrow.parquet.write_table(pyarrow.table({"words": [TEXT + "3"], "license": ["MIT"]}), tmp_path / "c.parquet")
    (tmp_path / "d.txt").write_text(TEXT + "4")
    corpus = Corpus(tmp_path, fields={"text": "words"}, name="mixed", license="CC0")
    assert [(d.id, d.text[-1], d.source, d.license) for d in corpus] == [
        ("mixed:1", "1", "mixed", "CC0"),
        ("mixed:2", "2", "mixed", "CC0"),
        ("mixed:4", "3", "mixed", "MIT"),
        ("d.txt", "4", "mixed", "CC0"),
    ]
    assert left_out(corpus.ledger) == {"too short": 1}
    assert (corpus.ledger.files, corpus.ledger.records, corpus.ledger.documents) == (4, 5, 4)


def test_what_utf8_and_hdf5_cannot_say_is_replaced(tmp_path: Path) -> None:
    """Lone surrogates become "?", NULs go, and a byte order mark is no part of the text."""
    odd = {"text": TEXT + "\ud800\0", "id": "i\0", "title": "t\udcff", "source": "s\ud800", "license": "\0CC0"}
    path = write_jsonl(tmp_path / "c.jsonl", [odd])
    assert list(Corpus(path)) == [Document("i", TEXT + "?", "s?", "t?", "", "CC0")]
    (tmp_path / "marked.txt").write_text(TEXT, encoding="utf-8-sig")
    assert [d.text for d in Corpus(tmp_path / "marked.txt")] == [TEXT]


def test_a_falsy_id_is_kept() -> None:
    """The number 0 is an id; an empty id is none."""
    assert [d.id for d in Corpus([{"id": 0, "text": TEXT}, {"id": "", "text": TEXT}], name="n")] == ["0", "n:2"]


def test_text_files_of_a_folder_are_one_document_each_in_sorted_order(tmp_path: Path) -> None:
    """A folder is read file by file, sorted, also in its subfolders; ids are paths below the folder."""
    (tmp_path / "sub").mkdir()
    for name in ("b.txt", "a.txt", "sub/a.txt"):
        (tmp_path / name).write_text(TEXT + name)
    documents = list(Corpus(tmp_path))
    assert [(d.id, d.text) for d in documents] == [(n, TEXT + n) for n in ("a.txt", "b.txt", "sub/a.txt")]
    assert {d.source for d in documents} == {tmp_path.name}


@pytest.mark.parametrize(
    ("source", "split"),
    [
        ("notes=data/notes.jsonl", ("notes", "data/notes.jsonl")),
        ("web=allenai/c4:en:train", ("web", "allenai/c4:en:train")),
        ("data/year=2020/a.jsonl", ("", "data/year=2020/a.jsonl")),
        ("year=2020", ("", "year=2020")),
        ("a=b=c", ("a", "b=c")),
        ("plain", ("", "plain")),
    ],
)
def test_name_goes_before_a_source_unless_it_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, split: tuple[str, str]
) -> None:
    """NAME=SOURCE is taken apart; what is there under the whole name, or has the "=" in a folder, is not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "year=2020").mkdir()
    assert parse_named_source(source) == split


def test_one_text_file_is_one_document(tmp_path: Path) -> None:
    """A single text file gives a single document."""
    (tmp_path / "essay.txt").write_text(TEXT)
    assert list(Corpus(tmp_path / "essay.txt", license="CC0")) == [
        Document("essay.txt", TEXT, "essay", "essay", "", "CC0")
    ]


def test_datasets_objects_are_read() -> None:
    """A `Dataset` and an `IterableDataset` give the same documents."""
    rows = datasets.Dataset.from_list([{"text": TEXT, "title": "t"}])
    want = [Document("mine:1", TEXT, "mine", "t")]
    assert list(Corpus(rows, name="mine")) == want
    assert list(Corpus(rows.to_iterable_dataset(), name="mine")) == want


def test_dataset_dict_asks_for_a_split() -> None:
    """A dict of splits is no corpus; the error says to pass one split."""
    splits = datasets.DatasetDict({"train": datasets.Dataset.from_list([{"text": TEXT}])})
    with pytest.raises(InputError, match="pass one split"):
        list(Corpus(splits))


def test_length_filter_keeps_both_ends_and_counts_the_rest() -> None:
    """200 and 25,000 characters are in, 199 and 25,001 out; what is out is counted by reason, anew in each reading."""
    rows = [{"text": "x" * n} for n in (199, 200, 25_000, 25_001)] + [{"text": None}, {"text": " " * 300}, {}]
    corpus = Corpus(rows, long="drop")
    for _ in range(2):
        assert [len(d.text) for d in corpus] == [200, 25_000]
        assert left_out(corpus.ledger) == {"no text": 3, "too short": 1, "too long": 1}
        assert corpus.ledger.left_out[Reason.TOO_SHORT].example == "documents, row 1: 199 characters"


@pytest.mark.parametrize("source", ["missing.jsonl", "./missing", "/no/such/folder", "data/sets/missing.parquet"])
def test_missing_file_is_said_at_once(source: str) -> None:
    """A path that does not exist is refused before anything is read."""
    with pytest.raises(InputError, match=f"there is no corpus file {source}"):
        Corpus(source)


def test_unreachable_hub_dataset_is_named() -> None:
    """What is neither a file nor a dataset that can be reached is called so."""
    with pytest.raises(InputError, match="'nobody/nothing' is neither a file nor a Hub dataset"):
        list(Corpus("nobody/nothing"))


@pytest.mark.parametrize("name", ["empty.jsonl", "empty.jsonl.gz", "empty.csv", "empty.json"])
def test_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    """A file without a row is called empty."""
    (tmp_path / name).touch()
    with pytest.raises(InputError, match="empty: the source is empty"):
        list(Corpus(tmp_path / name))


def test_empty_folder_and_unknown_ending_are_refused(tmp_path: Path) -> None:
    """The error lists the endings that are read."""
    with pytest.raises(InputError, match=rf"{tmp_path.name}: the source is empty"):
        list(Corpus(tmp_path))
    (tmp_path / "a.odt").touch()
    with pytest.raises(InputError, match=r"1 unknown ending, such as \S+/a\.odt\. These endings are read: \.jsonl"):
        list(Corpus(tmp_path))
    with pytest.raises(InputError, match=r"a\.odt is not a corpus file; expected \.jsonl"):
        list(Corpus(tmp_path / "a.odt"))


def test_missing_text_column_names_those_that_are_there(tmp_path: Path) -> None:
    """The error lists the columns, those within others too, and the option that names the right one."""
    path = write_jsonl(tmp_path / "c.jsonl", [{"words": TEXT, "meta": {"n": 1}}])
    message = (
        r"c: no field 'text' or 'body' or .* for the text in 1 records; their fields: words, meta\.n\. .*text=NAME"
    )
    with pytest.raises(InputError, match=message):
        list(Corpus(path))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{broken", "line 2: not valid JSON"),
        (b'{"n": 1e999}', "line 2: not valid JSON .*1e999 is no number"),
        (b"[1]", "line 2: holds list"),
        (b'{"text": "\xff"}', "line 2: not valid"),
        (b'{"n": ' + b"1" * 5000 + b"}", "line 2: not valid JSON .*4300 digits"),
        (b'{"n": ' + b"[" * 100_000 + b"}", "line 2: not valid JSON .*nested"),
    ],
    ids=["broken", "infinite", "list", "not-utf8", "long-number", "deep"],
)
def test_invalid_json_is_counted_with_its_line(tmp_path: Path, line: bytes, message: str) -> None:
    """A line that is not JSON, not an object, not UTF-8 or beyond what can be read is named by its number."""
    path = tmp_path / "c.jsonl"
    path.write_bytes(json.dumps(ROWS[0]).encode() + b"\n" + line + b"\n" + json.dumps(ROWS[1]).encode() + b"\n")
    corpus = Corpus(path)
    assert [d.id for d in corpus] == ["a", "c:2"]
    assert left_out(corpus.ledger) == {"broken record": 1}
    assert re.match(f"c.jsonl, {message}", corpus.ledger.left_out[Reason.BROKEN].example)
    with pytest.raises(InputError, match=message):
        list(Corpus(path, strict=True))


def test_cut_or_broken_files_are_named(tmp_path: Path) -> None:
    """Cut gzip, damaged gzip, a broken Parquet file and text in another encoding each get an error of their own."""
    whole = write_jsonl(tmp_path / "c.jsonl.gz", list(ROWS) * 50).read_bytes()
    files = {
        "cut.jsonl.gz": whole[: len(whole) // 2],
        "damaged.jsonl.gz": whole[:30] + bytes(20) + whole[50:],
        "no.jsonl.gz": b"plain text",
        "broken.parquet": b"PAR1 nothing PAR1",
        "latin.txt": "é".encode("latin-1") * 300,
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            list(Corpus(tmp_path / name, strict=True))
    corpus = Corpus(tmp_path)
    assert list(corpus)  # of c.jsonl.gz
    assert left_out(corpus.ledger) == {"unreadable or broken file": 5}
    assert (corpus.ledger.files, corpus.ledger.files_read) == (6, 1)


def test_all_filtered_out_says_why(tmp_path: Path) -> None:
    """When nothing is left, the error counts the reasons."""
    path = write_jsonl(tmp_path / "c.jsonl", [{"text": "short"}, {"text": "short too"}, {"text": ""}])
    message = r"c: 1 file with 3 records, but nothing became a document: 2 too short, such .*; 1 no text, .*--min-ch"
    with pytest.raises(InputError, match=message):
        list(Corpus(path))


def test_sample_corpus_is_whole_and_attributed() -> None:
    """Every document of the sample has an id of its own, a licence that allows shipping, and a credited source."""
    corpus = Corpus(sample_corpus())
    documents = list(corpus)
    assert 450 <= len(documents) <= 500
    assert not corpus.ledger.left_out
    assert len({d.id for d in documents}) == len(documents)
    assert {d.license for d in documents} == {
        "CC BY 3.0",
        "CC BY 4.0",
        "CC0 1.0 / US public domain",
        "Unlicense (public domain)",
    }
    assert all(d.title and d.url for d in documents)
    credits = (sample_corpus().parent / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for source in {d.source for d in documents}:
        count = sum(d.source == source for d in documents)
        assert f"| {source} | {count} |" in credits, f"{source} has {count} documents; ATTRIBUTION.md says otherwise"


def test_sample_corpus_names_no_time() -> None:
    """The compressed file carries no time of its making, so that making it again gives the same bytes."""
    assert sample_corpus().read_bytes()[4:8] == bytes(4)


def test_an_argument_that_there_is_not_is_refused() -> None:
    """It would do nothing."""
    with pytest.raises(TypeError, match=r"^Corpus\(\) has no argument 'minchars'; expected source, .* min_chars"):
        Corpus(ROWS, minchars=5)  # type: ignore[call-arg]
