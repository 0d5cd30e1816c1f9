"""Readers of corpora: each yields rows, with the location of each for error messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from craft_hf.base import JSON

Row = Mapping[str, JSON]
LocatedRows = Iterator[tuple[str, Row]]
"""Pairs of a location, such as "notes.jsonl, line 7", and the row there."""


class Source(ABC):
    """What a corpus is read from; `name` is the default name of the corpus."""

    name: str

    @abstractmethod
    def rows(self, skipped: Counter[str]) -> LocatedRows:
        """Read from the start; rows that are left out are counted in `skipped`, by reason.

        Raises:
            InputError: while iterating, if the data is broken or has another format.
        """


class ChainedSource(Source):
    """Several sources as one corpus, whose rows are numbered throughout."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources, self.name = sources, sources[0].name

    def rows(self, skipped: Counter[str]) -> LocatedRows:
        """Read one source after the other."""
        for source in self._sources:
            yield from source.rows(skipped)
