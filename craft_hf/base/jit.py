"""Just-in-time compilation of numerical loops with numba."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def jit_compiled(function: Callable[..., Any], **options: object) -> Callable[..., Any]:
    """Return a function that numba compiles at its first call; the machine code is cached on disk.

    Args:
        function: takes numbers and arrays only.
        options: numba's, see `numba.njit`.
    """
    import numba

    compile_ = functools.partial(numba.njit, function, nogil=True, **options)
    result: Callable[..., Any]
    try:
        result = compile_(cache=True)
    except RuntimeError:  # numba finds no writable folder for its cache
        result = compile_()
    return result
