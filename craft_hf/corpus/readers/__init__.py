"""Readers of corpora: each yields records, with the place of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

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


class Source(ABC):
    """What a corpus is read from; `name` is the default name of the corpus."""

    name: str

    @abstractmethod
    def rows(self, ledger: Ledger) -> LocatedRows:
        """Read from the start, one record at a time; what is left out is counted.

        Raises:
            InputError: while iterating, if the data as a whole cannot be read or has another format.
        """


class ChainedSource(Source):
    """Several sources as one corpus, whose rows are numbered throughout."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources, self.name = sources, sources[0].name

    def rows(self, ledger: Ledger) -> LocatedRows:
        """Read one source after the other."""
        for source in self._sources:
            yield from source.rows(ledger)
