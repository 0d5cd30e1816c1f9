"""Retrieval of documents for few-shots, by mixed similarity or at random.

Mixed similarity (CRAFT, arXiv 2409.02098, section 3.2) takes half of the documents by their similarity to single
few-shots, k'/F for each of the F, and half by the mean of the F similarities, with k' = 1.2 k / 2: 20% more than
needed, because both halves may find the same document. Here both halves are merged rank by rank until there are k
distinct documents, which keeps the halves and always gives k. As the merge does not depend on k, the hits for a smaller
k are the first of those for a larger one.

The paper also keeps only 5% of each file as candidates, int(0.05 n / F / 2) for a few-shot, which is none at all for
files of fewer than 1,280 documents; the exact search needs no such limit.

Random documents are a baseline: what does mixed similarity gain?
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from craft_hf.base import Document, FewShot, Hit, InputError, Vectors

if TYPE_CHECKING:
    from craft_hf.retrieval.index.search import Index, Rows

AVERAGE = "average"
"""Name of the branch that uses the mean of the similarities to all few-shots."""

RANDOM = "random"
"""What stands in `Hit.retrieved_by` in place of a branch for documents drawn at random."""

LEAKAGE_OVERLAP = 0.5
"""Shared 5-word sequences, as a share of the shorter text's, from which a document counts as a few-shot's text."""

_EXTRA_DEPTH = 16
"""Documents that every branch is searched deeper than k, to replace those that are left out."""

_BATCH = 256
"""Documents read from the index at a time."""


@dataclass(frozen=True)
class Retrieval:
    """The result of a retrieval.

    Attributes:
        hits: in order.
        left_out: documents that are nearly the text of a few-shot: (document id, few-shot id, overlap).
        rows: rows of the hits in the index.
    """

    hits: list[Hit] = field(default_factory=list)
    left_out: list[tuple[str, str, float]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)


def retrieve_similar(
    index: Index, few_shots: Sequence[FewShot], queries: Vectors, k: int, min_similarity: float = -math.inf
) -> Retrieval:
    """Return k distinct documents by mixed similarity.

    Args:
        index: where to search.
        few_shots: F of them.
        queries: their embeddings, unit vectors, float32 (F, dimension).
        k: how many hits, 1 or more; fewer are returned only if the index has no more.
        min_similarity: cosine similarity that a document must have in the branch (a few-shot, or their mean) that
            places it.

    Returns:
        The hits in the order of the merge. `Hit.retrieved_by` names the branch that placed the document, then the
        others that rank it at least as high, in the order few-shots, average.

    Raises:
        InputError: k is below 1, there are no few-shots, or the numbers of few-shots and queries differ.
    """
    if k < 1:
        raise InputError(f"k is {k}, expected 1 or more.")
    if not few_shots or len(few_shots) != len(queries):
        raise InputError(
            f"{len(few_shots)} few-shots and {len(queries)} embeddings were given; expected one or more, and as many."
        )
    shingles = {shot.id: _shingles(shot.text) for shot in few_shots}
    mean = queries.mean(axis=0, keepdims=True)  # similarity to the mean is the mean of the similarities
    branches = [*(shot.id for shot in few_shots), AVERAGE]
    queries = np.concatenate([queries, mean])
    depth = k + _EXTRA_DEPTH
    while True:
        found, exhausted = _merge_to_depth(index, branches, shingles, queries, k, depth, min_similarity)
        if len(found.hits) == k or exhausted:
            return found
        depth *= 2  # more documents were left out than _EXTRA_DEPTH


def retrieve_random(
    index: Index, few_shots: Sequence[FewShot], queries: Vectors, k: int, seed: int, min_similarity: float = -math.inf
) -> Retrieval:
    """Return k distinct documents drawn at random, each as likely as any other; a larger k continues a smaller one.

    Args:
        index: where to draw documents from.
        few_shots: F of them.
        queries: their embeddings, unit vectors, float32 (F, dimension).
        k: how many hits, 1 or more; fewer are returned only if the index has no more.
        seed: another seed draws other documents.
        min_similarity: cosine similarity to the mean of the few-shots below which a document is skipped.

    Returns:
        The hits in the order of the draw; their similarity is to the mean of the few-shots. Documents that are nearly a
        few-shot's text are left out, as in `retrieve_similar`.

    Raises:
        InputError: k is below 1, or a shard of the index is broken.
    """
    if k < 1:
        raise InputError(f"k is {k}, expected 1 or more.")
    shingles = {shot.id: _shingles(shot.text) for shot in few_shots}
    mean = queries.mean(axis=0, dtype=np.float64)
    found, drawn = Retrieval(), _random_rows(len(index), seed)
    while len(found.hits) < k and (rows := list(itertools.islice(drawn, min(k - len(found.hits), _BATCH)))):
        similarities = (index.embeddings(rows) * mean).sum(axis=1)  # a matrix product would round differently by size
        for row, similarity, document in zip(rows, similarities, index.documents(rows), strict=True):
            if similarity < min_similarity:
                continue
            if leak := _leaked_few_shot(document, shingles):
                found.left_out.append((document.id, *leak))
                continue
            found.hits.append(Hit(document, float(similarity), (RANDOM,)))
            found.rows.append(row)
    return found


def _random_rows(count: int, seed: int) -> Iterator[int]:
    """Yield all of 0..count-1 in random order, without a list of them: an index may hold hundreds of millions."""
    rng, taken = np.random.default_rng(seed), set[int]()
    while len(taken) < count:
        row = int(rng.integers(count))
        if row not in taken:
            taken.add(row)
            yield row


def _merge_to_depth(
    index: Index,
    branches: Sequence[str],
    shingles: dict[str, set[tuple[str, ...]]],
    queries: Vectors,
    k: int,
    depth: int,
    min_similarity: float,
) -> tuple[Retrieval, bool]:
    """Return up to k hits from the `depth` best documents of every branch, and whether all branches are exhausted."""
    found = Retrieval()
    scores, rows = index.search(queries, depth)
    ranks = [{int(row): rank for rank, row in enumerate(line)} for line in rows]
    ends = [int(n) for n in (scores >= min_similarity).sum(axis=1)]
    exhausted = [end < depth or depth >= len(index) for end in ends]
    merged = _merge(rows, ends, exhausted)
    while len(found.hits) < k and (turns := list(itertools.islice(merged, min(k - len(found.hits), _BATCH)))):
        documents = index.documents([int(rows[turn]) for turn in turns])
        for (branch, rank), document in zip(turns, documents, strict=True):
            if leak := _leaked_few_shot(document, shingles):
                found.left_out.append((document.id, *leak))
                continue
            row = int(rows[branch, rank])
            others = [name for b, name in enumerate(branches) if b != branch and ranks[b].get(row, depth) <= rank]
            found.hits.append(Hit(document, float(scores[branch, rank]), (branches[branch], *others)))
            found.rows.append(row)
    return found, all(exhausted)


def _merge(rows: Rows, ends: Sequence[int], exhausted: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Yield (branch, rank) of each new document: average and few-shots alternate, the few-shots round-robin.

    Only the first `ends` of each branch's list are used. When they are used up, the branch is passed over if it has no
    more documents (`exhausted`); otherwise the merge ends, because the next document is not known yet.
    """
    singles = len(rows) - 1
    taken: set[int] = set()
    next_rank = [0] * len(rows)
    for turn in itertools.count():
        branch = (turn // 2) % singles if turn % 2 == 0 else singles
        while next_rank[branch] < ends[branch] and int(rows[branch, next_rank[branch]]) in taken:
            next_rank[branch] += 1
        if next_rank[branch] < ends[branch]:
            taken.add(int(rows[branch, next_rank[branch]]))
            yield branch, next_rank[branch]
        elif not exhausted[branch] or all(rank >= end for rank, end in zip(next_rank, ends, strict=True)):
            return


def _leaked_few_shot(document: Document, shingles: dict[str, set[tuple[str, ...]]]) -> tuple[str, float] | None:
    """Return the few-shot whose text the document nearly is, with their overlap, or None."""
    mine = _shingles(document.text)
    for few_shot_id, theirs in shingles.items():
        shorter = min(len(mine), len(theirs))
        if shorter and (overlap := len(mine & theirs) / shorter) >= LEAKAGE_OVERLAP:
            return few_shot_id, overlap
    return None


def _shingles(text: str) -> set[tuple[str, ...]]:
    """Return all sequences of 5 words of a text."""
    words = re.findall(r"\w+", text.casefold())
    return set(zip(*(words[i:] for i in range(5)), strict=False))
