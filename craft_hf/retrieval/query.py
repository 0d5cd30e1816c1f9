"""What stands for a few-shot in retrieval: one vector for all of its parts; and how similar few-shots are by that.

On five shipped tasks, both ways find as many documents of fitting corpora, within the standard error; by parts, what is
found is a little nearer to questions that people wrote in the field of the task: cosine similarity 0.003 higher in the
mean, higher in four of five (tests/benchmarks/bench_query.py with 1,500 documents).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from craft_hf.base import Embedder, Vectors
from craft_hf.retrieval.index.chunks import Chunks, cut, mean_vectors
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
    filled = _filled(few_shots)
    chunks, vectors = _embedded([part for parts in filled for part in parts], embedder)
    counts = [len(parts) for parts in filled]
    return mean_vectors(mean_vectors(vectors, chunks.starts), np.cumsum(counts) - counts)


def few_shot_similarity(
    few_shots: Sequence[Sequence[str]], texts: Sequence[str], queries: Vectors, embedder: Embedder
) -> float | None:
    """Return what a document that fits the few-shots can be expected to have as its similarity to their mean.

    It is the median over the few-shots of the mean similarity that a few-shot's text, as a document that is found by
    its best chunk, has to all other few-shots.

    Args:
        few_shots: the parts of each, as for `query_vectors`; what was embedded there is not embedded again.
        texts: the human-written text of each.
        queries: what `query_vectors` returned.
        embedder: the index's embedding model.

    Returns:
        A cosine similarity; None if there are fewer than two few-shots with a text.
    """
    written = [i for i, text in enumerate(texts) if text.strip()]
    if len(texts) < 2 or not written:
        return None
    parts = [part for shot in _filled(few_shots) for part in shot]
    known = parts if {texts[i] for i in written} <= set(parts) else [texts[i] for i in written]
    chunks, vectors = _embedded(known, embedder)
    found = []
    for i in written:
        at = known.index(texts[i])
        to_others = np.delete(vectors[chunks.starts[at] : chunks.ends[at]] @ queries.T, i, axis=1)
        found.append(float(to_others.mean(axis=1).max()))
    return float(np.median(found))


def _filled(few_shots: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the parts of each few-shot that are not empty; one empty part if all are."""
    return [[part for part in parts if part.strip()] or [""] for parts in few_shots]


def _embedded(texts: Sequence[str], embedder: Embedder) -> tuple[Chunks, Vectors]:
    chunks = cut(texts, embedder)
    return chunks, embedder.encode_cached(chunks.parts(texts))
