"""What the watchdog writes into an engine's log."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from craft_hf.generation.engine import watchdog
from craft_hf.generation.engine.watchdog import LONGEST_LINE, copy_output
from tests.generation.engine.conftest import is_running
from tests.server_client import until


def started(log: Path, *command: str, grace_s: float = 1.0) -> tuple[subprocess.Popen[str], int]:
    """A watchdog of this process, and its engine."""
    found = subprocess.Popen(
        [sys.executable, "-I", "-S", str(watchdog.__file__)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert found.stdin is not None
    assert found.stdout is not None
    order = {"client": os.getpid(), "command": command, "log": str(log), "secret": "secret", "grace_s": grace_s}
    found.stdin.write(json.dumps(order) + "\n")
    found.stdin.close()
    return found, json.loads(found.stdout.readline())["pid"]


def test_it_ends_the_engine_however_often_it_is_asked(tmp_path: Path) -> None:
    """One signal comes while another one is being taken note of."""
    begun = [started(tmp_path / "log", "sh", "-c", "trap '' TERM; sleep 600") for _ in range(3)]
    try:
        end = time.monotonic() + 60
        while any(found.poll() is None for found, _ in begun) and time.monotonic() < end:
            for found, _ in begun:
                found.terminate()
        assert not [pid for found, pid in begun if is_running(pid) or found.returncode is None]
    finally:
        for found, pid in begun:
            found.kill()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to somebody else than init")
@pytest.mark.parametrize("dies", [True, False])
def test_processes_that_left_before_they_were_seen_are_ended(tmp_path: Path, dies: bool) -> None:
    """Their session is their own, and their parent is gone."""
    left = tmp_path / "left"
    launcher = f"setsid sleep 600 & echo $! > {shlex.quote(str(left))}"
    found, engine = started(tmp_path / "log", "sh", "-c", f"sh -c {shlex.quote(launcher)}; sleep 600")
    until(lambda: left.exists() and left.read_text().endswith("\n"), 60)
    orphan = int(left.read_text())
    try:
        until(lambda: os.getpgid(orphan) == orphan, 60)
        if dies:
            os.kill(engine, signal.SIGKILL)
        else:
            found.terminate()
        assert found.wait(60) == 0
        assert not is_running(orphan)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(orphan, signal.SIGKILL)


def test_groups_that_were_known_stay_so_where_nobody_can_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither /proc nor ps; where they can, groups that are gone are forgotten."""
    assert watchdog.groups_of({os.getppid()}, {os.getpgrp(), 2**22 + 1}) >= {os.getpgrp()}
    assert 2**22 + 1 not in watchdog.groups_of(set(), {2**22 + 1})
    monkeypatch.setattr("glob.glob", lambda _: [])
    assert os.getpgrp() in watchdog.groups_of(set(), {os.getpgrp()})
    monkeypatch.setenv("PATH", "/nowhere")
    assert watchdog.groups_of({1}, {2, 3}) == {2, 3}


@pytest.mark.parametrize("path", ["engine.log", "no such folder/engine.log"])
def test_a_log_has_progress_at_once_and_no_secret(tmp_path: Path, path: str) -> None:
    """A bar ends in a return of the cursor; the secret may come in two parts; a log that cannot be written is left."""
    log = tmp_path / path
    source, target = os.pipe()
    with os.fdopen(source, "rb") as reader:
        thread = threading.Thread(target=copy_output, args=(reader, str(log), b"secret"), daemon=True)
        thread.start()
        os.write(target, b"Loading: 50%\rmy sec")
        if log.parent.exists():
            until(lambda: log.exists() and log.read_bytes() == b"Loading: 50%\r")
        os.write(target, b"ret is secret\n")
        for part in (b"x" * LONGEST_LINE, b"sec", b"ret", b"y" * 9, b"\n"):
            os.write(target, part)
        os.write(target, b"end")
        os.close(target)
        thread.join(10)
        assert not thread.is_alive()
    if log.parent.exists():
        shown = b"Loading: 50%\rmy <key> is <key>\n" + b"x" * LONGEST_LINE + b"<key>yyyyyyyyy\nend"
        assert log.read_bytes() == shown
