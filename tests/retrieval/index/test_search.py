"""Search: equal to comparing everything with everything, ties included."""

from __future__ import annotations

import gc
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
from craft_hf.retrieval.index import kernel, scan, search
from craft_hf.retrieval.index.build import build_index
from craft_hf.retrieval.index.device import DeviceScanner
from craft_hf.retrieval.index.products import code_products, float_products, int8_products
from craft_hf.retrieval.index.quantize import quantize
from craft_hf.retrieval.index.search import Index
from craft_hf.retrieval.index.selection import Selection
from tests.vectors import HashEmbedder, chunked_index, given_index, shard_paths, whole_numbers


def brute_force(vectors: Vectors, queries: Vectors, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Compare everything with everything and sort it all; ties keep the order of rows."""
    exact = queries.astype(np.float64) @ vectors.astype(np.float16).astype(np.float64).T
    scores = exact.astype(np.float32)
    rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, rows, axis=1), rows


@pytest.mark.parametrize("dimension", [1, 7, 384, 1024, 1025, 2100])
def test_both_ways_to_multiply_codes_are_exact(dimension: int) -> None:
    """Also where all codes are as large as they get, and float32 could not add more dimensions without rounding."""
    rng = np.random.default_rng(0)
    codes = rng.integers(-127, 128, (50, dimension), dtype=np.int8)
    codes[0], codes[1] = 127, -127
    queries = codes[:9].copy()
    expected = queries.astype(np.int64) @ codes.astype(np.int64).T
    for way in (int8_products, float_products, code_products):
        found = way(codes, queries)
        assert found.dtype == np.int32
        assert np.array_equal(found, expected)


def clustered(rng: np.random.Generator, rows: int, dimension: int) -> Vectors:
    """Unit vectors on a grid of 2^-10, in clusters, so that many are nearly equal, some wholly, and some are zero."""
    centres = rng.standard_normal((5, dimension))
    vectors = centres[rng.integers(0, 5, rows)] + 0.05 * rng.standard_normal((rows, dimension))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[rng.random(rows) < 0.05] = 0
    vectors[rng.random(rows) < 0.1] = vectors[0]
    return np.rint(vectors * 1024).astype(np.float32) / 1024


@pytest.mark.slow
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
    chunk = 4096 // 16 // scan._STRETCHES
    for start in np.linspace(0, 4096 - chunk, scan._STRETCHES).astype(int):
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


@pytest.mark.slow
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


def brute_force_of_chunks(
    vectors: Vectors, counts: np.ndarray, queries: Vectors, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compare everything with everything; a document has the score of its first best chunk; ties in order."""
    scores, order = brute_force(vectors, queries, len(vectors))
    of_chunks = np.take_along_axis(scores, np.argsort(order, axis=1), axis=1)
    firsts = np.cumsum(counts) - counts
    best = np.maximum.reduceat(of_chunks, firsts, axis=1)
    rows = np.argsort(-best, axis=1, kind="stable")[:, :k]
    chunks = [
        [firsts[row] + int(np.argmax(line[firsts[row] : firsts[row] + counts[row]])) for row in found]
        for line, found in zip(of_chunks, rows, strict=True)
    ]
    return np.take_along_axis(best, rows, axis=1), rows, np.array(chunks).reshape(rows.shape)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32), st.integers(1, 300), st.sampled_from([1, 3, 30]), st.sampled_from([1, 2, 8, 33]),
    st.integers(1, 5), st.integers(1, 350), st.integers(1, 3), st.integers(1, 300), st.sampled_from([0, 64]),
)  # fmt: skip
def test_documents_have_the_score_of_their_best_chunk(
    seed: int, documents: int, most: int, dimension: int, asked: int, k: int, threads: int, shard: int, spare: int
) -> None:
    """Any numbers of chunks, equal and near-equal ones among them, any sizes and depths: scores, documents and chunks
    of brute force."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, most + 1, documents)
    counts[rng.random(documents) < 0.5] = 1
    vectors, queries = clustered(rng, int(counts.sum()), dimension), clustered(rng, asked, dimension)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_SPARE_CHUNKS", spare)
        patch.setattr(search, "_PART", 97)
        index = chunked_index(Path(folder), vectors, counts.tolist(), max(shard, documents // 10 + 1))
        found = index.search_chunks(queries, k, threads)
        for got, again in zip(index.search(queries, k, 1), found, strict=False):
            np.testing.assert_array_equal(got, again)
    for got, want in zip(found, brute_force_of_chunks(vectors, counts, queries, k), strict=True):
        np.testing.assert_array_equal(got, want)


def test_many_good_chunks_of_few_documents_are_seen_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If one document's chunks take all first places, only the queries that lack documents are searched deeper."""
    rng = np.random.default_rng(0)
    counts = np.ones(400, dtype=np.int64)
    counts[123] = 300
    vectors = whole_numbers(rng, 699, 16) / 16
    vectors[123:423] = 1
    queries = np.stack([np.ones(16), -np.ones(16)]).astype(np.float32)
    index = chunked_index(tmp_path, vectors, counts.tolist(), 150)
    asked: list[tuple[int, int]] = []
    real = search.top_k

    def noted(parts: Any, queries: Vectors, depth: int, *rest: Any) -> Any:
        asked.append((len(queries), depth))
        return real(parts, queries, depth, *rest)

    monkeypatch.setattr(search, "top_k", noted)
    found = index.search_chunks(queries, 20)
    assert asked[0] == (2, 99)
    assert {queries for queries, _ in asked[1:]} == {1}
    assert [depth for _, depth in asked] == sorted(depth for _, depth in asked)
    assert found[1][0, 0] == 123
    for got, want in zip(found, brute_force_of_chunks(vectors, counts, queries, 20), strict=True):
        np.testing.assert_array_equal(got, want)
    assert len(set(found[1][1].tolist())) == 20


