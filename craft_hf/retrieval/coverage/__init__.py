"""How well few-shots and an index fit each other, by what retrieval finds.

No generator is called, so that it can be read before anything is paid for.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from craft_hf.base import FewShot, Hit, Vectors
from craft_hf.retrieval.coverage.advice import advise
from craft_hf.retrieval.coverage.figures import Band, Coverage, Decay, FewShotUse, NearDuplicateDocuments, SourceShare
from craft_hf.retrieval.coverage.vector_statistics import mean_similarity, near_duplicates, normalized, vendi_score
from craft_hf.retrieval.index.search import Index
from craft_hf.retrieval.index.selection import EVERYTHING, Selection
from craft_hf.retrieval.similarity import AVERAGE, RANDOM, Retriever, drawn_rows

RANDOM_DOCUMENTS = 1_000
"""Random documents of the index that the hits are compared with."""

_BANDS = 10

_SPREADS = 1.645 * 1.4826
"""From the median of normally distributed values to their upper 5%, in median absolute deviations."""


def measure_coverage(retriever: Retriever, few_shot_similarity: float | None = None) -> Coverage:
    """Compute the coverage of what was retrieved so far; it is compared with documents that are drawn by a fixed seed.

    Args:
        retriever: what has retrieved.
        few_shot_similarity: see `Coverage`.

    Raises:
        InputError: a shard of the index is broken.
    """
    index, found, selected = retriever.index, retriever.found, retriever.documents_by_source
    random = random_documents(index, retriever.selection)
    return compute_coverage(
        [replace(hit, document=replace(hit.document, text="")) for hit in found.hits],  # texts are on the disk
        retriever.few_shots,
        selected,
        queries=retriever.queries,
        embeddings=index.embeddings(found.rows),
        random=index.embeddings(random),
        random_similarities=index.similarities(retriever.queries, random).T,
        left_out=len(found.left_out),
        not_selected=len(index) - selected.total(),
        passed_over=retriever.passed_over,
        few_shot_similarity=few_shot_similarity,
    )


def random_documents(index: Index, selection: Selection = EVERYTHING) -> Sequence[int]:
    """Return the rows of up to RANDOM_DOCUMENTS selected documents, drawn with a fixed seed."""
    rows = itertools.chain.from_iterable(drawn_rows(index, 0, selection))
    return [int(row) for row in itertools.islice(rows, RANDOM_DOCUMENTS)]


def compute_coverage(
    hits: Sequence[Hit],
    few_shots: Sequence[FewShot],
    corpora: Mapping[str, int],
    *,
    queries: Vectors,
    embeddings: Vectors,
    random: Vectors,
    random_similarities: Vectors | None = None,
    left_out: int = 0,
    not_selected: int = 0,
    passed_over: int = 0,
    few_shot_similarity: float | None = None,
) -> Coverage:
    """Compute the coverage from embeddings that were read already; see `Coverage`.

    Args:
        hits: in the order of retrieval; may be empty.
        few_shots: F of them.
        corpora: selected documents of the index by source.
        queries: embeddings of the few-shots, unit vectors, float32 (F, dimension).
        embeddings: of the hits, float32 (hits, dimension).
        random: embeddings of one or more random documents of them, float32 (documents, dimension).
        random_similarities: of these to the few-shots, as the hits' are measured, float32 (documents, F); by default
            the products of the embeddings.
        left_out: documents that were left out because they are nearly the text of a few-shot.
        not_selected: documents of the index that are of other sources or licences than asked for.
        passed_over: documents that were not taken because their source gave its most.
        few_shot_similarity: see `Coverage`.
    """
    vectors = normalized(embeddings)
    if random_similarities is None:
        random_similarities = random @ queries.T
    drawn = any(RANDOM in hit.retrieved_by for hit in hits)
    coverage = Coverage(
        hits=len(hits),
        left_out=left_out,
        not_selected=not_selected,
        passed_over=passed_over,
        found_by_few_shots=len(_finders(hits)),
        both=None
        if drawn
        else _ratio(sum(AVERAGE in h.retrieved_by and len(h.retrieved_by) > 1 for h in hits), len(hits)),
        few_shots=_uses(hits, few_shots),
        sources=_sources(hits, corpora),
        decay={} if drawn else _decay(hits, random_similarities, len(few_shots)),
        near_duplicates=_near_duplicate_documents(hits, vectors),
        random_documents=len(random),
        mean_similarity=_rounded(mean_similarity(vectors)),
        random_similarity=_rounded(mean_similarity(normalized(random))),
        few_shot_similarity=_rounded(few_shot_similarity),
        vendi_score=_rounded(vendi_score(vectors)),
        drawn=drawn,
    )
    return replace(coverage, warnings=advise(coverage))


def _uses(hits: Sequence[Hit], few_shots: Sequence[FewShot]) -> tuple[FewShotUse, ...]:
    placed = Counter(hit.retrieved_by[0] for hit in hits)
    finders = _finders(hits)
    found = Counter(name for names in finders for name in names)
    alone = Counter(names[0] for names in finders if len(names) == 1)
    parts: dict[str, float] = defaultdict(float)
    for names in finders:
        for name in names:
            parts[name] += 1 / len(names)
    return tuple(
        FewShotUse(s.id, placed[s.id], found[s.id], alone[s.id], _ratio(parts[s.id], len(finders)) or 0.0)
        for s in few_shots
    )


def _finders(hits: Sequence[Hit]) -> list[list[str]]:
    """Return the few-shots that found each document; documents that only the average found are not in the list."""
    named = ([name for name in hit.retrieved_by if name not in (AVERAGE, RANDOM)] for hit in hits)
    return [names for names in named if names]


def _sources(hits: Sequence[Hit], corpora: Mapping[str, int]) -> tuple[SourceShare, ...]:
    """Sources with most hits first, then the largest corpus; ties in alphabetical order."""
    counts = Counter(hit.document.source for hit in hits)
    everything = sum(corpora.values())
    order = sorted(corpora, key=lambda source: (-counts[source], -corpora[source], source))
    return tuple(
        SourceShare(
            source=source,
            hits=counts[source],
            share=_ratio(counts[source], len(hits)) or 0.0,
            documents=corpora[source],
            index_share=_ratio(corpora[source], everything) or 0.0,
            ratio=_ratio(counts[source] * everything, corpora[source] * len(hits)),
        )
        for source in order
    )


def _decay(hits: Sequence[Hit], random: Vectors, turns: int) -> dict[str, Decay]:
    """Split each half into bands; `random` has the similarities of random documents (rows) to few-shots (columns)."""
    halves: dict[str, list[float]] = {"individual": [], "averaged": []}
    for hit in hits:
        halves["averaged" if hit.retrieved_by[0] == AVERAGE else "individual"].append(hit.similarity)
    baselines = {"individual": random.ravel(), "averaged": random.mean(axis=1)}
    return {name: _one_decay(similarities, baselines[name], turns) for name, similarities in halves.items()}


def _one_decay(similarities: Sequence[float], random: np.ndarray, turns: int) -> Decay:
    median = float(np.median(random))
    spread = float(np.median(np.abs(random - median)))
    return Decay(_bands(similarities, turns), round(median, 4), round(median + _SPREADS * spread, 4))


def _bands(similarities: Sequence[float], turns: int) -> tuple[Band, ...]:
    """Split at whole rounds of few-shots, because their similarities differ; the last band takes the rest."""
    count = len(similarities)
    rounds = max(1, count // turns)
    cuts = [turns * (rounds * i // min(_BANDS, rounds)) for i in range(min(_BANDS, rounds))]
    bands = []
    for start, end in itertools.pairwise([*cuts, count] if count else []):
        low, median, high = (float(np.quantile(similarities[start:end], q)) for q in (0.1, 0.5, 0.9))
        bands.append(Band(start + 1, end, round(low, 4), round(median, 4), round(high, 4)))
    return tuple(bands)


def _near_duplicate_documents(hits: Sequence[Hit], vectors: Vectors) -> NearDuplicateDocuments:
    found = near_duplicates(vectors)
    examples = ((hits[row].document.id, hits[partner].document.id, c) for row, partner, c in found.examples)
    return NearDuplicateDocuments(found.compared, found.pairs, found.repeats, tuple(examples))


def _ratio(part: float, whole: float) -> float | None:
    return _rounded(part / whole) if whole else None


def _rounded(value: float | None) -> float | None:
    """Round to four decimals, as many as float16 embeddings justify, and the same with any number of threads."""
    return None if value is None else round(value, 4)
