"""Runs an engine, and ends it with all its processes as soon as whoever asked for it is gone, however that ended.

A program of its own, of the standard library alone: a process that is killed with -9 can clean up nothing itself. It
reads one line of JSON from stdin (`client`, the process whose end is the engine's; `command`; `log`, a file; `secret`,
which the log must not hold; `grace_s`) and writes two to stdout: `{"pid": ...}` once the engine is started, which leads
a session and a process group of its own, and `{"status": ...}` once all of it is gone. SIGTERM asks it to end the
engine.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO

TICK_S = 0.1
"""Seconds between two looks at the client and the engine."""

FIRST_LOOK_S, LOOK_EVERY_S = 0.25, 5.0
"""Seconds until the first look for processes of the engine that have left its group, which grow by half each time up to
the second: outside of Linux one whose parent is gone is known only if it was seen before."""

PR_SET_CHILD_SUBREAPER = 36
"""The number of what is asked of Linux, from its headers."""

KILL_S = 5.0
"""Seconds for which it is looked again for processes that were to be killed."""

LONGEST_LINE = 1 << 16
"""Bytes of a line that are waited for before they are written."""

DRAIN_S = 2.0
"""Seconds that the last words of a dead engine may take."""


def main() -> None:
    """Run the engine that stdin describes."""
    order = json.loads(sys.stdin.readline())
    asked = False

    def ask(*_: object) -> None:  # nothing with a lock: the next signal may come in the middle of it
        nonlocal asked
        asked = True

    signal.signal(signal.SIGTERM, ask)
    for number in (signal.SIGINT, signal.SIGHUP):  # the client decides what these mean; the engine has its own mind
        signal.signal(number, lambda *_: None)
    _adopt_orphans()
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
    parents = {engine.pid, os.getpid()}
    groups, pause_s, next_look = {engine.pid}, FIRST_LOOK_S, time.monotonic() + FIRST_LOOK_S
    while engine.poll() is None and not asked and os.getppid() == order["client"]:
        time.sleep(TICK_S)
        if time.monotonic() > next_look:
            _collect_orphans(engine.pid)
            groups, pause_s = groups_of(parents, groups), min(1.5 * pause_s, LOOK_EVERY_S)
            next_look = time.monotonic() + pause_s
    status = _status(engine.poll())
    groups = groups_of(parents, groups)
    end = time.monotonic() + order["grace_s"]
    if engine.returncode is None:
        _signal(groups, signal.SIGTERM)
        while engine.poll() is None and time.monotonic() < end:
            time.sleep(TICK_S)
    end = time.monotonic() + KILL_S
    while groups := _signal(groups_of(parents, groups), signal.SIGKILL):
        time.sleep(TICK_S)
        engine.poll()
        _collect_orphans(engine.pid)
        if time.monotonic() > end:
            break
    engine.wait()
    log.join(DRAIN_S)
    _say(status=status)


def _adopt_orphans() -> None:
    """On Linux, become the parent of all processes of the engine that lose theirs, whatever session they are in."""
    with contextlib.suppress(ImportError, OSError, AttributeError):  # elsewhere they are known if they were seen before
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _collect_orphans(engine: int) -> None:
    """Let those that were adopted and have ended go, but not the engine, whose status is asked for elsewhere."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid == engine:
                return
            os.waitpid(ended.si_pid, 0)


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


def groups_of(parents: set[int], known: set[int]) -> set[int]:
    """Return the process groups of some processes' children and theirs, and those known before that are still there.

    Where nobody says which processes there are, all known groups count as still there.
    """
    processes = _processes()
    if not processes:
        return known
    family, size = set(parents), 0
    while len(family) > size:
        size = len(family)
        family |= {pid for pid, parent, _ in processes if parent in family}
    of_family = {group for pid, _, group in processes if pid in family}
    there = {group for _, _, group in processes}
    return (known & there) | (of_family - {os.getpgrp()})


def _processes() -> list[tuple[int, int, int]]:
    """Return process, parent and group of all processes that run; none where neither /proc nor ps can say it."""
    rows = []
    for stat in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError), open(stat, encoding="utf-8", errors="replace") as file:
            begin, _, end = file.read().rpartition(")")  # a name may hold blanks and brackets
            state, parent, group = end.split()[:3]
            rows.append([begin.split()[0], parent, group, state])
    if not rows:
        columns = [word for name in ("pid", "ppid", "pgid", "stat") for word in ("-o", f"{name}=")]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(["ps", "-A", *columns], capture_output=True, text=True, timeout=10)
            rows = [line.split() for line in done.stdout.splitlines()]
    running = [row for row in rows if len(row) >= 4 and not row[3].startswith("Z")]
    return [(int(pid), int(parent), int(group)) for pid, parent, group, *_ in running]


def _signal(groups: set[int], number: int) -> set[int]:
    """Send a signal to some groups; return those that were there."""
    there = set(groups)
    for group in groups:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):  # gone, or as good as
            there.discard(group)
    return there


if __name__ == "__main__":
    main()