@pytest.mark.parametrize("k", [1, 5, 40])
def test_selected_documents_have_the_score_of_their_best_chunk(tmp_path: Path, k: int) -> None:
    """Of documents with several chunks, those of one source alone are found, as brute force over these finds them."""
    rng = np.random.default_rng(k)
    counts = rng.integers(1, 5, 60)
    of_a = rng.random(60) < 0.4
    vectors, queries = clustered(rng, int(counts.sum()), 8), clustered(rng, 4, 8)
    index = chunked_index(tmp_path, vectors, counts.tolist(), 17, ["a" if here else "b" for here in of_a])
    scores, rows, _ = index.search_chunks(queries, k, selection=Selection(sources=("a",)))
    chosen = vectors[np.repeat(of_a, counts)]
    want_scores, want_rows, _ = brute_force_of_chunks(chosen, counts[of_a], queries, k)
    np.testing.assert_array_equal(scores, want_scores)
    np.testing.assert_array_equal(rows, np.flatnonzero(of_a)[want_rows])


def test_passages_are_what_was_found(tmp_path: Path) -> None:
    """The chunk that is returned beside a document is the text whose vector fits, in documents of several shards."""
    vectors = np.eye(12, dtype=np.float32)
    index = chunked_index(tmp_path, vectors, [1, 4, 2, 5], 3)
    _, rows, chunks = index.search_chunks(vectors, 2)
    assert rows[:, 0].tolist() == [0, 1, 1, 1, 1, 2, 2, 3, 3, 3, 3, 3]
    assert chunks[:, 0].tolist() == list(range(12))
    for row, chunk in zip(rows[:, 0].tolist(), chunks[:, 0].tolist(), strict=True):
        ((start, end),) = index.passages([chunk])
        assert index.documents([row])[0].text[start:end].strip() == f"chunk {chunk}"
    asked = chunks.ravel()[::-1]
    assert index.passages(asked).tolist() == [index.passages([chunk])[0].tolist() for chunk in asked]


