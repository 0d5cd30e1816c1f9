"""Which server gets which request, and when: limits, retries with backoff, and a circuit breaker for each server.

Requests that begin alike go to the same server where that does not overload it, because its prefix cache holds what
they have in common.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from craft_hf.servers.api_keys import redact
from craft_hf.servers.backoff import backoff
from craft_hf.servers.client import Client
from craft_hf.servers.concurrency_limit import ConcurrencyLimit
from craft_hf.servers.responses import BUSY_STATUSES, Failure

_log = logging.getLogger(__name__)

TRIP_AFTER = 3
"""Consecutive failures that trip a server's circuit breaker; a refused connection trips it at once. So many different
requests must have failed before a server, and not a request, counts as the cause."""

PATIENCE = 600
"""Multiples of the first pause, half a second by default, for which a server may be too busy for every request."""

AFFINITY_SLACK = 0.25
"""How much higher than the lowest a server's load may be if it is to get the requests whose beginning it has read."""


@dataclass(eq=False)
class Endpoint:
    """One URL, and what is learned of the server behind it.

    Attributes:
        url: where its API is, up to /v1.
        limit: how many requests it may have in flight.
        affinities: those of requests that are sent here by preference, see `Request.affinity`.
        answered: how many requests it has answered.
    """

    url: str
    limit: ConcurrencyLimit
    affinities: set[Hashable] = field(default_factory=set, kw_only=True)
    answered: int = field(default=0, kw_only=True)


E = TypeVar("E", bound=Endpoint)


@dataclass(eq=False)
class Connection(Generic[E]):
    """A run's connection to one server, with the state of its circuit breaker.

    Attributes:
        endpoint: the server.
        client: of it.
        in_flight: requests that were sent and not yet answered.
        failures: consecutive failures; those of requests that were in flight together count once.
        failed_at: when the last counted failure came, by time.monotonic.
        paused_until: when the next request may be sent, by time.monotonic.
        tripped: the circuit breaker is open: one request at a time is sent, after a pause that grows.
        disabled: the server refuses every request; it gets no more in this run.
        last_failure: what the error message of the run tells of this server.
        said_last: the last failure before nobody answered there any more; None unless that came right after it.
        failed_requests: the different requests that failed here since the last answer.
        refused_requests: those of them that got a status with which a server refuses every request.
        busy_since: since when it has been too busy for every request, by time.monotonic; 0 if it is not.
    """

    endpoint: E
    client: Client
    in_flight: int = 0
    failures: int = 0
    failed_at: float = 0.0
    paused_until: float = 0.0
    tripped: bool = False
    disabled: bool = False
    last_failure: Failure | None = None
    said_last: Failure | None = None
    failed_requests: set[Request] = field(default_factory=set)
    refused_requests: set[Request] = field(default_factory=set)
    busy_since: float = 0.0

    @property
    def load(self) -> float:
        """Requests in flight as a share of the server's limit."""
        return self.in_flight / self.endpoint.limit.current

    @property
    def is_healthy(self) -> bool:
        """Whether it is neither tripped nor disabled."""
        return not (self.tripped or self.disabled)

    def is_available(self, now: float) -> bool:
        """Whether another request may be sent now."""
        limit = 1 if self.tripped else self.endpoint.limit.current
        return not self.disabled and now >= self.paused_until and self.in_flight < limit


@dataclass(eq=False)
class Request:
    """Something that is sent until a server answers it.

    Attributes:
        failures: of this request, by connection.
        last_failures: the last one at each connection.
    """

    failures: Counter[Connection[Any]] = field(default_factory=Counter, kw_only=True)
    last_failures: dict[Connection[Any], Failure] = field(default_factory=dict, kw_only=True)

    @property
    def is_repeated(self) -> bool:
        """Whether it was sent before; then it goes before others."""
        return bool(self.failures)

    @property
    def failure_message(self) -> str:
        """Its last failure at each server, for the user."""
        return " ".join(failure.message(c.endpoint.url) for c, failure in self.last_failures.items())

    @property
    def affinity(self) -> Hashable:
        """What it begins with; requests that have it in common go to the same server. None if that does not count."""
        return None


