"""Random orders of many rows, of which any part can be computed without the rest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_ROUNDS = 8
_BLOCK = 4096

RowNumbers = np.ndarray[tuple[int], np.dtype[np.int64]]
"""int64, shape (rows,)."""


def random_rows(count: int, seed: int, block: int = _BLOCK) -> Iterator[RowNumbers]:
    """Yield all of 0..count-1 once, in an order that a seed draws, some at a time; memory does not grow with `count`.

    The order is a keyed permutation of the numbers of as many bits as `count - 1` has: a Feistel network, which changes
    each half of the bits by a hash of the other half in turn. A result that is `count` or more is permuted again until
    it is not, which leads to each row once (Black and Rogaway, Ciphers with Arbitrary Finite Domains, 2002).
    """
    bits = max(2, (count - 1).bit_length())
    keys = np.random.SeedSequence(seed % 2**64).generate_state(_ROUNDS, np.uint64)
    for start in range(0, count, block):
        rows = _permuted(np.arange(start, min(start + block, count), dtype=np.uint64), bits, keys)
        while len(outside := np.flatnonzero(rows >= count)):
            rows[outside] = _permuted(rows[outside], bits, keys)
        yield rows.astype(np.int64)


def _permuted(numbers: np.ndarray, bits: int, keys: np.ndarray) -> np.ndarray:
    """Permute the numbers below 2^bits."""
    low_bits = np.uint64(bits // 2)
    low_mask = (np.uint64(1) << low_bits) - np.uint64(1)
    high_mask = (np.uint64(1) << np.uint64(bits - bits // 2)) - np.uint64(1)
    low, high = numbers & low_mask, numbers >> low_bits
    for number, key in enumerate(keys):
        if number % 2:
            low ^= _hashed(high + key) & low_mask
        else:
            high ^= _hashed(low + key) & high_mask
    permuted: np.ndarray = (high << low_bits) | low
    return permuted


def _hashed(values: np.ndarray) -> np.ndarray:
    """Return 64 bits that change altogether when one bit of a value does (the finalizer of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashed: np.ndarray = values ^ (values >> np.uint64(31))
    return hashed
