"""Search for the documents that answer a text, as a person asks for them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from craft_hf.base import Hit, Vectors
from craft_hf.retrieval.coverage import random_documents
from craft_hf.retrieval.index.search import Index, Rows

ANSWER = 1 / 3
"""How far a document must be from a random one (0) towards the text itself (1), in similarity, to count as an answer.

Measured with SQuAD's questions: of 150 whose passage is among 702 documents, 1 is not reached by any document; of 150
without, 45%; with 250 documents, 2 and 71%. Cosine similarity itself differs too much from model to model.
"""


@dataclass(frozen=True)
class TextSearch:
    """What was found for a text.

    Attributes:
        index: where it was searched.
        query: embedding of the text, float32 (1, dimension).
        hits: the most similar documents, best first.
        chunks: the most similar chunk of each, int64 (1, hits).
    """

    index: Index
    query: Vectors
    hits: list[Hit]
    chunks: Rows

    @property
    def passages(self) -> list[str]:
        """The part of each document that is most similar."""
        spans = self.index.passages(self.chunks[0]).tolist()
        return [hit.document.text[start:end] for hit, (start, end) in zip(self.hits, spans, strict=True)]

    @cached_property
    def is_answered(self) -> bool:
        """Whether the best document is more similar than a random one by `ANSWER`; reads random documents."""
        random = float(np.median(self.index.similarities(self.query, random_documents(self.index))))
        return self.hits[0].similarity - random >= ANSWER * (1 - random)


def search_text(index: Index, text: str, k: int, embedding: str = "") -> TextSearch:
    """Return the k documents that are most similar to a text; `embedding` is that of `Index.open_embedder`.

    Raises:
        InputError: k is below 1, the index is broken, or its embedding model is not installed.
    """
    query = index.open_embedder(embedding).encode([text])
    scores, rows, chunks = index.search_chunks(query, k)
    documents = index.documents(rows[0])
    hits = [Hit(document, score, ()) for score, document in zip(scores[0].tolist(), documents, strict=True)]
    return TextSearch(index, query, hits, chunks)
