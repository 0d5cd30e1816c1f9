"""Retrieval: the mixed similarity, against a reference that sorts everything and takes turns."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections import Counter, deque
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from craft_hf.base.embedder import Vectors
from craft_hf.base.errors import InputError
from craft_hf.base.records import FewShot
from craft_hf.retrieval import similarity
from craft_hf.retrieval.index.selection import EVERYTHING, Selection
from craft_hf.retrieval.similarity import Retriever
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
    result = Retriever(given_index(folder, vectors, shard_documents), shots(len(queries)), queries).take(k)
    return [(h.document.id, h.similarity, h.retrieved_by) for h in result.hits]


@pytest.mark.slow
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


@pytest.mark.slow
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
        patch.setattr(similarity, "_FIRST_DEPTH", 1)
        index = given_index(Path(folder), vectors, 16, random_texts(rng, documents, leaks))
        less, more = (Retriever(index, examples, queries).take(k) for k in (smaller, larger))
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
def test_more_leaks_than_reckoned_with_need_a_deeper_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaks: int
) -> None:
    """With more texts left out than the slack, k still come back, all leaks met are reported, and prefixes hold."""
    monkeypatch.setattr(similarity, "_FIRST_DEPTH", 1)
    rng = np.random.default_rng(leaks)
    vectors = rng.standard_normal((120, 16)).astype(np.float32)
    vectors[:leaks, 0] += 20  # all leaks are nearest to the few-shot whose text they are, and to the average
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = given_index(tmp_path, vectors, 50, [STORY] * leaks + [""] * (120 - leaks))
    examples = [FewShot("story", STORY, {}), *shots(2)]
    queries = np.eye(3, 16, dtype=np.float32)
    queries[:, 0] = 1
    largest = Retriever(index, examples, queries).take(120)
    assert len(largest.hits) == 120 - leaks
    assert sorted(d for d, _, _ in largest.left_out) == sorted(f"d{i}" for i in range(leaks))
    assert {few_shot for _, few_shot, _ in largest.left_out} == {"story"}
    for k in (1, 5, 29, 30):
        result = Retriever(index, examples, queries).take(k)
        assert result.hits == largest.hits[:k]
        assert len(result.hits) == k
        assert result.left_out == largest.left_out[: len(result.left_out)]
        assert len(result.left_out) > 16


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32), st.integers(1, 80), st.integers(1, 4), st.floats(0, 0.5), st.sampled_from([-9, 0, 1]),
    st.sampled_from([None, 5]), st.booleans(), st.sampled_from([None, 0.4, 2, 30]), st.integers(1, 3), st.data(),
)  # fmt: skip
def test_rounds_give_what_one_retrieval_gives(
    seed: int,
    documents: int,
    few_shots: int,
    leaks: float,
    least: float,
    draw: int | None,
    filtered: bool,
    most: float | None,
    first_depth: int,
    data: st.DataObject,
) -> None:
    """However hits are taken in rounds: with leaks, a least similarity, filters, shares, and drawn at random."""
    rng = np.random.default_rng(seed)
    vectors, queries = whole_numbers(rng, documents, 4), whole_numbers(rng, few_shots, 4)
    corpora = [("abc"[i], "xy"[j]) for i, j in rng.integers(0, (3, 2), (documents, 2))]
    corpora[0] = ("a", "x")
    examples = [FewShot("story", STORY, {}), *shots(few_shots - 1)]
    selection = Selection(licenses=("x",)) if filtered else EVERYTHING
    if most == 0.4 and len({source for source, license in corpora if selection.includes(source, license)}) < 3:
        most = None
    rounds = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=5))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "_FIRST_DEPTH", first_depth)
        patch.setattr(similarity, "_EXTRA_DEPTH", 1)
        patch.setattr(similarity, "_BATCH", 7)
        index = given_index(Path(folder), vectors, 16, random_texts(rng, documents, leaks), corpora)
        retrievers = [
            Retriever(
                index, examples, queries, min_similarity=least, seed=draw, selection=selection, most_per_source=most
            )
            for _ in range(2)
        ]
        for wanted in itertools.accumulate(rounds):
            in_rounds = retrievers[0].take(wanted)
        at_once = retrievers[1].take(sum(rounds))
    assert in_rounds == at_once
    assert retrievers[0].passed_over == retrievers[1].passed_over
    assert len({hit.document.id for hit in at_once.hits}) == len(at_once.hits)
    assert all(hit.similarity >= least for hit in at_once.hits)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32), st.integers(1, 60), st.sampled_from([1, 2, 4]), st.integers(1, 60), st.integers(3, 60),
    st.sampled_from(["a", "b", "*"]), st.sampled_from(["x", "y", "*"]),
)  # fmt: skip
def test_filtered_retrieval_is_that_of_an_index_of_these_documents(
    seed: int, documents: int, few_shots: int, k: int, shard_documents: int, source: str, license: str
) -> None:
    """Documents, order, similarities and branches: as if the index held nothing else, ties and all."""
    rng = np.random.default_rng(seed)
    vectors, queries = whole_numbers(rng, documents, 4), whole_numbers(rng, few_shots, 4)
    corpora = [("abb"[i], "xyy"[j]) for i, j in rng.integers(0, 3, (documents, 2))]
    selection = Selection((source,), (license,))
    chosen = [i for i, corpus in enumerate(corpora) if selection.includes(*corpus)]
    assume(chosen)
    found = []
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(similarity, "_FIRST_DEPTH", 1)
        for name, numbers in (("all", None), ("chosen", chosen)):
            index = given_index(Path(folder) / name, vectors, shard_documents, corpora=corpora, numbers=numbers)
            wanted = selection if numbers is None else EVERYTHING
            found.append(Retriever(index, shots(few_shots), queries, selection=wanted).take(k).hits)
    assert found[0] == found[1]
    assert len(found[0]) == min(k, len(chosen))


def test_names_that_the_index_does_not_have_are_refused(tmp_path: Path) -> None:
    """A misspelt source or licence is told with those that there are; case does not matter, and * fits anything."""
    corpora = [("wikipedia", "CC BY-SA 4.0"), ("web", ""), ("web", "CC0 1.0"), ("notes", "MIT")]
    index = given_index(tmp_path, np.eye(4, dtype=np.float32), 3, corpora=corpora)

    def found(sources: str = "", licenses: str = "") -> set[str]:
        selection = Selection(tuple(sources.split()), tuple(filter(None, licenses.split(","))))
        retriever = Retriever(index, shots(1), np.eye(1, 4, dtype=np.float32), selection=selection)
        return {hit.document.id for hit in retriever.take(9).hits}

    assert found("WIKI* notes") == {"d0", "d3"}
    assert found(licenses="cc *") == {"d0"}
    assert found(licenses="CC*,not stated") == {"d0", "d1", "d2"}
    assert found("web", "*BY*,not stated") == {"d1"}
    with pytest.raises(
        InputError, match=r"sources names 'wikpedia'.*has 'wikipedia' \(1 documents\).*mean 'wikipedia'"
    ):
        found("web wikpedia")
    with pytest.raises(InputError, match=r"licenses names 'GPL'.*'not stated' \(1 documents\)"):
        found(licenses="GPL")
    with pytest.raises(InputError, match=r"no document of the index is of sources=notes and under licenses=CC\* at"):
        found("notes", "CC*")


@pytest.mark.parametrize("seed", [None, 3])
def test_no_source_gives_more_than_its_most(tmp_path: Path, seed: int | None) -> None:
    """A share holds for every beginning of the hits, a number for all; what is passed over is counted."""
    rng = np.random.default_rng(0)
    vectors = whole_numbers(rng, 200, 4)
    corpora = [("big", "")] * 160 + [("small", "")] * 30 + [("tiny", "")] * 10
    index = given_index(tmp_path, vectors, 64, corpora=corpora)
    queries = whole_numbers(rng, 2, 4)

    def retriever(most: float | None) -> Retriever:
        return Retriever(index, shots(2), queries, seed=seed, most_per_source=most)

    everything = [hit.document.id for hit in retriever(None).take(200).hits]
    shared = retriever(0.5)
    sources = [hit.document.source for hit in shared.take(200).hits]
    counts = Counter(sources)
    assert counts == {"big": 41, "small": 30, "tiny": 10}
    assert all(sources[:n].count("big") <= math.ceil(n / 2) for n in range(1, len(sources) + 1))
    assert shared.passed_over == 119
    numbered = retriever(7)
    hits = numbered.take(200).hits
    assert Counter(hit.document.source for hit in hits) == {"big": 7, "small": 7, "tiny": 7}
    places = [everything.index(hit.document.id) for hit in hits]
    assert places == sorted(places), "in the order that they have anyway"
    of_big = [document for document in everything if int(document[1:]) < 160]
    assert [hit.document.id for hit in hits if hit.document.source == "big"] == of_big[:7]
    with pytest.raises(
        InputError, match=r"most_per_source is 0\.3, but the documents are of 3 sources.* give 0\.334 or"
    ):
        retriever(0.3)
    thirds = Counter(hit.document.source for hit in retriever(0.334).take(200).hits)
    assert thirds == {"tiny": 10, "big": 12, "small": 12}
    with pytest.raises(InputError, match=r"most_per_source is 2\.5, expected a share below 1, or a whole number"):
        retriever(2.5)


@pytest.mark.parametrize("seed", [None, 1])
def test_a_document_exactly_at_the_least_similarity_counts(tmp_path: Path, seed: int | None) -> None:
    """What has it is in, what has the next smaller number is not."""
    vectors = np.array([[0.5, 0], [0.25, 0], [1, 0]], dtype=np.float32)
    index = given_index(tmp_path, vectors, 3)
    queries = np.array([[1, 0]], dtype=np.float32)
    hits = Retriever(index, shots(1), queries, min_similarity=0.5, seed=seed).take(3).hits
    assert sorted(hit.similarity for hit in hits) == [0.5, 1]
    above = np.nextafter(np.float32(0.5), np.float32(1))
    assert len(Retriever(index, shots(1), queries, min_similarity=float(above), seed=seed).take(3).hits) == 1


@pytest.mark.parametrize(("shared", "is_left_out"), [(9, False), (10, True), (12, True)])
def test_half_of_the_sequences_make_a_document_a_few_shots_text(tmp_path: Path, shared: int, is_left_out: bool) -> None:
    """From half of the shorter text's 5-word sequences on, it is the few-shot's text; the few-shot has 20 of them."""
    story = [f"word{i}" for i in range(24)]
    document = [*story[: shared + 4], *(f"other{i}" for i in range(60))]
    index = given_index(tmp_path, np.eye(1, dtype=np.float32), 1, [" ".join(document)])
    found = Retriever(index, [FewShot("story", " ".join(story), {})], np.eye(1, dtype=np.float32)).take(1)
    assert [overlap for _, _, overlap in found.left_out] == ([shared / 20] if is_left_out else [])
    assert len(found.hits) == (not is_left_out)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("古い橋は一九八七年にトラックの重さで東側のアーチにひびが入り、路面電車だけが渡っている。",
         "サフランの花は暑くなると閉じてしまうので、農家は日の出前に摘み取りを終えて市場へ運ぶ。"),
        ("一座旧桥因为一九八七年一辆卡车的重量在东侧桥拱上出现了裂缝，从那以后只有电车可以通过。",
         "藏红花在天气变热的时候会闭合，所以农民在日出之前就完成采摘，然后把花运到市场上去卖。"),
        ("สะพานเก่ามีรอยร้าวที่โค้งด้านตะวันออกเพราะน้ำหนักของรถบรรทุกในปีหนึ่งพันเก้าร้อยแปดสิบเจ็ด",
         "ดอกหญ้าฝรั่นจะหุบเมื่ออากาศร้อนชาวนาจึงเก็บเกี่ยวให้เสร็จก่อนพระอาทิตย์ขึ้นแล้วนำไปขายที่ตลาด"),
    ],
)  # fmt: skip
def test_few_shots_texts_are_found_in_any_script(tmp_path: Path, text: str, other: str) -> None:
    """Without blanks too a part of the text, or one with other punctuation, is the few-shot's, and another is not."""
    half = text[: int(0.7 * len(text))]
    index = given_index(tmp_path, np.eye(3, dtype=np.float32), 3, [f"「{half}」", other, text.replace("、", "。")])
    found = Retriever(index, [FewShot("shot", text, {})], np.eye(1, 3, dtype=np.float32)).take(3)
    assert sorted(document for document, _, _ in found.left_out) == ["d0", "d2"]
    assert [hit.document.id for hit in found.hits] == ["d1"]


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
    hits = Retriever(index, shots(3), queries, min_similarity=least).take(60).hits
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
    result = Retriever(index, examples, np.eye(4, dtype=np.float32)[:2]).take(4)
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
    result = Retriever(index, [FewShot("story", STORY, {}), *shots(2)], vectors[:3]).take(20)
    assert result.left_out
    assert index.documents(result.rows) == [hit.document for hit in result.hits]


