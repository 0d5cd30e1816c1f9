"""Search: equal to comparing everything with everything, ties included."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from craft_hf.base.embedder import Embedder, Vectors
from craft_hf.base.errors import InputError
from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.sample import sample_corpus
from craft_hf.retrieval.index import kernel, scan
from craft_hf.retrieval.index.build import build_index
from craft_hf.retrieval.index.device import DeviceScanner
from craft_hf.retrieval.index.search import Index
from tests.vectors import HashEmbedder, given_index, shard_paths, whole_numbers


def brute_force(vectors: Vectors, queries: Vectors, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Compare everything with everything and sort it all; ties keep the order of rows."""
    exact = queries.astype(np.float64) @ vectors.astype(np.float16).astype(np.float64).T
    scores = exact.astype(np.float32)
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, rows, axis=1), rows


def clustered(rng: np.random.Generator, rows: int, dimension: int) -> Vectors:
    """Unit vectors on a grid of 2^-10, in clusters, so that many are nearly equal, some wholly, and some are zero."""
    centres = rng.standard_normal((5, dimension))
    vectors = centres[rng.integers(0, 5, rows)] + 0.05 * rng.standard_normal((rows, dimension))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[rng.random(rows) < 0.05] = 0
    vectors[rng.random(rows) < 0.1] = vectors[0]
    return np.rint(vectors * 1024).astype(np.float32) / 1024


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32), st.integers(1, 3000), st.sampled_from([1, 2, 3, 33, 384]), st.integers(1, 9),
    st.integers(1, 3500), st.integers(1, 3), st.integers(1, 3000), st.sampled_from([7, 256, 4096]),
)  # fmt: skip
def test_scan_of_codes_loses_nothing(
    seed: int, documents: int, dimension: int, asked: int, k: int, threads: int, shard: int, block: int
) -> None:
    """Near-equal, equal and zero vectors, any sizes, shards, blocks and threads: scores and rows of brute force."""
    rng = np.random.default_rng(seed)
    vectors, queries = clustered(rng, documents, dimension), clustered(rng, asked, dimension)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "BLOCK", block)
        index = given_index(Path(folder), vectors, max(shard, documents // 20 + 1))
        scores, rows = index.search(queries, k, threads)
    want_scores, want_rows = brute_force(vectors, queries, k)
    np.testing.assert_array_equal(scores, want_scores)
    np.testing.assert_array_equal(rows, want_rows)


def test_too_high_a_threshold_estimate_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the sample holds nothing but good documents, the threshold is too high: those queries are scanned again."""
    rng = np.random.default_rng(0)
    vectors = whole_numbers(rng, 4096, 16) / 16
    queries = np.stack([np.ones(16), -np.ones(16)]).astype(np.float32)
    chunk = 4096 // 16 // scan._CHUNKS
    for start in np.linspace(0, 4096 - chunk, scan._CHUNKS).astype(int):
        vectors[start : start + chunk] = 1  # just what the sample takes
    index = given_index(tmp_path, vectors, 4096)
    scanned: list[int] = []
    real = scan._scan

    def noted(parts: Any, asked: Any, *rest: Any) -> Any:
        scanned.append(len(asked.codes))
        return real(parts, asked, *rest)

    monkeypatch.setattr(scan, "_scan", noted)
    scores, rows = index.search(queries, 700)
    want_scores, want_rows = brute_force(vectors, queries, 700)
    assert scanned == [2, 1], "the first query's guess was too high, the second's was not"
    np.testing.assert_array_equal(scores, want_scores)
    np.testing.assert_array_equal(rows, want_rows)


def test_machine_code_and_python_agree(tmp_path: Path) -> None:
    """`collect` gives the same compiled and as it stands, for all float16 numbers, subnormal ones included."""
    bits = np.arange(2**16, dtype=np.uint16)
    halves = bits[np.isfinite(bits.view(np.float16))].reshape(-1, 16)
    exact = halves.view(np.float16).astype(np.float64)
    queries = np.random.default_rng(0).standard_normal((3, 16)) / 2**20
    found = []
    for collect in (kernel.collect, kernel.compiled_collect()):
        keys, counts, ones = np.zeros((3, len(halves)), np.uint64), np.zeros(3, np.int64), np.ones(3, np.float32)
        collect(
            np.zeros((3, len(halves)), np.int32), np.ones(len(halves), np.float32), np.ones(len(halves), np.float32),
            halves, ones, ones, ones, queries.astype(np.float32), np.full(3, np.finfo(np.float32).min),
            np.arange(10, 10 + len(halves)), keys, counts,
        )  # fmt: skip
        assert counts.tolist() == [len(halves)] * 3
        found.append(scan.unpack(keys))
    np.testing.assert_allclose(found[0][0], (queries.astype(np.float32) @ exact.T), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(found[0][1], found[1][1])


@pytest.mark.parametrize("device", ["here", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_another_device_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    """Comparing codes elsewhere changes nothing: rising thresholds, ties, parts of odd sizes, k above a block.

    Without a GPU, the same operations run on the CPU.
    """
    if device == "here":
        monkeypatch.setattr(scan, "DeviceScanner", lambda name, codes: DeviceScanner("cpu", codes))
    elif not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    monkeypatch.setattr(scan, "BLOCK", 100)
    rng = np.random.default_rng(0)
    vectors, queries = clustered(rng, 3001, 33), clustered(rng, 7, 33)
    index = given_index(tmp_path, vectors, 700)
    for k in (1, 50, 2000, 4000):
        scores, rows = index.search(queries, k, device=device)
        want_scores, want_rows = brute_force(vectors, queries, k)
        np.testing.assert_array_equal(scores, want_scores)
        np.testing.assert_array_equal(rows, want_rows)


def test_keys_sort_by_score_then_row(tmp_path: Path) -> None:
    """Keys of any scores, negative, zero and subnormal ones included, are in the order of scores, best first."""
    numbers = np.array([-2, -1, -(2.0**-20), -(2.0**-24), 0, 2.0**-24, 2.0**-20, 0.5, 1, 2], np.float32)
    index = given_index(tmp_path, np.repeat(numbers, 2)[:, None], 3)
    scores, rows = index.search(np.ones((1, 1), np.float32), 20)
    np.testing.assert_array_equal(scores[0], np.repeat(numbers[::-1], 2))
    assert rows[0].tolist() == [row for first in range(18, -1, -2) for row in (first, first + 1)]
    assert not np.signbit(index.search(-np.ones((1, 1), np.float32), 10)[0][0][8:]).any(), "no -0"


def test_queries_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    """NaN has no neighbours."""
    index = given_index(tmp_path, np.eye(4, dtype=np.float32), 4)
    with pytest.raises(InputError, match="a query holds NaN or infinity"):
        index.search(np.full((1, 4), np.nan, dtype=np.float32), 1)
    assert index.search(np.zeros((0, 4), dtype=np.float32), 2)[0].shape == (0, 2)


@pytest.mark.parametrize("k", [1, 7, 50, 137, 1000])
@pytest.mark.parametrize("shard_documents", [10, 50, 1000])
def test_search_equals_brute_force_with_ties(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, k: int, shard_documents: int
) -> None:
    """Scores and rows are those of brute force, for any number of shards, blocks and k, also beyond the documents."""
    monkeypatch.setattr(scan, "BLOCK", 16)
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


def test_documents_come_in_the_order_asked(tmp_path: Path) -> None:
    """Rows of several shards, repeated and unsorted, give their documents one by one."""
    index = given_index(tmp_path, np.eye(9, dtype=np.float32), 4)
    rows = [8, 0, 4, 4, 3]
    assert [d.id for d in index.documents(rows)] == [f"d{row}" for row in rows]
    assert index.documents([]) == []
    for row in (-1, 9):
        with pytest.raises(InputError, match=f"row {row} is outside the index, which holds rows 0 to 8"):
            index.documents([0, row])


def test_embeddings_are_those_of_the_rows_asked_for(tmp_path: Path) -> None:
    """Any rows in any order, also twice and from several shards, give what was stored; rows outside are refused."""
    vectors = whole_numbers(np.random.default_rng(0), 9)
    index = given_index(tmp_path, vectors, 4)
    asked = [8, 0, 3, 4, 0, 7]
    found = index.embeddings(asked)
    assert found.dtype == np.float32
    assert np.array_equal(found, vectors[asked])
    assert index.embeddings([]).shape == (0, vectors.shape[1])
    with pytest.raises(InputError, match="row 9 is outside the index, which holds rows 0 to 8"):
        index.embeddings([0, 9])


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
    path = shard_paths(tmp_path)[1]
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(
        InputError, match=rf"{path.name} has {len(content) - 1} bytes, expected {len(content)}; mend it with"
    ):
        Index.open(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=rf"{path.name} is missing; mend it with: craft-hf index repair"):
        Index.open(tmp_path)


def test_shard_of_another_index_is_refused(tmp_path: Path) -> None:
    """A shard of equal size with other content is noticed by its fingerprint, in search and in reading documents."""
    index = given_index(tmp_path / "a", np.eye(4, dtype=np.float32), 4)
    given_index(tmp_path / "b", 2 * np.eye(4, dtype=np.float32), 4)
    shard_paths(tmp_path / "b")[0].replace(shard_paths(tmp_path / "a")[0])
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


@pytest.mark.weights
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
