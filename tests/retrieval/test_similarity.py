"""Retrieval: the mixed similarity, against a reference that sorts everything and takes turns."""

from __future__ import annotations

import tempfile
from collections import Counter, deque
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from craft_hf.base.embedder import Vectors
from craft_hf.base.errors import InputError
from craft_hf.base.records import FewShot
from craft_hf.retrieval import similarity
from craft_hf.retrieval.similarity import retrieve_random, retrieve_similar
from tests.vectors import given_index, whole_numbers

STORY = "Once upon a time there was a small green frog who lived beside the old mill pond and sang every night."


def shots(count: int) -> list[FewShot]:
    """Few-shots f0, f1, ... whose texts are in no document."""
    return [FewShot(f"f{i}", f"few shot number {i} has words that stand nowhere else", {}) for i in range(count)]


def reference(vectors: Vectors, queries: Vectors, k: int) -> list[tuple[str, float, tuple[str, ...]]]:
    """Rank every branch in full, let them take turns, and say who ranked each document as high as who placed it."""
    single = queries @ vectors.T
    scores = [*single, single.mean(axis=0)]
    names = [*(f"f{i}" for i in range(len(single))), "average"]
    orders = [sorted(range(len(vectors)), key=lambda row, s=s: (-s[row], row)) for s in scores]
    queues = [deque(order) for order in orders]
    taken: list[int] = []
    hits = []
    turn = 0
    while len(hits) < min(k, len(vectors)):
        branch = (turn // 2) % len(single) if turn % 2 == 0 else len(single)
        turn += 1
        while queues[branch] and queues[branch][0] in taken:
            queues[branch].popleft()
        if not queues[branch]:
            continue
        row = queues[branch].popleft()
        taken.append(row)
        rank = orders[branch].index(row)
        others = [n for n, o in zip(names, orders, strict=True) if n != names[branch] and o.index(row) <= rank]
        hits.append((f"d{row}", float(scores[branch][row]), (names[branch], *others)))
    return hits


def found(folder: Path, vectors: Vectors, queries: Vectors, k: int, shard_documents: int = 10):
    """The hits of `retrieve` in the form of the reference."""
    result = retrieve_similar(given_index(folder, vectors, shard_documents), shots(len(queries)), queries, k)
    return [(h.document.id, h.similarity, h.retrieved_by) for h in result.hits]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 50), st.sampled_from([1, 2, 4]), st.integers(1, 60))
def test_retrieval_equals_the_reference(seed: int, documents: int, few_shots: int, k: int) -> None:
    """Documents, order, similarities and branches are those of the reference, ties and k beyond the index included."""
    rng = np.random.default_rng(seed)
    vectors, queries = whole_numbers(rng, documents, 4), whole_numbers(rng, few_shots, 4)
    with tempfile.TemporaryDirectory() as folder:
        assert found(Path(folder), vectors, queries, k, 7) == reference(vectors, queries, k)


def random_texts(rng: np.random.Generator, count: int, leaks: float) -> list[str]:
    """Texts, some of which are nearly the text of the few-shot that tells STORY."""
    return [f"{STORY} The end." if rng.random() < leaks else "" for _ in range(count)]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 80), st.integers(1, 5), st.floats(0, 0.9), st.data())
def test_fewer_hits_are_the_first_of_more(
    seed: int, documents: int, few_shots: int, leaks: float, data: st.DataObject
) -> None:
    """The hits and what is left out for a smaller k begin those for a larger one, however many texts are left out."""
    rng = np.random.default_rng(seed)
    vectors, queries = whole_numbers(rng, documents, 4), whole_numbers(rng, few_shots, 4)
    examples = [FewShot("story", STORY, {}), *shots(few_shots - 1)]
    larger = data.draw(st.integers(1, documents + 5))
    smaller = data.draw(st.integers(1, larger))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "_EXTRA_DEPTH", 1)
        index = given_index(Path(folder), vectors, 16, random_texts(rng, documents, leaks))
        less, more = (retrieve_similar(index, examples, queries, k) for k in (smaller, larger))
    assert less.hits == more.hits[:smaller]
    assert less.left_out == more.left_out[: len(less.left_out)]
    assert len({h.document.id for h in more.hits}) == len(more.hits)
    assert len(more.hits) == larger or len(more.hits) + len(more.left_out) == documents