def test_bad_input_is_refused(tmp_path: Path) -> None:
    """k below 1, no few-shot, and another number of embeddings than of few-shots are refused."""
    index = given_index(tmp_path, np.eye(4, dtype=np.float32), 4)
    queries = np.eye(4, dtype=np.float32)
    with pytest.raises(InputError, match="k is 0, expected 1 or more"):
        Retriever(index, shots(4), queries).take(0)
    with pytest.raises(InputError, match="3 few-shots and 4 embeddings were given"):
        Retriever(index, shots(3), queries).take(1)
    with pytest.raises(InputError, match="0 few-shots and 0 embeddings were given"):
        Retriever(index, [], queries[:0]).take(1)


def test_drawn_documents_are_all_of_them_in_an_order_of_the_seed(tmp_path: Path) -> None:
    """All but the leaks come once; a smaller k is a beginning; similarity is to the mean; min_similarity holds."""
    rng = np.random.default_rng(1)
    vectors, queries = whole_numbers(rng, 300, 6), whole_numbers(rng, 3, 6)
    index = given_index(tmp_path, vectors, 70, [STORY, *[""] * 299])
    examples = [FewShot("story", STORY, {}), *shots(2)]
    everything = Retriever(index, examples, queries, seed=7).take(1000)
    assert sorted(hit.document.id for hit in everything.hits) == sorted(f"d{row}" for row in range(1, 300))
    assert [(document, few_shot) for document, few_shot, _ in everything.left_out] == [("d0", "story")]
    scores = vectors @ queries.mean(axis=0)
    assert [hit.similarity for hit in everything.hits] == pytest.approx([float(scores[r]) for r in everything.rows])
    assert {hit.retrieved_by for hit in everything.hits} == {("random",)}
    for k in (1, 2, 255, 256, 257, 299):
        assert Retriever(index, examples, queries, seed=7).take(k).hits == everything.hits[:k]
    assert Retriever(index, examples, queries, seed=8).take(20).hits != everything.hits[:20]
    near = Retriever(index, examples, queries, seed=7, min_similarity=1.0).take(40)
    assert near.hits == [hit for hit in everything.hits if hit.similarity >= 1][:40]
    assert near.hits
    with pytest.raises(InputError, match="k is 0"):
        Retriever(index, examples, queries, seed=7).take(0)


def test_every_document_is_drawn_equally_often(tmp_path: Path) -> None:
    """Over 800 seeds, each of 8 documents comes first in about an eighth, within 5 standard deviations."""
    index = given_index(tmp_path, np.eye(8, dtype=np.float32), 3)
    queries = np.eye(1, 8, dtype=np.float32)
    first = Counter(Retriever(index, shots(1), queries, seed=seed).take(1).hits[0].document.id for seed in range(800))
    assert len(first) == 8
    assert all(abs(count - 100) < 5 * 9.4 for count in first.values())
