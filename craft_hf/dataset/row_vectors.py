"""Rows of a dataset come in, the texts and embeddings by which their diversity is measured go out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from datasets.utils import tqdm

from craft_hf.base import JSON, Embedder, Vectors
from craft_hf.dataset.diversity import RowVectors, draw
from craft_hf.tasks import texts_of

MOST_EMBEDDED = 500
"""Generated rows up to which all are embedded, each with its document; of more, so many are drawn.

That takes half a minute on two cores."""


def row_text(row: Mapping[str, JSON], fields: Sequence[str]) -> str:
    """Return all texts in a row's fields, one a line; an empty text where there are none."""
    return "\n".join(text for name in fields for text in texts_of(row.get(name)))


def generated_texts(rows: Sequence[Mapping[str, JSON]], fields: Sequence[str]) -> list[str]:
    """Return the texts of all generated rows, the few-shots left out."""
    return [row_text(row, fields) for row in rows if not row.get("is_few_shot")]


def embed_rows(rows: Sequence[Mapping[str, JSON]], fields: Sequence[str], embedder: Embedder) -> RowVectors:
    """Embed generated rows, their documents and the few-shots; shows a bar if it takes more than a few seconds.

    Args:
        rows: dataset rows, the few-shots among them; of more than MOST_EMBEDDED generated ones, a seeded draw is taken.
        fields: names of the task's fields.
        embedder: that of the index, so that the figures can be compared with those of retrieval.

    Raises:
        InputError: the model gives a text a vector without a direction.
    """
    generated = [row for row in rows if not row.get("is_few_shot")]
    generated = [generated[i] for i in draw(len(generated), MOST_EMBEDDED)]
    samples = [row_text(row, fields) for row in generated]
    documents = [str(row.get("document") or "") for row in generated]
    few_shots = [row_text(row, fields) for row in rows if row.get("is_few_shot")]
    texts = [*samples, *documents, *few_shots]
    with tqdm(desc="Measuring diversity", total=len(texts), unit=" texts", delay=3) as bar:
        vectors = embedder.encode(texts, bar.update)
    count = len(generated)
    parts = vectors[:count], vectors[count : 2 * count], vectors[2 * count :]
    return RowVectors(*cast(tuple[Vectors, Vectors, Vectors], parts))
