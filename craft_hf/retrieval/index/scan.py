"""Exact top-k search in one pass: int8 codes are compared, and chunks that may be among the best scored exactly.

Rows are those of the embeddings here, one for each chunk of a document; `Index.search` makes documents of them.

For query q and chunk d the product of their int8 codes gives the similarity up to an error that is known (see
`quantize`). A chunk whose similarity plus error does not reach the k-th best so far cannot be among the k best and
is skipped; all others are scored exactly. So the result is exact, whatever the embeddings are.

Exactly means: the query's components are rounded to multiples of 2^-28 (which float32 holds; from 1/16 on it holds
no others), float16 numbers are multiples of 2^-24, so products are multiples of 2^-52, and float64 adds them without
any rounding as long as sums stay below 2. The score is this sum, rounded to float32 once: the same number on every
machine and in every order of work.

The k-th best score so far (the threshold) starts from an estimate on a sample of the codes, taken a bit too low. If
fewer than k chunks reach it, it was too high, and these queries are scanned again without one.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields

import numpy as np

from craft_hf.base import Vectors
from craft_hf.retrieval.index.device import DeviceScanner
from craft_hf.retrieval.index.kernel import compiled_collect
from craft_hf.retrieval.index.products import code_products
from craft_hf.retrieval.index.quantize import Codes, Floats, quantize
from craft_hf.retrieval.index.selection import EVERYTHING, Selection
from craft_hf.retrieval.index.shard import Shard

BLOCK = 4096
"""Documents whose codes are compared at a time; block and products stay in a core's cache."""

SAMPLE = 32_768
"""Most chunks that the first threshold is estimated from; never more than a 16th of the index."""

_STRETCHES = 64
_LOWEST = np.finfo(np.float32).min

Rows = np.ndarray[tuple[int, int], np.dtype[np.int64]]
"""int64, (queries, k)."""

Keys = np.ndarray[tuple[int], np.dtype[np.uint64]]
"""uint64: score and row in one number, the smaller the better (see `collect`)."""

Part = tuple[int, Callable[[], Shard], int, int]
"""Row in the index of the shard's first chunk, the shard's opener, and first and last row within the shard."""


@dataclass(frozen=True)
class _Queries:
    """Queries in all forms that the scan needs; one entry or row for each query.

    `errors` are the Euclidean norms of the queries' residuals after quantization.
    """

    exact: Vectors
    codes: Codes
    steps: Floats
    errors: Floats
    lengths: Floats

    @classmethod
    def prepare(cls, queries: Vectors) -> _Queries:
        """Round and quantize queries."""
        exact = rounded(queries)
        lengths = (np.linalg.norm(exact.astype(np.float64), axis=1) * 1.00001).astype(np.float32)
        return cls(exact, *quantize(exact), lengths)

    def bounds(self, longest: float) -> Floats:
        """Return how far the product of codes can be off because of the query, for embeddings up to a length.

        With a little for rounding, generous: what is added up in float32 has a few terms, each rounded by 2^-24.
        """
        return np.float32(1.01 * longest) * self.errors + np.float32(1e-5 * longest) * self.lengths

    def take(self, lines: np.ndarray) -> _Queries:
        """Return some of the queries."""
        return _Queries(*(getattr(self, field.name)[lines] for field in fields(self)))


def rounded(queries: Vectors) -> Vectors:
    """Return queries with their components rounded to multiples of 2^-28: what is compared."""
    return (np.rint(queries.astype(np.float64) * 2.0**28) * 2.0**-28).astype(np.float32)


