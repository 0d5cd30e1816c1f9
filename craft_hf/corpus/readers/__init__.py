"""Readers of corpora: each yields records, with the place of each."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from craft_hf.base import JSON, CraftError
from craft_hf.corpus.ledger import Ledger

Row = Mapping[str, JSON]


class Place(NamedTuple):
    """Where a record stands: as text, "notes/a.jsonl, line 7"."""

    file: str
    unit: str = ""
    number: int = 0

    def __str__(self) -> str:
        return f"{self.file}, {self.unit} {self.number}" if self.unit else self.file


LocatedRows = Iterator[tuple[Place, Row]]
"""Records with their places; the records of a file are numbered in its order."""


Position = list[Any]
"""Where reading stands in a source, as JSON can hold it."""


class LostPositionError(CraftError):
    """A source is not what it was when reading it was interrupted."""


class Source(ABC):
    """What a corpus is read from; `name` is the default name of the corpus."""

    name: str

    @abstractmethod
    def rows(self, ledger: Ledger) -> LocatedRows:
        """Read from the start, one record at a time; what is left out is counted.

        Raises:
            InputError: while iterating, if the data as a whole cannot be read or has another format.
        """

    def position(self, place: Place) -> Position:
        """Return what `rows_from` needs to begin with the record that `rows` yielded last, which is at `place`."""
        return list(place)

    def rows_from(self, position: Position, ledger: Ledger) -> LocatedRows:
        """Read like `rows`, from a record on; a source that can find it without reading what stands before does so.

        What is counted again in the ledger is up to the source; nothing is that stands behind the record.
        """
        place = Place(*position)
        return itertools.dropwhile(lambda located: located[0] != place, self.rows(ledger))

    def pieces(self) -> Sequence[Piece]:
        """Return what it consists of, in order, without reading it; what is not read in any case is not among them."""
        return [Stream(self)]


class Piece(Source):
    """A part of a source that can be read alone, such as a file.

    Attributes:
        kind: what it is; pieces of a kind are alike.
        size: bytes on disk of a file, rows of what is in memory; None if that is known only when all was read.
        is_file: whether it is one.
        is_streamed: whether its first records can be read without the others.
    """

    kind: str = ""
    size: int | None = None
    is_file = False
    is_streamed = True

    @abstractmethod
    def share(self) -> float:
        """Return how much of `size` was read so far, from 0 to 1."""

    def close(self) -> None:
        """End reading, wherever it stands."""


class Stream(Piece):
    """A source that cannot be divided, of whose rows at most the number is known."""

    def __init__(self, source: Source, size: int | None = None) -> None:
        self._source, self.name, self.kind, self.size = source, source.name, source.name, size
        self._number = 0

    def rows(self, ledger: Ledger) -> LocatedRows:
        """Read the source."""
        for located in self._source.rows(ledger):
            self._number += 1
            yield located

    def share(self) -> float:
        """Return the share of the rows, 0 if their number is not known."""
        return self._number / self.size if self.size else 0.0


class ChainedSource(Source):
    """Several sources as one corpus, whose rows are numbered throughout."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources, self.name = sources, sources[0].name
        self._number = 0

    def pieces(self) -> Sequence[Piece]:
        """Return those of all sources."""
        return [piece for source in self._sources for piece in source.pieces()]

    def rows(self, ledger: Ledger) -> LocatedRows:
        """Read one source after the other."""
        yield from self._rows(0, ledger)

    def _rows(self, first: int, ledger: Ledger) -> LocatedRows:
        for number in range(first, len(self._sources)):
            self._number = number
            yield from self._sources[number].rows(ledger)

    def position(self, place: Place) -> Position:
        """Return the number of the source, and its position."""
        return [self._number, self._sources[self._number].position(place)]

    def rows_from(self, position: Position, ledger: Ledger) -> LocatedRows:
        """Read on in the source of that number."""
        self._number, place = position
        yield from self._sources[self._number].rows_from(place, ledger)
        yield from self._rows(self._number + 1, ledger)
