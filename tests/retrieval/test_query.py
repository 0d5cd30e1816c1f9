"""The vector of a few-shot: all of its parts count, or as much of them as the model reads at once."""

from __future__ import annotations

import numpy as np
import pytest

from craft_hf.base.embedder import Vectors
from craft_hf.retrieval.query import few_shot_similarity, query_vectors
from tests.vectors import WordEmbedder


def unit(vectors: Vectors) -> Vectors:
    """Return vectors with a length of 1."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / lengths


class CachedWords(WordEmbedder):
    """Embeds without a model behind it, also where vectors are cached."""

    def encode_cached(self, texts: list[str]) -> Vectors:
        """Embed texts."""
        return self.encode(texts)


def test_parts_count_equally_and_in_full() -> None:
    """A part of three chunks weighs as much as one of a few words, and its end as much as its beginning; parts without
    a text are passed over."""
    embedder = CachedWords(window=2)
    one = embedder.encode(["one", "a b\n", "c d\n", "e f", "two"])
    long = unit(one[1:4].mean(axis=0))
    few_shots = [["one", "a b\nc d\ne f"], ["two"], ["one", " ", "two"]]
    want = unit(np.stack([one[0] + long, one[4], one[0] + one[4]]))
    np.testing.assert_allclose(query_vectors(few_shots, embedder), want, atol=1e-6)


def test_whole_is_one_text() -> None:
    """The paper's way joins the parts line by line, and leaves the cut to the model."""
    embedder = CachedWords(window=2)
    query_vectors([["one", "a b\nc d\ne f"], ["two"]], embedder, "whole")
    assert embedder.asked == ["one\na b\nc d\ne f", "two"]


def test_few_shots_are_compared_as_documents_are() -> None:
    """A text counts by its best chunk, against all other few-shots; the median is taken; nothing is embedded twice."""
    embedder = CachedWords(window=2)
    texts, answers = ["a b\nc d\ne f", "g h", "e f\n i j"], ["one", "two", "three"]
    few_shots = [[text, answer] for text, answer in zip(texts, answers, strict=True)]
    queries = query_vectors(few_shots, embedder)
    asked = list(embedder.asked)
    found = few_shot_similarity(few_shots, texts, queries, embedder)
    assert embedder.asked == 2 * asked  # a real embedder has the second in its cache

    def of(chunks: list[str], others: list[int]) -> float:
        """The best similarity of some chunks to the mean of other few-shots."""
        return float((embedder.encode(chunks) @ queries[others].T).mean(axis=1).max())

    each = [of(["a b\n", "c d\n", "e f"], [1, 2]), of(["g h"], [0, 2]), of(["e f\n", " i j"], [0, 1])]
    assert found == pytest.approx(np.median(each), abs=1e-6)
    assert few_shot_similarity(few_shots, ["", texts[1], ""], queries, embedder) == pytest.approx(each[1], abs=1e-6)
    whole = query_vectors(few_shots, embedder, "whole")
    alone = few_shot_similarity([["not embedded"]] * 3, texts, whole, embedder)
    assert alone is not None
    assert few_shot_similarity(few_shots[:1], texts[:1], queries[:1], embedder) is None
    assert few_shot_similarity(few_shots, ["", "", ""], queries, embedder) is None