@pytest.mark.parametrize("few_shots", range(3, 9))
def test_similarities_are_those_of_the_placing_branch(tmp_path: Path, few_shots: int) -> None:
    """k come back whatever F is, and each hit's similarity is that to its few-shot, or the mean over all of them."""
    rng = np.random.default_rng(few_shots)
    vectors = rng.standard_normal((150, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = vectors[:few_shots]
    hits = found(tmp_path, vectors, queries, 61, 40)
    assert len({document for document, _, _ in hits}) == len(hits) == 61
    exact = queries.astype(np.float64) @ vectors.astype(np.float16).astype(np.float64).T
    for document, cosine, (placed_by, *_) in hits:
        column = exact[:, int(document[1:])]
        want = column.mean() if placed_by == "average" else column[int(placed_by[1:])]
        assert cosine == pytest.approx(want, abs=1e-6)
    averages = sum(by[0] == "average" for _, _, by in hits)
    assert abs(averages - 61 / 2) <= 0.5


@pytest.mark.parametrize("leaks", [17, 40, 90])
def test_more_leaks_than_reckoned_with_need_a_deeper_search(tmp_path: Path, leaks: int) -> None:
    """With more texts left out than the slack, k still come back, all leaks met are reported, and prefixes hold."""
    rng = np.random.default_rng(leaks)
    vectors = rng.standard_normal((120, 16)).astype(np.float32)
    vectors[:leaks, 0] += 20  # all leaks are nearest to the few-shot whose text they are, and to the average
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = given_index(tmp_path, vectors, 50, [STORY] * leaks + [""] * (120 - leaks))
    examples = [FewShot("story", STORY, {}), *shots(2)]
    queries = np.eye(3, 16, dtype=np.float32)
    queries[:, 0] = 1
    largest = retrieve_similar(index, examples, queries, 120)
    assert len(largest.hits) == 120 - leaks
    assert sorted(d for d, _, _ in largest.left_out) == sorted(f"d{i}" for i in range(leaks))
    assert {few_shot for _, few_shot, _ in largest.left_out} == {"story"}
    for k in (1, 5, 29, 30):
        result = retrieve_similar(index, examples, queries, k)
        assert result.hits == largest.hits[:k]
        assert len(result.hits) == k
        assert result.left_out == largest.left_out[: len(result.left_out)]
        assert len(result.left_out) > 16


def test_halves_are_the_papers(tmp_path: Path) -> None:
    """With no document in two lists, half of k comes by the average and k/2/F by each of the F few-shots."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((5000, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    hits = found(tmp_path, vectors, vectors[:4], 80, 5000)
    placed = [by[0] for _, _, by in hits]
    assert placed.count("average") == 40
    assert [placed.count(f"f{i}") for i in range(4)] == [10, 10, 10, 10]


def test_min_similarity_leaves_out_what_no_branch_finds_similar_enough(tmp_path: Path) -> None:
    """What is left are the documents that reach it in any branch, each placed by one in which it does."""
    rng = np.random.default_rng(3)
    vectors, queries = whole_numbers(rng, 60, 6), whole_numbers(rng, 3, 6)
    index = given_index(tmp_path, vectors, 10)
    scores = np.concatenate([queries, queries.mean(axis=0, keepdims=True)]) @ vectors.T
    least = float(np.quantile(scores, 0.85)) + 1e-3
    hits = retrieve_similar(index, shots(3), queries, 60, least).hits
    assert {hit.document.id for hit in hits} == {f"d{row}" for row in np.flatnonzero((scores >= least).any(axis=0))}
    assert 5 < len(hits) < 60
    assert all(hit.similarity >= least for hit in hits)


def test_more_than_there_is_gives_all_there_is(tmp_path: Path) -> None:
    """k beyond the index gives every document once."""
    vectors = whole_numbers(np.random.default_rng(0), 33)
    hits = found(tmp_path, vectors, whole_numbers(np.random.default_rng(1), 3), 1000)
    assert sorted(h[0] for h in hits) == sorted(f"d{i}" for i in range(33))


def test_the_average_is_the_mean_of_the_similarities(tmp_path: Path) -> None:
    """A document that is second best for both few-shots is the average's first."""
    vectors = np.array([[1, 0], [0, 1], [0.75, 0.75]], dtype=np.float32)
    hits = found(tmp_path, vectors, np.eye(2, dtype=np.float32), 2)
    assert hits == [("d0", 1.0, ("f0",)), ("d2", 0.75, ("average",))]


def test_texts_of_few_shots_are_left_out_and_reported(tmp_path: Path) -> None:
    """Case and punctuation do not hide a few-shot's text, a part of it is enough; another text with its words stays."""
    words = STORY.split()
    half = " ".join(words[:14])  # 10 of its 12 sequences of 5 words, counting the two words before it, are the story's
    texts = [STORY.upper().replace(" ", ", "), half, " ".join(sorted(words)), "nothing of the kind " * 5]
    index = given_index(tmp_path, np.eye(4, dtype=np.float32), 10, texts)
    examples = [FewShot("other", "a text that is nowhere in the index", {}), FewShot("story", STORY, {})]
    result = retrieve_similar(index, examples, np.eye(4, dtype=np.float32)[:2], 4)
    assert sorted(h.document.id for h in result.hits) == ["d2", "d3"]
    assert sorted((d, f) for d, f, _ in result.left_out) == [("d0", "story"), ("d1", "story")]
    overlaps = {d: overlap for d, _, overlap in result.left_out}
    assert overlaps["d0"] == 1
    assert overlaps["d1"] == pytest.approx(10 / 12)


def test_same_input_gives_the_same_hits(tmp_path: Path) -> None:
    """Nothing in retrieval depends on chance, or on how the documents are cut into shards."""
    rng = np.random.default_rng(3)
    vectors, queries = whole_numbers(rng, 60), whole_numbers(rng, 4)
    assert found(tmp_path / "a", vectors, queries, 30, 60) == found(tmp_path / "b", vectors, queries, 30, 7)


def test_rows_are_those_of_the_hits(tmp_path: Path) -> None:
    """Each hit's row leads to its document, whatever was left out before it."""
    vectors = whole_numbers(np.random.default_rng(5), 40)
    index = given_index(tmp_path, vectors, 9, [STORY if i % 5 == 0 else "" for i in range(40)])
    result = retrieve_similar(index, [FewShot("story", STORY, {}), *shots(2)], vectors[:3], 20)
    assert result.left_out
    assert index.documents(result.rows) == [hit.document for hit in result.hits]


def test_bad_input_is_refused(tmp_path: Path) -> None:
    """k below 1, no few-shot, and another number of embeddings than of few-shots are refused."""
    index = given_index(tmp_path, np.eye(4, dtype=np.float32), 4)
    queries = np.eye(4, dtype=np.float32)
    with pytest.raises(InputError, match="k is 0, expected 1 or more"):
        retrieve_similar(index, shots(4), queries, 0)
    with pytest.raises(InputError, match="3 few-shots and 4 embeddings were given"):
        retrieve_similar(index, shots(3), queries, 1)
    with pytest.raises(InputError, match="0 few-shots and 0 embeddings were given"):
        retrieve_similar(index, [], queries[:0], 1)


def test_drawn_documents_are_all_of_them_in_an_order_of_the_seed(tmp_path: Path) -> None:
    """All but the leaks come once; a smaller k is a beginning; similarity is to the mean; min_similarity holds."""
    rng = np.random.default_rng(1)
    vectors, queries = whole_numbers(rng, 300, 6), whole_numbers(rng, 3, 6)
    index = given_index(tmp_path, vectors, 70, [STORY, *[""] * 299])
    examples = [FewShot("story", STORY, {}), *shots(2)]
    everything = retrieve_random(index, examples, queries, 1000, seed=7)
    assert sorted(hit.document.id for hit in everything.hits) == sorted(f"d{row}" for row in range(1, 300))
    assert [(document, few_shot) for document, few_shot, _ in everything.left_out] == [("d0", "story")]
    scores = vectors @ queries.mean(axis=0)
    assert [hit.similarity for hit in everything.hits] == pytest.approx([float(scores[r]) for r in everything.rows])
    assert {hit.retrieved_by for hit in everything.hits} == {("random",)}
    for k in (1, 2, 255, 256, 257, 299):
        assert retrieve_random(index, examples, queries, k, seed=7).hits == everything.hits[:k]
    assert retrieve_random(index, examples, queries, 20, seed=8).hits != everything.hits[:20]
    near = retrieve_random(index, examples, queries, 40, 7, min_similarity=1.0)
    assert near.hits == [hit for hit in everything.hits if hit.similarity >= 1][:40]
    assert near.hits
    with pytest.raises(InputError, match="k is 0"):
        retrieve_random(index, examples, queries, 0, 7)


def test_every_document_is_drawn_equally_often(tmp_path: Path) -> None:
    """Over 800 seeds, each of 8 documents comes first in about an eighth, within 5 standard deviations."""
    index = given_index(tmp_path, np.eye(8, dtype=np.float32), 3)
    queries = np.eye(1, 8, dtype=np.float32)
    first = Counter(retrieve_random(index, shots(1), queries, 1, seed).hits[0].document.id for seed in range(800))
    assert len(first) == 8
    assert all(abs(count - 100) < 5 * 9.4 for count in first.values())
