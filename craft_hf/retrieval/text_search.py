"""Search for the documents that answer a text, as a person asks for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from craft_hf.base import Embedder, Hit
from craft_hf.retrieval.coverage import random_documents
from craft_hf.retrieval.index.search import Index

ANSWER = 1 / 3
"""How far a document must be from a random one (0) towards the text itself (1), in similarity, to count as an answer.

Measured with SQuAD's questions: of 150 whose passage is among 702 documents, 1 is not reached by any document; of 150
without, 45%; with 250 documents, 2 and 71%. Cosine similarity itself differs too much from model to model.
"""


@dataclass(frozen=True)
class TextSearch:
    """What was found for a text.

    Attributes:
        hits: the most similar documents, best first.
        passages: the part of each document that is most similar.
        is_answered: whether the best document is more similar than a random one by `ANSWER`.
    """

    hits: list[Hit]
    passages: list[str]
    is_answered: bool


def search_text(index: Index, text: str, k: int) -> TextSearch:
    """Return the k documents that are most similar to a text.

    Raises:
        InputError: k is below 1, the index is broken, or its embedding model is not installed.
    """
    embedder = Embedder(index.info.embedding_name)
    index.check_embedder(embedder)
    query = embedder.encode([text])
    scores, rows, chunks = index.search_chunks(query, k)
    documents = index.documents(rows[0])
    hits = [Hit(document, score, ()) for score, document in zip(scores[0].tolist(), documents, strict=True)]
    random = float(np.median(index.similarities(query, random_documents(index))))
    spans = index.passages(chunks[0]).tolist()
    passages = [document.text[start:end] for document, (start, end) in zip(documents, spans, strict=True)]
    return TextSearch(hits, passages, hits[0].similarity - random >= ANSWER * (1 - random))
