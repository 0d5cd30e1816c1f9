"""What the watchdog writes into an engine's log."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from craft_hf.generation.engine.watchdog import LONGEST_LINE, copy_output
from tests.server_client import until


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
