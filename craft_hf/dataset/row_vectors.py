"""Texts and embeddings of dataset rows, by which their diversity is measured."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import cast

from craft_hf.base import JSON, Bar, Embedder, Vectors
from craft_hf.dataset.diversity import RowVectors, draw_numbers
from craft_hf.dataset.rows import is_few_shot
from craft_hf.tasks import texts_of

MOST_EMBEDDED = 500
"""Most generated rows that are embedded, each with its document; of more, a random sample is taken.

That takes half a minute on two cores."""


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
        rows: dataset rows, the few-shots among them; of more than MOST_EMBEDDED generated ones, a seeded draw is taken.
        fields: names of the task's fields.
        embedder: that of the index, so that the figures can be compared with those of retrieval.

    Raises:
        InputError: the model gives a text a vector without a direction.
    """
    drawn = set(draw_numbers(sum(not is_few_shot(row) for row in rows), MOST_EMBEDDED))
    samples, documents, few_shots = list[str](), list[str](), list[str]()
    number = itertools.count()
    for row in rows:
        if is_few_shot(row):
            few_shots.append(row_text(row, fields))
        elif next(number) in drawn:
            samples.append(row_text(row, fields))
            documents.append(str(row.get("document") or ""))
    texts = [*samples, *documents]
    with Bar("Measuring diversity", total=len(texts), unit="texts") as bar:
        vectors = embedder.encode(texts, bar.update)
    parts = vectors[: len(samples)], vectors[len(samples) :], embedder.encode_cached(few_shots)
    return RowVectors(*cast(tuple[Vectors, Vectors, Vectors], parts))
