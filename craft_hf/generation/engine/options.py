"""What a run says of its engine, and which of that decides the answers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from craft_hf.base import InputError
from craft_hf.generation.engine.name import ANY, LLAMACPP, EngineName

START_S = 1800.0
"""Seconds within which an engine must be ready, by default: large weights from a network take many minutes."""

PLACEHOLDERS = ("model", "host", "port", "key", "tensor_parallel")
"""What may stand in braces in a command's template."""

_OURS = ("--model", "--model-path", "--host", "--port", "--api-key", "--api-key-file", "--alias", "--served-model-name")
"""Options that an engine gets from us."""

_HARMLESS = (
    "--api-server-count", "--attention-backend", "--batch-size", "--block-size", "--cache-ram",
    "--chunked-prefill-size", "--cont-batching", "--context-length", "--cpu-offload-gb", "--ctx-size",
    "--cuda-graph-max-bs", "--cudagraph-capture-sizes", "--data-parallel-size", "--device",
    "--disable-log-requests", "--disable-log-stats", "--disable-uvicorn-access-log",
    "--distributed-executor-backend", "--download-dir", "--dp", "--dtype", "--enable-chunked-prefill",
    "--enable-prefix-caching", "--enforce-eager", "--flash-attn", "--gpu-layers", "--gpu-memory-utilization",
    "--kv-unified", "--log-level", "--max-model-len", "--max-num-batched-tokens", "--max-num-seqs",
    "--max-running-requests", "--max-total-tokens", "--mem-fraction-static", "--mlock", "--n-gpu-layers",
    "--no-enable-chunked-prefill", "--no-enable-prefix-caching", "--no-mmap", "--no-webui", "--numa",
    "--parallel", "--pipeline-parallel-size", "--split-mode", "--swap-space", "--tensor-parallel-size",
    "--tensor-split", "--threads", "--threads-batch", "--tp", "--tp-size", "--trust-remote-code", "--ubatch-size",
    "--uvicorn-log-level",
)  # fmt: skip
"""Options of vLLM, SGLang and llama.cpp that say how fast an engine works, in which number format and where, and what
fits into its memory; all others may change its answers."""

_FLAG = re.compile(r"(--?[A-Za-z][\w.-]*)(?:=(.*))?", re.DOTALL)


@dataclass(frozen=True)
class EngineOptions:
    """How an engine is started.

    Attributes:
        command: the template of any engine's command, with `PLACEHOLDERS`.
        python: the Python of the environment in which it is installed; by default it is looked for on PATH.
        arguments: further options of its command.
        tensor_parallel: GPUs of one engine.
        trust_remote_code: whether it may run code that comes with the model.
        start_s: seconds within which it must be ready.
    """

    command: str | None = None
    python: str | None = None
    arguments: str | None = None
    tensor_parallel: int = 1
    trust_remote_code: bool = False
    start_s: float = START_S

    def check(self, name: EngineName) -> None:
        """Refuse what does not go together with an engine.

        Raises:
            InputError: a model, a command or one of its parts is missing, or given although it does nothing.
        """
        if not name.model:
            raise InputError(f"{str(name)!r} names no model; expected one behind the colon, as in vllm:user/name.")
        if name.engine == ANY:
            self._check_template()
            if self.python:
                raise InputError("engine_python does nothing beside engine_command, which names a program itself.")
            if self.trust_remote_code:
                raise InputError("trust_remote_code does nothing beside engine_command: write the option into it.")
        elif name.engine == LLAMACPP and self.trust_remote_code:
            raise InputError(
                "trust_remote_code does nothing for llama.cpp: no code comes with a GGUF file. Leave it out."
            )
        elif self.command:
            raise InputError(
                f"engine_command is given, but {name.engine} has a command of its own; give the generator as "
                f"{ANY}:{name.model}, or leave engine_command out."
            )
        for flag, _ in _flags(self.words("engine_arguments", self.arguments)):
            if flag in _OURS:
                raise InputError(f"engine_arguments holds {flag}, which craft_hf gives an engine itself; leave it out.")

    def _check_template(self) -> None:
        if not self.command:
            raise InputError(
                f'a generator "{ANY}:MODEL" needs engine_command, the command that starts it, such as "python -m '
                'sglang.launch_server --model-path {model} --host {host} --port {port} --api-key {key}".'
            )
        for flag, values in _flags(self.words("engine_command", self.command)):
            if flag == "--api-key" and values[:1] != ["{key}"]:
                raise InputError(
                    "engine_command has a key of its own behind --api-key; expected {key}, where craft_hf puts one "
                    "that it makes up: settings are written down."
                )
        found = set(re.findall(r"\{(\w+)\}", self.command))
        if unknown := sorted(found - set(PLACEHOLDERS)):
            raise InputError(
                f"engine_command has {{{unknown[0]}}}; expected {', '.join(f'{{{name}}}' for name in PLACEHOLDERS)}."
            )
        if missing := [name for name in ("model", "port") if name not in found]:
            raise InputError(
                f"engine_command lacks {{{missing[0]}}}, where craft_hf puts the {missing[0]}: each engine gets one."
            )

    @staticmethod
    def words(what: str, text: str | None) -> list[str]:
        """Split a text as a shell does.

        Raises:
            InputError: a quotation mark is not closed.
        """
        try:
            return shlex.split(text or "")
        except ValueError as e:
            raise InputError(f"{what} is no command line ({e}): {text!r}.") from e

    def deciding(self) -> list[str]:
        """Return what of the command and the further options may change answers, in a fixed order.

        Programs, addresses and options about speed, memory and logs are left out.
        """
        words = self.words("engine_command", self.command) + self.words("engine_arguments", self.arguments)
        return sorted(
            " ".join([flag, *values])
            for flag, values in _flags(words)
            if flag not in _HARMLESS and flag not in _OURS and not any("{" in value for value in values)
        )


def _flags(words: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return options with their values, in the spelling with hyphens; words before the first option are left out."""
    found: list[tuple[str, list[str]]] = []
    for word in words:
        if match := _FLAG.fullmatch(word):
            found.append((match[1].replace("_", "-"), [] if match[2] is None else [match[2]]))
        elif found:
            found[-1][1].append(word)
    return found
