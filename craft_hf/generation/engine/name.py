"""The names of engines: what is started, and with which model."""

from __future__ import annotations

import re
from typing import NamedTuple

VLLM, LLAMACPP, ANY = ENGINES = ("vllm", "llamacpp", "engine")
"""The word before the colon; the last stands for any engine, whose command is given."""

_NAME = re.compile(rf"({'|'.join(ENGINES)}):(?!//)(.*)", re.DOTALL)


class EngineName(NamedTuple):
    """An engine, one of `ENGINES`, and its model: "embedded", a Hub id, a folder, or a file."""

    engine: str
    model: str

    def __str__(self) -> str:
        return f"{self.engine}:{self.model}"


def parse_engine(name: str) -> EngineName | None:
    """Return what a generator's name such as "vllm:MODEL" stands for; None if it names no engine."""
    match = _NAME.fullmatch(name.strip())
    return EngineName(match[1], match[2].strip()) if match else None


def names_engine(name: str | None) -> bool:
    """Whether a generator's name is that of an engine which is started for the run."""
    return parse_engine(name or "") is not None
