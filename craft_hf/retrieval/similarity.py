"""Retrieval, by mixed similarity or at random: few-shots and an index come in, an ordered list of hits goes out.

The paper (arXiv 2409.02098, section 3.2) takes half of the documents by the similarity to single few-shots, k'/F for
each of the F, and half by the mean of the F similarities, with k' = 1.2 k / 2: 20% more than needed, because both
halves may find the same document. Here both halves are merged rank by rank until k distinct documents are there, which
keeps the halves and always gives k. And as the merge does not depend on k, the hits for a smaller k are the first of
those for a larger one.

The paper also keeps only 5% of each file as candidates, int(0.05 n / F / 2) for a few-shot, which for files of fewer
than 1,280 documents is none at all; the exact search needs no such cut.

Documents at random are there to compare with: what is mixed similarity worth?
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
"""Name of the branch that compares with the mean of all few-shots."""

MIXED, RANDOM = WAYS = ("mixed", "random")
"""The ways to choose documents; "random" also stands in `Hit.retrieved_by` in place of a branch."""

LEAKAGE_OVERLAP = 0.5
"""Share of common 5-word sequences, of the shorter text's, from which a document counts as a few-shot's text."""

_SLACK = 16
"""Documents by which every branch is searched deeper than k, to make up for what is left out."""

_BATCH = 256
"""Documents read from the index at a time."""


@dataclass(frozen=True)
class Retrieval:
    """Hits in order, the documents left out: (document id, few-shot id, overlap of their texts), and the hits' rows."""

    hits: list[Hit] = field(default_factory=list)
    left_out: list[tuple[str, str, float]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)


def retrieve(
    index: Index, few_shots: Sequence[FewShot], queries: Vectors, k: int, floor: float = -math.inf
) -> Retrieval:
    """Return k distinct documents by mixed similarity.

    Args:
        index: where to look.
        few_shots: F of them.
        queries: their embeddings, unit vectors, float32 (F, dimension).
        k: how many hits, 1 or more; fewer come back only if the index has no more.
        floor: least similarity; a document that reaches it to a few-shot, or to their mean, may be placed by that one.

    Returns:
        The hits in the order of the merge. `Hit.retrieved_by` names the branch that placed the document, then the
        others that had it among as many of their best as the placing branch had, in the order few-shots, average.

    Raises:
        InputError: k is below 1, there is no few-shot, or the numbers of few-shots and queries differ.
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
    depth = k + _SLACK
    while True:
        found, ended = _first(index, branches, shingles, queries, k, depth, floor)
        if len(found.hits) == k or ended:
            return found
        depth *= 2  # more was left out than was reckoned with


def draw(
    index: Index, few_shots: Sequence[FewShot], queries: Vectors, k: int, seed: int, floor: float = -math.inf
) -> Retrieval:
    """Return k distinct documents drawn at random, each as likely as any other; a larger k continues a smaller one.

    Args:
        index: where to draw from.
        few_shots: F of them.
        queries: their embeddings, unit vectors, float32 (F, dimension).
        k: how many hits, 1 or more; fewer come back only if the index has no more.
        seed: another seed draws others.
        floor: least similarity; what is less similar is passed over.

    Returns:
        The hits in the order of the draw; their similarity is that to the mean of the few-shots. Documents that nearly
        are a few-shot's text are left out, as in `retrieve`.

    Raises:
        InputError: k is below 1, or a shard of the index is broken.
    """
    if k < 1:
        raise InputError(f"k is {k}, expected 1 or more.")
    shingles = {shot.id: _shingles(shot.text) for shot in few_shots}
    mean = queries.mean(axis=0, dtype=np.float64)
    found, drawn = Retrieval(), _draw_rows(len(index), seed)
    while len(found.hits) < k and (rows := list(itertools.islice(drawn, min(k - len(found.hits), _BATCH)))):
        similarities = (index.embeddings(rows) * mean).sum(axis=1)  # a product of matrices would depend on their size
        for row, similarity, document in zip(rows, similarities, index.documents(rows), strict=True):
            if similarity < floor:
                continue
            if leak := _leak(document, shingles):
                found.left_out.append((document.id, *leak))
                continue
            found.hits.append(Hit(document, float(similarity), (RANDOM,)))
            found.rows.append(row)
    return found


def _draw_rows(count: int, seed: int) -> Iterator[int]:
    """Yield all of 0..count-1 in random order, without a list of them: an index may hold hundreds of millions."""
    rng, taken = np.random.default_rng(seed), set[int]()
    while len(taken) < count:
        row = int(rng.integers(count))
        if row not in taken:
            taken.add(row)
            yield row


def _first(
    index: Index,
    branches: Sequence[str],
    shingles: dict[str, set[tuple[str, ...]]],
    queries: Vectors,
    k: int,
    depth: int,
    floor: float,
) -> tuple[Retrieval, bool]:
    """Return up to k hits from the `depth` best documents of every branch, and whether no branch has more."""
    found = Retrieval()
    scores, rows = index.search(queries, depth)
    ranks = [{int(row): rank for rank, row in enumerate(line)} for line in rows]
    ends = [int(n) for n in (scores >= floor).sum(axis=1)]
    ended = [end < depth or depth >= len(index) for end in ends]
    merged = _merge(rows, ends, ended)
    while len(found.hits) < k and (turns := list(itertools.islice(merged, min(k - len(found.hits), _BATCH)))):
        documents = index.documents([int(rows[turn]) for turn in turns])
        for (branch, rank), document in zip(turns, documents, strict=True):
            if leak := _leak(document, shingles):
                found.left_out.append((document.id, *leak))
                continue
            row = int(rows[branch, rank])
            others = [name for b, name in enumerate(branches) if b != branch and ranks[b].get(row, depth) <= rank]
            found.hits.append(Hit(document, float(scores[branch, rank]), (branches[branch], *others)))
            found.rows.append(row)
    return found, all(ended)


def _merge(rows: Rows, ends: Sequence[int], ended: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Yield (branch, rank) of each new document: few-shots and average take turns, the few-shots in a circle.

    Of each branch's list the first `ends` count. A branch whose list is used up passes its turn if nothing more can
    come (`ended`); otherwise the merge ends there, as what would come next has to be searched for.
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
        elif not ended[branch] or all(rank >= end for rank, end in zip(next_rank, ends, strict=True)):
            return


def _leak(document: Document, shingles: dict[str, set[tuple[str, ...]]]) -> tuple[str, float] | None:
    """Return the few-shot whose text the document nearly is, with the overlap, or None."""
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
