"""Coverage: figures counted by hand, sane ones of next to nothing, and warnings that come when they should only."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from craft_hf.base.embedder import Vectors
from craft_hf.base.markdown import render
from craft_hf.base.records import Document, FewShot, Hit
from craft_hf.retrieval.coverage import compute_coverage, measure_coverage
from craft_hf.retrieval.coverage.advice import advise
from craft_hf.retrieval.coverage.figures import Coverage
from craft_hf.retrieval.coverage.vector_statistics import normalized
from craft_hf.retrieval.similarity import Retriever
from tests.retrieval.test_similarity import STORY, shots
from tests.vectors import given_index, whole_numbers


def hit(number: int, *by: str, source: str = "a", similarity: float = 0.5) -> Hit:
    """A hit that these branches found, the first of them placed it."""
    return Hit(Document(f"d{number}", "text", source=source), similarity, by)


def covered(hits: Sequence[Hit], few_shots: int = 2, random: Vectors | None = None, **corpora: int) -> Coverage:
    """The coverage of hits whose embeddings are all different, of few-shots that are, too."""
    width = max(len(hits), few_shots, 1)
    return compute_coverage(
        hits,
        shots(few_shots),
        corpora or {"a": len(hits) + 1},
        queries=np.eye(few_shots, width, dtype=np.float32),
        embeddings=np.eye(len(hits), width, dtype=np.float32),
        random=np.zeros((40, width), dtype=np.float32) if random is None else random,
    )


def test_figures_are_those_counted_by_hand() -> None:
    """Who placed, found and alone found a document, what both halves found, and where the documents come from."""
    found = covered(
        [
            hit(0, "f0", source="a"),
            hit(1, "average", "f0", "f1", source="a"),
            hit(2, "f1", "average", source="b"),
            hit(3, "average", source="a"),
        ],
        few_shots=3,
        a=10,
        b=70,
        c=20,
    )
    assert [(u.id, u.placed, u.found, u.alone, u.share) for u in found.few_shots] == [
        ("f0", 1, 2, 1, 0.5),
        ("f1", 1, 2, 1, 0.5),
        ("f2", 0, 0, 0, 0.0),
    ]
    assert (found.hits, found.found_by_few_shots, found.both) == (4, 3, 0.5)
    assert [(s.source, s.hits, s.share, s.documents, s.index_share, s.ratio) for s in found.sources] == [
        ("a", 3, 0.75, 10, 0.1, 7.5),
        ("b", 1, 0.25, 70, 0.7, 0.3571),
        ("c", 0, 0.0, 20, 0.2, 0.0),
    ]


def test_bands_end_where_every_few_shot_had_its_turn() -> None:
    """Ten bands at most, of whole rounds, the last with what is left over; each has the quantiles of its hits."""
    individual = [hit(i, f"f{i % 2}", similarity=1 - i / 100) for i in range(47)]
    averaged = [hit(100 + i, "average", similarity=0.5 - i / 100) for i in range(3)]
    decay = covered([*individual, *averaged]).decay
    bands = decay["individual"].bands
    assert len(bands) == 10
    assert [b.first for b in bands] == [1, *(b.last + 1 for b in bands[:-1])]
    assert bands[-1].last == 47
    assert all(b.last % 2 == 0 for b in bands[:-1])
    assert (bands[0].first, bands[0].last, bands[0].median) == (1, 4, 0.985)
    assert [(b.first, b.last, b.low, b.median, b.high) for b in decay["averaged"].bands] == [(1, 3, 0.482, 0.49, 0.498)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40), st.sampled_from([1, 2, 5]), st.integers(1, 60))
def test_figures_add_up_whatever_is_found(seed: int, documents: int, few_shots: int, k: int) -> None:
    """Shares sum to 1, counts to the hits, bands to the halves, and no figure is NaN or infinite."""
    rng = np.random.default_rng(seed)
    vectors = whole_numbers(rng, documents, 4)
    names = [f"f{i}" for i in range(few_shots)]
    hits = [
        hit(i, *dict.fromkeys(rng.choice([*names, "average"], size=rng.integers(1, 4)).tolist()),
            source=str(rng.integers(3)), similarity=float(rng.normal()))
        for i in range(min(k, documents))
    ]  # fmt: skip
    found = compute_coverage(
        hits, shots(few_shots), Counter({"0": documents, "1": 1, "2": 2}),
        queries=normalized(rng.standard_normal((few_shots, 4)).astype("f4")), embeddings=vectors[: len(hits)],
        random=vectors,
    )  # fmt: skip
    json.dumps(asdict(found), allow_nan=False)
    if found.found_by_few_shots:
        assert sum(u.share for u in found.few_shots) == pytest.approx(1, abs=1e-3)
    assert sum(s.hits for s in found.sources) == len(hits)
    assert sum(s.share for s in found.sources) == pytest.approx(1, abs=1e-3)
    placed = sum(u.placed for u in found.few_shots)
    ends = {name: half.bands[-1].last if half.bands else 0 for name, half in found.decay.items()}
    assert ends == {"individual": placed, "averaged": len(hits) - placed}


@pytest.mark.parametrize("documents", [1, 2, 10])
@pytest.mark.parametrize("few_shots", [1, 8])
@pytest.mark.parametrize("k", [1, 5, 100])
def test_small_indexes_give_all_they_have_and_sane_figures(
    tmp_path: Path, documents: int, few_shots: int, k: int
) -> None:
    """Retrieval from 1, 2 or 10 documents gives k or all of them, with figures that JSON and Markdown can say."""
    rng = np.random.default_rng(documents)
    vectors, queries = (normalized(rng.standard_normal((n, 16)).astype("f4")) for n in (documents, few_shots))
    index = given_index(tmp_path, vectors, 3)
    retriever = Retriever(index, shots(few_shots), queries)
    assert len(retriever.take(k).hits) == min(k, documents)
    coverage = measure_coverage(retriever)
    json.dumps(asdict(coverage), allow_nan=False)
    assert coverage.hits == min(k, documents)
    assert coverage.both is not None
    assert 0 <= coverage.both <= 1
    assert coverage.random_documents == documents
    assert coverage.vendi_score is not None
    assert 1 <= coverage.vendi_score <= min(k, documents) + 1e-3
    assert (coverage.mean_similarity is None) == (min(k, documents) < 2)
    assert not [w for w in coverage.warnings if "dominates" in w or "adds hardly" in w or "The end" in w]
    page = render("retrieval.md.j2", task="x", asked=k,
                  index={"documents": 1, "embedding_model": "m", "embedded_text": "t"},
                  coverage=asdict(coverage), plots=[])  # fmt: skip
    assert "nan" not in page.lower()
    assert "None" not in page


def test_nothing_but_texts_of_few_shots_is_no_error(tmp_path: Path) -> None:
    """When all documents are left out, there are no hits, no shares and no warnings."""
    index = given_index(tmp_path, np.eye(2, dtype=np.float32), 2, [STORY, STORY + " The end."])
    examples, queries = [FewShot("story", STORY, {})], np.eye(1, 2, dtype=np.float32)
    retriever = Retriever(index, examples, queries)
    retriever.take(5)
    coverage = measure_coverage(retriever)
    assert (coverage.hits, coverage.left_out, coverage.both, coverage.warnings) == (0, 2, None, ())
    assert coverage.sources[0].ratio is None
    json.dumps(asdict(coverage), allow_nan=False)


def test_the_same_hits_give_the_same_coverage(tmp_path: Path) -> None:
    """However the documents are cut into shards, and the random documents are drawn from all of them."""
    vectors = normalized(np.random.default_rng(0).standard_normal((1500, 8)).astype("f4"))
    queries = vectors[:3]
    made = []
    for size in (1500, 400):
        index = given_index(tmp_path / str(size), vectors, size)
        retriever = Retriever(index, shots(3), queries)
        retriever.take(50)
        made.append(measure_coverage(retriever))
    assert made[0] == made[1]
    assert made[0].random_documents == 1000


def warned(coverage: Coverage, words: str) -> list[str]:
    """The warnings with some words in them."""
    return [w for w in coverage.warnings if words in w]


def half_and_half(count: int, finder: str, few_shots: int = 8) -> list[Hit]:
    """The hits of retrieval where one few-shot finds what the average places."""
    individual = [hit(i, f"f{i % few_shots}") for i in range(count // 2)]
    return [*individual, *(hit(count + i, "average", finder) for i in range(count // 2))]


def test_a_few_shot_that_finds_most_dominates() -> None:
    """One that finds all that the average places is named; even use, few hits and a single few-shot are not."""
    assert warned(covered(half_and_half(96, "f3"), 8), "dominates") == [
        "The few-shot f3 dominates: its share is 56% of the documents that few-shots found, where an equal share is "
        "12%. Compare it with the others; it may be the only one that fits the index."
    ]
    even = [hit(i, f"f{i % 8}", "average") for i in range(96)]
    assert not warned(covered(even, 8), "dominates")
    assert not warned(covered(half_and_half(6, "f3"), 8), "dominates")
    assert not warned(covered([hit(i, "f0", "average") for i in range(96)], 1), "dominates")


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 32), st.integers(1, 300))
def test_equal_use_is_never_called_anything_else(seed: int, few_shots: int, count: int) -> None:
    """Where chance alone decides which few-shot finds what the average places, none dominates and none is useless."""
    rng = np.random.default_rng(seed)
    individual = [hit(i, f"f{i % few_shots}") for i in range(count)]
    hits = [*individual, *(hit(count + i, "average", f"f{rng.integers(few_shots)}") for i in range(count))]
    coverage = covered(hits, few_shots)
    assert not warned(coverage, "dominates")
    assert not warned(coverage, "adds hardly anything")


def test_a_few_shot_that_finds_what_others_find_adds_nothing() -> None:
    """Of two few-shots that are alike, both are named; of too few documents to tell, none."""
    twins = [hit(i, *(("f0", "f1") if i % 4 < 2 else (f"f{i % 4}",))) for i in range(80)]
    coverage = covered(twins, 4)
    assert warned(coverage, "adds hardly anything") == [
        f"The few-shot f{i} adds hardly anything: 0 documents were found by it alone, where an equal share is 20. A "
        "few-shot that is less like the others finds more."
        for i in (0, 1)
    ]
    assert not warned(covered(twins[:24], 4), "adds hardly anything")


def test_an_end_no_better_than_chance_is_named() -> None:
    """Only where the last band falls below what chance reaches, and only with enough random documents to tell."""
    hits = [hit(i, "f0" if i % 2 else "average", similarity=0.9 - 0.02 * i) for i in range(40)]
    queries = np.eye(1, 2, dtype=np.float32)
    spread = np.linspace(0, 0.4, 41, dtype=np.float32)
    random = np.stack([spread, np.sqrt(1 - spread**2)], axis=1)
    vectors = np.zeros((40, 2), dtype=np.float32)
    whole = compute_coverage(hits, shots(1), {"a": 99}, queries=queries, embeddings=vectors, random=random)
    high = whole.decay["averaged"].random_high
    assert high == pytest.approx(0.2 + 1.645 * 1.4826 * 0.1, abs=1e-3)
    assert [w.split(" is ")[0] for w in warned(whole, "The end")] == [
        "The end of the individual half",
        "The end of the averaged half",
    ]
    assert f"have a median of 0.140, and chance alone reaches {high:.3f}" in whole.warnings[0]
    best = compute_coverage(hits[:20], shots(1), {"a": 99}, queries=queries, embeddings=vectors[:20], random=random)
    assert not best.warnings
    few = compute_coverage(hits, shots(1), {"a": 19}, queries=queries, embeddings=vectors, random=random[:19])
    assert not warned(few, "The end")


def test_an_index_of_another_kind_is_named() -> None:
    """Few-shots whose texts are more like the others than the best documents are tell that the index does not fit."""
    queries = normalized(np.array([[1, 0.3], [1, -0.3]], dtype=np.float32))
    for similarity, expected in ((0.3, 1), (0.32, 0)):
        found = compute_coverage(
            [hit(0, "average", similarity=similarity)], shots(2), {"a": 1}, queries=queries,
            embeddings=queries[:1], random=queries, few_shot_similarity=0.31,
        )  # fmt: skip
        assert len(warned(found, "no documents like the few-shots")) == expected
    assert found.few_shot_similarity == 0.31


def test_repeated_documents_are_named_with_examples() -> None:
    """From a tenth of repeats on there is a warning; fewer are counted only."""
    hits = [hit(i, "f0") for i in range(20)]
    vectors = np.eye(20, dtype=np.float32)
    vectors[1] = vectors[0]
    queries, random = np.eye(1, 20, dtype=np.float32), np.zeros((40, 20), dtype=np.float32)
    once = compute_coverage(hits, shots(1), {"a": 20}, queries=queries, embeddings=vectors, random=random)
    assert (once.near_duplicates.pairs, once.near_duplicates.repeats, once.warnings) == (1, 1, ())
    assert once.near_duplicates.examples == (("d1", "d0", 1.0),)
    vectors[2] = vectors[0]
    twice = compute_coverage(hits, shots(1), {"a": 20}, queries=queries, embeddings=vectors, random=random)
    assert (twice.near_duplicates.pairs, twice.near_duplicates.repeats) == (3, 2)
    assert "2 of 20 documents are near-duplicates" in twice.warnings[0]


def test_page_cuts_long_lists_of_corpora() -> None:
    """Beyond 20 corpora the rest is one line that keeps the sums; what was drawn is said."""
    hits = [hit(i, "f0", source=f"s{i:02}") for i in range(25)]
    found = covered(hits, 2, **{f"s{i:02}": 4 for i in range(25)})
    found = replace(found, near_duplicates=replace(found.near_duplicates, compared=20, repeats=1, pairs=1))
    page = render("retrieval.md.j2", task="x", asked=25,
                  index={"documents": 100, "embedding_model": "m", "embedded_text": "t"},
                  coverage=asdict(found), plots=[])  # fmt: skip
    assert "| 5 more | 5 | 20.0% | 20.0% | |" in page
    assert "1 document nearly repeats one before it (1 pair, among 20 drawn at random)." in page


def test_drawn_documents_are_not_judged_by_what_found_them() -> None:
    """Nothing found them, nothing falls with the rank, and only repeats are worth a warning."""
    drawn = covered([hit(i, "random", similarity=0.01) for i in range(200)], 8)
    assert (drawn.drawn, drawn.both, drawn.found_by_few_shots, drawn.decay, drawn.warnings) == (True, None, 0, {}, ())
    assert sum(use.found + use.placed for use in drawn.few_shots) == 0
    page = render("coverage.md.j2", coverage=asdict(drawn), plots=[])
    assert "200 documents were drawn at random." in page
    assert "found" not in page
    near = replace(drawn, near_duplicates=replace(drawn.near_duplicates, repeats=100))
    assert len(advise(near)) == 1