class ConnectionPool(Generic[E]):
    """Hands out connections to requests, and stops using those that fail.

    Args:
        connections: one for each server, at least one.
        max_retries: how many failures of a request at one connection, and of a connection in a row, are retried.
        backoff_s: seconds of the first pause; see `backoff`.
    """

    def __init__(self, connections: Sequence[Connection[E]], max_retries: int, backoff_s: float) -> None:
        self._connections, self._max_retries, self._backoff_s = connections, max_retries, backoff_s
        self._waiting: list[tuple[Request, asyncio.Future[Connection[E] | None]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self.is_stopped = False
        for connection in connections:
            connection.endpoint.limit.restart_window()

    async def acquire(self, request: Request) -> Connection[E] | None:
        """Wait for a connection, retried requests first; return None if no server is left to send the request to."""
        if self._is_exhausted(request):
            return None
        future: asyncio.Future[Connection[E] | None] = asyncio.get_running_loop().create_future()
        position = 0 if request.is_repeated else len(self._waiting)
        self._waiting.insert(position, (request, future))
        self._assign()
        return await future

    def release(self, connection: Connection[E]) -> None:
        """Give a connection back without saying anything of the server."""
        connection.in_flight -= 1
        self._assign()

    def release_answered(self, connection: Connection[E]) -> None:
        """Give a connection back after an answer of any kind, which closes the circuit breaker."""
        if connection.tripped:
            _log.warning("%s answers again.", connection.endpoint.url)
        connection.failures, connection.tripped, connection.paused_until = 0, False, 0.0
        connection.failed_requests.clear()
        connection.refused_requests.clear()
        connection.busy_since, connection.said_last = 0.0, None
        connection.endpoint.answered += 1
        connection.endpoint.limit.on_answered()
        self.release(connection)

    def release_refused(self, connection: Connection[E], request: Request, failure: Failure) -> None:
        """Give a connection back after a failure that the same request would have again; it is not sent there again.

        Where several requests in a row are told what is true of all of them, such as that the key is wrong, or the
        quota is exhausted, the server gets no more.
        """
        request.last_failures[connection] = replace(failure, attempts=request.failures[connection] + 1)
        request.failures[connection] = self._max_retries + 1
        connection.last_failure = failure
        if failure.is_permanent:
            connection.refused_requests.add(request)
        if failure.ends_run or len(connection.refused_requests) >= TRIP_AFTER:
            connection.disabled = True
            if len(self._connections) > 1:
                _log.warning(
                    "%s is not used any more in this run: %s.", connection.endpoint.url, redact(failure.summary)
                )
            self._give_up_exhausted()
        self.release(connection)

    def release_failed(self, connection: Connection[E], request: Request, failure: Failure, sent_at: float) -> float:
        """Give a connection back after a failure; return how many seconds the request should wait before its retry.

        Args:
            connection: where the request was sent.
            request: what was sent.
            failure: why there was no answer.
            sent_at: when it was sent, by time.monotonic.
        """
        now, previous, connection.last_failure = time.monotonic(), connection.last_failure, failure
        if not failure.unreachable:
            connection.said_last = None
        elif connection.failures and previous and not previous.unreachable:
            connection.said_last = previous
        url, wait_s = connection.endpoint.url, failure.retry_after_s
        if failure.status in BUSY_STATUSES:  # never the fault of the request
            connection.busy_since = connection.busy_since or now
        else:
            request.failures[connection] += 1
            connection.failed_requests.add(request)
        attempts = max(request.failures[connection], connection.failures + 1)
        request.last_failures[connection] = replace(failure, attempts=attempts)
        if failure.overloaded:
            connection.endpoint.limit.on_overloaded(sent_at)
        if sent_at >= connection.failed_at:
            connection.failures, connection.failed_at = connection.failures + 1, now
            if not connection.tripped and (failure.unreachable or connection.failures >= TRIP_AFTER):
                connection.tripped = True
                _log.warning("%s is not used until it answers again: %s.", url, redact(failure.summary))
        if connection.tripped or failure.status in BUSY_STATUSES:
            wait_s = max(wait_s, backoff(self._backoff_s, connection.failures))
        connection.paused_until = max(connection.paused_until, now + wait_s)
        pause_s = connection.paused_until - now
        _log.info("%s: %s; next request to it in %.1f s", url, redact(failure.summary), pause_s)
        self._give_up_exhausted()
        self.release(connection)
        return 0.0 if connection.paused_until > now else backoff(self._backoff_s, request.failures[connection])

    @property
    def is_unreachable(self) -> bool:
        """Whether every server refuses all requests, cannot be reached, or has been too busy for too long."""
        return all(c.disabled or (self._is_down(c) and self._is_cause(c)) for c in self._connections)

    @property
    def is_down(self) -> bool:
        """Whether no server answers any request at the moment."""
        return all(c.disabled or self._is_down(c) for c in self._connections)

    @property
    def has_ended(self) -> bool:
        """Whether a server that took requests before is not there any more."""
        return any(c.said_last for c in self._connections)

    def stop(self) -> None:
        """Hand out no connection any more; requests in flight go on."""
        self.is_stopped = True
        for _, future in self._waiting:
            self._hand_out(future, None)
        self._waiting.clear()

    def _is_cause(self, connection: Connection[E]) -> bool:
        """Whether the last failure is certainly that of the server, and not of a request."""
        failure = connection.last_failure
        return failure is not None and (failure.unreachable or failure.status in BUSY_STATUSES)

    def _is_down(self, connection: Connection[E]) -> bool:
        """Whether a server fails for all requests, more often than is retried, or for too long if it is busy.

        A server with faults is only called down after it was tested with one request at a time, by different requests.
        """
        failure = connection.last_failure
        if failure is None:
            return False
        if failure.status in BUSY_STATUSES:
            patience_s = PATIENCE * self._backoff_s
            return bool(connection.busy_since) and time.monotonic() - connection.busy_since > patience_s
        if failure.unreachable:
            return connection.failures > self._max_retries
        is_tested = connection.tripped and connection.in_flight <= 1 and len(connection.failed_requests) >= TRIP_AFTER
        return is_tested and connection.failures > max(self._max_retries, TRIP_AFTER)

    def _give_up_exhausted(self) -> None:
        """Tell waiting requests for which no server is left."""
        for item in [item for item in self._waiting if self._is_exhausted(item[0])]:
            self._waiting.remove(item)
            self._hand_out(item[1], None)

    def failure_message(self, request: Request) -> str:
        """Return the last failure of every server, for a request that no server is left for."""
        messages = [
            replace(failure, attempts=max(c.failures, request.failures[c])).message(c.endpoint.url)
            for c in self._connections
            if (failure := _last_failure(c))
        ]
        if len(messages) == 1:
            return messages[0]
        return f"none of the {len(messages)} servers answers. " + " ".join(messages)

    def _assign(self) -> None:
        """Give available connections to waiting requests, and set the timer for those that are paused.

        In three passes: a request tests each tripped server, first those that have failed least, for it may be theirs;
        then requests go to servers that have read their few-shots; then to the least loaded one.
        """
        now, is_any_tripped = time.monotonic(), any(connection.tripped for connection in self._connections)
        tests = sorted(self._waiting, key=lambda item: item[0].failures.total()) if is_any_tripped else []
        passes = (self._tripped, tests), (self._with_affinity, self._waiting), (self._least_loaded, self._waiting)
        for choose, waiting in passes:
            for item in list(waiting):
                available = [connection for connection in self._connections if connection.is_available(now)]
                if not available:
                    break
                request, future = item
                allowed = [c for c in available if request.failures[c] <= self._max_retries]
                if (connection := choose(request, allowed)) is not None:
                    self._waiting.remove(item)
                    self._hand_out(future, connection)
        self._set_timer(min((c.paused_until for c in self._connections if c.paused_until > now), default=0.0))

    def _tripped(self, request: Request, allowed: Sequence[Connection[E]]) -> Connection[E] | None:
        return next((connection for connection in allowed if connection.tripped), None)

    def _with_affinity(self, request: Request, allowed: Sequence[Connection[E]]) -> Connection[E] | None:
        """The healthy connection that has read its beginning, or else the fewest; None if its load is too high."""
        if (affinity := request.affinity) is None:
            return None
        healthy = [connection for connection in self._connections if connection.is_healthy]
        preferred = next((c for c in healthy if affinity in c.endpoint.affinities), None)
        if preferred is None and healthy:
            preferred = min(healthy, key=lambda c: len(c.endpoint.affinities))
            preferred.endpoint.affinities.add(affinity)
        if preferred is None or preferred not in allowed:
            return None
        return preferred if preferred.load <= min(c.load for c in healthy) + AFFINITY_SLACK else None

    def _least_loaded(self, request: Request, allowed: Sequence[Connection[E]]) -> Connection[E] | None:
        return min(allowed, key=lambda c: (request.failures[c], c.load), default=None)

    def _is_exhausted(self, request: Request) -> bool:
        """Whether at every connection this request, or all requests, have failed more often than is retried."""
        return self.is_stopped or all(
            c.disabled or self._is_down(c) or request.failures[c] > self._max_retries for c in self._connections
        )

    def _hand_out(self, future: asyncio.Future[Connection[E] | None], connection: Connection[E] | None) -> None:
        if future.done():  # cancelled: the run ends
            return
        if connection is not None:
            connection.in_flight += 1
            connection.endpoint.limit.on_sent(connection.in_flight)
        future.set_result(connection)

    def _set_timer(self, when: float) -> None:
        if self._timer:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, when - time.monotonic()), self._assign) if when else None


def _last_failure(connection: Connection[Any]) -> Failure | None:
    """The last failure at a server; of one that has ended, with what it said before."""
    failure, said = connection.last_failure, connection.said_last
    if failure is None or said is None:
        return failure
    words = redact(": ".join(filter(None, [said.summary, said.body])))
    return replace(failure, advice=f"it ended while it was asked, see its log. What came before: {words}")
