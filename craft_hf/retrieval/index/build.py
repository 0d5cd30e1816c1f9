"""Builds an index: a folder with `index.json` and HDF5 shards; a build that was stopped goes on where it was."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from craft_hf.base import JSON, Bar, Document, Embedder, InputError, StorageError, Workers
from craft_hf.corpus import Corpus, Ledger, LostPositionError, Reason, read_corpora
from craft_hf.retrieval.index import SHARD_DOCUMENTS
from craft_hf.retrieval.index.chunks import CHUNKS, VECTORS, Chunks, cut
from craft_hf.retrieval.index.deduplication import Deduplicator, UniqueIds, hashes_of
from craft_hf.retrieval.index.info import (
    IndexInfo,
    OtherFormatError,
    corpora_of,
    counts_of,
    index_fingerprint,
    info_hash,
    read_copy,
    read_info,
)
from craft_hf.retrieval.index.layout import is_index, vector_files
from craft_hf.retrieval.index.quantize import Halves
from craft_hf.retrieval.index.shard import FORMAT, LongHashes, Shard, ShardContent, embedding_hashes, write_shard
from craft_hf.retrieval.index.sources import open_sources
from craft_hf.retrieval.index.unfinished import ReadingState, UnfinishedBuild, forget_build
from craft_hf.retrieval.index.vectors import KnownVectors, VectorSaver, embed
from craft_hf.retrieval.index.verify import shard_counts
from craft_hf.retrieval.index.writing import replace_index, writing

Progress = Callable[[int], object]
"""Is told how many documents were embedded since it was last called."""


MOST_SOURCES = 100_000
"""Most pairs of source and licence of an index, which `index.json` lists."""

_BLOCK = 4096
"""Most documents that are compared with what was seen at a time."""


@dataclass(frozen=True)
class _Batch:
    """The documents of a shard, and the state of reading behind them."""

    documents: list[Document]
    state: ReadingState


def build_index(
    corpora: Sequence[Corpus],
    folder: Path,
    embedder: Embedder,
    *,
    shard_documents: int = SHARD_DOCUMENTS,
    vectors: str | None = None,
    add: bool = False,
    replace: bool = False,
    workers: Workers | None = None,
    settings: Sequence[Mapping[str, JSON]] = ({},),
    given: Sequence[Mapping[str, JSON]] | None = None,
) -> IndexInfo:
    """Embed the documents of some corpora and write them to a folder; of equal texts only the first is taken.

    An index in the folder stays as it is until the new one is complete. Interrupted at any moment, the same call goes
    on: a vector that was in the folder when it began, in whatever file, is not made again.

    Args:
        corpora: what to index, in this order.
        folder: created if needed; may hold an earlier or an unfinished index, but nothing else. Workers write to it
            too.
        embedder: makes the embeddings; the index names its model.
        shard_documents: documents of a shard.
        vectors: "chunks" embeds all of a document's text, in chunks that the model can read; "document" gives each
            document one embedding, of as much of its text as the model reads. By default chunks, with `add` as the
            index has it.
        add: keep the documents of the index in the folder, and put the new ones behind them.
        replace: let the new index take the place of the one in the folder.
        workers: where shards are embedded; by default in this process. The index does not depend on it.
        settings: what `corpora` were opened with, kept in the index, see `IndexInfo.builds`.
        given: the same as they were given, by which an unfinished build is known, also if a Hub dataset has a new
            commit meanwhile: it goes on at the commit at which it began. By default `settings`.

    Raises:
        InputError: a corpus is missing, broken or empty, or the folder holds something else; it holds an index, and
            neither `add` nor `replace` was given; with `add`, there is no index, or its embedding model is another.
        StorageError: the disk is full or a worker process was lost; what was embedded is kept.
    """
    if not corpora:
        raise InputError("no corpus was given; expected at least one to build an index of.")
    if vectors not in (None, *VECTORS):
        raise InputError(f"vectors is {vectors!r}, expected one of {', '.join(VECTORS)}.")
    if add and replace:
        raise InputError("both add and replace were given; an index is either added to or replaced.")

    def this_build() -> UnfinishedBuild:
        return UnfinishedBuild(
            folder, settings if given is None else given, [shard_documents, embedder.identity, vectors, add, replace]
        )

    if not this_build().is_done():
        _existing(folder, embedder, add, replace, vectors)  # before others are waited for
    with writing(folder):
        unfinished = this_build()
        if unfinished.is_done():
            forget_build(folder)
            return read_info(folder)
        existing = _existing(folder, embedder, add, replace, vectors)
        old = existing if add else None
        vectors = vectors or (old.vectors if old else CHUNKS)
        shards: list[Mapping[str, JSON]] = list(old.shards) if old else []
        ledger = Ledger.from_json(old.ledger) if old else Ledger()
        counts = counts_of(old.corpora) if old else Counter()
        removed_ids, removed_sources = set(old.removed_ids if old else ()), set(old.removed_sources if old else ())
        deduplicator, ids = Deduplicator(), UniqueIds()
        for entry in shards:
            note_shard(Shard(folder / str(entry["file"])), deduplicator, ids)
        made: list[Mapping[str, JSON]] = []
        if noted := unfinished.read(old.fingerprint if old else ""):
            settings = noted.builds
            corpora = [corpus for build in settings for corpus in open_sources(build)]
            _go_on(noted.state, corpora, deduplicator, ids)
            for entry in noted.shards:
                shard = Shard(folder / str(entry["file"]))
                note_shard(shard, deduplicator, ids)
                counts += shard_counts(shard)
                removed_ids.difference_update(shard.strings("id"))
                removed_sources.difference_update(source for source, _ in shard.corpora)
                made.append(entry)
        batches = _batches(corpora, shard_documents, deduplicator, ids, folder)
        with Bar("Embedding", unit="chunks") as bar:
            bar.update(sum(int(str(entry["chunks"])) for entry in made))
            for entry, batch in _shards(batches, folder, embedder, vectors, workers, bar.update):
                counts.update((d.source, d.license) for d in batch.documents)
                removed_ids.difference_update(d.id for d in batch.documents)
                removed_sources.difference_update(d.source for d in batch.documents)
                made.append(entry)
                unfinished.write(settings, entry, batch.state)
                _check_sources(counts)
        shards += made
        for corpus in corpora:
            ledger.add(corpus.ledger)
        ledger.repeated_ids += ids.changed
        if deduplicator.dropped:
            ledger.leave_out(Reason.REPEATED_TEXT, deduplicator.example, deduplicator.dropped)
        info = IndexInfo(
            format=FORMAT,
            embedding_name=embedder.name,
            embedding_model=embedder.model,
            embedding_revision=embedder.revision,
            embedding_identity=embedder.identity,
            dimension=embedder.dimension,
            vectors=vectors,
            window=embedder.window,
            documents=sum(counts.values()),
            shards=tuple(shards),
            corpora=corpora_of(counts),
            ledger=ledger.to_json(),
            fingerprint=index_fingerprint(embedder.identity, shards),
            builds=(*(old.builds if old else ()), *settings),
            removed_ids=tuple(sorted(removed_ids)),
            removed_sources=tuple(sorted(removed_sources)),
        )
        unfinished.write_end(settings, info_hash(info))
        replace_index(info, folder)
    return info


def build_shard(
    folder: Path,
    documents: Sequence[Document],
    chunks: Chunks,
    hashes: LongHashes,
    found: np.ndarray,
    known: Halves,
    embedder: Embedder,
    progress: Progress | None = None,
) -> Mapping[str, JSON]:
    """Embed documents and write them as a shard; runs in the workers.

    Args:
        folder: of the index.
        documents: what the shard holds.
        chunks: what of them is embedded.
        hashes: of the chunks' texts, uint64 (chunks, 2).
        found: which chunks need not be embedded, bool (chunks,).
        known: the vectors of those, float16 (found, dimension).
        embedder: makes the others.
        progress: is told how many were embedded.

    Returns:
        What `index.json` says of the shard.
    """
    vectors = np.zeros((len(hashes), embedder.dimension), dtype=np.float16)
    vectors[found] = known
    with VectorSaver(folder, embedder.dimension) as saver:
        embed(chunks.parts([d.text for d in documents]), hashes, vectors, found, embedder, saver, progress)
        return write_shard(folder, ShardContent(documents, chunks, vectors, hashes), embedder.identity)


def _shards(
    batches: Iterable[_Batch],
    folder: Path,
    embedder: Embedder,
    vectors: str,
    workers: Workers | None,
    progress: Progress,
) -> Iterator[tuple[Mapping[str, JSON], _Batch]]:
    """Yield what `index.json` says of each shard, and its documents, in order, once its file is written."""
    under_way: deque[tuple[Future[Mapping[str, JSON]], _Batch, int]] = deque()
    lost = workers.lost if workers else ()
    earlier = KnownVectors(vector_files(folder), embedder.dimension)

    def finish() -> tuple[Mapping[str, JSON], _Batch]:
        future, batch, embedded = under_way.popleft()
        try:
            entry = future.result()
        except lost as e:
            raise StorageError(
                f"a worker process was lost while it embedded the shard of the documents {batch.documents[0].id!r} to "
                f"{batch.documents[-1].id!r} ({type(e).__name__}: {' '.join(str(e).split())}), often because memory "
                "ran out. What was embedded is kept; run the same command again, with fewer workers or smaller shards "
                "(--shard-documents)."
            ) from e
        progress(embedded)
        return entry, batch

    try:
        for batch in batches:
            texts = [document.text for document in batch.documents]
            chunks = cut(texts, embedder, vectors)
            hashes = embedding_hashes(chunks.parts(texts), embedder.identity)
            known, found = earlier.find(hashes)
            progress(int(found.sum()))
            arguments = folder.absolute(), batch.documents, chunks, hashes, found, known[found], embedder
            if workers is None:
                yield build_shard(*arguments, progress), batch
                continue
            if found.all():
                ready: Future[Mapping[str, JSON]] = Future()
                ready.set_result(build_shard(*arguments))
            else:
                try:
                    ready = workers.executor.submit(build_shard, *arguments)
                except lost as e:  # another shard's worker died, which comes to light when that is waited for
                    ready = Future()
                    ready.set_exception(e)
            under_way.append((ready, batch, int((~found).sum())))
            while len(under_way) > workers.count:
                yield finish()
        while under_way:
            yield finish()
    finally:
        for future, _, _ in under_way:
            future.cancel()


def _batches(
    corpora: Sequence[Corpus], size: int, deduplicator: Deduplicator, ids: UniqueIds, folder: Path
) -> Iterator[_Batch]:
    """Read documents for one shard after the other; nothing is read beyond them, so that their state is exact."""
    documents = read_corpora(corpora)
    try:
        while True:
            batch: list[Document] = []
            while len(batch) < size and (block := list(itertools.islice(documents, min(_BLOCK, size - len(batch))))):
                batch += ids.rename(deduplicator.filter(block))
            if not batch:
                return
            yield _Batch(
                batch,
                {
                    "states": [corpus.state() for corpus in corpora], "repeated_texts": deduplicator.dropped,
                    "example": deduplicator.example, "repeated_ids": ids.changed,
                },
            )  # fmt: skip
    except LostPositionError as e:
        forget_build(folder)
        raise InputError(
            f"{e} The build that was interrupted cannot go on where it was; run the same command again: it reads the "
            "sources from the start, and embeds only what is new."
        ) from e


def _go_on(state: ReadingState, corpora: Sequence[Corpus], deduplicator: Deduplicator, ids: UniqueIds) -> None:
    """Put everything in the state that an unfinished build noted with its last shard."""
    deduplicator.dropped, deduplicator.example = state["repeated_texts"], state["example"]
    ids.changed = state["repeated_ids"]
    for corpus, of_corpus in zip(corpora, state["states"], strict=True):
        corpus.resume(of_corpus)


def _check_sources(counts: Mapping[tuple[str, str], int]) -> None:
    """Raise InputError if there are more sources than `index.json` can list."""
    if len(counts) > MOST_SOURCES:
        source, license = next(reversed(list(counts)))
        raise InputError(
            f"the documents have more than {MOST_SOURCES:,} sources and licences, such as {source!r} "
            f"({license or 'licence not stated'}), and an index lists all of them. Leave out the field of the records "
            'that is none: --field source= (fields={"source": ""}) gives documents the name of their corpus as '
            "source, --field url=source keeps a source that is a link. What was embedded is not embedded again."
        )


def note_shard(shard: Shard, deduplicator: Deduplicator, ids: UniqueIds) -> None:
    """Remember texts and ids of a shard, so that they are not taken again."""
    deduplicator.add(shard.text_hashes)
    ids.add(hashes_of(shard.strings("id")))


def _existing(folder: Path, embedder: Embedder, add: bool, replace: bool, vectors: str | None) -> IndexInfo | None:
    """Return the index in a folder, or None if there is none.

    Raises:
        InputError: nothing was said about what is to become of it, or documents cannot be added to it.
    """
    if not add and not is_index(folder) and not read_copy(folder):
        return None
    try:
        info = read_info(folder)
    except OtherFormatError:
        raise
    except InputError:
        if replace:
            return None
        raise
    if not add and not replace:
        raise InputError(
            f"{folder} holds an index of {info.documents} documents, which was not changed: give --add (add=True) to "
            "put documents behind these, --replace (replace=True) to build it anew, or another folder. What is "
            "embedded is not embedded again."
        )
    if add and info.embedding_identity != embedder.identity:
        raise InputError(
            f"{folder} was built with {info.embedding_model} ({info.embedding_revision}), but the embedding model is "
            f"{embedder.model} ({embedder.revision}); an index holds the embeddings of one model only: use its model, "
            "or another folder."
        )
    if add and vectors not in (None, info.vectors):
        raise InputError(
            f"{folder} was built with vectors={info.vectors!r}, and {vectors!r} was given; leave it out to add to this "
            "index, or give another folder."
        )
    return info
