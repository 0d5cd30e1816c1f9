"""Processes that begin with libraries and model loaded, because they fork from one that has them.

A start takes a tenth of a second in place of some twenty. Whatever is killed, ends or hangs is a real process.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver, popen_forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from unittest import mock

_SERVER = forkserver.ForkServer()  # multiprocessing has one for all, with what other tests preload
_SERVER.set_forkserver_preload(["tests.warm"])


class WarmProcess(ForkServerProcess):
    """A process as multiprocessing starts them, forked from one with libraries and model loaded."""

    @staticmethod
    def _Popen(process: Any) -> Any:
        with mock.patch.object(forkserver, "connect_to_new_process", _SERVER.connect_to_new_process):
            return popen_forkserver.Popen(process)

    def run(self) -> None:
        """Run its function."""
        assert "sentence_transformers" in sys.modules, "tests.warm could not be imported"
        super().run()


def _run(arguments: Sequence[str], environment: Mapping[str, str], output: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell makes its jobs deaf to it
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(output / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = ["craft-hf", *arguments]
    from craft_hf.cli.main import main

    main()


class CommandProcess:
    """`craft-hf` with some arguments, in a process that has the environment of this one.

    Args:
        arguments: of the command.
        output: a folder for what it prints.
    """

    def __init__(self, arguments: Sequence[str], output: Path) -> None:
        output.mkdir(parents=True, exist_ok=True)
        self._output = output
        self._process: WarmProcess = WarmProcess(target=_run, args=(arguments, dict(os.environ), output))
        self._process.start()

    @property
    def pid(self) -> int:
        """Its number."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Return its exit status, None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait(self, timeout_s: float = 120) -> int:
        """Wait until it ends, and return its exit status."""
        self._process.join(timeout_s)
        assert self._process.exitcode is not None, f"it still runs after {timeout_s} s"
        return self._process.exitcode

    @property
    def stderr(self) -> str:
        """What it has written to stderr until now."""
        return (self._output / "stderr").read_text(encoding="utf-8")
