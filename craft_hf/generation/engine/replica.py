"""One engine with its GPUs: started, asked until it answers, and started again when it dies."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from craft_hf.base import CraftError, GeneratorError
from craft_hf.generation.engine.command import HOST, EngineCommand
from craft_hf.generation.engine.process import EngineProcess
from craft_hf.servers import Client, Failure, forget_key, keep_key, parse_models

_log = logging.getLogger(__name__)

MOST_DEATHS = 3
"""Deaths without an answer between them after which an engine is not started again."""

PAUSE_S = 1.0
"""Seconds before an engine is started again; they double with each death without an answer."""

LOOK_EVERY_S = 0.3
"""Seconds between two questions whether an engine is ready."""

ANSWER_S = 60.0
"""Seconds that the first token may take before it is asked for again."""

MOST_PORTS = 3
"""How often an engine gets another port because somebody else took the first."""

MOST_REFUSALS = 5
"""How often an engine may refuse the key while it starts: it may be another program that has its port."""

_ADVICE = {404: "is it an OpenAI-compatible server?"}


class Replica:
    """An engine that is kept running, by a thread of its own, until `stop`.

    Args:
        label: what errors and progress call it.
        command: that starts it.
        gpus: that it gets; all that there are by default.
        key: that it takes.
        log: a file for what it prints.
        start_s: seconds within which it must be ready.
        changed: is told under its lock of whatever becomes of it.

    Attributes:
        url: of its API, up to /v1; stays the same once it was ready.
        is_up: whether it answers, as far as is known.
        was_up: whether it has ever been.
        deaths: how often it died.
        error: why it is not started again; None as long as it is.
    """

    def __init__(
        self,
        label: str,
        command: EngineCommand,
        gpus: Sequence[str],
        key: str,
        log: Path,
        start_s: float,
        changed: threading.Condition,
    ) -> None:
        self.label, self._command, self._gpus, self._key = label, command, gpus, key
        self.log, self._start_s, self._changed = log, start_s, changed
        self.url, self.is_up, self.was_up, self.deaths = "", False, False, 0
        self.error: GeneratorError | None = None
        self.answered: Callable[[str], int] = lambda url: 0
        self._port, self._ports = 0, 0
        self._in_vain, self._answered = 0, 0
        self._process: EngineProcess | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"craft_hf engine {label}", daemon=True)

    def start(self) -> None:
        """Start it, and return at once."""
        self._take_port()
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Begin to end it, and return at once."""
        self._stopping.set()
        if self._process:
            self._process.ask_to_stop()

    def stop(self) -> None:
        """End it, and wait until it is gone."""
        self.ask_to_stop()
        if self._process:
            self._process.stop()  # whatever it is asked at the moment
        if self._thread.ident:
            self._thread.join()
        forget_key(self.url)

    def forgive(self) -> None:
        """Count no death so far as one in vain: something else was the cause."""
        self._in_vain = 0

    @property
    def is_listening(self) -> bool:
        """Whether it takes requests at this moment; its process may be dead already before that is known."""
        return self.is_up and is_listening(self._port)

    @property
    def line(self) -> str:
        """What it is doing, for progress."""
        said = self._process.last_line if self._process else ""
        return f"Starting {self.label}" + (f": {said}" if said else "")

    def _work(self) -> None:
        try:
            while not self._stopping.is_set():
                died = self._live()
                if self._stopping.is_set() or not self._may_start_again(died):
                    return
        except (CraftError, OSError) as e:
            self._give_up(GeneratorError(f"{self.label} cannot be started: {e}"))
        finally:
            if not self._stopping.is_set() and self.error is None:  # those who wait for it must hear of it
                self._give_up(GeneratorError(f"{self.label} is not watched any more, because of a fault in craft_hf."))

    def _live(self) -> str:
        """Start it and wait for its end; return how that came, with its last words."""
        while not self.was_up and is_listening(self._port):
            self._take_port()
        environment = self._command.environment(self._key, self._gpus)
        words = self._command.arguments(self._port, self._key)
        self._process = process = EngineProcess(words, environment, self.log, self._key)
        try:
            problem = self._wait_until_ready(process)
            if not problem:
                self._set(is_up=True, was_up=True)
                while not process.has_ended(LOOK_EVERY_S) and not self._stopping.is_set():
                    pass
        finally:
            process.stop()
            self._set(is_up=False)
        return f"{problem or process.status}.\n{process.last_words or '  | (it printed nothing)'}"

    def _wait_until_ready(self, process: EngineProcess) -> str:
        """Wait until it gives a token; return what went wrong, "" for nothing."""
        end, last, refused = time.monotonic() + self._start_s, "", 0
        while not process.has_ended(LOOK_EVERY_S) and not self._stopping.is_set():
            if time.monotonic() > end:
                return f"was not ready within {self._start_s:g} s (engine_timeout_s)" + (last and f"; {last}")
            if not is_listening(self._port):
                continue
            failure = asyncio.run(self._ask_for_a_token())
            if failure is None:
                return process.status if process.has_ended() else ""
            last = failure.message(self.url)
            refused += failure.status in (401, 403)
            if refused == MOST_REFUSALS:
                return (
                    f"refuses the key that was made up for it (HTTP status {failure.status}): it has one of its own; "
                    "write {key} into engine_command where it takes its key"
                )
            if not failure.retryable and failure.status not in (401, 403, 404):
                return f"gives no token: {last}"
        return process.status

    async def _ask_for_a_token(self) -> Failure | None:
        """Ask which models it has, and one of them for a token; return why there is none."""
        async with Client(self.url, ANSWER_S, _ADVICE) as client:
            models = await client.get("/models", parse_models)
            if isinstance(models, Failure):
                return models
            names = [str(model["id"]) for model in models]
            name = self._command.served or next(iter(names), "")
            if name not in names:
                return Failure(f"lists {', '.join(names) or 'no models'}, expected {name}", "is it another server?")
            body = {"model": name, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
            answer = await client.post("/chat/completions", body, _first_choice)
            return answer if isinstance(answer, Failure) else None

    def _may_start_again(self, died: str) -> bool:
        """Take note of a death, and wait a moment; False if there is to be no other start."""
        if not self.was_up:
            if is_listening(self._port) and self._ports < MOST_PORTS:
                _log.warning("%s: another program took port %d; it gets another one.", self.label, self._port)
                self._take_port()
                return True
            self._give_up(GeneratorError(f"{self.label} {died}\nAll of it: {self.log}"))
            return False
        answered = self.answered(self.url)
        self._in_vain = self._in_vain + 1 if answered == self._answered else 1
        self._answered = answered
        if self._in_vain >= MOST_DEATHS:
            words = f"died {MOST_DEATHS} times without an answer in between; at last it"
            self._give_up(GeneratorError(f"{self.label} {words} {died}\nAll of it: {self.log}"))
            return False
        self._set(deaths=self.deaths + 1)
        _log.warning("%s %s; it is started again. See %s.", self.label, died.partition(".\n")[0], self.log)
        return not self._stopping.wait(PAUSE_S * 2 ** (self._in_vain - 1))

    def _give_up(self, error: GeneratorError) -> None:
        self._set(error=error, deaths=self.deaths + 1)

    def _take_port(self) -> None:
        """Choose a port of loopback that nobody listens on."""
        forget_key(self.url)
        self._port, self._ports = free_port(), self._ports + 1
        self.url = f"http://{HOST}:{self._port}/v1"
        keep_key(self.url, self._key)

    def _set(self, **state: Any) -> None:
        with self._changed:
            vars(self).update(state)
            self._changed.notify_all()


_handed_out: set[int] = set()
"""Ports that engines of this process have; one that loads does not listen yet."""


def free_port() -> int:
    """Return a port of loopback that nobody listens on, and no engine of this process was given."""
    with socket.socket() as found:
        found.bind((HOST, 0))
        port = int(found.getsockname()[1])
    if port in _handed_out:
        return free_port()
    _handed_out.add(port)
    return port


def is_listening(port: int) -> bool:
    """Whether somebody listens on a port of loopback."""
    try:
        socket.create_connection((HOST, port), timeout=5).close()
    except OSError:
        return False
    return True


def _first_choice(body: Any) -> bool:
    """Return True for a chat completion.

    Raises:
        KeyError, TypeError, IndexError: it is none.
    """
    body["choices"][0]["message"]
    return True
