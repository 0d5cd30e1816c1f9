"""The vectors of the sample corpus, which come with the package, so that the first run need not make them.

They are found by the hash of text and embedding model, as all vectors are: with another model, or another text, those
that are missing are made. After a change of the corpus, the embedded model, or how texts are cut, write them anew:

    python -m craft_hf.retrieval.sample_vectors
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from craft_hf.base import Embedder, StorageError, write_file
from craft_hf.corpus import Corpus, sample_corpus
from craft_hf.retrieval.index.chunks import cut
from craft_hf.retrieval.index.layout import SAVED_VECTORS
from craft_hf.retrieval.index.shard import embedding_hashes
from craft_hf.retrieval.index.vectors import VectorSaver, embed

PATH = sample_corpus().with_name("sample.vectors")
"""A file of saved vectors, float16 (chunks, 384)."""


def put_sample_vectors(folder: Path) -> None:
    """Put the vectors where a build of the sample index in this folder finds them.

    Raises:
        StorageError: the folder cannot be written, or the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_file(folder / SAVED_VECTORS.replace("*", "sample"), PATH.read_bytes())
    except OSError as e:
        raise StorageError(
            f"the sample index cannot be written to {folder}: {e}; free disk space and try again."
        ) from e


def write_sample_vectors(path: Path) -> int:
    """Embed the sample corpus, write the vectors, and return how many there are."""
    embedder, texts = Embedder(), [document.text for document in Corpus(sample_corpus())]
    parts = cut(texts, embedder).parts(texts)
    hashes = embedding_hashes(parts, embedder.identity)
    vectors = np.zeros((len(parts), embedder.dimension), dtype=np.float16)
    with tempfile.TemporaryDirectory() as name:
        saver = VectorSaver(Path(name), embedder.dimension)
        embed(parts, hashes, vectors, np.zeros(len(parts), dtype=bool), embedder, saver)
        (saved,) = Path(name).glob(SAVED_VECTORS)
        path.write_bytes(saved.read_bytes())
    return len(parts)


if __name__ == "__main__":
    print(f"{write_sample_vectors(PATH)} vectors: {PATH}")
