"""Retrieval of documents for few-shots, by mixed similarity or at random.

Mixed similarity (CRAFT, arXiv 2409.02098, section 3.2) takes half of the documents by their similarity to single
few-shots, k'/F for each of the F, and half by the mean of the F similarities, with k' = 1.2 k / 2: 20% more than
needed, because both halves may find the same document. Here both halves are merged rank by rank until there are k
distinct documents, which keeps the halves and always gives k. As the merge does not depend on k, the hits for a smaller
k are the first of those for a larger one, and a retrieval goes on where it stopped.

The paper also keeps only 5% of each file as candidates, int(0.05 n / F / 2) for a few-shot, which is none at all for
files of fewer than 1,280 documents; the exact search needs no such limit.

Random documents are a baseline: what does mixed similarity gain?
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from craft_hf.base import Document, FewShot, Hit, InputError, Spooled, Vectors, word_runs, words
from craft_hf.retrieval.index.selection import EVERYTHING, Selection
from craft_hf.retrieval.permutation import RowNumbers, random_rows

if TYPE_CHECKING:
    from craft_hf.retrieval.index.search import Index

AVERAGE = "average"
"""Name of the branch that uses the mean of the similarities to all few-shots."""

RANDOM = "random"
"""What stands in `Hit.retrieved_by` in place of a branch for documents drawn at random."""

LEAKAGE_OVERLAP = 0.5
"""Shared 5-word sequences, as a share of the shorter text's, from which a document counts as a few-shot's text."""

_LEAKAGE_WORDS = 5

_FIRST_DEPTH = 2048
"""Documents that every branch is searched for at first, at least: a search for fewer is hardly faster."""

_EXTRA_DEPTH = 16
"""Documents that every branch is searched deeper than k, to replace those that are left out."""

_DEEPER = 4
"""Times as many documents that a branch is searched for when it needs more: a search reads the whole index."""

_BATCH = 256
"""Documents read from the index at a time."""


@dataclass(frozen=True)
class Retrieval:
    """The result of a retrieval.

    Attributes:
        hits: in order; their texts are on the disk.
        left_out: documents that are nearly the text of a few-shot: (document id, few-shot id, overlap).
        rows: rows of the hits in the index.
        left_out_rows: rows of `left_out` there.
    """

    hits: Spooled[Hit] = field(default_factory=Spooled)
    left_out: list[tuple[str, str, float]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    left_out_rows: list[int] = field(default_factory=list)


class _Placed(NamedTuple):
    """A document that has its place in the order of retrieval, known by its row in the index."""

    row: int
    similarity: float
    retrieved_by: tuple[str, ...]


class Retriever:
    """Retrieves documents for few-shots, in an order that does not depend on how many are asked for.

    By mixed similarity the order is that of the merge, and `Hit.retrieved_by` names the branch that placed the
    document, then the others that rank it at least as high, in the order few-shots, average. With a seed each document
    is as likely as any other, and its similarity is that to the mean of the few-shots.

    Documents that are nearly a few-shot's text are left out.

    Attributes:
        found: all that was found so far.
        passed_over: documents that were met so far, and not taken because of `most_per_source`.
        selection: which documents are searched.
        documents_by_source: how many these are.

    Args:
        index: where the documents are.
        few_shots: F of them.
        queries: their embeddings, unit vectors, float32 (F, dimension).
        min_similarity: least cosine similarity of a document, in the branch (a few-shot, or their mean) that places it;
            of a random draw, to the mean of the few-shots.
        seed: draws documents at random; None retrieves them by mixed similarity.
        selection: which documents are searched; the order is that of an index which holds only these.
        most_per_source: documents that one source gives at most: a share of all below 1 (rounded up, at every length of
            the list), or a number. Documents left out as a few-shot's text count too. Where a source has given its
            share, its next documents wait until there are enough of others.

    Raises:
        InputError: there are no few-shots, or not as many as queries; `selection` names what the index does not have;
            or the share is so small that the sources do not suffice.
    """

    def __init__(
        self,
        index: Index,
        few_shots: Sequence[FewShot],
        queries: Vectors,
        *,
        min_similarity: float = -math.inf,
        seed: int | None = None,
        selection: Selection = EVERYTHING,
        most_per_source: float | None = None,
    ) -> None:
        if not few_shots or len(few_shots) != len(queries):
            raise InputError(
                f"{len(few_shots)} few-shots and {len(queries)} embeddings were given; expected one or more, and as "
                "many."
            )
        self.found, self.passed_over = Retrieval(), 0
        self.index, self.few_shots, self.queries = index, few_shots, queries
        self._min_similarity, self.selection = min_similarity, selection
        self._shingles = {shot.id: _shingles(shot.text) for shot in few_shots}
        self._all_shingles = frozenset().union(*self._shingles.values())
        self._wanted = 0
        self.documents_by_source = selection.documents_by_source(index.info)
        placed = self._by_similarity() if seed is None else self._at_random(seed)
        self._placed = (
            placed
            if most_per_source is None
            else self._spread(placed, _checked(most_per_source, self.documents_by_source))
        )

    def take(self, k: int) -> Retrieval:
        """Retrieve until there are k hits, or no more in the index, and return all that was found so far.

        Raises:
            InputError: k is below 1, or a shard of the index is broken.
        """
        if k < 1:
            raise InputError(f"k is {k}, expected 1 or more.")
        self._wanted = k
        found = self.found
        while batch := list(itertools.islice(self._placed, min(max(0, k - len(found.hits)), _BATCH))):
            documents = self.index.documents([placed.row for placed in batch])
            for (row, similarity, retrieved_by), document in zip(batch, documents, strict=True):
                if leak := self._leaked_few_shot(document):
                    found.left_out.append((document.id, *leak))
                    found.left_out_rows.append(row)
                else:
                    found.hits.append(Hit(document, similarity, retrieved_by))
                    found.rows.append(row)
        return found

    def _by_similarity(self) -> Iterator[_Placed]:
        """Merge the branches: average and few-shots alternate, the few-shots take turns.

        Every branch gives its best document that was not taken before. When those known are used up, all are searched
        deeper; a branch that has no more is passed over.
        """
        names = [*(shot.id for shot in self.few_shots), AVERAGE]
        mean = self.queries.mean(axis=0, keepdims=True)  # similarity to the mean is the mean of the similarities
        queries = np.concatenate([self.queries, mean])
        singles, depth = len(self.few_shots), 0
        rows, scores = np.empty((len(names), 0), dtype=np.int64), np.empty((len(names), 0), dtype=np.float32)
        ranks: list[dict[int, int]] = [{} for _ in names]
        next_rank, ends, exhausted = [0] * len(names), [0] * len(names), [False] * len(names)
        taken: set[int] = set()
        for turn in itertools.count():
            branch = (turn // 2) % singles if turn % 2 == 0 else singles
            while True:
                while next_rank[branch] < ends[branch] and int(rows[branch, next_rank[branch]]) in taken:
                    next_rank[branch] += 1
                if next_rank[branch] < ends[branch] or exhausted[branch]:
                    break
                known = rows.shape[1]
                depth = max(_FIRST_DEPTH, self._wanted + _EXTRA_DEPTH, _DEEPER * depth)
                scores, rows = self.index.search(queries, depth, selection=self.selection)
                for of_branch, line in zip(ranks, rows[:, known:].tolist(), strict=True):
                    of_branch.update(zip(line, itertools.count(known)))
                ends = [int(count) for count in (scores >= self._min_similarity).sum(axis=1)]
                all_known = rows.shape[1] >= self.documents_by_source.total()
                exhausted = [all_known or end < rows.shape[1] for end in ends]
            rank = next_rank[branch]
            if rank < ends[branch]:
                row = int(rows[branch, rank])
                taken.add(row)
                others = [name for b, name in enumerate(names) if b != branch and ranks[b].get(row, depth) <= rank]
                yield _Placed(row, float(scores[branch, rank]), (names[branch], *others))
            elif all(exhausted) and all(rank >= end for rank, end in zip(next_rank, ends, strict=True)):
                return

    def _at_random(self, seed: int) -> Iterator[_Placed]:
        """Draw all documents that are selected and similar enough, without reading their texts."""
        mean = self.queries.mean(axis=0, dtype=np.float64)
        for drawn in drawn_rows(self.index, seed, self.selection):
            for start in range(0, len(drawn), _BATCH):
                rows = drawn[start : start + _BATCH]
                similarities = self.index.similarities(mean[None], rows)[0]
                for row, similarity in zip(rows.tolist(), similarities.tolist(), strict=True):
                    if similarity >= self._min_similarity:
                        yield _Placed(row, similarity, (RANDOM,))

    def _spread(self, placed: Iterator[_Placed], most: float) -> Iterator[_Placed]:
        """Let no source give more than `most`; see `most_per_source`."""
        unseen, given, total = self.documents_by_source.copy(), Counter[str](), 0
        waiting: dict[str, deque[tuple[int, _Placed]]] = {}
        order = itertools.count()

        def may_give(source: str) -> bool:
            return given[source] < (most if most >= 1 else math.ceil(most * (total + 1) - 1e-9))

        while any(count and may_give(source) for source, count in unseen.items()) and (
            batch := list(itertools.islice(placed, _BATCH))
        ):
            corpora = self.index.corpora([document.row for document in batch])
            for document, (source, _) in zip(batch, corpora, strict=True):
                unseen[source] -= 1
                self.passed_over += 1
                if most < 1 or may_give(source):
                    waiting.setdefault(source, deque()).append((next(order), document))
                while ready := [name for name in waiting if may_give(name)]:
                    first = min(ready, key=lambda name: waiting[name][0][0])
                    _, document = waiting[first].popleft()
                    if not waiting[first]:
                        del waiting[first]
                    given[first] += 1
                    total += 1
                    self.passed_over -= 1
                    yield document

    def _leaked_few_shot(self, document: Document) -> tuple[str, float] | None:
        """Return the few-shot whose text the document nearly is, with their overlap, or None."""
        mine = _shingles(document.text)
        shared = mine & self._all_shingles
        for few_shot_id, theirs in self._shingles.items() if shared else ():
            shorter = min(len(mine), len(theirs))
            if shorter and (overlap := len(shared & theirs) / shorter) >= LEAKAGE_OVERLAP:
                return few_shot_id, overlap
        return None


def drawn_rows(index: Index, seed: int, selection: Selection = EVERYTHING) -> Iterator[RowNumbers]:
    """Yield the rows of all documents that are selected, some at a time, in a random order; no text is read."""
    for rows in random_rows(len(index), seed):
        yield rows[[selection.includes(*corpus) for corpus in index.corpora(rows)]] if selection else rows


def _checked(most_per_source: float, sources: Iterable[str]) -> float:
    count = len(set(sources))
    if most_per_source >= 1 and most_per_source != int(most_per_source):
        raise InputError(f"most_per_source is {most_per_source:g}, expected a share below 1, or a whole number.")
    if most_per_source < 1 and most_per_source * count < 1:
        raise InputError(
            f"most_per_source is {most_per_source:g}, but the documents are of {count} "
            f"source{'s' if count > 1 else ''}, so that one gives {1 / count:.3g} of all or more; give "
            f"{math.ceil(1000 / count) / 1000:g} or more, or leave it out."
        )
    return most_per_source


def _shingles(text: str) -> set[tuple[str, ...]]:
    """Return all sequences of 5 words of a text; of a shorter text, all its words."""
    found = set(word_runs(text, _LEAKAGE_WORDS))
    return found or ({whole} if (whole := tuple(words(text))) else set())
