"""Runs an engine, and ends it with all its processes as soon as whoever asked for it is gone, however that ended.

A program of its own, of the standard library alone: a process that is killed with -9 can clean up nothing itself. It
reads one line of JSON from stdin (`client`, the process whose end is the engine's; `command`; `log`, a file; `secret`,
which the log must not hold; `grace_s`) and writes two to stdout: `{"pid": ...}` once the engine is started, which leads
a session and a process group of its own, and `{"status": ...}` once all of it is gone. SIGTERM asks it to end the
engine.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO, Any

TICK_S = 0.1
"""Seconds between two looks at the client and the engine."""

FIRST_LOOK_S, LOOK_EVERY_S = 0.25, 5.0
"""Seconds until the first look for processes of the engine that have left its group, which grow by half each time up to
the second: one whose parent is gone is known only if it was seen before."""

LONGEST_LINE = 1 << 16
"""Bytes of a line that are waited for before they are written."""

DRAIN_S = 2.0
"""Seconds that the last words of a dead engine may take."""


def main() -> None:
    """Run the engine that stdin describes."""
    order = json.loads(sys.stdin.readline())
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    for number in (signal.SIGINT, signal.SIGHUP):  # the client decides what these mean; the engine has its own mind
        signal.signal(number, lambda *_: None)
    try:
        engine = subprocess.Popen(
            order["command"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as e:
        _say(status=f"could not be started ({e.strerror or e})")
        return
    _say(pid=engine.pid)
    assert engine.stdout is not None
    log = threading.Thread(
        target=copy_output, args=(engine.stdout, order["log"], order["secret"].encode()), daemon=True
    )
    log.start()
    groups, pause_s, next_look = {engine.pid}, FIRST_LOOK_S, time.monotonic() + FIRST_LOOK_S
    while engine.poll() is None and not asked.is_set() and os.getppid() == order["client"]:
        asked.wait(TICK_S)
        if time.monotonic() > next_look:
            groups, pause_s = groups_of(engine.pid, groups), min(1.5 * pause_s, LOOK_EVERY_S)
            next_look = time.monotonic() + pause_s
    groups = groups_of(engine.pid, groups)
    status = _status(engine.poll())
    end = time.monotonic() + order["grace_s"]
    if engine.returncode is None:
        _signal(groups, signal.SIGTERM)
        while engine.poll() is None and time.monotonic() < end:
            time.sleep(TICK_S)
    _signal(groups, signal.SIGKILL)
    engine.wait()
    log.join(DRAIN_S)
    _say(status=status)


def _say(**words: object) -> None:
    with contextlib.suppress(OSError):  # nobody is there to read it
        print(json.dumps(words), flush=True)


def copy_output(source: IO[bytes], path: str, secret: bytes) -> None:
    """Write what the engine prints into its log, at each end of a line or return of its cursor, without the secret."""
    with contextlib.ExitStack() as stack:
        log: IO[bytes] | None = None
        with contextlib.suppress(OSError):  # whatever becomes of the log, the engine must get rid of its words
            log = stack.enter_context(open(path, "ab", buffering=0))
        pending, more = b"", True
        while more:
            chunk = os.read(source.fileno(), LONGEST_LINE)
            more = bool(chunk)
            pending = (pending + chunk).replace(secret, b"<key>")
            end = max(pending.rfind(b"\n"), pending.rfind(b"\r")) + 1
            if not more:
                end = len(pending)
            elif not end and len(pending) > LONGEST_LINE:
                end = len(pending) - len(secret)
            with contextlib.suppress(OSError):
                if log and end:
                    log.write(pending[:end])
            pending = pending[end:]


def _status(code: int | None) -> str:
    """Say how a process ended; "" if it goes on."""
    if code is None:
        return ""
    if code == -signal.SIGKILL:
        return "was killed by signal 9 (by somebody, or because there was not enough memory)"
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit status {code}"


def groups_of(engine: int, known: set[int]) -> set[int]:
    """Return the process groups of an engine's processes, those included that were known before and are still there."""
    processes = _processes()
    family, size = {engine}, 0
    while len(family) > size:
        size = len(family)
        family |= {pid for pid, parent, _ in processes if parent in family}
    of_family = {group for pid, _, group in processes if pid in family and pid != engine}
    there = {group for _, _, group in processes}
    return {engine} | (known & there) | (of_family - {os.getpgrp()})


def _processes() -> list[Any]:
    """Return process, parent and group of all processes; none where ps cannot say it."""
    try:
        done = subprocess.run(
            ["ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "pgid="], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.split() for line in done.stdout.splitlines()]
    return [tuple(map(int, row)) for row in rows if len(row) == 3]


def _signal(groups: set[int], number: int) -> None:
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # gone, or as good as
            os.killpg(group, number)


if __name__ == "__main__":
    main()
