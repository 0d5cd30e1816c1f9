"""`verify_index`: whatever was changed in a file is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from craft_hf.base.errors import InputError
from craft_hf.cli.main import app
from craft_hf.retrieval.index.search import Index
from craft_hf.retrieval.index.verify import verify_index
from tests.vectors import given_index, shard_paths


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index of three shards."""
    given_index(tmp_path / "index", np.eye(8, dtype=np.float32), 3)
    return tmp_path / "index"


@pytest.mark.slow
def test_any_flipped_bit_is_found(folder: Path) -> None:
    """One bit, anywhere in a shard: in embeddings, codes, texts, padding, HDF5's own structures, or the digest."""
    assert verify_index(folder) == []
    path = shard_paths(folder)[1]
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in [0, len(content) - 1, *rng.integers(0, len(content), 100).tolist()]:
        changed = bytearray(content)
        changed[position] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(bytes(changed))
        problems = verify_index(folder)
        assert len(problems) == 1, position
        assert f"{path.name} was changed after it was written" in problems[0]
    path.write_bytes(content)
    assert verify_index(folder) == []


def test_each_broken_shard_is_named(folder: Path, tmp_path: Path) -> None:
    """A missing, a cut and a foreign shard are three problems; the command lists them and fails."""
    given_index(tmp_path / "other", -np.eye(8, dtype=np.float32), 3)
    missing, cut, foreign = shard_paths(folder)
    missing.unlink()
    cut.write_bytes(cut.read_bytes()[:-7])
    shutil.copy(shard_paths(tmp_path / "other")[2], foreign)
    problems = verify_index(folder)
    for problem, wanted in zip(problems, ("is missing", "expected", "is not the shard that index.json"), strict=True):
        assert wanted in problem
    done = CliRunner().invoke(app, ["index", "verify", str(folder)])
    assert done.exit_code == 1
    assert "3 problems" in done.output
    assert f"Mend it with: craft-hf index repair {folder}" in done.output


def test_whole_index_passes_the_command(folder: Path) -> None:
    """The command says how much it read."""
    done = CliRunner().invoke(app, ["index", "verify", str(folder)])
    assert done.exit_code == 0
    assert "3 shards, 8 documents: all as they were written" in done.output


def test_file_that_changes_under_way_is_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard written to after the index was opened gives an error, in search and in reading, never a wrong answer."""
    index = Index.open(folder)
    index.search(np.eye(8, dtype=np.float32), 2)
    path = shard_paths(folder)[2]
    with path.open("r+b") as file:
        file.seek(5000)
        file.write(b"x")
    for use in (lambda: index.search(np.eye(8, dtype=np.float32), 2), lambda: index.documents([7])):
        with pytest.raises(InputError, match=rf"{path.name} was changed since it was opened"):
            use()
