"""Reads Wikipedia: the output of WikiExtractor, or files of the Hub dataset, one row for each article."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from craft_hf.base import InputError
from craft_hf.corpus.readers import LocatedRows, Source
from craft_hf.corpus.readers.files import FileSource
from craft_hf.corpus.readers.jsonl import json_rows
from craft_hf.corpus.readers.lines import read_lines

_REDIRECT = re.compile(r"\s*(#\s*[Rr][Ee][Dd][Ii][Rr][Ee][Cc][Tt]\b|REDIRECT\s)")
_EXTRACTED = re.compile(r"wiki_\d+(\.bz2|\.gz|\.zst)?")


class Wikipedia(Source):
    """The output of `wikiextractor --json` (AA/wiki_00, AA/wiki_01.bz2, ...), or other corpus files, such as Parquet.

    Args:
        path: a file, or a folder that is read with its subfolders.

    Redirects are left out and counted.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.name = path, "wikipedia"

    def rows(self, skipped: Counter[str]) -> LocatedRows:
        """Read the files in sorted order."""
        paths = sorted(self._path.rglob("wiki_*")) if self._path.is_dir() else [self._path]
        extracted = [p for p in paths if _EXTRACTED.fullmatch(p.name) and p.is_file()]
        if not extracted:
            yield from FileSource(self._path).rows(skipped)
        for path in extracted:
            _refuse_markup(path)
            for where, row in json_rows(path):
                if _REDIRECT.match(str(row.get("text") or "")):
                    skipped["redirect"] += 1
                else:
                    yield where, row


def _refuse_markup(path: Path) -> None:
    for _, line in read_lines(path):
        if line.lstrip().startswith(b"<doc"):
            raise InputError(f"{path} holds <doc> markup, expected JSON lines; run wikiextractor again with --json.")
        return
