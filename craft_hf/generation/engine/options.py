"""What a run says of its engine, and which of that decides the answers."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from craft_hf.base import InputError, path_fingerprint
from craft_hf.generation.engine.name import ANY, LLAMACPP, EngineName

START_S = 1800.0
"""Seconds within which an engine must be ready, by default: large weights from a network take many minutes."""

PLACEHOLDERS = ("model", "host", "port", "key", "tensor_parallel")
"""What may stand in braces in a command's template."""

_OURS = (
    "--model", "--model-path", "--host", "--port", "--api-key", "--api-key-file", "--alias", "--served-model-name",
)  # fmt: skip
"""Options that an engine gets from us."""

_ELSEWHERE = {
    "-m": "the generator's name has the model",
    "-a": "leave it out",
    **dict.fromkeys(("--revision", "--tokenizer-revision"), "the rows name the commit; give the model as a folder"),
    **dict.fromkeys(("--tensor-parallel-size", "-tp", "--tp", "--tp-size"), "give tensor_parallel"),
}
"""Options that are given otherwise, and how."""

_NOT_SHORTENED = ("--tokenizer",)
"""Options whose names other ones begin with."""

_LOOPBACK = ("{host}", "127.0.0.1", "localhost")

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

_HARMLESS_SHORT = ("-t", "-tb", "-ngl", "-c", "-np", "-b", "-ub", "-fa", "-tp", "-dp", "-pp")
"""Their short names in llama.cpp and vLLM; with anything but a number or a switch they are those of another program, as
in `bash -c "..."`."""

_NUMBER_OR_SWITCH = re.compile(r"-?\d+|on|off|auto|all|max")

_WRITTEN = (".err", ".jsonl", ".log", ".out", ".pid")
"""How the names of files end that an engine writes; their content decides nothing."""

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
            _check_argument(flag)

    def _check_template(self) -> None:
        if not self.command:
            raise InputError(
                f'a generator "{ANY}:MODEL" needs engine_command, the command that starts it, such as "python -m '
                'sglang.launch_server --model-path {model} --host {host} --port {port} --api-key {key}".'
            )
        for flag, values in _flags(self.words("engine_command", self.command)):
            if flag == "--host" and values[:1] and values[0] not in _LOOPBACK:
                raise InputError(
                    f"engine_command lets the engine listen at {values[0]}; expected --host {{host}}: it is for this "
                    "run alone."
                )
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
        if self.tensor_parallel > 1 and "tensor_parallel" not in found:
            raise InputError(
                f"tensor_parallel is {self.tensor_parallel}, but engine_command lacks {{tensor_parallel}}, where "
                "craft_hf puts it; write it behind the option that takes the number of GPUs."
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

        Programs, addresses and options about speed, memory and logs are left out. A file or a folder, such as an
        adapter, a chat template or a configuration, counts by its content.

        Raises:
            InputError: one of them cannot be read.
        """
        return sorted(
            " ".join([flag, *(values if flag == "-m" else map(_content, values))])  # that is a module of Python
            for flag, values in self._all
            if _decides(flag, values)
        )

    @property
    def runs_code(self) -> bool:
        """Whether code that comes with the model decides the answers, too."""
        return self.trust_remote_code or any(flag == "--trust-remote-code" for flag, _ in self._all)

    @property
    def _all(self) -> list[tuple[str, list[str]]]:
        """The options of the command and the further ones, each with its values, but for {model} among them."""
        words = self.words("engine_command", self.command) + self.words("engine_arguments", self.arguments)
        return _flags([word for word in words if word != "{model}"])


def _check_argument(flag: str) -> None:
    """Refuse a further option that craft_hf gives itself, also one that is shortened, as argparse takes it.

    Raises:
        InputError: it is one.
    """
    meant = [name for name in (*_OURS, *_ELSEWHERE) if name == flag]
    if flag.startswith("--") and flag not in _NOT_SHORTENED:
        meant += [name for name in (*_OURS, *_ELSEWHERE) if name.startswith(flag)]
    if meant:
        which = flag if flag == meant[0] else f"{flag}, short for {meant[0]}"
        advice = _ELSEWHERE.get(meant[0], "leave it out")
        raise InputError(f"engine_arguments holds {which}, which craft_hf gives an engine itself; {advice}.")


def _decides(flag: str, values: Sequence[str]) -> bool:
    """Whether an option may change answers."""
    if flag in _HARMLESS_SHORT and all(map(_NUMBER_OR_SWITCH.fullmatch, values)):
        return False
    is_filled = len(values) == 1 and values[0] in {f"{{{name}}}" for name in PLACEHOLDERS}
    return flag not in _HARMLESS and flag not in _OURS and not is_filled


def _content(value: str) -> str:
    """Return an option's value, with hashes in place of existing files and folders, as in "name=/path,other=/path"."""
    parts = [value] if os.path.exists(value) else value.split(",")
    found = []
    for part in parts:
        name, equals, path = ("", "", part) if os.path.exists(part) else part.partition("=")
        counts = os.path.exists(path) and not path.endswith(_WRITTEN)
        try:
            digest = path_fingerprint(Path(path)) if counts else ""
        except OSError as e:
            raise InputError(f"{path} of the engine's options cannot be read: {e}.") from e
        found.append(name + equals + (digest or path))
    return ",".join(found)


def _flags(words: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return options with their values, in the spelling with hyphens; words before the first option are left out."""
    found: list[tuple[str, list[str]]] = []
    for word in words:
        if match := _FLAG.fullmatch(word):
            found.append((match[1].replace("_", "-"), [] if match[2] is None else [match[2]]))
        elif found:
            found[-1][1].append(word)
    return found
