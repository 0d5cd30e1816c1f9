"""wikiHow: the two CSV files of the dataset with their quirks, the cleaned one, and broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from craft_hf.base.errors import InputError
from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.readers.wikihow import WikiHow, method_row
from tests.corpus import left_out

ALL = """headline,title,text
"
Keep related supplies, all of them, in one place.,
Clean the desk.",How to Be an Organized Artist1," If you paint, keep brushes by the paint. Some ideas:


Supplies -- used every day.
Seldom used ones, out of the way.;
, This means ""the desk"",  not the studio.

"
"
Rest.,
Wait.",How to Install Windows 10,"Only one text.

"
,How to Do Nothing1,
"""
ORGANIZED = """How to Be an Organized Artist

1. Keep related supplies, all of them, in one place.
If you paint, keep brushes by the paint. Some ideas:
Supplies -- used every day.
Seldom used ones, out of the way.

2. Clean the desk.
This means "the desk", not the studio."""
UNEVEN = "How to Install Windows 10\n\nRest.\nWait.\n\nOnly one text."
SEP = """overview,headline,text,sectionLabel,title
"
 So you want to sell, do you? ","
Know yourself.
"," Before all else, stop.;
",Steps,How to Sell Art
,"
Set a price.
",,Steps,How to Sell Art
"
Bread is easy.
","
Knead it.
"," For ten minutes.",Making the Dough,How to Bake Bread
"
Bread is easy.
","
Bake it.
"," Until brown.",Baking,How to Bake Bread
"""
SELL = "How to Sell Art\n\nSo you want to sell, do you?\n\n1. Know yourself.\nBefore all else, stop.\n\n2. Set a price."
BAKE = (
    "How to Bake Bread\n\nBread is easy.\n\nMaking the Dough\n\n1. Knead it.\nFor ten minutes.\n\n"
    "Baking\n\n1. Bake it.\nUntil brown."
)


def read(path: Path) -> tuple[list[str], dict[str, int]]:
    """The texts of a file, of any length, and what was left out."""
    corpus = Corpus(WikiHow(path), min_chars=1)
    return [d.text for d in corpus], left_out(corpus.ledger)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("name", "content", "texts", "skipped"),
    [("wikihowAll.csv", ALL, [ORGANIZED, UNEVEN], {"no text": 1}), ("wikihowSep.csv", SEP, [SELL, BAKE], {})],
)
def test_both_files_give_title_and_steps(
    tmp_path: Path, name: str, content: str, texts: list[str], skipped: dict[str, int], line_end: str
) -> None:
    """Steps are joined with what they say, or stand before it where they do not match; what joined them is gone."""
    (tmp_path / name).write_bytes(content.replace("\n", line_end).encode())
    assert read(tmp_path) == (texts, skipped)
    assert read(tmp_path / name) == (texts, skipped)


def test_document_has_the_title_without_the_number_of_the_method(tmp_path: Path) -> None:
    """A number at the end of a word is the method's, one behind a blank belongs to the title."""
    (tmp_path / "wikihowAll.csv").write_text(ALL, encoding="utf-8-sig")
    titles = [d.title for d in Corpus(WikiHow(tmp_path), min_chars=1)]
    assert titles == ["How to Be an Organized Artist", "How to Install Windows 10"]


def test_cleaned_rows_of_the_hub_dataset_are_read(tmp_path: Path) -> None:
    """The Hub dataset has a summary in the place of the headline, with a file of its own or streamed."""
    row = {"title": "How to Rest", "summary": "Lie down. Close your eyes.", "text": "On a bed. For a while."}
    want = "How to Rest\n\nLie down. Close your eyes.\n\nOn a bed. For a while."
    assert method_row(row) == {"title": "How to Rest", "text": want}
    (tmp_path / "wikihow-cleaned.csv").write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
    assert read(tmp_path) == ([want], {})
    with pytest.raises(InputError, match="expected fields title, text, and headline or summary, but a row has title"):
        method_row({"title": "t"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("title,body\na,b\n", r"a\.csv has the columns title, body; expected wikihowAll\.csv \(headline,title,text\)"),
        ("", r"a\.csv has the columns none; expected wikihowAll"),
        (ALL[: ALL.index("Only one")], r"a\.csv, line 12: a quoted field begins, but does not end"),
        ("headline,title,text\n", "the source is empty"),
    ],
    ids=["columns", "empty", "cut", "no-rows"],
)
def test_broken_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    """Missing columns, a file cut within quotes and a file without articles are named."""
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        list(Corpus(WikiHow(tmp_path / "a.csv"), min_chars=1, strict=True))


def test_rows_without_all_columns_are_counted_and_other_encodings_refused(tmp_path: Path) -> None:
    """A row that lacks a column is left out and counted; text in Latin-1 is an error."""
    path = tmp_path / "a.csv"
    path.write_text("headline,title,text\nonly this\n\nDo it.,How to Do It,Really")
    assert read(path) == (["How to Do It\n\nDo it.\n\nReally"], {"broken record": 1})
    path.write_bytes("headline,title,text\nDo it.,How to Eat Pâté,Really\n".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8 text"):
        read(path)


def test_folder_with_both_files_asks_for_one(tmp_path: Path) -> None:
    """Both files say the same articles, so only one may be read."""
    for name in ("wikihowAll.csv", "wikihowSep.csv"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"wikihowAll\.csv, wikihowSep\.csv; expected one"):
        read(tmp_path)
