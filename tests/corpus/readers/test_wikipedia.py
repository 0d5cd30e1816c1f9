"""Wikipedia: the output of WikiExtractor, packed or not, and the Hub dataset's files."""

from __future__ import annotations

import bz2
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from craft_hf.base.errors import InputError
from craft_hf.base.records import Document
from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.readers.wikipedia import Wikipedia, is_redirect
from tests.corpus import left_out, opened_when_read_on

LINK = "https://en.wikipedia.org/wiki?curid="


def article(number: int, title: str, text: str) -> bytes:
    """A line as `wikiextractor --json` writes it."""
    row = {"id": str(number), "revid": "43475265", "url": f"{LINK}{number}", "title": title, "text": text}
    return json.dumps(row).encode() + b"\n"


def test_extracted_folders_are_read_in_order(tmp_path: Path) -> None:
    """AA/wiki_00, AA/wiki_01.bz2 and AB/wiki_00 follow each other; empty texts and redirects are left out by name."""
    for name in ("AA", "AB"):
        (tmp_path / name).mkdir()
    (tmp_path / "AA" / "wiki_00").write_bytes(
        article(12, "Anarchism", "Anarchism is.") + article(13, "AccessibleComputing", "")
    )
    (tmp_path / "AA" / "wiki_01.bz2").write_bytes(bz2.compress(article(25, "Autism", "Autism is.")))
    (tmp_path / "AB" / "wiki_00").write_bytes(
        article(14, "A", "#REDIRECT Anarchism")
        + article(15, "B", "REDIRECT Anarchism")
        + article(16, "C", "Redirects.")
    )
    (tmp_path / "AB" / "notes.txt").write_text("no article")
    corpus = Corpus(Wikipedia(tmp_path), license="CC BY-SA 4.0", min_chars=1)
    documents = list(corpus)
    assert documents[0] == Document("12", "Anarchism is.", "wikipedia", "Anarchism", f"{LINK}12", "CC BY-SA 4.0")
    assert [d.title for d in documents] == ["Anarchism", "Autism", "C"]
    assert left_out(corpus.ledger) == {"no text": 1, "redirect": 2, "unknown ending": 1}


def test_reading_goes_on_without_the_files_before(tmp_path: Path) -> None:
    """Also those that hold nothing, and whatever else lies there; files are called by their folder."""
    (tmp_path / "AA").mkdir()
    (tmp_path / ".hidden").touch()
    (tmp_path / "AA" / "notes.txt").touch()
    for number in range(4):
        text = article(number, "A", "REDIRECT B") + article(number, "C", f"Text {number}.")
        (tmp_path / "AA" / f"wiki_0{number}").write_bytes(text * 2)
    opened = opened_when_read_on(lambda: Wikipedia(tmp_path), 5)
    assert opened == [f"{tmp_path.name}/AA/wiki_0{number}" for number in (2, 3)]


def test_one_extracted_file_is_read(tmp_path: Path) -> None:
    """A single file without an ending is read as well."""
    (tmp_path / "wiki_00").write_bytes(article(12, "Anarchism", "Anarchism is."))
    assert [d.id for d in Corpus(Wikipedia(tmp_path / "wiki_00"), min_chars=1)] == ["12"]


def test_parquet_of_the_hub_dataset_is_read(tmp_path: Path) -> None:
    """Downloaded files of the Hub dataset are read by their ending."""
    table = pyarrow.table({"id": ["12"], "url": ["u"], "title": ["Anarchism"], "text": ["Anarchism is."]})
    pyarrow.parquet.write_table(table, tmp_path / "train-00000-of-00041.parquet")
    assert list(Corpus(Wikipedia(tmp_path), min_chars=1)) == [
        Document("12", "Anarchism is.", "wikipedia", "Anarchism", "u")
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "wiki_00",
            b'<doc id="12" url="u" title="Anarchism">\nAnarchism\n</doc>\n',
            "run wikiextractor again with --json",
        ),
        ("wiki_00", article(12, "A", "text") + b'{"id": "13", "te', r"wiki_00, line 2: not valid JSON"),
        ("wiki_00.bz2", bz2.compress(article(12, "A", "text"))[:-5], r"wiki_00\.bz2, after line \d: the bzip2 file"),
        ("articles.xml", b"<mediawiki>", r"unknown ending, such as .*articles\.xml"),
    ],
    ids=["markup", "cut", "cut-bz2", "dump"],
)
def test_other_formats_and_cut_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """WikiExtractor's other format, cut files and a raw dump each get an error of their own, if errors are wanted."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(Corpus(Wikipedia(tmp_path), min_chars=1, strict=True))


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("#REDIRECT [[Cell]]", True),
        ("#redirect:[[Cell]]", True),
        ("#WEITERLEITUNG Zelle", True),
        ("#REDIRECCIÓN Célula", True),
        ("#перенаправление [[Клетка]]", True),
        ("＃転送 細胞", True),
        ("#重定向 [[细胞]]", True),
        ("#تحويل [[خلية]]", True),
        ("#GADAMISAMARTHEBA [[Cell]]", True),
        ("#MeToo is a movement.", False),
        ("#Tambourines are drums.", False),
        ("# Cells\n\nA heading.", False),
        ("Redirects lead on.", False),
        ("Redirect examination is a part of a trial.", False),
        ("REDIRECT Cell", True),
        ("", False),
    ],
)
def test_redirects_of_any_language_are_known(text: str, is_one: bool) -> None:
    """A word behind "#" and a link is a redirect in any language, without the brackets in the larger ones."""
    assert is_redirect(text) is is_one
