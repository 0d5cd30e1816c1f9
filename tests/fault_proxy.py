"""A proxy on loopback before a real OpenAI-compatible server, which puts faults in between and keeps the accounts."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from http.client import HTTPException
from typing import Any

from tests.openai_server import HANG, FakeServer, Reply, error

EVERY = 3
"""Each so many-th request meets a fault, until there are no more."""


class FaultProxy(FakeServer):
    """Hands chat requests on to a server and its replies back, except for those that take one of `faults`, in turn.

    "busy" is a 429 with Retry-After, "error" a 500, "reset" a connection that is reset, "hang" no answer until the
    client leaves: of these the server hears nothing. "cut" is an answer of the server of which half arrives.
    When the server itself is gone, connections are reset.
    """

    def __init__(self, upstream: str, faults: Sequence[str]) -> None:
        super().__init__()
        self.upstream, self.faults = upstream, list(faults)
        self.met = Counter[str]()
        self.paid = list[str]()  # the requests that the server answered
        self.lost = list[str]()  # those of them whose answer was cut
        self.on_answer: Callable[[], None] = lambda: None

    def reply_to(self, body: dict[str, Any]) -> Reply:
        """The reply to a chat request: the server's, or a fault."""
        with self.lock:
            self.requests.append(body)
            fault = self.faults.pop(0) if self.faults and len(self.requests) % EVERY == 0 else "none"
            self.met[fault] += 1
        if fault == "busy":
            return error(429, "Too many requests", {"Retry-After": "1"})
        if fault == "error":
            return error(500, "Internal server error")
        if fault == "reset":
            return Reply(reset=True)
        if fault == "hang":
            return replace(HANG, delay_s=600)
        reply = self._forward(body)
        if reply.status != 200 or reply.reset:
            return reply
        with self.lock:
            self.paid.append(json.dumps(body))
            if fault == "cut":
                self.lost.append(json.dumps(body))
        self.on_answer()
        return replace(reply, cut=fault == "cut")

    def _forward(self, body: dict[str, Any]) -> Reply:
        request = urllib.request.Request(
            f"{self.upstream}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=600) as response:
                return Reply(response.read().decode())
        except urllib.error.HTTPError as refused:
            return Reply(refused.read().decode(), refused.code)
        except (OSError, HTTPException):
            return Reply(reset=True)