def test_document_of_chunks_has_their_mean_as_its_vector(tmp_path: Path) -> None:
    """Asked for embeddings, a document of one chunk gives it as it is, of several their mean as a unit vector; chunks
    that cancel each other out give zeros."""
    rng = np.random.default_rng(0)
    counts = [1, 3, 2, 2, 1]
    vectors = clustered(rng, 9, 8)
    vectors[6:8] = np.eye(8)[0] * np.array([[1], [-1]])
    index = chunked_index(tmp_path, vectors, counts, 2)
    means = [part.sum(axis=0) for part in np.split(vectors, np.cumsum(counts)[:-1])]
    want = [mean if n == 1 else mean / (np.linalg.norm(mean) or 1) for mean, n in zip(means, counts, strict=True)]
    asked = [4, 1, 0, 3, 1, 2]
    np.testing.assert_allclose(index.embeddings(asked), np.array(want)[asked], atol=1e-6)
    assert index.embeddings([3]).tolist() == [[0.0] * 8]
    alone = np.stack([index.embeddings([row])[0] for row in asked])
    np.testing.assert_array_equal(index.embeddings(asked), alone)


def test_similarities_of_documents_are_those_of_a_search(tmp_path: Path) -> None:
    """The similarity of given rows is that of their best chunk, whatever else is asked for."""
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 5, 40)
    vectors, queries = clustered(rng, int(counts.sum()), 16), clustered(rng, 3, 16)
    index = chunked_index(tmp_path, vectors, counts.tolist(), 7)
    scores, rows = index.search(queries, 40)
    for query in range(3):
        np.testing.assert_allclose(index.similarities(queries, rows[query].tolist())[query], scores[query], atol=1e-6)
    some = [39, 0, 17, 0]
    alone = np.concatenate([index.similarities(queries[1:2], [row]) for row in some], axis=1)
    np.testing.assert_array_equal(index.similarities(queries, some)[1:2], alone)


def test_large_shards_are_searched_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard of more rows than one thread takes at a time is searched to its end, each row once."""
    monkeypatch.setattr(search, "_PART", 16)
    rng = np.random.default_rng(0)
    vectors, queries = clustered(rng, 150, 8), clustered(rng, 4, 8)
    index = given_index(tmp_path, vectors, 70)
    parts = [(base, start, stop) for base, _, start, stop in index._parts()]
    assert [row for base, start, stop in parts for row in range(base + start, base + stop)] == list(range(150))
    assert max(stop - start for _, start, stop in parts) == 16
    for k in (1, 20, 150):
        for got, want in zip(index.search(queries, k), brute_force(vectors, queries, k), strict=True):
            np.testing.assert_array_equal(got, want)


def test_many_shards_are_not_kept_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit no shard stays mapped after a search, below it all do; the hits are the same."""
    rng = np.random.default_rng(0)
    vectors, queries = clustered(rng, 12, 8), clustered(rng, 2, 8)
    given_index(tmp_path, vectors, 2)
    for limit, mapped in ((5, 0), (6, 6)):
        monkeypatch.setattr(search, "_MOST_MAPPED", limit)
        index = Index.open(tmp_path)
        for got, want in zip(index.search(queries, 12), brute_force(vectors, queries, 12), strict=True):
            np.testing.assert_array_equal(got, want)
        gc.collect()
        maps = Path("/proc/self/maps").read_text()
        assert sum(str(tmp_path / str(entry["file"])) in maps for entry in index.info.shards) == mapped
        del index
        gc.collect()


def test_queries_are_rounded_before_they_are_compared(tmp_path: Path) -> None:
    """What is below 2^-29 counts as 0, and the rest as a multiple of 2^-28: so sums are exact on every machine."""
    rng = np.random.default_rng(0)
    index = given_index(tmp_path, vectors := clustered(rng, 50, 8), 50)
    scores, rows = index.search(np.full((1, 8), 2.0**-30, np.float32), 50)
    assert (scores[0].tolist(), rows[0].tolist()) == ([0.0] * 50, list(range(50)))
    queries = rng.standard_normal((40, 8)).astype(np.float32) * np.float32(2.0**-20)
    multiples = (np.round(queries.astype(np.float64) * 2**28) / 2**28).astype(np.float32)
    for got, want in zip(index.search(queries, 10), brute_force(vectors, multiples, 10), strict=True):
        np.testing.assert_array_equal(got, want)


