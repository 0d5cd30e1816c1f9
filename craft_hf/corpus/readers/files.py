"""Reads files, each by the reader of its ending, or a folder of them. A new format is a file here and a line below."""

from __future__ import annotations

import itertools
import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from craft_hf.base import InputError, MissingExtra
from craft_hf.corpus.fields import Fields
from craft_hf.corpus.ledger import Fault, Ledger, Reason
from craft_hf.corpus.readers import LocatedRows, Piece, Place, Position, Source
from craft_hf.corpus.readers.docx import docx_rows
from craft_hf.corpus.readers.file import PACKED, File, Meter
from craft_hf.corpus.readers.jsonl import json_file_rows, json_line_rows
from craft_hf.corpus.readers.markdown import markdown_rows
from craft_hf.corpus.readers.parquet import parquet_rows
from craft_hf.corpus.readers.pdf import pdf_rows
from craft_hf.corpus.readers.table import table_rows
from craft_hf.corpus.readers.text import text_rows
from craft_hf.corpus.readers.webpage import webpage_rows

Reader = Callable[[File, Ledger], LocatedRows]
"""Yields the records of a file; raises InputError if the file is broken, and MissingExtra without its library."""

READERS: dict[str, Reader] = {
    ".jsonl": json_line_rows,
    ".ndjson": json_line_rows,
    ".json": json_file_rows,
    ".csv": table_rows,
    ".tsv": table_rows,
    ".parquet": parquet_rows,
    ".txt": text_rows,
    ".md": markdown_rows,
    ".markdown": markdown_rows,
    ".html": webpage_rows,
    ".htm": webpage_rows,
    ".xhtml": webpage_rows,
    ".pdf": pdf_rows,
    ".docx": docx_rows,
}
"""The reader of each ending; each may be followed by one of `PACKED`, and be in upper case."""

_READ_WHOLE = frozenset((".txt", ".md", ".markdown", ".html", ".htm", ".xhtml", ".pdf", ".docx"))
"""Endings of files that are one document."""

FORMATS = f"{', '.join(READERS)} (also {', '.join(PACKED)})"


def ending_of(name: str) -> str:
    """Return the ending that tells a file's format, in lower case, "" if none is known."""
    name = name.lower()
    packed = next((ending for ending in PACKED if name.endswith(ending)), "")
    return next((ending for ending in READERS if name.removesuffix(packed).endswith(ending)), "")


class FilePiece(Piece):
    """A file of a corpus.

    Args:
        file: which.
        read: yields its rows.
        is_streamed: whether its first records can be read without the others; by default what its ending says.
    """

    is_file = True

    def __init__(self, file: File, read: Reader, is_streamed: bool | None = None) -> None:
        self._meter = Meter()
        self._file, self._read, self.name = replace(file, meter=self._meter), read, file.name
        ending = ending_of(file.path.name)
        self.kind, self.size = ending + file.packed, file.path.stat().st_size
        is_whole = ending in _READ_WHOLE or bool(ending == ".parquet" and file.packed)
        self.is_streamed = not is_whole if is_streamed is None else is_streamed

    def rows(self, ledger: Ledger) -> LocatedRows:
        """Read the file."""
        yield from self._read(self._file, ledger)

    def share(self) -> float:
        """Return the share of the bytes on disk, of Parquet that of the rows."""
        if self._meter.share is not None:
            return self._meter.share
        count = self._meter.bytes_read()
        return 1.0 if count is None or not self.size else min(1.0, count / self.size)

    def close(self) -> None:
        """Close the file."""
        self._meter.close()


class FilesSource(Source):
    """Files that are read one after the other."""

    @abstractmethod
    def files(self, ledger: Ledger) -> Iterable[File]:
        """Return the files in order; hidden ones and the like are counted."""

    @abstractmethod
    def file_rows(self, file: File, ledger: Ledger) -> LocatedRows:
        """Read a file; if it is broken, this is counted, and what stands before the break is taken."""

    def rows(self, ledger: Ledger) -> LocatedRows:
        """Read the files one after the other."""
        yield from self._rows(self.files(ledger), ledger)

    def rows_from(self, position: Position, ledger: Ledger) -> LocatedRows:
        """Read on in the file of a record; the files before are not opened."""
        place = Place(*position)
        files = itertools.dropwhile(lambda file: file.name != place.file, self.files(ledger))
        yield from itertools.dropwhile(lambda located: located[0] != place, self._rows(files, ledger))

    def _rows(self, files: Iterable[File], ledger: Ledger) -> LocatedRows:
        return itertools.chain.from_iterable(self.file_rows(file, ledger) for file in files)


