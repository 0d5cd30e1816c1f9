"""What stands for a few-shot in retrieval: one vector for all of its parts.

On five shipped tasks, both ways find as many documents of fitting corpora, within the standard error; by parts, what is
found is a little nearer to questions that people wrote in the field of the task: cosine similarity 0.003 higher in the
mean, higher in four of five (tests/benchmarks/bench_query.py with 1,500 documents).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from craft_hf.base import Embedder, Vectors
from craft_hf.retrieval.index.chunks import cut, mean_vectors
from craft_hf.tasks import QUERY_AS_WHOLE, QUERY_BY_PARTS


def query_vectors(few_shots: Sequence[Sequence[str]], embedder: Embedder, form: str = QUERY_BY_PARTS) -> Vectors:
    """Embed few-shots, each as one vector.

    Args:
        few_shots: the parts of each, such as its text, the prompt and the completion.
        embedder: the index's embedding model.
        form: "parts" gives every part the same weight, however long it is; all of a part counts, as the mean of its
            chunks. "whole" embeds the parts as one text; the model does not read what is behind its window.

    Returns:
        Unit vectors, float32 (few-shots, dimension).
    """
    if form == QUERY_AS_WHOLE:
        return embedder.encode_cached(["\n".join(parts) for parts in few_shots])
    filled = [[part for part in parts if part.strip()] or [""] for parts in few_shots]
    texts = [part for parts in filled for part in parts]
    chunks = cut(texts, embedder)
    of_parts = mean_vectors(embedder.encode_cached(chunks.parts(texts)), chunks.starts)
    counts = [len(parts) for parts in filled]
    return mean_vectors(of_parts, np.cumsum(counts) - counts)
