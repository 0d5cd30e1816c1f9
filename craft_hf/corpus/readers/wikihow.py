"""Reads the CSV files of the WikiHow dataset: one row for each article, or for each method of an article.

The dataset (Koupaee and Wang 2018, arXiv 1810.09305) holds steps in two columns: `headline` has their bold first
sentences, `text` what follows each. wikihowAll.csv has one row for each method, its steps run together with ",\\n"
between headlines and ";\\n," or "\\n," between texts, and numbers the methods of an article at the end of its title.
wikihowSep.csv has one row for each step.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from craft_hf.base import InputError
from craft_hf.corpus.ledger import Ledger
from craft_hf.corpus.readers import LocatedRows, Piece, Row, Source
from craft_hf.corpus.readers.file import File
from craft_hf.corpus.readers.files import FilePiece, read_file
from craft_hf.corpus.readers.table import table_columns, table_rows

_ALL = ("headline", "title", "text")
_SEP = ("overview", "headline", "text", "sectionLabel", "title")
_CLEANED = ("title", "summary", "text")
_EXPECTED = f"wikihowAll.csv ({','.join(_ALL)}) or wikihowSep.csv ({','.join(_SEP)})"
_METHOD = re.compile(r"(?<=[a-z.!?)'\"])\d+$")
_BETWEEN_HEADLINES = re.compile(r",\s*\n")
_BETWEEN_TEXTS = re.compile(r";?\s*\n\s*,")


class WikiHow(Source):
    """The articles of wikihowAll.csv, wikihowSep.csv or the Hub's wikihow-cleaned.csv.

    Args:
        path: one of the files, or a folder with one of them.

    Raises:
        InputError: while iterating, if columns are missing, the file is truncated, or the folder holds several.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.name = path, "wikihow"

    def rows(self, ledger: Ledger) -> LocatedRows:
        """Read the articles in the file's order; rows without all columns are counted."""
        path = self._file()
        yield from self._rows(File(path, path.name), ledger)

    def pieces(self) -> Sequence[Piece]:
        """Return the file."""
        path = self._file()
        return [FilePiece(File(path, path.name), self._rows)]

    def _rows(self, file: File, ledger: Ledger) -> LocatedRows:
        columns = table_columns(file)
        if not any(set(names) <= set(columns) for names in (_SEP, _ALL, _CLEANED)):
            raise InputError(f"{file.path} has the columns {', '.join(columns) or 'none'}; expected {_EXPECTED}.")
        read = _articles if set(_SEP) <= set(columns) else _methods
        yield from read_file(read(table_rows(file, ledger)), file, ledger)

    def _file(self) -> Path:
        if not self._path.is_dir():
            return self._path
        files = sorted(self._path.rglob("*.csv"))
        if len(files) != 1:
            found = ", ".join(file.name for file in files) or "none"
            raise InputError(
                f"the folder {self._path} holds these CSV files: {found}; expected one, since the dataset's files hold "
                f"the same articles: {_EXPECTED}. Name the file."
            )
        return files[0]


def _methods(rows: LocatedRows) -> LocatedRows:
    return ((place, method_row(row)) for place, row in rows)


def _articles(rows: LocatedRows) -> LocatedRows:
    for title, located in itertools.groupby(rows, key=lambda found: found[1]["title"]):
        steps = list(located)
        yield steps[0][0], _article(str(title), [step for _, step in steps])


def method_row(row: Row) -> Row:
    """Convert a row that holds a whole method (headlines or summary, and text) to one with title and text.

    Raises:
        InputError: the row has other fields.
    """
    bold = row.get("headline", row.get("summary"))
    if not {"title", "text"} <= row.keys() or not {"headline", "summary"} & row.keys():
        raise InputError(f"expected fields title, text, and headline or summary, but a row has {', '.join(row)}.")
    title = _title(str(row["title"] or ""))
    headlines = _parts(_BETWEEN_HEADLINES, str(bold or ""))
    texts = _parts(_BETWEEN_TEXTS, str(row["text"] or ""))
    if len(headlines) == len(texts) > 1:
        blocks = [f"{n}. {bold}\n{text}" for n, (bold, text) in enumerate(zip(headlines, texts, strict=True), 1)]
    else:
        blocks = ["\n".join(headlines), *texts]
    return _row(title, blocks)


def _article(title: str, steps: Sequence[Row]) -> Row:
    """Build the row of an article from the rows of its steps, which are numbered in each section."""
    blocks = [_tidy(str(steps[0]["overview"]))]
    for section, inside in itertools.groupby(steps, key=lambda step: str(step["sectionLabel"]).strip()):
        blocks.append(section if section != "Steps" else "")
        for number, step in enumerate(inside, 1):
            block = "\n".join(filter(None, (_tidy(str(step["headline"])), _tidy(str(step["text"])))))
            blocks.append(f"{number}. {block}" if block else "")
    return _row(_title(title), blocks)


def _row(title: str, blocks: Sequence[str]) -> Row:
    text = "\n\n".join(filter(None, blocks))
    return {"title": title, "text": f"{title}\n\n{text}" if title and text else text}


def _title(title: str) -> str:
    return _METHOD.sub("", " ".join(title.split()))


def _parts(between: re.Pattern[str], text: str) -> list[str]:
    return [part for part in map(_tidy, between.split(text)) if part]


def _tidy(text: str) -> str:
    """Remove separators at the ends of a text, and superfluous spaces and blank lines."""
    lines = (" ".join(line.split()) for line in text.strip().strip(",;").splitlines())
    return "\n".join(filter(None, lines))
