"""The documents for a task, in the order of retrieval."""

from __future__ import annotations

from functools import cached_property

from filelock import FileLock

from craft_hf.base import (
    JSON,
    Embedder,
    Hit,
    InputError,
    Vectors,
    cache_folder,
    embedder_weights,
    file_fingerprint,
    fingerprint,
)  # fmt: skip
from craft_hf.corpus import Corpus, sample_corpus
from craft_hf.retrieval.coverage import measure
from craft_hf.retrieval.coverage.figures import Coverage
from craft_hf.retrieval.index.build import build_index
from craft_hf.retrieval.index.hub import index_folder
from craft_hf.retrieval.index.search import Index
from craft_hf.retrieval.similarity import Retrieval, draw, retrieve
from craft_hf.tasks import Task


def open_index(path: str | None) -> Index:
    """Open the index of a run: a folder, or one on the Hub, which is pulled.

    Without a path it is that of the sample corpus, which is built on first use (seconds).
    """
    if path is not None:
        return Index.open(index_folder(path))
    folder = cache_folder() / "indexes" / sample_index_identity()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        try:
            return Index.open(folder)
        except InputError:  # not built yet, or damaged: only what is missing is embedded
            build_index([Corpus(sample_corpus())], folder, Embedder())
            return Index.open(folder)


def sample_index_identity() -> str:
    """Return what stands for the content of the sample corpus's index: the corpus and its embedder."""
    return f"sample-{fingerprint([file_fingerprint(sample_corpus()), embedder_weights().revision])}"


def look(task: Task, index: Index, k: int) -> Coverage:
    """Retrieve k documents for a task, and tell how they fit it; no generator is asked.

    Raises:
        InputError: k is below 1, or the index was built with another embedding model or is broken.
    """
    documents = Documents(task, index)
    documents.take(0, k)
    return documents.coverage()


class Documents:
    """The documents for a task in the order of retrieval, retrieved deeper as they are asked for.

    Args:
        task: gives the few-shots.
        index: where the documents are.
        floor: least similarity, -1 to 1.
        seed: draws documents at random; None retrieves them by mixed similarity.
    """

    def __init__(self, task: Task, index: Index, floor: float = -1.0, seed: int | None = None) -> None:
        self._task, self._index, self._floor, self._seed = task, index, floor, seed
        self._found = Retrieval()

    @cached_property
    def embedder(self) -> Embedder:
        """The index's embedding model."""
        embedder = Embedder(self._index.info.embedding_name)
        self._index.check_embedder(embedder)
        return embedder

    @cached_property
    def _queries(self) -> Vectors:
        return self.embedder.encode_again([self._task.query_text(shot) for shot in self._task.few_shots])

    @property
    def left_out(self) -> list[tuple[str, str, float]]:
        """Documents that nearly are the text of a few-shot: (document id, few-shot id, overlap)."""
        return self._found.left_out

    def coverage(self) -> Coverage:
        """Return how all documents that were taken fit the few-shots."""
        return measure(self._index, self._task.few_shots, self._queries, self._found)

    def take(self, start: int, count: int) -> list[Hit]:
        """Return the hits from `start` on, at most `count`; fewer when the index has no more."""
        if start + count > len(self._found.hits):
            asked = self._index, self._task.few_shots, self._queries, start + count
            self._found = retrieve(*asked, self._floor) if self._seed is None else draw(*asked, self._seed, self._floor)
        return list(self._found.hits[start : start + count])


def index_summary(index: Index) -> dict[str, JSON]:
    """Return what report and card say about an index."""
    info = index.info
    return {
        "documents": len(index),
        "fingerprint": index.fingerprint,
        "embedding_model": info.embedding_model,
        "embedding_revision": info.embedding_revision,
        "corpora": [{"name": c["source"], "license": c["license"], "documents": c["documents"]} for c in info.corpora],
    }
