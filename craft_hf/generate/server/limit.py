"""How many requests a server gets at a time: answers and refusals come in, a limit that fits the server comes out."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

START = 8
"""Requests in flight to begin with."""

FALL = 0.8
"""Share of the best throughput below which a window counts as a fall; windows are short, and so their rates rough."""

FADE = 0.95
"""What a window leaves of the best throughput, so that a server that has become slower is measured against itself."""


@dataclass
class Limit:
    """Requests that one server may have in flight, found by AIMD (additive increase, multiplicative decrease).

    AIMD is what TCP does (Chiu and Jain, Computer Networks and ISDN Systems 17, 1989; RFC 5681), with its slow start:
    the limit doubles with each window of as many answers as it allows, until it first falls, and rises by 1 a window
    from then on. A server that says that it is busy, or lets a request run out of time, halves it, at most once for all
    requests that were sent before. A window whose throughput is clearly below the best one takes the last rise back.
    The limit rises only where it was reached. What is in flight when it falls is left to finish.

    Args:
        ceiling: the highest limit, 1 or more.
        clock: seconds that only grow.
    """

    ceiling: int
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    now: int = field(init=False)  # the limit
    _slow_start: bool = field(default=True, init=False)
    _before: int = field(init=False)  # the limit before the last rise
    _best: float = field(default=0.0, init=False)  # answers a second
    _began: float = field(default=0.0, init=False)  # of the window; 0 for none
    _answers: int = field(default=0, init=False)
    _reached: bool = field(default=False, init=False)
    _fell: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.now = self._before = min(START, self.ceiling)

    def begin(self) -> None:
        """Measure anew, after a time in which nothing was sent; the limit stays what it is."""
        self._began, self._answers, self._reached = 0.0, 0, False

    def sent(self, in_flight: int) -> None:
        """Count a request, with how many are in flight with it."""
        self._began = self._began or self.clock()
        self._reached |= in_flight >= self.now

    def answered(self) -> None:
        """Count an answer."""
        self._answers += 1
        if self._answers < max(4, self.now):
            return
        now, reached = self.clock(), self._reached
        rate = self._answers / max(now - self._began, 1e-9)
        self._began, self._answers, self._reached = now, 0, False
        if not reached:  # the rate is that of the prompts, and says nothing of the server
            return
        self._best = max(self._best * FADE, rate)
        if rate < FALL * self._best:
            self.now, self._slow_start = self._before, False
        else:
            self._before = self.now
            self.now = min(self.now * 2 if self._slow_start else self.now + 1, self.ceiling)

    def overloaded(self, sent_at: float) -> None:
        """Halve the limit, unless it has fallen since the request was sent.

        Args:
            sent_at: when the request that was refused, or ran out of time, was sent, by the clock.
        """
        if sent_at >= self._fell:
            self.now = self._before = max(1, self.now // 2)
            self._slow_start, self._best, self._fell = False, 0.0, self.clock()
            self.begin()
