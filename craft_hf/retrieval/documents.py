"""The documents of a task, in the order of retrieval."""

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
from craft_hf.retrieval.coverage import measure_coverage
from craft_hf.retrieval.coverage.figures import Coverage
from craft_hf.retrieval.index.build import build_index
from craft_hf.retrieval.index.hub import index_folder
from craft_hf.retrieval.index.search import Index
from craft_hf.retrieval.similarity import Retrieval, retrieve_random, retrieve_similar
from craft_hf.tasks import Task


def open_index(path: str | None) -> Index:
    """Open an index: a folder, or "user/name[@revision]", which is pulled from the Hub.

    Without a path it is the index of the sample corpus, which is built on first use (in seconds).
    """
    if path is not None:
        return Index.open(index_folder(path))
    folder = cache_folder() / "indexes" / sample_index_identity()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        try:
            return Index.open(folder)
        except InputError:  # not built yet, or damaged: only what is missing is embedded
            build_index([Corpus(sample_corpus())], folder, Embedder(), replace=True)
            return Index.open(folder)


def sample_index_identity() -> str:
    """Return a name of the sample index that changes with the corpus and the embedding model."""
    return f"sample-{fingerprint([file_fingerprint(sample_corpus()), embedder_weights().revision])}"


class Documents:
    """The documents of a task in the order of retrieval; more are retrieved when `take` needs them.

    Args:
        task: gives the few-shots.
        index: where the documents are.
        min_similarity: cosine similarity below which documents are left out, -1 to 1.
        seed: of a random draw of documents; None retrieves them by mixed similarity.
    """

    def __init__(self, task: Task, index: Index, min_similarity: float = -1.0, seed: int | None = None) -> None:
        self._task, self._index, self._min_similarity, self._seed = task, index, min_similarity, seed
        self._retrieval = Retrieval()

    @cached_property
    def embedder(self) -> Embedder:
        """The index's embedding model."""
        embedder = Embedder(self._index.info.embedding_name)
        self._index.check_embedder(embedder)
        return embedder

    @cached_property
    def _queries(self) -> Vectors:
        return self.embedder.encode_cached([self._task.query_text(shot) for shot in self._task.few_shots])

    @property
    def left_out(self) -> list[tuple[str, str, float]]:
        """Documents that are nearly the text of a few-shot: (document id, few-shot id, overlap)."""
        return self._retrieval.left_out

    def coverage(self) -> Coverage:
        """Return how well all documents that were taken fit the few-shots."""
        return measure_coverage(self._index, self._task.few_shots, self._queries, self._retrieval)

    def take(self, start: int, count: int) -> list[Hit]:
        """Return the hits from `start` on, at most `count`; fewer when the index has no more."""
        if start + count > len(self._retrieval.hits):
            arguments = self._index, self._task.few_shots, self._queries, start + count
            self._retrieval = (
                retrieve_similar(*arguments, self._min_similarity)
                if self._seed is None
                else retrieve_random(*arguments, self._seed, self._min_similarity)
            )
        return list(self._retrieval.hits[start : start + count])


def index_summary(index: Index) -> dict[str, JSON]:
    """Return what reports and cards say about an index."""
    info = index.info
    return {
        "documents": len(index),
        "fingerprint": index.fingerprint,
        "embedding_model": info.embedding_model,
        "embedding_revision": info.embedding_revision,
        "corpora": [{"name": c["source"], "license": c["license"], "documents": c["documents"]} for c in info.corpora],
    }
