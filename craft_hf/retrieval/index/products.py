"""Products of int8 codes, exact, in the way that is fastest on this machine's CPU.

Where the CPU multiplies int8 numbers (VNNI, AMX), torch's int8 product is several times faster than one of floats.
Where it does not (AVX2 alone, as many laptops and servers have), it is many times slower. No library tells reliably
which of the two holds, so both are timed once in a process; the result is the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import numpy as np

from craft_hf.retrieval.index.quantize import Codes
from craft_hf.retrieval.index.shard import mapped_tensor

EXACT_DIMENSIONS = 1024
"""Dimensions over which float32 adds products of codes without rounding: 1,024 times 127 times 127 is below 2^24."""

Products = Callable[[Codes, Codes], np.ndarray]


def code_products(codes: Codes, queries: Codes) -> np.ndarray:
    """Return the products of codes, int32 (queries, chunks).

    Args:
        codes: int8 (chunks, dimension).
        queries: int8 (queries, dimension).
    """
    return _fastest()(codes, queries)


def int8_products(codes: Codes, queries: Codes) -> np.ndarray:
    """Multiply by the machine's int8 instructions."""
    if codes.shape[1] == 1:
        return queries.astype(np.int32) * codes.T  # torch 2.13 mistakes a single column for a row
    import torch

    products: np.ndarray = torch._int_mm(torch.from_numpy(queries), mapped_tensor(codes).T).numpy()
    return products


def float_products(codes: Codes, queries: Codes) -> np.ndarray:
    """Multiply as float32, whose sums are whole numbers that it holds exactly."""
    import torch

    left, right = torch.from_numpy(queries), mapped_tensor(codes)
    products = torch.zeros(len(queries), len(codes), dtype=torch.int32)
    for start in range(0, codes.shape[1], EXACT_DIMENSIONS):
        some = slice(start, start + EXACT_DIMENSIONS)
        products += torch.mm(left[:, some].float(), right[:, some].float().T).int()
    found: np.ndarray = products.numpy()
    return found


@cache
def _fastest() -> Products:
    rng = np.random.default_rng(0)
    codes, queries = (rng.integers(-127, 128, (rows, 384), dtype=np.int8) for rows in (1024, 8))

    def seconds(way: Products) -> float:
        times = []
        for _ in range(4):  # the first one loads code
            start = time.perf_counter()
            way(codes, queries)
            times.append(time.perf_counter() - start)
        return min(times)

    return min((int8_products, float_products), key=seconds)