def top_k(
    parts: Sequence[Part],
    queries: Vectors,
    k: int,
    threads: int | None = None,
    device: str = "cpu",
    progress: Callable[[int], object] = int,
    selection: Selection = EVERYTHING,
) -> tuple[Vectors, Rows]:
    """Return the k best rows of each query among all parts.

    Args:
        parts: which rows of which shards; together the whole index or some of it.
        queries: float32 (queries, dimension).
        k: how many, 1 or more.
        threads: how many parts are scanned at a time; by default as many as torch uses.
        device: where the codes are compared; scores are always computed on the CPU.
        progress: called with the number of chunks after each part.
        selection: whose documents' chunks are searched.

    Returns:
        Scores, float32 (queries, k), best first, and rows in the index of the same shape, int64; ties in the order of
        rows; fewer than k columns only if there are fewer rows.
    """
    rows = sum(_count(part, selection) for part in parts)
    prepared = _Queries.prepare(queries)
    thresholds = _estimate_thresholds(parts, prepared, k, rows, selection)
    found = _scan(parts, prepared, k, thresholds, threads, device, progress, selection)
    if missed := [line for line, keys in enumerate(found) if len(keys) < min(k, rows)]:
        again = np.full(len(missed), _LOWEST, dtype=np.float32)
        rescanned = _scan(parts, prepared.take(np.array(missed)), k, again, threads, device, int, selection)
        for line, keys in zip(missed, rescanned, strict=True):
            found[line] = keys
    return unpack(np.stack(found))


def _kept(part: Part, selection: Selection) -> np.ndarray[tuple[int], np.dtype[np.bool_]] | None:
    """Return which chunks of a part are selected, bool (chunks,), or None if all are."""
    if not selection:
        return None
    _, opened, start, stop = part
    shard = opened()
    kept: np.ndarray[tuple[int], np.dtype[np.bool_]] = np.repeat(
        selection.of_shard(shard), np.diff(shard.chunk_ends, prepend=0)
    )
    return kept[start:stop]


def _count(part: Part, selection: Selection) -> int:
    kept = _kept(part, selection)
    return part[3] - part[2] if kept is None else int(kept.sum())


