"""Reads JSON lines, Parquet and text files, chosen by file extension, or a folder of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from craft_hf.base import InputError
from craft_hf.corpus.readers import LocatedRows, Source
from craft_hf.corpus.readers.jsonl import json_rows
from craft_hf.corpus.readers.lines import COMPRESSED
from craft_hf.corpus.readers.parquet import parquet_rows

_JSON = tuple(ending + packed for ending in (".jsonl", ".json") for packed in ("", *COMPRESSED))
ENDINGS = (*_JSON, ".parquet", ".txt")
FORMATS = ".jsonl and .json (also .gz, .bz2, .zst), .parquet, .txt"


class FileSource(Source):
    """One file, or all files of a folder and its subfolders, in sorted order; a text file is one document.

    Args:
        path: a file or folder; its format is checked when it is read.
        text_column: the field that the text of a text file goes into.
    """

    def __init__(self, path: Path, text_column: str = "text") -> None:
        self._path, self._text_column = path, text_column
        self.name = next((path.name.removesuffix(e) for e in ENDINGS if path.name.endswith(e)), path.name)

    def rows(self, skipped: Counter[str]) -> LocatedRows:
        """Read the files one after the other."""
        if not self._path.is_dir():
            yield from self._file(self._path, self._path.name)
            return
        files = sorted(p for p in self._path.rglob("*") if p.name.endswith(ENDINGS) and p.is_file())
        if not files:
            raise InputError(f"the folder {self._path} has no corpus file; expected {FORMATS}.")
        for file in files:
            yield from self._file(file, str(file.relative_to(self._path)))

    def _file(self, path: Path, text_id: str) -> LocatedRows:
        if path.name.endswith(".txt"):
            yield from self._text(path, text_id)
        elif path.name.endswith(".parquet"):
            yield from parquet_rows(path)
        elif path.name.endswith(_JSON):
            yield from json_rows(path)
        else:
            raise InputError(f"{path} is not a corpus file; expected {FORMATS}.")

    def _text(self, path: Path, text_id: str) -> LocatedRows:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as e:
            raise InputError(f"{path} is not UTF-8 text ({e}); convert it first.") from e
        if text.strip():
            yield str(path), {"id": text_id, "title": path.stem, self._text_column: text}
