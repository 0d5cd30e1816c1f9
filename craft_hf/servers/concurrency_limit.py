"""How many requests a server gets at a time: a limit that adapts to the server's throughput and overload errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

INITIAL_LIMIT = 8
"""Requests in flight to begin with."""

THROUGHPUT_DROP = 0.8
"""A window is slower if its throughput is below this share of the best one; short windows measure it roughly."""

BEST_THROUGHPUT_DECAY = 0.95
"""Factor of the best throughput at each window, so that a server that became slower is compared with itself."""


@dataclass
class ConcurrencyLimit:
    """Requests that one server may have in flight, found by AIMD (additive increase, multiplicative decrease).

    AIMD is what TCP does (Chiu and Jain, Computer Networks and ISDN Systems 17, 1989; RFC 5681), with its slow start.
    Throughput is measured in windows of as many answers as the limit allows, at least 4. Until the first decrease the
    limit doubles with each window, from then on it rises by 1. A request that the server refuses as overloaded, or that
    times out, halves the limit, at most once for all requests that were sent before. A window whose throughput is
    clearly below the best one undoes the last increase. The limit rises only after windows that reached it. Requests in
    flight are never cancelled when it falls.

    Args:
        maximum: the highest limit, 1 or more.
        clock: monotonic seconds.
    """

    maximum: int
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    current: int = field(init=False)
    _slow_start: bool = field(default=True, init=False)
    _before_increase: int = field(init=False)
    _best_throughput: float = field(default=0.0, init=False)  # answers a second
    _window_start: float = field(default=0.0, init=False)  # by the clock; 0 before the first request
    _window_answers: int = field(default=0, init=False)
    _limit_reached: bool = field(default=False, init=False)  # in this window
    _decreased_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.current = self._before_increase = min(INITIAL_LIMIT, self.maximum)

    def restart_window(self) -> None:
        """Start a new window, after a time without requests; the limit stays as it is."""
        self._window_start, self._window_answers, self._limit_reached = 0.0, 0, False

    def on_sent(self, in_flight: int) -> None:
        """Take note of a request that is sent.

        Args:
            in_flight: requests in flight, this one included.
        """
        self._window_start = self._window_start or self.clock()
        self._limit_reached |= in_flight >= self.current

    def on_answered(self) -> None:
        """Take note of an answer; the last one of a window adapts the limit."""
        self._window_answers += 1
        if self._window_answers < max(4, self.current):
            return
        now, reached = self.clock(), self._limit_reached
        throughput = self._window_answers / max(now - self._window_start, 1e-9)
        self._window_start, self._window_answers, self._limit_reached = now, 0, False
        if not reached:  # too few prompts were waiting to measure the server
            return
        self._best_throughput = max(self._best_throughput * BEST_THROUGHPUT_DECAY, throughput)
        if throughput < THROUGHPUT_DROP * self._best_throughput:
            self.current, self._slow_start = self._before_increase, False
        else:
            self._before_increase = self.current
            self.current = min(self.current * 2 if self._slow_start else self.current + 1, self.maximum)

    def on_overloaded(self, sent_at: float) -> None:
        """Halve the limit, unless it was halved after the request was sent.

        Args:
            sent_at: when the request that was refused, or timed out, was sent, by the clock.
        """
        if sent_at >= self._decreased_at:
            self.current = self._before_increase = max(1, self.current // 2)
            self._slow_start, self._best_throughput, self._decreased_at = False, 0.0, self.clock()
            self.restart_window()
