"""How long to wait before a request is sent again."""

from __future__ import annotations

import random

MAX_BACKOFF_S = 30.0
"""Longest pause between retries; a server that is down is tried again at least this often."""


def backoff(base_s: float, failures: int) -> float:
    """Draw the pause after so many consecutive failures, 1 or more, in seconds.

    Exponential backoff with full jitter: uniform from 0 to `base_s`, which doubles with each failure, up to
    `MAX_BACKOFF_S`.
    """
    return random.uniform(0, min(base_s * 2 ** min(failures - 1, 20), MAX_BACKOFF_S))
