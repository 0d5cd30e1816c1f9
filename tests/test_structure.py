"""The structure of the package; the order of its folders is a contract of import-linter in pyproject.toml."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib

import pytest

from craft_hf.base import CraftError, embedder_weights, generator_weights
from tests import ROOT

PACKAGE = ROOT / "craft_hf"
FOLDERS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def test_contracts_name_every_folder() -> None:
    """A new folder has its place in the layers, and nothing but its face is imported from elsewhere."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert contracts[0]["exhaustive"] is True
    protected = [contract["protected_modules"] for contract in contracts[1:]]
    assert sorted(protected) == [[f"craft_hf.{name}.*"] for name in FOLDERS if name != "cli"]


@pytest.mark.parametrize("folder", [name for name in FOLDERS if name != "cli"])
def test_public_names_are_there(folder: str) -> None:
    """Each name that a folder's `__init__.pyi` lists can be imported."""
    if folder == "training":
        pytest.importorskip("trl")
    face = importlib.import_module(f"craft_hf.{folder}")
    listed = ast.parse((PACKAGE / folder / "__init__.pyi").read_text())
    names = [alias.name for node in listed.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(names) == sorted(set(names)), "a name is listed twice"
    for name in names:
        assert getattr(face, name) is not None


def test_import_is_light() -> None:
    """`import craft_hf` loads neither torch, nor `datasets`, nor optional packages."""
    heavy = {
        "transformers",
        "torch",
        "datasets",
        "pandas",
        "numpy",
        "huggingface_hub",
        "aiohttp",
        "trl",
        "peft",
        "h5py",
    }
    code = f"import sys, craft_hf; print({heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_weights_are_hidden_from_unmarked_tests() -> None:
    """A test that opens the embedded weights without the mark `weights` fails, also if a subprocess opens them."""
    for weights in (embedder_weights, generator_weights):
        with pytest.raises(CraftError, match="weights are not installed"):
            weights()
        code = f"from craft_hf.base import {weights.__name__}; {weights.__name__}()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "weights are not installed" in done.stderr


def test_test_folders_mirror_the_package() -> None:
    """Each folder with tests is one of the package, but for e2e, whose tests are of the whole, and engines."""
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    assert [str(folder) for folder in sorted(folders) if not (PACKAGE / folder).is_dir()] == ["e2e", "engines"]
