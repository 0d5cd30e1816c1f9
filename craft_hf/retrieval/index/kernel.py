"""The inner loop of the scan, compiled by numba: which chunks of a block may be among the best, and their scores."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from craft_hf.base import jit_compiled


def collect(
    products: np.ndarray, scales: np.ndarray, residuals: np.ndarray, bits: np.ndarray, steps: np.ndarray,
    lengths: np.ndarray, slack: np.ndarray, exact: np.ndarray, thresholds: np.ndarray, rows: np.ndarray,
    keys: np.ndarray, counts: np.ndarray,
) -> None:  # fmt: skip
    """Append to each query's list the chunks of a block that reach its threshold.

    Args:
        products: int32 (queries, chunks), the products of the codes.
        scales: float32 (chunks,).
        residuals: float32 (chunks,).
        bits: uint16 (chunks, dimension), the float16 embeddings.
        steps: float32 (queries,), scales of the queries' codes.
        lengths: float32 (queries,), Euclidean.
        slack: float32 (queries,), bound of the error of the queries' codes and of rounding.
        exact: float32 (queries, dimension), the queries.
        thresholds: float32 (queries,), scores that a chunk has to reach.
        rows: int64 (chunks,), rows in the index.
        keys: uint64 (queries, capacity), filled up to `counts`. A key holds the score in its upper half, as a number
            that is smaller the better the score is, and the row in its lower half: sorted, they are best first, ties in
            the order of rows. So an index has 2^32 chunks at most.
        counts: int64 (queries,).
    """
    queries, chunks = products.shape
    dimension = bits.shape[1]
    near = np.empty(chunks, np.int64)
    words = np.empty(dimension, np.uint32)
    single, tiny = words.view(np.float32), np.float32(2.0**-14)
    embedding = np.empty(dimension, np.float64)
    score = np.empty(1, np.float32)
    score_bits = score.view(np.uint32)
    for start in range(0, queries, 64):
        near[:] = 0
        for query in range(start, min(start + 64, queries)):  # contiguous chunks, so that it is vectorised
            step, length, gap = steps[query], lengths[query], slack[query] - max(thresholds[query], np.float32(-1e30))
            bit = np.int64(1) << np.int64(query - start)
            for chunk in range(chunks):
                bound = products[query, chunk] * (scales[chunk] * step) + residuals[chunk] * length + gap
                near[chunk] |= bit if bound >= 0 else np.int64(0)
        for chunk in range(chunks):
            if near[chunk] == 0:
                continue
            for column in range(dimension):  # float16 to float32: shift the exponent by 112, ...
                half = np.uint32(bits[chunk, column])
                words[column] = ((half & np.uint32(0x7FFF)) << np.uint32(13)) + np.uint32(112 << 23)
            for column in range(dimension):  # ... correct subnormal numbers, ...
                value = single[column]
                single[column] = value if value >= tiny else np.float32(2) * value - tiny
            for column in range(dimension):  # ... and set the sign
                words[column] |= (np.uint32(bits[chunk, column]) & np.uint32(0x8000)) << np.uint32(16)
            for column in range(dimension):
                embedding[column] = np.float64(single[column])
            left = np.uint64(near[chunk])
            query = start - 1
            while left != 0:
                query += 1
                is_candidate = left & np.uint64(1)
                left >>= np.uint64(1)
                if is_candidate == 0:
                    continue
                total = 0.0
                for column in range(dimension):
                    total += embedding[column] * np.float64(exact[query, column])
                score[0] = np.float32(total)
                if score[0] >= thresholds[query]:
                    pattern = score_bits[0]
                    if pattern == np.uint32(0x80000000):  # -0
                        pattern = np.uint32(0)
                    if pattern < np.uint32(0x80000000):
                        pattern = np.uint32(0x7FFFFFFF) - pattern
                    keys[query, counts[query]] = np.uint64(pattern) << np.uint64(32) | np.uint64(rows[chunk])
                    counts[query] += 1


@functools.cache
def compiled_collect() -> Callable[..., None]:
    """Return `collect`, compiled."""
    # Not all of fastmath: that would let the compiler assume that there are no infinities.
    return jit_compiled(collect, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
