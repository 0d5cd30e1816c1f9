"""The documents of a task, in the order of retrieval."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cached_property

from filelock import FileLock

from craft_hf.base import (
    JSON,
    Document,
    Embedder,
    Hit,
    InputError,
    StorageError,
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
from craft_hf.retrieval.index.selection import Selection
from craft_hf.retrieval.index.shard import FORMAT
from craft_hf.retrieval.query import few_shot_similarity, query_vectors
from craft_hf.retrieval.sample_vectors import put_sample_vectors
from craft_hf.retrieval.similarity import Retriever
from craft_hf.tasks import QUERY_BY_PARTS, Task


def open_index(path: str | None) -> Index:
    """Open an index: a folder, or "user/name[@revision]", which is pulled from the Hub.

    Without a path it is the index of the sample corpus, which is built on first use (in seconds).

    Raises:
        InputError: the index does not exist, or is broken.
        HubError: the Hub cannot be reached.
        StorageError: the sample index has to be built, and its folder cannot be written.
    """
    return _sample_index() if path is None else Index.open(index_folder(path))


def _sample_index() -> Index:
    folder = cache_folder() / "indexes" / sample_index_identity()
    lock = FileLock(f"{folder}.lock")
    try:
        with contextlib.suppress(InputError):  # not built yet, or damaged: only what is missing is embedded
            return Index.open(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as e:
        raise StorageError(
            f"the sample index cannot be built in {folder.parent}: {e}; see to it that you may write there, or say "
            "with CRAFT_HF_HOME in which folder else it belongs."
        ) from e
    try:
        with contextlib.suppress(InputError):  # another process has built it meanwhile
            return Index.open(folder)
        put_sample_vectors(folder)
        build_index([Corpus(sample_corpus())], folder, Embedder(), replace=True)
        return Index.open(folder)
    finally:
        lock.release()


def sample_index_identity() -> str:
    """Return a name of the sample index that changes with the corpus, the embedding model and the index's format."""
    return f"sample-{fingerprint([file_fingerprint(sample_corpus()), embedder_weights().revision, FORMAT])}"


class Documents:
    """The documents of a task in the order of retrieval; more are retrieved when `take` needs them.

    Args:
        task: gives the few-shots.
        index: where the documents are.
        min_similarity: cosine similarity below which documents are left out, -1 to 1.
        seed: of a random draw of documents; None retrieves them by mixed similarity.
        sources: names of sources to take documents from, in which * stands for any characters; all by default.
        licenses: the same of licences, "not stated" among them.
        most_per_source: what one source gives at most, a share of all below 1 or a number; by default no limit.
        query_form: how the parts of a few-shot share its vector, see `query_vectors`.
        embedding: where the index's embedding model lies, see `Index.open_embedder`.
    """

    def __init__(
        self,
        task: Task,
        index: Index,
        min_similarity: float = -1.0,
        seed: int | None = None,
        sources: Sequence[str] = (),
        licenses: Sequence[str] = (),
        most_per_source: float | None = None,
        query_form: str = QUERY_BY_PARTS,
        embedding: str = "",
    ) -> None:
        self._task, self._index, self._min_similarity, self._seed = task, index, min_similarity, seed
        self._selection, self._most_per_source = Selection(tuple(sources), tuple(licenses)), most_per_source
        self._query_form, self._embedding = query_form, embedding

    @cached_property
    def embedder(self) -> Embedder:
        """The index's embedding model."""
        return self._index.open_embedder(self._embedding)

    @cached_property
    def _parts(self) -> list[list[str]]:
        return [self._task.query_parts(shot) for shot in self._task.few_shots]

    @cached_property
    def _queries(self) -> Vectors:
        return query_vectors(self._parts, self.embedder, self._query_form)

    @cached_property
    def _retriever(self) -> Retriever:
        return Retriever(
            self._index,
            self._task.few_shots,
            self._queries,
            min_similarity=self._min_similarity,
            seed=self._seed,
            selection=self._selection,
            most_per_source=self._most_per_source,
        )

    @property
    def left_out(self) -> list[tuple[Document, str, float]]:
        """Documents that are nearly the text of a few-shot: (document, few-shot id, overlap)."""
        found = self._retriever.found
        documents = self._index.documents(found.left_out_rows)
        leaks = zip(documents, found.left_out, strict=True)
        return [(document, few_shot_id, overlap) for document, (_, few_shot_id, overlap) in leaks]

    @property
    def not_selected(self) -> int:
        """How many documents of the index are of other sources or licences than asked for."""
        return len(self._index) - self._retriever.documents_by_source.total()

    def coverage(self) -> Coverage:
        """Return how well all documents that were taken fit the few-shots."""
        texts = [shot.text for shot in self._task.few_shots]
        each_other = few_shot_similarity(self._parts, texts, self._queries, self.embedder)
        return measure_coverage(self._retriever, each_other)

    def vectors(self, document_ids: Sequence[str]) -> Vectors:
        """Return one vector of the index for each of some documents that were taken, see `Index.embeddings`."""
        wanted, found = set(document_ids), self._retriever.found
        rows = {
            hit.document.id: row for hit, row in zip(found.hits, found.rows, strict=True) if hit.document.id in wanted
        }
        return self._index.embeddings([rows[document_id] for document_id in document_ids])

    def take(self, start: int, count: int) -> list[Hit]:
        """Return the hits from `start` on, at most `count`; fewer when the index has no more."""
        if start + count > len(self._retriever.found.hits):
            self._retriever.take(start + count)
        return list(self._retriever.found.hits[start : start + count])


def index_summary(index: Index) -> dict[str, JSON]:
    """Return what reports and cards say about an index."""
    info = index.info
    return {
        "documents": len(index),
        "fingerprint": index.fingerprint,
        "embedding_model": info.embedding_model,
        "embedding_revision": info.embedding_revision,
        "vectors": info.vectors,
        "embeddings": info.chunks,
        "longer_than_window": info.longer_than_window,
        "embedded_text": info.embedded_text,
        "corpora": [{"name": c["source"], "license": c["license"], "documents": c["documents"]} for c in info.corpora],
    }
