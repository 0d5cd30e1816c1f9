"""Step 1 and 2 in one pass: int8 codes are compared, and what may be among the best is scored exactly, at once.

For query q and document d the product of their int8 codes gives the similarity up to an error that is known (see
`quantize`). A document whose similarity plus error does not reach the k-th best so far cannot be among the k best and
is passed over; all others are scored exactly. So nothing is lost, whatever the embeddings are.

Exactly means: the query's components are rounded to multiples of 2^-28 (below float32's own precision for a
unit vector of some hundred components), float16 numbers are multiples of 2^-24, so products are multiples of 2^-52, and
float64 adds them without any rounding as long as sums stay below 2. The score is this sum, rounded to float32 once:
the same number on every machine and in every order of work.

The k-th best so far (the floor) starts from a guess made on a sample of the codes, taken a bit too low. If fewer than k
documents reach it, the guess was too high and the queries concerned are scanned again without one.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from craft_hf.embed import Vectors
from craft_hf.index.quantize import Codes, Floats, quantize
from craft_hf.index.shard import Shard

BLOCK = 4096
"""Documents whose codes are compared at a time; block and products stay in a core's cache."""

SAMPLE = 65_536
"""Most documents that the first floor is guessed from; never more than a 16th of the index."""

_CHUNKS = 64
_LOWEST = np.finfo(np.float32).min

Rows = np.ndarray[tuple[int], np.dtype[np.int64]]
Part = tuple[int, Callable[[], Shard], int, int]
"""Row in the index of the shard's first document, the shard's opener, and first and last row within the shard."""


@dataclass(frozen=True)
class _Queries:
    """Queries in all forms that the scan needs; one entry or row for each query.

    `errors` are the lengths of what the quantization of the queries left over.
    """

    exact: np.ndarray
    single: Vectors
    codes: Codes
    steps: Floats
    lengths: Floats
    errors: Floats

    @classmethod
    def prepare(cls, queries: Vectors) -> _Queries:
        """Round and quantize queries."""
        exact = np.rint(queries.astype(np.float64) * 2.0**28) * 2.0**-28
        codes, steps, errors = quantize(exact)
        lengths = (np.linalg.norm(exact, axis=1) * 1.00001).astype(np.float32)
        return cls(exact, exact.astype(np.float32), codes, steps, lengths, errors)

    def bounds(self, longest: float) -> tuple[Floats, Floats]:
        """Return how far codes and how far float32 sums can be off for embeddings up to a length.

        The first is for the quantized query only; the second, for rounding, is generous: dimension * 2^-23 where
        (dimension - 1) * 2^-24 is the textbook bound of a sum of products.
        """
        rounding = np.float32(max(self.exact.shape[1] * 2.0**-23, 1e-5) * longest) * self.lengths
        return np.float32(1.01 * longest) * self.errors + rounding, rounding

    def take(self, lines: np.ndarray) -> _Queries:
        """Return some of the queries."""
        return _Queries(
            self.exact[lines], self.single[lines], self.codes[lines], self.steps[lines], self.lengths[lines],
            self.errors[lines],
        )  # fmt: skip


def top_k(
    parts: Sequence[Part], queries: Vectors, k: int, threads: int, progress: Callable[[int], object]
) -> list[tuple[Floats, Rows]]:
    """Return the k best rows of each query among all parts.

    Args:
        parts: which rows of which shards; together the whole index or some of it.
        queries: float32 (queries, dimension).
        k: how many, 1 or more.
        threads: how many parts are scanned at a time.
        progress: is told how many documents were scanned.

    Returns:
        For each query scores, float32, best first, and rows in the index, int64; ties in the order of rows; fewer than
        k only if there are fewer rows.
    """
    rows = sum(stop - start for _, _, start, stop in parts)
    prepared = _Queries.prepare(queries)
    floors = _guess(parts, prepared, k, rows)
    found = _scan(parts, prepared, k, floors, threads, progress)
    if missed := [line for line, (scores, _) in enumerate(found) if len(scores) < min(k, rows)]:
        again = np.full(len(missed), _LOWEST, dtype=np.float32)
        rescanned = _scan(parts, prepared.take(np.array(missed)), k, again, threads, lambda documents: None)
        for line, best in zip(missed, rescanned, strict=True):
            found[line] = best
    return found


