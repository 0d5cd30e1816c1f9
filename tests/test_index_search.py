"""Search: equal to comparing everything with everything, ties included."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from craft_hf.corpora import sample_corpus
from craft_hf.corpus import Corpus
from craft_hf.embed import Embedder, Vectors
from craft_hf.errors import InputError
from craft_hf.index import Index, build_index, search
from craft_hf.index.search import search_shard
from tests.vectors import HashEmbedder, given_index, whole_numbers


def brute_force(vectors: Vectors, queries: Vectors, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Compare everything with everything and sort it all; ties keep the order of rows."""
    scores = queries @ vectors.astype(np.float16).astype(np.float32).T
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, rows, axis=1), rows


@pytest.mark.parametrize("k", [1, 7, 50, 137, 1000])
@pytest.mark.parametrize("shard_documents", [10, 50, 1000])
def test_search_equals_brute_force_with_ties(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, k: int, shard_documents: int
) -> None:
    """Scores and rows are those of brute force, for any number of shards, blocks and k, also beyond the documents."""
    monkeypatch.setattr(search, "_BLOCK", 16)
    rng = np.random.default_rng(k)
    vectors, queries = whole_numbers(rng, 137), whole_numbers(rng, 9)
    index = given_index(tmp_path, vectors, shard_documents)
    scores, rows = index.search(queries, k)
    want_scores, want_rows = brute_force(vectors, queries, k)
    np.testing.assert_array_equal(scores, want_scores)
    np.testing.assert_array_equal(rows, want_rows)
    assert (scores.dtype, rows.dtype, scores.shape) == (np.float32, np.int64, (9, min(k, 137)))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 20), st.integers(1, 5), st.integers(1, 70))
def test_search_equals_brute_force_whatever_the_sizes(
    seed: int, documents: int, shard_documents: int, queries: int, k: int
) -> None:
    """No choice of sizes gives anything but what brute force gives."""
    rng = np.random.default_rng(seed)
    vectors, asked = whole_numbers(rng, documents, 3), whole_numbers(rng, queries, 3)
    with tempfile.TemporaryDirectory() as folder:
        scores, rows = given_index(Path(folder), vectors, shard_documents).search(asked, k)
    want_scores, want_rows = brute_force(vectors, asked, k)
    np.testing.assert_array_equal(scores, want_scores)
    np.testing.assert_array_equal(rows, want_rows)


def test_unit_vectors_give_cosine_similarities(tmp_path: Path) -> None:
    """Of random unit vectors the best are those of brute force, and a document's own vector finds it with about 1."""
    embedder = HashEmbedder(32)
    vectors = embedder.encode([str(i) for i in range(300)])
    index = given_index(tmp_path, vectors, 128)
    scores, rows = index.search(vectors[:20], 10)
    want_scores, want_rows = brute_force(vectors, vectors[:20], 10)
    np.testing.assert_array_equal(rows, want_rows)
    np.testing.assert_allclose(scores, want_scores, atol=1e-6)
    assert rows[:, 0].tolist() == list(range(20))
    np.testing.assert_allclose(scores[:, 0], 1, atol=1e-3)


def test_duplicates_keep_the_order_of_the_index(tmp_path: Path) -> None:
    """Documents with the same vector follow each other by row, across shards, wherever k cuts them."""
    once = HashEmbedder(64).encode([str(i) for i in range(20)])
    index = given_index(tmp_path, np.concatenate([once] * 7), 32)
    for k in (3, 10, 140):
        _, rows = index.search(once, k)
        for number, line in enumerate(rows.tolist()):
            same = [row for row in line if row % 20 == number]
            assert same == list(range(number, 140, 20))[:k], "the best are the document and its duplicates"
            assert line[: len(same)] == same


def test_dimension_that_index_json_does_not_have_is_refused(tmp_path: Path) -> None:
    """A dimension in index.json that is not the shards' is noticed before anything is compared."""
    given_index(tmp_path, np.eye(4, dtype=np.float32), 4)
    path = tmp_path / "index.json"
    path.write_text(path.read_text().replace('"dimension": 4', '"dimension": 3'))
    with pytest.raises(InputError, match=r"is not the one that index\.json names"):
        Index.open(tmp_path).search(np.zeros((1, 3), dtype=np.float32), 1)


