"""Reads the CSV files of the WikiHow dataset: one row for each article, or for each method of an article.

The dataset (Koupaee and Wang 2018, arXiv 1810.09305) holds steps in two columns: `headline` has their bold first
sentences, `text` what follows each. wikihowAll.csv has one row for each method, its steps run together with ",\\n"
between headlines and ";\\n," or "\\n," between texts, and numbers the methods of an article at the end of its title.
wikihowSep.csv has one row for each step.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from craft_hf.base import InputError
from craft_hf.corpus.readers import LocatedRows, Row, Source

_ALL = ("headline", "title", "text")
_SEP = ("overview", "headline", "text", "sectionLabel", "title")
_CLEANED = ("title", "summary", "text")
_EXPECTED = f"wikihowAll.csv ({','.join(_ALL)}) or wikihowSep.csv ({','.join(_SEP)})"
_END = "the file ends here; no article says so"
_MAX_FIELD_SIZE = 1 << 24
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

    def rows(self, skipped: Counter[str]) -> LocatedRows:
        """Read the articles in the file's order; rows without all columns are counted."""
        path = self._file()
        rows = _csv_rows(path, skipped)
        columns = next(rows)[1]
        if set(_SEP) <= columns.keys():
            for title, steps in itertools.groupby(rows, key=lambda row: row[1]["title"]):
                yield f"{path}, article {title!r}", _article(title, [step for _, step in steps])
        elif set(_ALL) <= columns.keys() or set(_CLEANED) <= columns.keys():
            yield from ((where, method_row(row)) for where, row in rows)
        else:
            raise InputError(f"{path} has the columns {', '.join(columns) or 'none'}; expected {_EXPECTED}.")

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


def _article(title: str, steps: Sequence[Mapping[str, str]]) -> Row:
    """Build the row of an article from the rows of its steps, which are numbered in each section."""
    blocks = [_tidy(steps[0]["overview"])]
    for section, inside in itertools.groupby(steps, key=lambda step: step["sectionLabel"].strip()):
        blocks.append(section if section != "Steps" else "")
        for number, step in enumerate(inside, 1):
            block = "\n".join(filter(None, (_tidy(step["headline"]), _tidy(step["text"]))))
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


def _csv_rows(path: Path, skipped: Counter[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the header as a row of its own, then the rows; an extra line at the end shows whether a quote is open."""
    csv.field_size_limit(_MAX_FIELD_SIZE)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(itertools.chain(file, ("\n", _END)))
        try:
            columns = next(reader)
            yield str(path), dict.fromkeys(columns, "")
            for fields in reader:
                if fields == [_END]:
                    return
                if fields and fields[-1].endswith(_END):
                    break
                if len(fields) == len(columns):
                    yield f"{path}, line {reader.line_num}", dict(zip(columns, fields, strict=True))
                elif fields:
                    skipped["row without all columns"] += 1
        except (csv.Error, UnicodeDecodeError) as e:
            raise InputError(f"{path}, after line {reader.line_num}: not readable as CSV in UTF-8 ({e}).") from e
    raise InputError(f"{path} ends within a quoted field: the file is truncated; download it again.")
