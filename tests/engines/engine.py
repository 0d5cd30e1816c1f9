"""Engines as users start them: a real vLLM and a real llama.cpp over the embedded model, each from its environment.

Each gets half of the cores: both let their threads spin, and lose more than they gain where a core has other things
to do, such as the test.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from craft_hf.base.models import generator_weights, inference_dtype
from tests import ROOT
from tests.engines.gguf_file import write_gguf
from tests.openai_server import free_port
from tests.server_process import server_process

ENVIRONMENTS = ROOT / ".venv" / "engines"
"""The folder in which `make test-engines` makes them."""

MODEL = "smollm2"
"""The model's name at each engine."""

THREADS = max(1, (os.cpu_count() or 1) // 2)


@dataclass(frozen=True)
class Engine:
    """A running server.

    Attributes:
        name: one of `ENGINES`.
        url: its address.
        log: what it prints.
    """

    name: str
    url: str
    log: Path


def _vllm(python: Path, folder: Path, port: int, *options: str) -> Sequence[str]:
    flags = {
        "--model": generator_weights().location,
        "--served-model-name": MODEL,
        "--port": str(port),
        "--host": "127.0.0.1",
        "--dtype": str(inference_dtype("cpu")).removeprefix("torch."),
        "--max-model-len": "8192",
        "--max-num-seqs": "16",
    }
    module = [str(python), "-m", "vllm.entrypoints.openai.api_server"]  # the package's command does not start
    return [*module, *(part for flag in flags.items() for part in flag), "--enforce-eager", *options]


def _whole_prompts_vllm(python: Path, folder: Path, port: int) -> Sequence[str]:
    """Without chunked prefill: on a CPU it dies of a request's seed otherwise."""
    return _vllm(
        python, folder, port, "--no-enable-chunked-prefill", "--max-num-batched-tokens=8192",
        "--enable-prefix-caching", "--enable-prompt-tokens-details",
    )  # fmt: skip


def _llamacpp(python: Path, folder: Path, port: int) -> Sequence[str]:
    flags = {
        "--model": str(write_gguf(folder)),
        "--alias": MODEL,
        "--port": str(port),
        "--parallel": "2",
        "--threads": str(THREADS),
    }
    script = ROOT / "craft_hf" / "generation" / "engine" / "xllamacpp_server.py"
    return [str(python), str(script), *(part for flag in flags.items() for part in flag)]


ENGINES: Mapping[str, Callable[[Path, Path, int], Sequence[str]]] = {
    "vllm": _whole_prompts_vllm,
    "llamacpp": _llamacpp,
    "vllm-chunked": _vllm,
}
"""The command of each, of its environment's Python, a folder for files, and a port; an environment is named by what
stands before the dash."""

_VARIABLES = {
    "GLOO_SOCKET_IFNAME": "lo",
    "HF_HUB_OFFLINE": "1",
    "KMP_BLOCKTIME": "0",
    "OMP_NUM_THREADS": str(THREADS),
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_NO_USAGE_STATS": "1",
}


@contextmanager
def running(name: str, folder: Path) -> Iterator[Engine]:
    """Start an engine, give it once it answers, and kill it at the end.

    Args:
        name: one of `ENGINES`.
        folder: for its log and its files.
    """
    environment = ENVIRONMENTS / name.split("-")[0]
    if not (environment / "installed").exists():
        pytest.skip("`make test-engines` installs it")
    port, log = free_port(), folder / f"{name}.log"
    programs = environment / "bin"
    variables = {**os.environ, **_VARIABLES, "PATH": os.pathsep.join([str(programs), os.environ["PATH"]])}
    variables.pop("PYTHONPATH", None)  # it has packages of its own
    command = ENGINES[name](programs / "python", folder, port)
    with server_process(command, f"http://127.0.0.1:{port}/health", log, variables):
        yield Engine(name, f"http://127.0.0.1:{port}", log)
