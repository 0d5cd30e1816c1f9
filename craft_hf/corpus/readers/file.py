"""A file of a corpus: packed or not, in any Unicode encoding that says its name."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from backports import zstd

from craft_hf.base import CraftError, InputError, printable
from craft_hf.corpus.fields import Fields

PACKED = {".gz": "gzip", ".bz2": "bzip2", ".zst": "zstd"}
_LONG = {int(zstd.DecompressionParameter.window_log_max): 31}  # reads also what `zstd --long=31` wrote
_MARKS = (  # UTF-32 before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Meter:
    """Says how much of a file was read.

    Attributes:
        share: what a reader says that does not read from the start to the end, from 0 to 1.
    """

    def __init__(self) -> None:
        self.share: float | None = None
        self._opened: list[io.FileIO] = []

    def open(self, path: Path) -> io.FileIO:
        """Open a file for its bytes, packed as they are; it is closed by `close`."""
        self._opened.append(io.FileIO(path))
        return self._opened[-1]

    def bytes_read(self) -> int | None:
        """Return how many bytes on disk were read, some of them ahead, since the file was last opened; None if all."""
        if not self._opened or self._opened[-1].closed:
            return None
        return self._opened[-1].tell()

    def close(self) -> None:
        """Close what is open."""
        for file in self._opened:
            file.close()


@dataclass(frozen=True)
class File:
    """A file of a corpus.

    Attributes:
        path: where it is.
        name: what ledger and errors call it: no place of this machine.
        id: of a document that is the whole file.
        fields: which fields are wanted of its records; a reader may leave out others.
        meter: is told how much is read, if somebody wants to know.
    """

    path: Path
    name: str
    id: str = ""
    fields: Fields = field(default_factory=Fields)
    meter: Meter | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", printable(self.name))
        object.__setattr__(self, "id", printable(self.id))

    @property
    def packed(self) -> str:
        """The ending that says how it is packed, such as ".gz", "" if it is not."""
        ending = self.path.suffix.lower()
        return ending if ending in PACKED else ""

    @property
    def stem(self) -> str:
        """Its name without endings, the title of a document without one."""
        name = printable(self.path.name)
        return Path(name[: -len(self.packed)] if self.packed else name).stem

    @contextmanager
    def reading(self, after: object = "") -> Iterator[None]:
        """Turn errors of reading into an InputError that names the file; `after` is the last place that was good."""
        try:
            yield
        except (OSError, EOFError, zlib.error, zstd.ZstdError, UnicodeError) as e:
            behind = f", after {after}" if str(after) else ""
            why = (e.strerror if isinstance(e, OSError) else None) or e  # that of an OSError has the path in it
            if isinstance(e, UnicodeError):
                raise InputError(f"{self.name}{behind}: not UTF-8 text ({why}); convert it first.") from e
            if not self.packed:
                raise InputError(f"{self.name}{behind}: the file cannot be read ({why}).") from e
            raise InputError(
                f"{self.name}{behind}: the {PACKED[self.packed]} file is broken or cut ({why}); copy or download it "
                "again."
            ) from e

    @contextmanager
    def parsing(self, kind: str) -> Iterator[None]:
        """Turn whatever a library raises that parses the file as a `kind` into an InputError.

        What a broken file makes such a library raise is documented nowhere.
        """
        try:
            yield
        except (CraftError, MemoryError):
            raise
        except Exception as e:
            raise InputError(f"{self.name}: not readable as {kind} ({type(e).__name__}: {e}).") from e

    def open(self) -> io.BufferedReader:
        """Open it for its bytes, unpacked."""
        return io.BufferedReader(cast(io.RawIOBase, self._unpacked()))

    def lines(self) -> Iterator[tuple[int, bytes]]:
        r"""Yield its lines, numbered from 1, in UTF-8; a line ends at "\n" only.

        Raises:
            InputError: it cannot be read, or is broken or cut; the message names the last good line.
        """
        after = _Count("line")
        with self.reading(after), self.open() as file:
            encoding = _encoding(file)
            if encoding == "utf-8-sig":
                for after.number, line in enumerate(file, 1):
                    yield after.number, line
            else:
                text = io.TextIOWrapper(file, encoding, newline="\n")
                for after.number, words in enumerate(text, 1):
                    yield after.number, words.encode("utf-8", "replace")

    def open_text(self) -> io.TextIOWrapper:
        """Open it for its text, with line ends as they are."""
        file = self.open()
        return io.TextIOWrapper(file, _encoding(file), newline="")

    def text(self) -> str:
        r"""Return its text, with "\n" as the only line end.

        Raises:
            InputError: it cannot be read, is not text, or not in UTF-8, nor in UTF-16 or UTF-32 with a mark.
        """
        with self.reading(), self.open_text() as file:
            text = file.read()
        if "\0" in text:
            raise InputError(f"{self.name}: holds NUL characters, which no text has; is it a text file in UTF-8?")
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def _unpacked(self) -> IO[bytes]:
        file = self.meter.open(self.path) if self.meter else self.path
        if self.packed == ".gz":
            return cast(IO[bytes], gzip.open(file))
        if self.packed == ".bz2":
            return bz2.open(file)
        if self.packed == ".zst":
            return cast(IO[bytes], zstd.open(file, options=_LONG))
        return file if isinstance(file, io.FileIO) else file.open("rb", buffering=0)


@dataclass
class _Count:
    """Where reading has come to."""

    unit: str
    number: int = 0

    def __str__(self) -> str:
        return f"{self.unit} {self.number}"


def _encoding(file: io.BufferedReader) -> str:
    """Return the encoding that the mark at the start of an open file stands for; without one, it is UTF-8."""
    start = file.peek(4)
    return next((encoding for mark, encoding in _MARKS if start.startswith(mark)), "utf-8-sig")
