"""int8 quantization of embeddings, with a bound of its error, so that a search of the codes can be exact.

An embedding d is written as s c + e: one scale s for the whole embedding, int8 codes c = round(d / s), and the
residual e. For any query q the similarity is then q d = s (q c) + q e, and by the Cauchy-Schwarz inequality
|q e| <= |q| |e|. With |e| stored beside the codes, a scan of the codes can prove that a row is not among the best.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Halves = np.ndarray[tuple[int, int], np.dtype[np.float16]]
"""float16, shape (rows, dimension)."""

Codes = np.ndarray[tuple[int, int], np.dtype[np.int8]]
"""int8, shape (rows, dimension)."""

Floats = np.ndarray[tuple[int], np.dtype[np.float32]]
"""float32, one for each row."""

_LARGEST = 127


class Quantized(NamedTuple):
    """Codes, the scale of each row (0 for zeros only), and the Euclidean norm of each row's residual, rounded up."""

    codes: Codes
    scales: Floats
    residuals: Floats


def quantize(vectors: np.ndarray) -> Quantized:
    """Quantize the rows of a matrix, each with its own scale.

    Args:
        vectors: finite, float16, float32 or float64, (rows, dimension).
    """
    exact = vectors.astype(np.float64)
    scales = (np.abs(exact).max(axis=1, initial=0.0) / _LARGEST).astype(np.float32)
    divisors = np.where(scales > 0, scales, 1).astype(np.float64)[:, None]
    codes = np.clip(np.rint(exact / divisors), -_LARGEST, _LARGEST).astype(np.int8)
    errors = np.linalg.norm(exact - codes * scales.astype(np.float64)[:, None], axis=1)
    return Quantized(codes, scales, np.nextafter(errors.astype(np.float32), np.float32(np.inf)))
