"""A small OpenAI-compatible server on loopback whose behaviour, request by request, a test writes down as a list."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

RESET = struct.pack("ii", 1, 0)
"""The value of SO_LINGER with which closing a connection resets it."""

ANSWER = '{"question": "Q?"}'


@dataclass(frozen=True)
class Reply:
    """What one request gets: after `delay_s` seconds a status, headers and a body.

    `cut` sends half of the body; `hang_up` closes the connection in place of an answer, `reset` resets it.
    """

    body: str = ""
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut: bool = False
    hang_up: bool = False
    reset: bool = False


def ok(
    text: str | None = ANSWER,
    finish_reason: str = "stop",
    delay_s: float = 0.0,
    usage: bool = True,
    refusal: str | None = None,
    cached: int | None = None,
    tokens: tuple[int, int] = (7, 3),
) -> Reply:
    """A chat completion; `tokens` are those of the prompt and of the answer."""
    message = {"role": "assistant", "content": text, "refusal": refusal}
    body: dict[str, Any] = {
        "id": "1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
    }
    if usage:
        body["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    if cached is not None:
        body["usage"]["prompt_tokens_details"] = {"cached_tokens": cached}
    return Reply(json.dumps(body), delay_s=delay_s)


def error(status: int, message: str, headers: Mapping[str, str] | None = None, **more: Any) -> Reply:
    """An error in OpenAI's form."""
    return Reply(json.dumps({"error": {"message": message, **more}}), status, headers=headers or {})


HTML = Reply("<!DOCTYPE html><html><body>Welcome</body></html>", content_type="text/html; charset=utf-8")
CUT_JSON = Reply(ok().body[:40])
CUT_CONNECTION = Reply(ok().body, cut=True)
HANG_UP = Reply(hang_up=True)
HANG = Reply(ok().body, delay_s=30.0)


class FakeServer:
    """Answers POST /v1/chat/completions with `replies` in turn, then with `ok()`; keeps what it was sent.

    `refuses` names request fields that get a 400, as from servers that do not know them, or types of response_format;
    `by_content` gives the reply to requests whose last message is a key of it, and goes before `replies`.
    """

    path = "/v1/chat/completions"

    def __init__(
        self,
        replies: Sequence[Reply] = (),
        models: Sequence[str] = ("tiny",),
        refuses: Sequence[str] = (),
        by_content: Mapping[str, Reply] | None = None,
        model_replies: Sequence[Reply] = (),
        always: Reply | None = None,
    ) -> None:
        self.replies, self.model_replies = list(replies), list(model_replies)
        self.models, self.refuses, self.by_content, self.always = models, refuses, by_content or {}, always
        self.requests: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.keys: list[str] = []
        self.model_requests = 0
        self.in_flight = self.most_in_flight = 0
        self.hung_up = 0  # clients that were gone before their answer was written
        self.answers = 0  # chat replies with status 200 that were written whole
        self.kill: Callable[[], None] = lambda: None  # set by `serving`
        self.closing = threading.Event()
        self.lock = threading.Lock()
        self.url = ""
        self.root: str | None = "weights"  # what /v1/models says is behind each name

    def reply_to(self, body: dict[str, Any]) -> Reply:
        """The reply to a chat request."""
        with self.lock:
            self.requests.append(body)
            self.times.append(time.monotonic())
            for name in self.refuses:
                if name in body or body.get("response_format", {}).get("type") == name:
                    return error(400, f"Unrecognized request argument supplied: {name}", param=name)
            last = body["messages"][-1]["content"]
            if last in self.by_content:
                return self.by_content[last]
            return self.replies.pop(0) if self.replies else self.always or ok()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes: without it each answer waits 40 ms
    server: _Http

    def setup(self) -> None:
        super().setup()
        with self.server.fake.lock:
            self.server.open_connections.add(self.connection)

    def finish(self) -> None:
        with self.server.fake.lock:
            self.server.open_connections.discard(self.connection)
        super().finish()

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        fake = self.server.fake
        fake.model_requests += 1
        fake.keys.append(self.headers.get("Authorization", ""))
        if self.path != "/v1/models":
            self._send(error(404, "Not Found"))
        elif fake.model_replies:
            self._send(fake.model_replies.pop(0))
        else:
            self._send(
                Reply(json.dumps({"object": "list", "data": [{"id": name, "root": fake.root} for name in fake.models]}))
            )

    def do_POST(self) -> None:
        fake = self.server.fake
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fake.keys.append(self.headers.get("Authorization", ""))
        with fake.lock:
            fake.in_flight += 1
            fake.most_in_flight = max(fake.most_in_flight, fake.in_flight)
        reply = fake.reply_to(body) if self.path == fake.path else error(404, "Not Found")
        gone = self._wait(reply.delay_s)
        with fake.lock:
            fake.in_flight -= 1
            fake.hung_up += gone
        if not gone:
            self._send(reply)
            with fake.lock:
                fake.answers += reply.status == 200

    def _wait(self, delay_s: float) -> bool:
        """Wait; True if the client closed its connection meanwhile."""
        end = time.monotonic() + delay_s
        while (left := end - time.monotonic()) > 0 and not self.server.fake.closing.is_set():
            self.connection.settimeout(min(left, 0.02))
            try:
                if self.connection.recv(1, socket.MSG_PEEK) == b"":
                    self.close_connection = True
                    return True
            except TimeoutError:
                pass
            except OSError:
                self.close_connection = True
                return True
        self.connection.settimeout(None)
        return False

    def _send(self, reply: Reply) -> None:
        if reply.hang_up or reply.reset:
            self.close_connection = True
            if reply.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                os.close(self.connection.detach())  # a shutdown, as socketserver does it, would end it politely
            return
        body = reply.body.encode()
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if reply.cut else body)
        self.close_connection = self.close_connection or reply.cut


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64
    fake: FakeServer

    def __init__(self, fake: FakeServer, port: int) -> None:
        self.fake, self.open_connections = fake, set[socket.socket]()
        super().__init__(("127.0.0.1", port), _Handler)

    def kill(self) -> None:
        """End as a killed process does: nobody listens any more, and what is in flight is reset."""
        self.shutdown()
        self.server_close()
        self.fake.closing.set()
        with self.fake.lock:
            for connection in self.open_connections:
                with suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def serving(fake: FakeServer, port: int = 0) -> Iterator[FakeServer]:
    """Serve `fake` on a port of loopback, by default a free one, until the block ends or the server is killed."""
    http = _Http(fake, port)
    fake.url = f"http://127.0.0.1:{http.server_address[1]}"
    fake.kill = http.kill
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.closing.set()
        http.shutdown()
        http.server_close()
        thread.join()


def free_port() -> int:
    """A port of loopback that nobody listens on at the moment."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
