"""One process of an engine under its watchdog, and what its log says."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from craft_hf.base import StorageError
from craft_hf.generation.engine.watchdog import groups_of

GRACE_S = 5.0
"""Seconds that an engine gets to end by itself before it is killed."""

LAST_LINES = 12
"""Lines of a log's end that an error shows."""

MOST_CAUSES = 3
"""Lines before it that it shows, if they name an error: what comes last is often that of another process."""

LINE_CHARACTERS = 400
"""Characters that are shown of one line of a log."""

TAIL_BYTES = 1 << 18
"""Bytes of a log's end that are read for its last words."""

_WATCHDOG = Path(__file__).with_name("watchdog.py")
_HARMLESS = re.compile(r"\b(DEBUG|INFO|WARNING)\b")
_CAUSE = re.compile(r"\b[A-Z]\w*(Error|Exception)\b: *\S.*|\b(?i:error): .*")


class EngineProcess:
    """An engine that runs until it ends, `stop` is called, or this process is gone.

    Args:
        command: that starts it.
        environment: all its variables.
        log: a file that what it prints is appended to.
        secret: what the log must not hold.

    Raises:
        StorageError: the log cannot be written.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path, secret: str) -> None:
        self._log = log
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as file:
                self._log_start = file.tell()
        except OSError as e:
            raise StorageError(f"the engine's log {log} cannot be written: {e}; free disk space and try again.") from e
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_WATCHDOG)],
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        order = {
            "client": os.getpid(),
            "command": list(command),
            "log": str(log),
            "secret": secret,
            "grace_s": GRACE_S,
        }
        self._client, self._is_asked = os.getpid(), False
        self._pid, self._status = 0, ""
        self._ended = threading.Event()
        with contextlib.suppress(OSError):  # it is dead already, which the thread finds out
            assert self._watchdog.stdin is not None
            self._watchdog.stdin.write(json.dumps(order) + "\n")
            self._watchdog.stdin.close()
        threading.Thread(target=self._read, name="craft_hf engine's end", daemon=True).start()

    def _read(self) -> None:
        """Wait for the end, as the watchdog tells it; where it tells nothing, because it was killed, make one."""
        assert self._watchdog.stdout is not None
        told = False
        with contextlib.suppress(ValueError, OSError):
            for line in self._watchdog.stdout:
                words = json.loads(line)
                self._pid = words.get("pid", self._pid)
                if "status" in words:
                    self._status, told = words["status"], True
        if not told:
            self._status = "lost its watchdog"
            self._kill()
        self._watchdog.wait()
        self._ended.set()

    @property
    def _is_ours(self) -> bool:
        """Whether this process has started it: one that was forked off has but a copy, and no say."""
        return os.getpid() == self._client

    def _kill(self) -> None:
        if not self._is_ours:
            return
        groups = groups_of({self._pid}, {self._pid}) if self._pid else set[int]()
        for group in groups | {self._watchdog.pid}:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)

    def has_ended(self, within_s: float = 0.0) -> bool:
        """Whether it is gone, now or within so many seconds."""
        return self._ended.wait(within_s)

    @property
    def status(self) -> str:
        """How it ended, such as "was killed by signal 9"; "" as long as it runs, and if it was stopped."""
        return self._status

    def ask_to_stop(self) -> None:
        """Let its watchdog end it with all its processes, and return at once."""
        if self._is_ours and not self._is_asked and not self.has_ended():
            self._is_asked = True
            with contextlib.suppress(ProcessLookupError):
                self._watchdog.terminate()

    def stop(self) -> None:
        """End it with all its processes, and wait until they are gone."""
        self.ask_to_stop()
        if self._is_ours and not self.has_ended(GRACE_S + 10):
            self._kill()
            self.has_ended(5)

    @property
    def last_line(self) -> str:
        """What it printed last."""
        return next(reversed(self._lines(LINE_CHARACTERS)), "")

    @property
    def last_words(self) -> str:
        """The end of what it printed, and before it the first lines that name an error."""
        lines = self._lines()
        before, end = lines[:-LAST_LINES], lines[-LAST_LINES:]
        bad = (line for line in reversed(before) if not _HARMLESS.search(line))
        causes = {match[0]: line for line in bad if (match := _CAUSE.search(line))}
        named = [*reversed(causes.values())][:MOST_CAUSES]
        return "\n".join(f"  | {line}" for line in [*named, *(["..."] if named else []), *end])

    def _lines(self, most_bytes: int = TAIL_BYTES) -> list[str]:
        try:
            with self._log.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_start, size - most_bytes))
                text = log.read().decode("utf-8", errors="replace")
        except OSError:
            return []
        return [line.strip()[:LINE_CHARACTERS] for line in re.split(r"[\r\n]+", text) if line.strip()]
