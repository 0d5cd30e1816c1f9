"""Loops over numbers as machine code: a Python function comes in, its compiled form goes out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def compiled(function: Callable[..., Any], **options: object) -> Callable[..., Any]:
    """Return a function as machine code, compiled once and kept on disk, as numba does it.

    Args:
        function: takes numbers and arrays only.
        options: numba's, see `numba.njit`.
    """
    import numba

    jit = functools.partial(numba.njit, function, nogil=True, **options)
    made: Callable[..., Any]
    try:
        made = jit(cache=True)
    except RuntimeError:  # no folder that numba could write to
        made = jit()
    return made