def _guess(parts: Sequence[Part], queries: _Queries, k: int, rows: int) -> Floats:
    """Guess a score that somewhat more than k documents reach, from documents spread evenly over the parts."""
    floors = np.full(len(queries.codes), _LOWEST, dtype=np.float32)
    size = min(SAMPLE, rows // 16)
    expected = size * k / max(rows, 1)
    rank = math.ceil(expected + 4 * math.sqrt(expected) + 4)
    if rank > size // 2:
        return floors
    starts = np.cumsum([0, *(stop - start for _, _, start, stop in parts)])
    length = -(-size // _CHUNKS)
    scores = []
    for position in np.linspace(0, rows - length, min(_CHUNKS, size)).astype(np.int64):
        number = int(np.searchsorted(starts, position, side="right")) - 1
        _, opened, start, stop = parts[number]
        first = start + int(position - starts[number])
        shard = opened()
        last = min(first + length, stop)
        products = _products(shard.codes[first:last], queries.codes)
        scores.append(products * shard.scales[first:last, None])
        shard.close()
    sample = np.concatenate(scores)
    if rank <= len(sample):
        floors[:] = np.partition(sample, len(sample) - rank, axis=0)[len(sample) - rank] * queries.steps
    return floors


def _scan(
    parts: Sequence[Part], queries: _Queries, k: int, floors: Floats, threads: int, progress: Callable[[int], object]
) -> list[tuple[Floats, Rows]]:
    """Scan all parts with some threads, each of which keeps its own best; then merge."""
    local = threading.local()
    kept: list[_Best] = []

    def scan(part: Part) -> None:
        if not hasattr(local, "best"):
            torch.set_num_threads(1)  # of this thread: the parts are what runs side by side
            local.best = _Best(len(queries.codes), k, floors)
            kept.append(local.best)
        local.best.scan(part, queries)

    before = torch.get_num_threads()
    with ThreadPoolExecutor(max(1, min(threads, len(parts)))) as pool:
        try:
            for (_, _, start, stop), _ in zip(parts, pool.map(scan, parts), strict=True):
                progress(stop - start)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            torch.set_num_threads(before)
    return [_best([best.of(line) for best in kept], k) for line in range(len(queries.codes))]


class _Best:
    """What one thread has found: for each query, all documents that reach the floor, cut to the k best now and then.

    `floors` is shared by all threads: the k-th best of any of them is a floor for all.
    """

    def __init__(self, queries: int, k: int, floors: Floats) -> None:
        self._k, self._floors = k, floors
        self._scores = np.empty((queries, k + max(k, BLOCK) + BLOCK), dtype=np.float32)
        self._rows = np.empty(self._scores.shape, dtype=np.int64)
        self._counts = np.zeros(queries, dtype=np.int64)

    def of(self, line: int) -> tuple[Floats, Rows]:
        """Return what is kept for one query, in no order."""
        count = self._counts[line]
        return self._scores[line, :count], self._rows[line, :count]

    def scan(self, part: Part, queries: _Queries) -> None:
        """Take in what reaches the floors in some rows of a shard."""
        collect = compiled()
        base, opened, first, last = part
        shard = opened()
        codes, scales, residuals = shard.codes, shard.scales, shard.residuals
        bits = shard.embeddings.view(np.uint16)
        slack, rounding = queries.bounds(shard.longest)
        for start in range(first, last, BLOCK):
            stop = min(start + BLOCK, last)
            collect(
                _products(codes[start:stop], queries.codes), scales[start:stop], residuals[start:stop],
                bits[start:stop], queries.steps, queries.lengths, slack, rounding, queries.single,
                queries.exact, self._floors, base + start, self._scores, self._rows, self._counts,
            )  # fmt: skip
            for line in np.flatnonzero(self._counts > self._scores.shape[1] - BLOCK):
                self._cut(int(line))
        shard.close()

    def _cut(self, line: int) -> None:
        scores, rows = _best([self.of(line)], self._k)
        self._scores[line, : self._k], self._rows[line, : self._k] = scores, rows
        self._counts[line] = self._k
        self._floors[line] = max(self._floors[line], scores[-1])


def _best(found: Iterable[tuple[Floats, Rows]], k: int) -> tuple[Floats, Rows]:
    """Return the k best of what several threads found, best first, ties in the order of rows."""
    scores, rows = (np.concatenate(column) for column in zip(*found, strict=True))
    if len(scores) > k:
        keep = scores >= np.partition(scores, len(scores) - k)[len(scores) - k]
        scores, rows = scores[keep], rows[keep]
    order = np.lexsort((rows, -scores))[:k]
    return scores[order], rows[order]


def _products(codes: Codes, queries: Codes) -> np.ndarray:
    """Return the products of codes, int32 (documents, queries): exact, by the machine's int8 instructions."""
    if codes.shape[1] == 1:
        return codes.astype(np.int32) * queries.T  # torch 2.13 mistakes a single column for a row
    products: np.ndarray = torch._int_mm(torch.from_numpy(codes), torch.from_numpy(queries).T).numpy()
    return products


@functools.cache
def compiled() -> Callable[..., None]:
    """Return `collect` as machine code; compiled once and kept on disk, as numba does it."""
    import numba

    # Not "fast" in full: that would let the compiler forget about infinities.
    jit = functools.partial(
        numba.njit, collect, nogil=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy"
    )
    made: Callable[..., None]
    try:
        made = jit(cache=True)
    except RuntimeError:  # no folder that numba could write to
        made = jit()
    return made


def collect(
    products: np.ndarray, scales: np.ndarray, residuals: np.ndarray, bits: np.ndarray, steps: np.ndarray,
    lengths: np.ndarray, slack: np.ndarray, rounding: np.ndarray, single: np.ndarray, exact: np.ndarray,
    floors: np.ndarray, first: int, out_scores: np.ndarray, out_rows: np.ndarray, counts: np.ndarray,
) -> None:  # fmt: skip
    """Append to each query's list the documents of a block that reach its floor.

    Args:
        products: int32 (documents, queries), the products of the codes.
        scales: float32 (documents,).
        residuals: float32 (documents,).
        bits: uint16 (documents, dimension), the float16 embeddings.
        steps: float32 (queries,), scales of the queries' codes.
        lengths: float32 (queries,), Euclidean.
        slack: float32 (queries,), bound of what the codes do not tell because of the query, and of rounding.
        rounding: float32 (queries,), bound of the rounding of float32 sums.
        single: float32 (queries, dimension).
        exact: float64 (queries, dimension).
        floors: float32 (queries,).
        first: row of the block's first document.
        out_scores: float32 (queries, room), filled up to `counts`.
        out_rows: int64 (queries, room), likewise.
        counts: int64 (queries,).
    """
    documents, queries = products.shape
    dimension = bits.shape[1]
    upper = np.empty(queries, np.float32)
    words = np.empty(dimension, np.uint32)
    embedding = words.view(np.float32)
    for document in range(documents):
        scale, residual = scales[document], residuals[document]
        hits = 0
        for query in range(queries):
            bound = products[document, query] * (scale * steps[query]) + residual * lengths[query] + slack[query]
            upper[query] = bound - floors[query] if floors[query] > -1e30 else 1.0
            hits += upper[query] >= 0
        if hits == 0:
            continue
        for column in range(dimension):  # float16 to float32: shift the exponent by 112; subnormal numbers differ
            half = np.uint32(bits[document, column])
            words[column] = ((half & np.uint32(0x7FFF)) << np.uint32(13)) + np.uint32(112 << 23)
            if half & np.uint32(0x7C00) == 0:
                words[column] += np.uint32(1 << 23)
                embedding[column] -= np.float32(2.0**-14)
            if half & np.uint32(0x8000):
                embedding[column] = -embedding[column]
        for query in range(queries):
            if upper[query] < 0:
                continue
            near = np.float32(0)
            for column in range(dimension):
                near += embedding[column] * single[query, column]
            if near < floors[query] - rounding[query]:
                continue
            total = 0.0
            for column in range(dimension):
                total += np.float64(embedding[column]) * exact[query, column]
            score = np.float32(total)
            if score >= floors[query]:
                out_scores[query, counts[query]] = score
                out_rows[query, counts[query]] = first + document
                counts[query] += 1
