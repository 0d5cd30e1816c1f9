"""The vectors that come with the sample corpus are those of its chunks, and the sample index takes them."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from craft_hf.base.embedder import Embedder
from craft_hf.base.errors import StorageError
from craft_hf.corpus import Corpus, sample_corpus
from craft_hf.retrieval.documents import open_index
from craft_hf.retrieval.index.chunks import cut
from craft_hf.retrieval.index.shard import embedding_hashes
from craft_hf.retrieval.index.vectors import KnownVectors
from craft_hf.retrieval.sample_vectors import PATH
from tests.vectors import visible

pytestmark = pytest.mark.weights

STALE = "write them anew: python -m craft_hf.retrieval.sample_vectors"


def test_every_chunk_has_the_vector_that_the_model_gives_it() -> None:
    """All are there, and every fortieth is made again."""
    embedder, texts = Embedder(), [document.text for document in Corpus(sample_corpus())]
    parts = cut(texts, embedder).parts(texts)
    vectors, found = KnownVectors([PATH], embedder.dimension).find(embedding_hashes(parts, embedder.identity))
    assert found.all(), STALE
    made = embedder.encode(parts[::40])
    cosines = (made * vectors[::40].astype(np.float32)).sum(axis=1)
    assert cosines.min() > 0.9999, STALE


def test_the_sample_index_is_made_without_embedding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is left beside it. Where it is, as in an image that is read-only, nothing need be written."""
    monkeypatch.setenv("CRAFT_HF_HOME", str(tmp_path))
    asked = list[str]()
    monkeypatch.setattr(Embedder, "encode_batches", lambda self, texts: iter(asked.extend(texts) or ()))
    index = open_index(None)
    assert not asked
    assert len(index) == 452
    assert [name[:5] for name in visible(index.folder)] == ["index", "shard", "shard"]
    monkeypatch.setattr(FileLock, "acquire", lambda *_, **__: pytest.fail("a lock was taken"))
    assert open_index(None).info == index.info


def test_sample_index_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the place, the cause, and what to do, whether it is the folder or its lock that cannot be made."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("CRAFT_HF_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(StorageError, match=r"cannot be built in \S+home/indexes: .*Not a directory.*CRAFT_HF_HOME"):
        open_index(None)

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(FileLock, "acquire", read_only)
    monkeypatch.setenv("CRAFT_HF_HOME", str(tmp_path))
    with pytest.raises(StorageError, match=r"cannot be built in \S+indexes: .*Read-only file system.*CRAFT_HF_HOME"):
        open_index(None)
