"""A proxy on loopback that counts what a real server is asked, and gives the same answer to the same request."""

from __future__ import annotations

import json
from concurrent.futures import Future
from typing import Any

from tests.fault_proxy import FaultProxy
from tests.openai_server import Reply


class RecordingProxy(FaultProxy):
    """Hands each chat request on once, however often it comes; `requests` has them all, also those repeated.

    A model draws another answer each time; so runs can be compared.
    """

    def __init__(self, upstream: str, model: str) -> None:
        super().__init__(upstream, [])
        self.models = (model,)
        self.replies = dict[str, Future[Reply]]()

    def reply_to(self, body: dict[str, Any]) -> Reply:
        """The server's reply to a request like this one."""
        key = json.dumps(body, sort_keys=True)
        with self.lock:
            self.requests.append(body)
            is_new = key not in self.replies
            reply = self.replies.setdefault(key, Future())
        if is_new:
            reply.set_result(self._forward(body))
        return reply.result()
