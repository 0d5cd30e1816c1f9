"""The embedder on several devices, for which two processes on the CPU stand here."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

import craft_hf
from craft_hf.base import embedder as embed
from craft_hf.base.embedder import Embedder
from craft_hf.base.errors import StorageError
from tests.tiny_embedder import save_tiny_embedder

pytestmark = pytest.mark.slow

TEXTS = [f"text {i} tells of {'abcdefghij'[i % 10] * (1 + i % 50)} and more" for i in range(300)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model."""
    return save_tiny_embedder(tmp_path_factory.mktemp("model") / "tiny")


@pytest.mark.long
def test_two_devices_give_the_vectors_of_one(model: Path) -> None:
    """Each text its own, in any number of blocks; afterwards one device embeds as before."""
    embedder = Embedder(str(model), "cpu")
    plain = embedder.encode(TEXTS)
    with embedder.on_all_devices(["cpu", "cpu"]):
        assert embedder.place == "on 2 devices"
        batches = list(embedder.encode_batches(TEXTS * 40))
        assert len(batches) > 1
        made = np.empty((len(TEXTS) * 40, embedder.dimension), dtype=np.float32)
        for rows, vectors in batches:
            made[rows] = vectors
        np.testing.assert_allclose(made, np.tile(plain, (40, 1)), atol=0.02)
        np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-6)
        assert embedder.encode([]).shape == (0, 16)
    assert embedder.place == "on cpu"
    np.testing.assert_allclose(embedder.encode(TEXTS), plain, atol=1e-6)


@pytest.mark.long
def test_a_build_takes_all_devices_unless_one_is_named(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing need be said."""
    (tmp_path / "a.txt").write_text(" ".join(TEXTS))
    used = []
    monkeypatch.setattr(embed, "_cuda_devices", lambda: ["cpu", "cpu"])
    real = Embedder._pooled
    monkeypatch.setattr(Embedder, "_pooled", lambda *given: used.append(1) or real(*given))
    craft_hf.build_index(tmp_path / "a.txt", tmp_path / "one", embedding_model=str(model), device="cpu")
    assert not used
    both = craft_hf.build_index(tmp_path / "a.txt", tmp_path / "both", embedding_model=str(model))
    assert used
    one = craft_hf.Index.open(tmp_path / "one")
    assert both.info.embedding_identity == one.info.embedding_identity
    np.testing.assert_allclose(both.embeddings(range(len(both))), one.embeddings(range(len(one))), atol=0.02)


def test_a_lost_process_is_named(model: Path) -> None:
    """What was embedded before is kept by a build."""
    embedder = Embedder(str(model), "cpu")
    with embedder.on_all_devices(["cpu", "cpu"]):
        assert embedder._pool is not None
        for process in embedder._pool.processes["processes"]:
            os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(StorageError, match="a process that embeds on a device of its own was lost"):
            embedder.encode(TEXTS)
    assert embedder.encode(TEXTS[:1]).shape == (1, 16)
