"""`craft-hf generate` says what it does, from the beginning to the end, however slow the model is."""

from __future__ import annotations

import itertools
import os
import pty
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.writer_server import WriterServer

FIRST_S, GAP_S = 5.0, 15.0


def read_with_times(stderr: int) -> list[tuple[float, str]]:
    """What comes out of a pipe or terminal until it is closed, with the times."""
    found = []
    while True:
        try:
            chunk = os.read(stderr, 65536)
        except OSError:  # a terminal whose other end is closed
            chunk = b""
        if not chunk:
            return found
        found.append((time.monotonic(), chunk.decode()))


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("where", ["file", pytest.param("terminal", marks=pytest.mark.long)])
def test_a_slow_model_is_no_silence(home: Path, server: WriterServer, tmp_path: Path, where: str) -> None:
    """Something is shown within five seconds, and then at least every fifteen; lines in a file, few of them."""
    server.delay_s, server.bad_every = 18.0, 2
    command = [sys.executable, "-c", "from craft_hf.cli.main import main; main()", "generate", "bioqa"]
    command += ["--generator", server.url, "--num-samples", "2", "--out", str(tmp_path / "out")]
    ours, theirs = pty.openpty() if where == "terminal" else os.pipe()
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, env=dict(os.environ))
    os.close(theirs)
    shown = list[tuple[float, str]]()
    reader = threading.Thread(target=lambda: shown.extend(read_with_times(ours)))
    reader.start()
    assert process.wait(timeout=300) == 0
    ended = time.monotonic()
    reader.join()
    os.close(ours)
    text = "".join(chunk for _, chunk in shown)
    times = [started, *(at for at, _ in shown), ended]
    assert times[1] - started <= FIRST_S, text
    assert max(b - a for a, b in itertools.pairwise(times)) <= GAP_S, text
    assert "Generating bioqa: 0 of 2 samples" in text
    last = re.search(r"Generating bioqa: 2 of 2 samples from (\d+) answers, dropped: (.*?), \d+ tokens/s", text)
    assert last, text
    assert "schema" in last[2]
    assert "bad" not in text
    if where == "file":
        assert "\r" not in text
        assert len(text.splitlines()) <= (ended - started) / 8 + 4
