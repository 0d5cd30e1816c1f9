"""Readers: files of a corpus or a Hub dataset come in, rows with words that say where each stands go out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from craft_hf.base import JSON

Row = Mapping[str, JSON]
Rows = Iterator[tuple[str, Row]]
"""Rows, each behind the words that say where it stands, such as "notes.jsonl, line 7"."""


class Source(ABC):
    """What a corpus is read from. `name` names the corpus where the user does not."""

    name: str

    @abstractmethod
    def rows(self, skipped: Counter[str]) -> Rows:
        """Read from the start; what is left out is counted in `skipped` by reason.

        Raises:
            InputError: while iterating, if something is broken or of another format.
        """


class Chain(Source):
    """Several sources that are one corpus: their rows follow each other, so that numbers given to them stay unique."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources, self.name = sources, sources[0].name

    def rows(self, skipped: Counter[str]) -> Rows:
        """Read one source after the other."""
        for source in self._sources:
            yield from source.rows(skipped)
