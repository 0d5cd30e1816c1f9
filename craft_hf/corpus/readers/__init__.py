"""Readers of corpora: each yields records, with the place of each."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from craft_hf.base import JSON
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


class ChainedSource(Source):
    """Several sources as one corpus, whose rows are numbered throughout."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources, self.name = sources, sources[0].name
        self._number = 0

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
