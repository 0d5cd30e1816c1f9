"""Texts and embeddings of dataset rows, by which their diversity is measured."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Generic, TypeVar, cast

from craft_hf.base import JSON, Bar, Embedder, Vectors
from craft_hf.dataset.diversity import RowVectors
from craft_hf.dataset.rows import is_few_shot
from craft_hf.tasks import texts_of

MOST_EMBEDDED = 500
"""Most generated rows whose vectors are looked at, each with its document's; of more, a random sample is taken.

To make them takes half a minute on two cores."""

T = TypeVar("T")


class DrawnRows(Generic[T]):
    """Draws rows that come one by one at random, by a hash of a name of each.

    Args:
        most: rows that are drawn; by default `MOST_EMBEDDED`.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = MOST_EMBEDDED if most is None else most
        self._drawn = list[tuple[int, int, T]]()
        self._seen = 0

    def add(self, name: str, row: T) -> None:
        """Let a row take part in the draw, under a name that it has in every run, such as its prompt's hash."""
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        entry = -int.from_bytes(digest), -self._seen, row
        self._seen += 1
        if len(self._drawn) < self._most:
            heapq.heappush(self._drawn, entry)
        elif self._drawn and entry[:2] > self._drawn[0][:2]:
            heapq.heapreplace(self._drawn, entry)

    @property
    def rows(self) -> list[T]:
        """Those that are drawn, in the order in which they came."""
        return [row for _, _, row in sorted(self._drawn, key=lambda entry: -entry[1])]


def row_text(row: Mapping[str, JSON], fields: Sequence[str]) -> str:
    """Return all texts in a row's fields, one per line."""
    return "\n".join(text for name in fields for text in texts_of(row.get(name)))


class GeneratedTexts(Collection[str]):
    """The texts of all generated rows, the few-shots left out; made anew whenever they are iterated over.

    Args:
        rows: dataset rows, the few-shots among them.
        fields: names of the task's fields.
    """

    def __init__(self, rows: Sequence[Mapping[str, JSON]], fields: Sequence[str]) -> None:
        self._rows, self._fields = rows, fields

    def __len__(self) -> int:
        return sum(not is_few_shot(row) for row in self._rows)

    def __iter__(self) -> Iterator[str]:
        return (row_text(row, self._fields) for row in self._rows if not is_few_shot(row))

    def __contains__(self, text: object) -> bool:
        return any(text == other for other in self)


def embed_rows(rows: Sequence[Mapping[str, JSON]], fields: Sequence[str], embedder: Embedder) -> RowVectors:
    """Embed generated rows, their documents and the few-shots; shows a bar if it takes more than a few seconds.

    Args:
        rows: dataset rows, the few-shots among them; of more than MOST_EMBEDDED generated ones some are drawn.
        fields: names of the task's fields.
        embedder: that of the index, so that the figures can be compared with those of retrieval.

    Raises:
        InputError: the model gives a text a vector without a direction.
    """
    drawn, few_shots = DrawnRows[tuple[str, str]](), list[str]()
    for row in rows:
        if is_few_shot(row):
            few_shots.append(row_text(row, fields))
        else:
            drawn.add(str(row.get("prompt_hash")), (row_text(row, fields), str(row.get("document") or "")))
    samples, documents = ([pair[part] for pair in drawn.rows] for part in (0, 1))
    texts = [*samples, *documents]
    with Bar("Measuring diversity", total=len(texts), unit="texts") as bar:
        vectors = embedder.encode(texts, bar.update)
    parts = vectors[: len(samples)], vectors[len(samples) :], embedder.encode_cached(few_shots)
    return RowVectors(*cast(tuple[Vectors, Vectors, Vectors], parts))