class FileSource(FilesSource):
    """One file, or all files of a folder and its subfolders, in sorted order.

    Args:
        path: a file or folder; its format is checked when it is read.
        fields: which fields of a record are those of a document.

    A file of a folder that is broken, hidden or of an unknown kind is counted; links to folders are not followed.
    """

    def __init__(self, path: Path, fields: Fields | None = None) -> None:
        self._path, self._fields = path, fields or Fields()
        ending = ending_of(path.name)
        cut = path.name.lower().rfind(ending) if ending else 0
        self.name = path.name[:cut] if cut > 0 else path.name or path.resolve().name

    def reader_of(self, path: Path) -> Reader | None:
        """Return what reads a file, None if nothing does."""
        return READERS.get(ending_of(path.name))

    def files(self, ledger: Ledger) -> Iterator[File]:
        """Yield the file, or those of the folder.

        Raises:
            InputError: the one file that was given is of an unknown kind.
        """
        if self._path.is_dir():
            top = self._path.resolve().name
            for path, below in found_files(self._path, top, ledger):
                yield File(path, f"{top}/{below}", below, self._fields)
        elif self.reader_of(self._path):
            yield File(self._path, self._path.name, self._path.name, self._fields)
        else:
            raise InputError(f"{self._path} is not a corpus file; expected {FORMATS}.")

    def file_rows(self, file: File, ledger: Ledger) -> LocatedRows:
        """Read a file; if it is broken or of an unknown kind, this is counted."""
        reader = self.reader_of(file.path)
        if reader is None:
            ledger.leave_out(Reason.UNKNOWN_ENDING, file.name)
            return
        yield from read_file(reader(file, ledger), file, ledger)

    def pieces(self) -> Sequence[Piece]:
        """Return the files of known kinds, with their sizes."""
        return [FilePiece(file, self.file_rows) for file in self.files(Ledger()) if self.reader_of(file.path)]


def read_file(rows: LocatedRows, file: File, ledger: Ledger) -> LocatedRows:
    """Pass on the records of a file, and count it as read, or as left out if an error ends it."""
    ledger.files_read += 1
    before = ledger.files
    try:
        yield from rows
    except MissingExtra as e:
        ledger.files_read -= 1
        ledger.leave_out(Reason.NOT_INSTALLED, f"{file.name}: {e}")
    except Fault:
        raise
    except InputError as e:
        ledger.files_read -= 1
        ledger.leave_out(Reason.UNREADABLE, str(e))
    else:
        ledger.files_read -= ledger.files - before  # its reader has counted it as left out


def found_files(folder: Path, top: str, ledger: Ledger) -> Iterator[tuple[Path, str]]:
    """Yield the files of a folder and its subfolders, in sorted order, with their paths below it.

    Hidden ones are counted, and so is what macOS puts beside files; links to folders are not followed.
    """
    yield from _found(folder, "", top, ledger)


def _found(folder: Path, below: str, top: str, ledger: Ledger) -> Iterator[tuple[Path, str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as e:
        ledger.leave_out(Reason.UNREADABLE, f"{top}/{below}: the folder cannot be read ({e.strerror}).")
        return
    for entry in entries:
        name = below + entry.name
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            ledger.leave_out(Reason.HIDDEN, f"{top}/{name}")
        elif entry.is_dir(follow_symlinks=False):
            yield from _found(folder / entry.name, f"{name}/", top, ledger)
        elif entry.is_file():
            yield folder / entry.name, name
        else:
            ledger.leave_out(Reason.UNREADABLE, f"{top}/{name}: neither a file nor a folder; links are not followed.")
