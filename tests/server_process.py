"""Real servers as processes: started, waited for, and killed with all that they have started."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE_S = 600
"""Seconds that a server may take to load its model, on a machine that has other things to do."""

SHOWN = 4_000
"""Characters of the log's end that are shown of a server that does not start."""


@contextmanager
def server_process(
    command: Sequence[str], url: str, log: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server, and give its process once it answers; it is killed at the end, whatever ends the block.

    Args:
        command: that starts it.
        url: where it answers when it is ready, with any status but 503, which says that the model is being loaded.
        log: a file for what it prints.
        environment: all its variables.
    """
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)
    try:
        end = time.monotonic() + PATIENCE_S
        while not _answers(url):
            assert process.poll() is None, f"it ended: {_end_of(log)}"
            assert time.monotonic() < end, f"it takes too long: {_end_of(log)}"
            time.sleep(0.2)
        yield process
    finally:
        with suppress(ProcessLookupError):  # also what a server that has died leaves behind
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=60).close()
    except urllib.error.HTTPError as e:  # nothing may be there, but somebody says so
        return e.code != 503
    except OSError:
        return False
    return True


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-SHOWN:]