def _estimate_thresholds(parts: Sequence[Part], queries: _Queries, k: int, rows: int, selection: Selection) -> Floats:
    """Estimate a score that slightly more than k of the selected chunks reach, from some spread over the parts."""
    thresholds = np.full(len(queries.codes), _LOWEST, dtype=np.float32)
    starts = np.cumsum([0, *(stop - start for _, _, start, stop in parts)])
    size = min(SAMPLE, int(starts[-1]) // 16)
    if _rank_of_threshold(k, rows, size) > size // 2:
        return thresholds
    length = -(-size // _STRETCHES)
    positions = np.linspace(0, starts[-1] - length, min(_STRETCHES, size)).astype(np.int64)
    numbers = np.searchsorted(starts, positions, side="right") - 1
    scores = []
    for number in np.unique(numbers):
        _, opened, start, stop = parts[number]
        shard, kept = opened(), _kept(parts[number], selection)
        codes, scales = shard.codes, shard.scales
        for first in start + (positions - starts[number])[numbers == number]:
            last = min(first + length, stop)
            found = code_products(codes[first:last], queries.codes) * scales[first:last]
            scores.append(found if kept is None else found[:, kept[first - start : last - start]])
    sample = np.concatenate(scores, axis=1)
    size = sample.shape[1]
    if (rank := _rank_of_threshold(k, rows, size)) <= size // 2:
        sample.partition(size - rank, axis=1)
        thresholds[:] = sample[:, size - rank] * queries.steps
    return thresholds


def _rank_of_threshold(k: int, rows: int, size: int) -> int:
    """Return which rank in a sample is likely to lie just beyond the k best of all rows."""
    expected = size * k / max(rows, 1)
    return math.ceil(expected + 4 * math.sqrt(expected) + 4)


def _scan(
    parts: Sequence[Part],
    queries: _Queries,
    k: int,
    thresholds: Floats,
    threads: int | None,
    device: str,
    progress: Callable[[int], object],
    selection: Selection,
) -> list[Keys]:
    """Scan all parts with some threads, each of which keeps its own best; return the k best keys of each query."""
    import torch

    local = threading.local()
    kept: list[_ThreadResults] = []

    def scan(part: Part) -> None:
        if not hasattr(local, "best"):
            torch.set_num_threads(1)  # of this thread: parts run in parallel
            local.best = _ThreadResults(queries, k, thresholds, device)
            kept.append(local.best)
        local.best.scan(part, _kept(part, selection))

    before = torch.get_num_threads()
    with ThreadPoolExecutor(max(1, min(threads or before, len(parts)))) as pool:
        try:
            for (_, _, start, stop), _ in zip(parts, pool.map(scan, parts), strict=True):
                progress(stop - start)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        finally:
            torch.set_num_threads(before)
    return [merge([best.of(line) for best in kept], k) for line in range(len(queries.codes))]


class _ThreadResults:
    """What one thread has found: for each query, all chunks that reach the threshold, regularly cut to the k best.

    `thresholds` is shared by all threads: the k-th best score of any of them is a threshold for all.
    """

    def __init__(self, queries: _Queries, k: int, thresholds: Floats, device: str) -> None:
        self._queries, self._k, self._thresholds = queries, k, thresholds
        self._keys = np.empty((len(queries.codes), k + max(k // 4, 256) + BLOCK), dtype=np.uint64)
        self._counts = np.zeros(len(queries.codes), dtype=np.int64)
        self._device = None if device == "cpu" else DeviceScanner(device, queries.codes)

    def of(self, line: int) -> Keys:
        """Return the keys of one query, in no order."""
        return self._keys[line, : self._counts[line]]

    def scan(self, part: Part, kept: np.ndarray | None) -> None:
        """Add the chunks that reach the thresholds among some rows of a shard, or among those of them to keep."""
        base, opened, first, last = part
        shard = opened()
        codes, queries, slack = shard.codes, self._queries, self._queries.bounds(shard.longest)
        if self._device:
            near, products = self._device.candidates(
                codes[first:last], shard.scales[first:last], shard.residuals[first:last], queries.steps,
                queries.lengths, slack - self._thresholds,
            )  # fmt: skip
            if kept is not None:
                near, products = near[kept[near]], products[:, kept[near]]
            for start in range(0, len(near), BLOCK):
                block = slice(start, start + BLOCK)
                self._collect(shard, first + near[block], base, np.ascontiguousarray(products[:, block]), slack)
        else:
            for start in range(first, last, BLOCK):
                rows = np.arange(start, min(start + BLOCK, last))
                if kept is not None and not len(rows := rows[kept[rows - first]]):
                    continue
                products = code_products(codes[rows[0] : rows[-1] + 1], queries.codes)
                if len(rows) < products.shape[1]:
                    products = np.ascontiguousarray(products[:, rows - rows[0]])
                self._collect(shard, rows, base, products, slack)
        shard.check_unchanged()

    def _collect(self, shard: Shard, rows: np.ndarray, base: int, products: np.ndarray, slack: Floats) -> None:
        """Add the chunks that reach the thresholds among some rows of a shard, BLOCK at most."""
        dense = len(rows) == rows[-1] - rows[0] + 1
        some = slice(rows[0], rows[-1] + 1) if dense else rows
        compiled_collect()(
            products, shard.scales[some], shard.residuals[some], shard.embeddings.view(np.uint16)[some],
            self._queries.steps, self._queries.lengths, slack, self._queries.exact, self._thresholds, base + rows,
            self._keys, self._counts,
        )  # fmt: skip
        for line in np.flatnonzero(self._counts > self._keys.shape[1] - BLOCK):
            self._cut(int(line))

    def _cut(self, line: int) -> None:
        keys = self.of(line)
        keys.partition(self._k - 1)
        self._counts[line] = self._k
        self._thresholds[line] = max(self._thresholds[line], unpack(keys[self._k - 1 : self._k])[0][0])


def merge(found: Sequence[Keys], k: int) -> Keys:
    """Return the k best of what several threads or machines found, best first."""
    return np.sort(np.concatenate(found))[:k]


def unpack(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return scores, float32, and rows, int64, of keys (see `collect`)."""
    upper = (keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(upper < 2**31, np.uint32(2**31 - 1) - upper, upper)
    return bits.view(np.float32), (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
