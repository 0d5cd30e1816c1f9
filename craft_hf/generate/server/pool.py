"""Which request goes to which server, and when: requests wait here for a line, and faults take lines out of use.

In: requests, and what came of them. Out: a line for each, on the server that its few-shots were last read by where
that is fair, or None once no server is left that may answer it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from craft_hf.base import Answer, Prompt
from craft_hf.generate.server.endpoints import Endpoint
from craft_hf.generate.server.keys import scrubbed
from craft_hf.generate.server.replies import Fault

_log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 30.0
"""Seconds that a backoff grows to; a server that is away is asked again at least so often."""

ASIDE_AFTER = 3
"""Faults in a row after which a server is put aside; one is enough where there was no connection."""

SLACK = 0.25
"""How much fuller, as a share of its limit, a server may be than the least full, to get the prompts that it knows."""

FOR_GOOD = (401, 403, 404)
"""Statuses with which a server refuses whatever it is asked."""


def backoff(first_s: float, times: int) -> float:
    """Draw a pause after so many faults in a row, 1 or more: up to `first_s`, doubling each time, with full jitter."""
    return random.uniform(0, min(first_s * 2 ** min(times - 1, 20), LONGEST_PAUSE_S))


@dataclass(eq=False)
class Line:
    """The connection of one run to one server, and how it does.

    `failures` are faults in a row, those of one burst counted once; a line that is `aside` is tried with one request at
    a time, after a pause that grows; one that is `out` has refused for good.
    """

    endpoint: Endpoint
    client: Any
    in_flight: int = 0
    failures: int = 0
    failed_at: float = 0.0
    paused_until: float = 0.0
    aside: bool = False
    out: bool = False
    last: Fault | None = None

    @property
    def load(self) -> float:
        """How full it is, as a share of its limit."""
        return self.in_flight / self.endpoint.limit.now

    @property
    def is_in_use(self) -> bool:
        """Whether it is neither aside nor out."""
        return not (self.aside or self.out)

    def has_room(self, now: float) -> bool:
        """Whether it takes another request now."""
        room = 1 if self.aside else self.endpoint.limit.now
        return not self.out and now >= self.paused_until and self.in_flight < room


@dataclass(eq=False)
class Request:
    """A prompt on its way: how often each line failed it, and the last bad answer, with the tokens of all of them."""

    prompt: Prompt
    tries: Counter[Line] = field(default_factory=Counter)
    bad: Answer | None = None
    wrong: str = ""
    reasks: int = 0


class Pool:
    """Hands out lines to requests, evenly, and takes those out of use that fail.

    Args:
        lines: one for each server, at least one.
        max_retries: how often a request may fail at a line, and a line in a row, beyond the first time.
        backoff_s: seconds of the first pause; they double each time, up to `LONGEST_PAUSE_S`, with full jitter.
    """

    def __init__(self, lines: Sequence[Line], max_retries: int, backoff_s: float) -> None:
        self._lines, self._max_retries, self._backoff_s = lines, max_retries, backoff_s
        self._waiting: list[tuple[Request, asyncio.Future[Line | None]]] = []
        self._alarm: asyncio.TimerHandle | None = None
        for line in lines:
            line.endpoint.limit.begin()

    async def line(self, request: Request) -> Line | None:
        """Wait for a line; requests that were sent before go first. None says that no server is left to ask."""
        if self._is_hopeless(request):
            return None
        got: asyncio.Future[Line | None] = asyncio.get_running_loop().create_future()
        place = 0 if request.tries or request.bad else len(self._waiting)
        self._waiting.insert(place, (request, got))
        self._assign()
        return await got

    def left(self, line: Line) -> None:
        """Give a line back without having used it."""
        line.in_flight -= 1
        self._assign()

    def answered(self, line: Line) -> None:
        """Give a line back after an answer of any kind: the server is well."""
        if line.aside:
            _log.warning("%s answers again.", line.endpoint.url)
        line.failures, line.aside, line.paused_until = 0, False, 0.0
        line.endpoint.limit.answered()
        self.left(line)

    def failed(self, line: Line, request: Request, fault: Fault, sent_at: float) -> float:
        """Give a line back after a fault; return for how many seconds the request shall wait.

        Args:
            line: what it was sent on.
            request: what was sent.
            fault: what came of it.
            sent_at: when it was sent, by time.monotonic.
        """
        now, line.last = time.monotonic(), fault
        request.tries[line] += 1
        url, wait_s = line.endpoint.url, fault.retry_after_s
        if fault.status in FOR_GOOD:
            line.out = True
            if len(self._lines) > 1:
                _log.warning("%s is left out from now on: it gave %s.", url, scrubbed(fault.what))
        if fault.busy:
            line.endpoint.limit.overloaded(sent_at)
        if sent_at >= line.failed_at:
            line.failures, line.failed_at = line.failures + 1, now
            if not line.aside and (fault.gone or line.failures >= ASIDE_AFTER):
                line.aside = True
                _log.warning("%s is put aside for now: it gave %s.", url, scrubbed(fault.what))
        if line.aside or fault.status in (429, 503):
            wait_s = max(wait_s, backoff(self._backoff_s, line.failures))
        line.paused_until = max(line.paused_until, now + wait_s)
        _log.info("%s gave %s; it is left alone for %.1f s", url, scrubbed(fault.what), line.paused_until - now)
        for item in [item for item in self._waiting if self._is_hopeless(item[0])]:
            self._waiting.remove(item)
            self._give(item[1], None)
        self.left(line)
        return 0.0 if line.paused_until > now else backoff(self._backoff_s, request.tries[line])

    def told(self, request: Request) -> str:
        """Return what every server gave, after no line was left for a request."""
        said = [
            replace(line.last, tries=max(line.failures, request.tries[line])).told(line.endpoint.url)
            for line in self._lines
            if line.last
        ]
        return said[0] if len(said) == 1 else f"none of the {len(said)} servers answers. " + " ".join(said)

    def _assign(self) -> None:
        """Give lines to the requests that wait: a try to what is aside, then to those at home there, then to any."""
        now = time.monotonic()
        for choose in (self._to_be_tried, self._home, self._least_full):
            for item in list(self._waiting):
                open_lines = [line for line in self._lines if line.has_room(now)]
                if not open_lines:
                    break
                request, got = item
                able = [line for line in open_lines if request.tries[line] <= self._max_retries]
                if (line := choose(request, able)) is not None:
                    self._waiting.remove(item)
                    self._give(got, line)
        self._wake_at(min((line.paused_until for line in self._lines if line.paused_until > now), default=0.0))

    def _to_be_tried(self, request: Request, able: Sequence[Line]) -> Line | None:
        return next((line for line in able if line.aside), None)

    def _home(self, request: Request, able: Sequence[Line]) -> Line | None:
        """The line in use that has read these few-shots before, or the one that knows the fewest; not if it is full."""
        in_use = [line for line in self._lines if line.is_in_use]
        few_shots = request.prompt.few_shot_ids
        home = next((line for line in in_use if few_shots in line.endpoint.few_shots), None)
        if home is None and in_use:
            home = min(in_use, key=lambda line: len(line.endpoint.few_shots))
            home.endpoint.few_shots.add(few_shots)
        if home is None or home not in able or home.load > min(line.load for line in in_use) + SLACK:
            return None
        return home

    def _least_full(self, request: Request, able: Sequence[Line]) -> Line | None:
        return min(able, key=lambda line: (request.tries[line], line.load), default=None)

    def _is_hopeless(self, request: Request) -> bool:
        """Whether every server has failed the request, or everybody, too often."""
        most = self._max_retries
        return all(line.out or line.failures > most or request.tries[line] > most for line in self._lines)

    def _give(self, got: asyncio.Future[Line | None], line: Line | None) -> None:
        if got.done():  # cancelled: the run ends
            return
        if line is not None:
            line.in_flight += 1
            line.endpoint.limit.sent(line.in_flight)
        got.set_result(line)

    def _wake_at(self, when: float) -> None:
        if self._alarm:
            self._alarm.cancel()
        loop = asyncio.get_running_loop()
        self._alarm = loop.call_later(max(0.0, when - time.monotonic()), self._assign) if when else None
