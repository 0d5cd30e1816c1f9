"""The sample that is read of a corpus: which files, and how much of them."""

from __future__ import annotations

import bz2
import gzip
import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from backports import zstd

from craft_hf.base.errors import InputError
from craft_hf.corpus import sampling
from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.ledger import Ledger
from craft_hf.corpus.presets import preset_corpus
from craft_hf.corpus.sampling import Stratum, spread, survey

RANDOM = random.Random(0)
ROWS = [{"id": f"d{i}", "text": f"document {i} {RANDOM.randbytes(150).hex(' ')}"} for i in range(2000)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def amounts(strata: list[Stratum]) -> list[float]:
    """The share of each stratum that was read."""
    return [sum(reading.amount for reading in each.readings) / (each.amount or 1) for each in strata]


def parquet(path: Path) -> None:
    """Write ROWS."""
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path, row_group_size=100)


def csv(path: Path) -> None:
    """Write ROWS."""
    path.write_text("id,text\n" + "".join(f"{row['id']},{row['text']}\n" for row in ROWS))


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.jsonl": lambda path: path.write_bytes(LINES),
    "a.jsonl.gz": lambda path: path.write_bytes(gzip.compress(LINES)),
    "a.jsonl.bz2": lambda path: path.write_bytes(bz2.compress(LINES, 1)),
    "a.jsonl.zst": lambda path: path.write_bytes(zstd.compress(LINES)),
    "a.json": lambda path: path.write_text(json.dumps(ROWS)),
    "a.csv": csv,
    "a.parquet": parquet,
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_beginning_of_a_large_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """By bytes on disk as they are packed; the documents of that share are those that were read, to some percent."""
    WRITERS[name](tmp_path / name)
    size = (tmp_path / name).stat().st_size
    monkeypatch.setattr(sampling, "PIECE_BYTES", size // 2)
    (stratum,) = survey(Corpus(tmp_path / name))
    (reading,) = stratum.readings
    assert (stratum.amount, stratum.kind, stratum.is_whole) == (size, name[1:], False)
    assert reading.amount >= size // 2
    assert reading.documents / 2000 == pytest.approx(reading.amount / size, rel=0.05)
    assert reading.documents < 1500
    assert reading.records == reading.documents
    assert len(reading.kept) == sampling.KEPT


@pytest.mark.parametrize("name", WRITERS)
def test_small_files_are_read_whole(tmp_path: Path, name: str) -> None:
    """Then nothing is estimated."""
    WRITERS[name](tmp_path / name)
    (stratum,) = survey(Corpus(tmp_path / name))
    assert stratum.is_whole
    assert sum(reading.documents for reading in stratum.readings) == 2000
    assert sum(reading.characters for reading in stratum.readings) == sum(len(row["text"]) for row in ROWS)


def test_files_are_sampled_all_over_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the first only; each kind for itself, and what cannot be read does not count."""
    for i in range(100):
        (tmp_path / f"{i:02}.txt").write_text(f"file {i} " * 60)
    (tmp_path / "x.jsonl").write_bytes(LINES)
    (tmp_path / "x.png").write_bytes(b"x" * 10_000)
    (tmp_path / ".hidden.txt").write_text("hidden " * 60)
    monkeypatch.setattr(sampling, "PIECES", 8)
    lines, texts = sorted(survey(Corpus(tmp_path)), key=lambda stratum: stratum.kind)
    assert (lines.kind, lines.pieces, texts.kind, texts.pieces) == (".jsonl", 1, ".txt", 100)
    assert texts.amount == sum(path.stat().st_size for path in tmp_path.glob("[0-9]*.txt"))
    numbers = sorted(int(reading.kept[0].text.split()[1]) for reading in texts.readings)
    assert len(numbers) == 8
    assert numbers[0] < 20
    assert numbers[-1] >= 80
    assert max(b - a for a, b in itertools.pairwise(numbers)) <= 25


@pytest.mark.parametrize("count", [1, 2, 3, 10, 1000])
def test_spread_gives_each_number_once(count: int) -> None:
    """However many are asked for."""
    assert sorted(spread(count)) == list(range(count))


def test_reading_ends_after_some_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no record becomes a document; two files are read in any case, so that they can be compared."""
    for i in range(5):
        (tmp_path / f"{i}.jsonl").write_bytes(LINES)
    monkeypatch.setattr(sampling, "SECONDS", 0.0)
    (stratum,) = survey(Corpus(tmp_path, min_chars=5000))
    assert [reading.documents for reading in stratum.readings] == [0, 0]
    assert amounts([stratum])[0] < 0.2


def test_a_large_file_that_must_be_read_whole_is_not_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a text of gigabytes; others of its kind stand for it."""
    (tmp_path / "a.txt").write_text("words " * 5000)
    (tmp_path / "b.txt").write_text("words " * 50)
    monkeypatch.setattr(sampling, "LARGEST_WHOLE", 1000)
    (stratum,) = survey(Corpus(tmp_path))
    assert (stratum.pieces, stratum.too_large, len(stratum.readings)) == (2, 1, 1)


def test_a_broken_file_is_left_out_and_a_wrong_field_is_said(tmp_path: Path) -> None:
    """As when an index is built."""
    (tmp_path / "a.jsonl").write_bytes(LINES)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(LINES)[:3000])
    found = survey(Corpus(tmp_path))
    assert sum(reading.documents for stratum in found for reading in stratum.readings) >= 2000
    (whole,), (broken,) = (stratum.readings for stratum in found)
    assert (whole.is_whole, broken.is_whole) == (True, False)
    assert broken.amount <= 3000
    with pytest.raises(InputError, match="no field 'body' for the text"):
        survey(Corpus(tmp_path / "a.jsonl", fields={"text": "body"}))
    with pytest.raises(InputError, match="file is broken or cut"):
        survey(Corpus(tmp_path, strict=True))


def test_rows_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their number is known, unless they can be read only once."""
    monkeypatch.setattr(sampling, "RECORDS", 500)
    (stratum,) = survey(Corpus(ROWS))
    assert (stratum.amount, stratum.readings[0].amount, stratum.readings[0].documents) == (2000, 500, 500)
    with pytest.raises(InputError, match="can be read only once"):
        survey(Corpus(iter(ROWS)))


def test_the_presets_consist_of_their_files(tmp_path: Path) -> None:
    """Read piece by piece, they give what they give as a whole."""
    wiki = tmp_path / "wiki" / "AA"
    wiki.mkdir(parents=True)
    for name in ("wiki_00", "wiki_01"):
        articles = [{"id": f"{name}{i}", "title": "T", "text": "An article on something. " * 20} for i in range(3)]
        lines = [json.dumps(row) for row in [*articles, {"id": "r", "title": "R", "text": "#REDIRECT [[T]]"}]]
        (wiki / name).write_text("\n".join(lines))
    (tmp_path / "wikihowAll.csv").write_text(
        'headline,title,text\n"Do it,\nEnd it","How to Do",";\n, By doing.\n, Then."\n'
    )
    site = tmp_path / "dump" / "ai.stackexchange.com"
    site.mkdir(parents=True)
    post = '<row Id="{0}" PostTypeId="{1}" {2} Score="3" Body="&lt;p&gt;Words on it.&lt;/p&gt;" {3}/>'
    (site / "Posts.xml").write_text(
        "<posts>" + post.format(1, 1, 'Title="Why?"', "") + post.format(2, 2, 'ParentId="1"', "") + "</posts>"
    )
    for preset, path in (("wikipedia", "wiki"), ("wikihow", "wikihowAll.csv"), ("stackexchange", "dump")):
        corpus = preset_corpus(preset, tmp_path / path, min_chars=1)
        whole = list(corpus.read())
        by_piece = [document for piece in corpus.pieces() for document in corpus.of_piece(piece).read()]
        assert [document.text for document in by_piece] == [document.text for document in whole] != []
        strata = survey(corpus)
        assert amounts(strata) == [1.0]
        assert sum(reading.documents for reading in strata[0].readings) == len(whole)


def test_pieces_count_nothing_by_themselves(tmp_path: Path) -> None:
    """A ledger is told what is read, as always."""
    (tmp_path / "a.jsonl").write_bytes(LINES + b"broken\n")
    ledger = Ledger()
    corpus = Corpus(tmp_path / "a.jsonl")
    (piece,) = corpus.pieces()
    assert len(list(piece.rows(ledger))) == 2000
    assert (ledger.files_read, ledger.records) == (1, 1)
