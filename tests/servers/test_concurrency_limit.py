"""Tests of the limit of requests in flight: on a clock of their own, and against a server that can do only so much."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from craft_hf.generation.generator import Sampling
from craft_hf.servers.concurrency_limit import INITIAL_LIMIT, ConcurrencyLimit
from tests.openai_server import FakeServer, Reply, error, ok, serving
from tests.server_client import SCHEMA, clean, generator, prompts

_clean = clean


class Clock:
    """A clock that a test winds."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.s


def window(limit: ConcurrencyLimit, clock: Clock, rate: float, in_flight: int | None = None) -> None:
    """Answer as many requests as make a window, at a rate of answers a second."""
    for _ in range(max(4, limit.current)):
        limit.on_sent(limit.current if in_flight is None else in_flight)
        clock.s += 1 / rate
        limit.on_answered()


def test_limit_doubles_while_answers_come() -> None:
    """Slow start: 8, 16, 32, and no further than the maximum."""
    clock = Clock()
    limit = ConcurrencyLimit(40, clock)
    seen = []
    for _ in range(4):
        seen.append(limit.current)
        window(limit, clock, rate=limit.current)
    assert seen == [INITIAL_LIMIT, 16, 32, 40]


def test_limit_halves_once_for_a_burst_and_never_falls_below_one() -> None:
    """Refusals of requests that were sent before the fall do not count again."""
    clock = Clock()
    limit = ConcurrencyLimit(64, clock)
    for _ in range(5):
        limit.on_overloaded(sent_at=99.0)
    assert limit.current == 4
    for _ in range(5):
        clock.s += 1
        limit.on_overloaded(sent_at=clock.s)
    assert limit.current == 1


def test_limit_rises_by_one_after_a_fall() -> None:
    """Once it has fallen, the limit rises slowly."""
    clock = Clock()
    limit = ConcurrencyLimit(64, clock)
    limit.on_overloaded(clock.s)
    seen = []
    for _ in range(4):
        seen.append(limit.current)
        window(limit, clock, rate=limit.current)
    assert seen == [4, 5, 6, 7]


def test_a_rise_that_lowers_throughput_is_taken_back() -> None:
    """A server that thrashes above 16 gets 16."""
    clock = Clock()
    limit = ConcurrencyLimit(64, clock)
    window(limit, clock, rate=10)
    window(limit, clock, rate=18)
    assert limit.current == 32
    window(limit, clock, rate=9)
    assert limit.current == 16


def test_a_limit_that_is_not_reached_stays() -> None:
    """Few prompts say nothing of what the server could do."""
    clock = Clock()
    limit = ConcurrencyLimit(64, clock)
    window(limit, clock, rate=100, in_flight=2)
    window(limit, clock, rate=1, in_flight=2)
    assert limit.current == INITIAL_LIMIT


class Small(FakeServer):
    """Takes `most` requests at a time and gives the others a 429."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.refused, self.inside = most, 0, threading.Semaphore(most)

    def reply_to(self, body: dict[str, Any]) -> Reply:
        """Work for a moment, or refuse."""
        if not self.inside.acquire(blocking=False):
            with self.lock:
                self.refused += 1
            return error(429, "busy")
        time.sleep(0.02)
        self.inside.release()
        return ok()


@pytest.mark.slow
def test_requests_in_flight_rise_on_a_server_that_keeps_up() -> None:
    """From 8 to the maximum."""
    with serving(FakeServer(always=ok(delay_s=0.4))) as fake:
        g = generator(fake.url, concurrency=32)
        it = g.generate(prompts(200), SCHEMA, Sampling())
        next(it)
        early = fake.most_in_flight
        assert len(list(it)) == 199
    assert early <= INITIAL_LIMIT
    assert fake.most_in_flight == 32


def test_requests_in_flight_fall_on_a_server_that_refuses() -> None:
    """A server that takes 3 at a time is found out with few refusals, and every prompt is answered."""
    with serving(Small(3)) as fake:
        assert isinstance(fake, Small)
        got = list(generator(fake.url, concurrency=64, max_retries=20).generate(prompts(150), SCHEMA, Sampling()))
    assert len({p.key for p, _ in got}) == 150
    assert fake.refused < 75
