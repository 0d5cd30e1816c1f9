"""What the tests of engines have in common: a folder with a model, and a stand-in that tells how it was started."""
# ruff: noqa: D103

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from craft_hf.generation.engine.generator import EngineGenerator
from craft_hf.generation.engine.options import EngineOptions
from tests import ROOT

SCRIPT = ROOT / "tests" / "stand_in_engine.py"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that looks like a model."""
    folder = tmp_path / "my model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text("weights")
    return folder


class Lives:
    """What a stand-in engine has written down of its starts."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @property
    def all(self) -> list[dict[str, Any]]:
        """Each of its lives."""
        return [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []

    @property
    def processes(self) -> list[int]:
        """All processes that it was or has started."""
        return [pid for life in self.all for pid in (life["pid"], *life["children"])]

    def nothing_left(self) -> bool:
        """Whether no process of it runs, and its ports are free."""
        return not any(map(is_running, self.processes)) and all(is_free(life["port"]) for life in self.all)


@pytest.fixture
def lives(tmp_path: Path) -> Lives:
    return Lives(tmp_path / "lives.jsonl")


@pytest.fixture
def make(model: Path, lives: Lives, home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., EngineGenerator]:
    """Return a generator whose engine is the stand-in with some options."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", os.defpath)  # no nvidia-smi

    def make(*words: object, start_s: float = 30, tensor_parallel: int = 1, **limits: Any) -> EngineGenerator:
        template = command(lives, *words, *(["--tp", "{tensor_parallel}"] if tensor_parallel > 1 else []))
        options = EngineOptions(template, start_s=start_s, tensor_parallel=tensor_parallel)
        return EngineGenerator(f"engine:{model}", options, **limits)

    return make


def command(lives: Lives, *words: object) -> str:
    """The template of the stand-in's command."""
    fixed = [sys.executable, "-S", SCRIPT, "--model", "{model}", "--port", "{port}", "--record", lives.file]
    return shlex.join(map(str, [*fixed, *words]))


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of loopback."""
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
