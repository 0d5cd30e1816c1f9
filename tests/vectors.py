"""Embedders without a model, and indexes of given vectors, for the tests of index and retrieval."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from craft_hf.base.embedder import Embedder, Vectors
from craft_hf.corpus.corpus import Corpus
from craft_hf.retrieval.index.build import build_index
from craft_hf.retrieval.index.info import read_info, shard_names
from craft_hf.retrieval.index.search import Index


class HashEmbedder(Embedder):
    """Gives every text a random unit vector that depends on nothing but the text, and counts what it is asked for."""

    def __init__(self, dimension: int = 16, revision: str = "1") -> None:
        self.name, self.model, self.revision, self.dimension = "hash", "hash-model", revision, dimension
        self.identity = f"hash {revision}"
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        """Embed texts."""
        self.asked += texts
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
            vectors[row] = np.random.default_rng(seed).standard_normal(self.dimension, dtype=np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def encode_each(self, texts: Sequence[str]) -> Vectors:
        """Embed texts."""
        return self.encode(texts)

    def encode_batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Vectors]]:
        """Embed texts, all in one batch."""
        if texts:
            yield list(range(len(texts))), self.encode(texts)


class Interrupted(HashEmbedder):
    """Is interrupted when it should embed one document more than it may."""

    def __init__(self, documents: int, revision: str = "1") -> None:
        super().__init__(revision=revision)
        self._left = documents

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        """Embed, as long as that may go on."""
        self._left -= len(texts)
        if self._left < 0:
            raise KeyboardInterrupt
        return super().encode(texts, progress)


class WordEmbedder(HashEmbedder):
    """Takes words for tokens, and reads `window` of them at once."""

    def __init__(self, dimension: int = 16, window: int = 8) -> None:
        super().__init__(dimension)
        self.window = window

    def token_starts(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """Find the words."""
        return ([match.start() for match in re.finditer(r"\S+", text)] for text in texts)


class GivenEmbedder(WordEmbedder):
    """Gives text number i ("document i ...") row i of a matrix; it reads the two words of one such sentence."""

    def __init__(self, vectors: Vectors) -> None:
        super().__init__(vectors.shape[1], window=2)
        self._vectors = vectors

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        """Look up the rows of texts."""
        return self._vectors[[int(text.split()[1]) for text in texts]]


def given_index(
    folder: Path,
    vectors: Vectors,
    shard_documents: int,
    texts: Sequence[str] | None = None,
    corpora: Sequence[tuple[str, str]] | None = None,
    numbers: Sequence[int] | None = None,
) -> Index:
    """Build an index of given vectors; the text of row i starts with "document i", its id is "d<i>".

    Args:
        folder: of the index.
        vectors: of the documents.
        shard_documents: documents of a shard.
        texts: what follows in the text of each document.
        corpora: source and licence of each document.
        numbers: which rows of the above become documents; by default all.
    """
    extra = texts or [""] * len(vectors)
    origin = corpora or [("", "")] * len(vectors)
    rows = [
        {"id": f"d{i}", "text": f"document {i} {extra[i]}", "source": origin[i][0], "license": origin[i][1]}
        for i in (range(len(vectors)) if numbers is None else numbers)
    ]
    embedder = GivenEmbedder(vectors)
    build_index(
        [Corpus(rows, min_chars=1)], folder, embedder, shard_documents=shard_documents, vectors="document", replace=True
    )
    return Index.open(folder)


def chunked_index(
    folder: Path, vectors: Vectors, counts: Sequence[int], shard_documents: int, sources: Sequence[str] | None = None
) -> Index:
    """Build an index of documents "d<i>" with `counts[i]` chunks, whose vectors are given in order."""
    origin = sources or [""] * len(counts)
    names = iter(range(len(vectors)))
    texts = ["\n".join(f"chunk {next(names)}" for _ in range(count)) for count in counts]
    rows = [{"id": f"d{i}", "text": text, "source": origin[i]} for i, text in enumerate(texts)]
    build_index([Corpus(rows, min_chars=1)], folder, GivenEmbedder(vectors), shard_documents=shard_documents)
    return Index.open(folder)


def shard_paths(folder: Path) -> list[Path]:
    """The shards of an index, in order."""
    return [folder / name for name in shard_names(read_info(folder))]


def parts_of(folder: Path) -> list[str]:
    """The names of the files that an index consists of, but for the copy of index.json."""
    names = (name for path in shard_paths(folder) for name in (path.name, path.with_suffix(".hashes").name))
    return sorted(["index.json", *names])


def visible(folder: Path) -> list[str]:
    """The names of the files in an index's folder, but for the lock, who holds it, and the copy of index.json."""
    return sorted(path.name for path in folder.iterdir() if path.name not in (".lock", ".writer", ".index.json"))


def whole_numbers(rng: np.random.Generator, rows: int, dimension: int = 8) -> Vectors:
    """Vectors of -1, 0 and 1: their products are exact in float16 and float32, and many of them are equal."""
    return rng.integers(-1, 2, (rows, dimension)).astype(np.float32)