def test_one_shard_can_be_searched_alone(tmp_path: Path) -> None:
    """Step 1 takes a path and gives the shard's own rows; a floor leaves out what does not beat it."""
    vectors = np.array([[3], [1], [2], [2]], dtype=np.float32)
    given_index(tmp_path, vectors, 10)
    query = np.ones((1, 1), dtype=np.float32)
    path = tmp_path / "shard-00000.h5"
    assert [r.tolist() for r in search_shard(path, query, 3)[0]] == [[3, 2, 2], [0, 2, 3]]
    assert [r.tolist() for r in search_shard(path, query, 3, np.array([2], dtype=np.float32))[0]] == [[3], [0]]


def test_documents_come_in_the_order_asked(tmp_path: Path) -> None:
    """Rows of several shards, repeated and unsorted, give their documents one by one."""
    index = given_index(tmp_path, np.eye(9, dtype=np.float32), 4)
    rows = [8, 0, 4, 4, 3]
    assert [d.id for d in index.documents(rows)] == [f"d{row}" for row in rows]
    assert index.documents([]) == []
    for row in (-1, 9):
        with pytest.raises(InputError, match=f"row {row} is outside the index, which holds rows 0 to 8"):
            index.documents([0, row])


def test_bad_queries_are_refused(tmp_path: Path) -> None:
    """k below 1 and vectors of another width are refused with what was expected."""
    index = given_index(tmp_path, np.eye(4, dtype=np.float32), 4)
    with pytest.raises(InputError, match="k is 0, expected 1 or more"):
        index.search(np.eye(4, dtype=np.float32), 0)
    with pytest.raises(InputError, match=r"queries have shape \(1, 3\), expected \(queries, 4\)"):
        index.search(np.zeros((1, 3), dtype=np.float32), 1)


def test_missing_or_truncated_shard_is_refused_on_opening(tmp_path: Path) -> None:
    """An index with a shard that is gone or cut is refused before anything is searched, with the shard's name."""
    given_index(tmp_path, np.eye(9, dtype=np.float32), 4)
    path = tmp_path / "shard-00001.h5"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(
        InputError, match=rf"shard-00001\.h5 has {len(content) - 1} bytes, expected {len(content)}; build"
    ):
        Index.open(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=r"shard-00001\.h5 is missing; build the index again"):
        Index.open(tmp_path)


def test_shard_of_another_index_is_refused(tmp_path: Path) -> None:
    """A shard of equal size with other content is noticed by its fingerprint, in search and in reading documents."""
    index = given_index(tmp_path / "a", np.eye(4, dtype=np.float32), 4)
    given_index(tmp_path / "b", 2 * np.eye(4, dtype=np.float32), 4)
    (tmp_path / "b" / "shard-00000.h5").replace(tmp_path / "a" / "shard-00000.h5")
    for use in (lambda: index.search(np.eye(4, dtype=np.float32), 1), lambda: index.documents([0])):
        with pytest.raises(InputError, match=r"is not the one that index\.json names"):
            use()


def test_another_embedding_model_is_refused(tmp_path: Path) -> None:
    """The error names both models, and both dimensions where only these differ."""
    build_index([Corpus([{"text": "x" * 300}])], tmp_path, HashEmbedder(8))
    index = Index.open(tmp_path)
    index.check_embedder(HashEmbedder(8))
    with pytest.raises(InputError, match=r"built with hash-model \(1\), but the embedding model is hash-model \(2\)"):
        index.check_embedder(HashEmbedder(8, revision="2"))
    with pytest.raises(InputError, match="holds 8-dimensional embeddings, but hash-model makes 9-dimensional ones"):
        index.check_embedder(HashEmbedder(9))


def test_real_texts_are_found_by_what_they_say(tmp_path: Path) -> None:
    """With the embedded weights, a question finds the document that answers it."""
    documents = [d for d in Corpus(sample_corpus()) if d.source.startswith(("openstax", "public-domain"))][::6]
    rows = [{"id": d.id, "text": d.text} for d in documents]
    rows.append({"id": "wanted", "text": "The mitral valve lies between the left atrium and the left ventricle. " * 5})
    embedder = Embedder()
    build_index([Corpus(rows)], tmp_path, embedder, shard_documents=30)
    index = Index.open(tmp_path)
    index.check_embedder(embedder)
    _, found = index.search(embedder.encode(["Which heart valve is between left atrium and ventricle?"]), 1)
    assert index.documents(found[0].tolist())[0].id == "wanted"
