"""Comparison of codes on a GPU, which returns the few chunks of a shard that may be among the best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from craft_hf.retrieval.index.quantize import Codes, Floats
from craft_hf.retrieval.index.shard import mapped_tensor

if TYPE_CHECKING:
    import torch

_TILE = 32
"""cuBLAS multiplies int8 matrices of such sizes only (multiples of 8, and more than 16 rows)."""


class DeviceScanner:
    """Compares codes of chunks with those of some queries on a torch device.

    Args:
        name: "cuda", "cuda:1"; any torch device gives the same result.
        queries: int8 (queries, dimension).
    """

    def __init__(self, name: str, queries: Codes) -> None:
        import torch

        self._device = torch.device(name)
        self._queries = self._padded(queries)

    def candidates(
        self, codes: Codes, scales: Floats, residuals: Floats, steps: Floats, lengths: Floats, gaps: Floats
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the chunks that may reach the threshold of a query.

        Args:
            codes: int8 (chunks, dimension).
            scales: float32 (chunks,).
            residuals: float32 (chunks,).
            steps: float32 (queries,), scales of the queries' codes.
            lengths: float32 (queries,), Euclidean.
            gaps: float32 (queries,), error bound of the query's codes, minus its threshold.

        Returns:
            Their positions, int64 (found,), ascending, and their products, int32 (queries, found).
        """
        import torch

        chunks = self._padded(codes)
        products = torch._int_mm(self._queries, chunks.T)[: len(steps), : len(codes)]
        step, length, gap = (torch.from_numpy(values)[:, None].to(self._device) for values in (steps, lengths, gaps))
        scale, residual = (mapped_tensor(values).to(self._device) for values in (scales, residuals))
        bounds = products * (scale * step) + residual * length + gap
        found = torch.nonzero((bounds >= 0).any(dim=0))[:, 0]
        return found.cpu().numpy(), products[:, found].cpu().numpy()

    def _padded(self, codes: Codes) -> torch.Tensor:
        import torch

        rows, dimension = (-(-size // _TILE) * _TILE for size in codes.shape)
        padded = torch.zeros((rows, dimension), dtype=torch.int8, device=self._device)
        padded[: codes.shape[0], : codes.shape[1]] = mapped_tensor(codes).to(self._device)
        return padded