def test_error_of_quantized_queries_is_allowed_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Embeddings that are among the best are not lost if the query's codes, and nothing else, say that they are not."""
    monkeypatch.setattr(scan, "SAMPLE", 0)  # the threshold is the k-th best so far
    monkeypatch.setattr(scan, "BLOCK", 64)
    rng = np.random.default_rng(0)
    query = np.rint(1024 * rng.random((1, 8)) / np.sqrt(8)).astype(np.float32) / 1024
    codes = rng.integers(-100, 101, (50_000, 8))
    codes[:, 0] = 127  # so the scale is 2^-9, and nothing is left over
    vectors = (codes / 512).astype(np.float32)
    quantized = quantize(query)
    exact, coded = vectors @ query[0], vectors @ (quantized.codes * quantized.scales[:, None])[0]
    usual = int(np.argsort(-exact)[20_000])
    better = np.flatnonzero((exact > exact[usual]) & (coded < exact[usual] - 1e-4))[:10]
    assert len(better) == 10
    vectors = vectors[[*[usual] * 1000, *better]]
    index = given_index(tmp_path, vectors, 1010)
    assert index._shard(0).residuals.max() < 1e-30
    scores, rows = index.search(query, 50)
    assert sorted(rows[0, :10]) == list(range(1000, 1010))
    for got, want in zip((scores, rows), brute_force(vectors, query, 50), strict=True):
        np.testing.assert_array_equal(got, want)


def test_bound_is_never_below_the_score() -> None:
    """An embedding whose score is just the threshold is always scored, though the bound is computed in float32."""
    rng = np.random.default_rng(0)
    collect = kernel.compiled_collect()
    for magnitude in (rng.random(300) + 0.1) / 8:  # of equal components: large products, and hardly a residual
        halves = np.full((1, 64), magnitude, np.float16)
        queries = scan._Queries.prepare((halves * rng.random((64, 1))).astype(np.float32))
        quantized = quantize(halves)
        scores = (queries.exact.astype(np.float64) @ halves.astype(np.float64).T).astype(np.float32)[:, 0]
        longest = float(np.linalg.norm(quantized.codes.astype(np.float32)) * quantized.scales[0]) * 1.00001
        keys, counts = np.zeros((64, 1), np.uint64), np.zeros(64, np.int64)
        collect(
            code_products(quantized.codes, queries.codes), quantized.scales, quantized.residuals,
            halves.view(np.uint16), queries.steps, queries.lengths, queries.bounds(longest), queries.exact, scores,
            np.zeros(1, np.int64), keys, counts,
        )  # fmt: skip
        assert counts.tolist() == [1] * 64


def test_bound_allows_for_all_of_a_residual() -> None:
    """An embedding that is nearer than its codes are, by nearly as much as its residual is long, is scored."""
    rng = np.random.default_rng(0)
    steps = rng.integers(0, 127, (50, 384)) + 7 / 16  # of the scale 2^-10; the residual of each is 7/16
    steps[:, 0] = 127
    halves = (steps * 2.0**-10).astype(np.float16)
    quantized = quantize(halves)
    assert quantized.residuals == pytest.approx(np.sqrt(383) * 7 / 16 * 2.0**-10)
    queries = scan._Queries.prepare(
        np.full((1, 384), 0.05, np.float32)
    )  # has the direction of the residuals, and codes
    for row in range(50):
        one = slice(row, row + 1)
        score = (queries.exact.astype(np.float64) @ halves[one].astype(np.float64).T).astype(np.float32)[:, 0]
        longest = float(np.linalg.norm(quantized.codes[row].astype(np.float32)) * quantized.scales[row]) * 1.00001
        keys, counts = np.zeros((1, 1), np.uint64), np.zeros(1, np.int64)
        kernel.compiled_collect()(
            code_products(quantized.codes[one], queries.codes), quantized.scales[one], quantized.residuals[one],
            halves[one].view(np.uint16), queries.steps, queries.lengths, queries.bounds(longest), queries.exact, score,
            np.zeros(1, np.int64), keys, counts,
        )  # fmt: skip
        assert counts.tolist() == [1]
