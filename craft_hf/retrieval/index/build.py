"""Builds an index: a folder with `index.json` and HDF5 shards; a build that was stopped resumes at the next shard."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path

from craft_hf.base import (
    JSON,
    Bar,
    Document,
    Embedder,
    InputError,
    StorageError,
    Workers,
    fingerprint,
)  # fmt: skip
from craft_hf.corpus import Corpus
from craft_hf.retrieval.index import SHARD_DOCUMENTS
from craft_hf.retrieval.index.deduplication import Deduplicator
from craft_hf.retrieval.index.info import SHARD_FILE, IndexInfo, read_info, shard_files, write_info
from craft_hf.retrieval.index.shard import FORMAT, Shard, input_hash, write_shard

Progress = Callable[[int], object]
"""Is told how many documents were embedded since it was last called."""


def build_index(
    corpora: Sequence[Corpus],
    folder: Path,
    embedder: Embedder,
    *,
    shard_documents: int = SHARD_DOCUMENTS,
    add: bool = False,
    workers: Workers | None = None,
) -> IndexInfo:
    """Embed the documents of some corpora and write them to a folder; of equal texts only the first is taken.

    Interrupted at any moment, the same call resumes with the first missing shard; a shard whose documents did not
    change is not embedded again.

    Args:
        corpora: what to index, in this order.
        folder: created if needed; may hold an earlier or an unfinished index, but nothing else. Workers write to it
            too.
        embedder: makes the embeddings; the index names its model.
        shard_documents: documents of a shard.
        add: keep the shards of the index in the folder, and append new ones.
        workers: where shards are embedded; by default in this process. The index does not depend on it.

    Raises:
        InputError: a corpus is missing, broken or empty, or the folder holds something else; with `add`, there is no
            index, or its embedding model is another.
        StorageError: the disk is full or a worker process was lost; the shards built before are complete.
    """
    _check_folder(folder)
    if not corpora:
        raise InputError("no corpus was given; expected at least one to build an index of.")
    old = _read_existing(folder, embedder) if add else None
    made_by = f"{embedder.model}@{embedder.revision}"
    shards: list[Mapping[str, JSON]] = list(old.shards) if old else []
    counts: Counter[tuple[str, str]] = Counter()
    skipped: Counter[str] = Counter(old.skipped if old else {})
    for earlier in old.corpora if old else ():
        counts[str(earlier["source"]), str(earlier["license"])] += int(str(earlier["documents"]))
    deduplicator = Deduplicator()
    for entry in shards:
        deduplicator.add(Shard(folder / str(entry["file"])).text_hashes)
    deduplicator.dropped = 0
    documents = deduplicator.filter(itertools.chain.from_iterable(corpora))
    with Bar("Embedding", unit="documents") as bar:
        made = _shards(documents, folder, embedder, len(shards), shard_documents, workers, bar.update)
        for content, batch in made:
            counts.update((d.source, d.license) for d in batch)
            path = folder / _name(len(shards))
            size = path.stat().st_size
            shards.append({"file": path.name, "documents": len(batch), "bytes": size, "fingerprint": content})
    for corpus in corpora:
        skipped.update(corpus.skipped)
    if deduplicator.dropped:
        skipped["exact duplicate"] += deduplicator.dropped
    info = IndexInfo(
        format=FORMAT,
        embedding_name=embedder.name,
        embedding_model=embedder.model,
        embedding_revision=embedder.revision,
        dimension=embedder.dimension,
        documents=sum(counts.values()),
        shards=tuple(shards),
        corpora=tuple({"source": s, "license": lic, "documents": n} for (s, lic), n in sorted(counts.items())),
        skipped=dict(skipped),
        fingerprint=fingerprint([made_by, *(s["fingerprint"] for s in shards)]),
    )
    write_info(info, folder)
    for stale in set(shard_files(folder)) - {folder / str(s["file"]) for s in shards}:
        stale.unlink()
    return info


def build_shard(path: Path, documents: Sequence[Document], embedder: Embedder, progress: Progress | None = None) -> str:
    """Embed documents and write them as a shard; runs in the workers.

    Returns:
        The shard's fingerprint.
    """
    vectors = embedder.encode([d.text for d in documents], progress)
    return write_shard(path, documents, vectors, f"{embedder.model}@{embedder.revision}")


def _shards(
    documents: Iterable[Document],
    folder: Path,
    embedder: Embedder,
    first: int,
    size: int,
    workers: Workers | None,
    progress: Progress,
) -> Iterator[tuple[str, list[Document]]]:
    """Yield fingerprint and documents of each shard from number `first` on, in order, once its file is written."""
    under_way: deque[tuple[Future[str], list[Document]]] = deque()
    made_by = f"{embedder.model}@{embedder.revision}"

    def finish() -> tuple[str, list[Document]]:
        future, batch = under_way.popleft()
        try:
            content = future.result()
        except BrokenExecutor as e:
            raise StorageError(
                f"a worker process was lost ({e}), often because memory ran out. The finished shards are complete; "
                "run the same command again, with fewer workers or smaller shards."
            ) from e
        progress(len(batch))
        return content, batch

    try:
        for number, batch in enumerate(_batched(documents, size), first):
            path = folder / _name(number)
            ready: Future[str] = Future()
            if (found := _finished(path, input_hash(batch, made_by))) is not None:
                ready.set_result(found)
            else:
                _create(folder)
                if workers is None:
                    yield build_shard(path, batch, embedder, progress), batch
                    continue
                ready = workers.executor.submit(build_shard, path, batch, embedder)
            under_way.append((ready, batch))
            while len(under_way) > (workers.count if workers else 0):
                yield finish()
        while under_way:
            yield finish()
    finally:
        for future, _ in under_way:
            future.cancel()


def _batched(documents: Iterable[Document], size: int) -> Iterator[list[Document]]:
    iterator = iter(documents)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _name(number: int) -> str:
    return f"shard-{number:05d}.h5"


def _read_existing(folder: Path, embedder: Embedder) -> IndexInfo:
    """Return what the index holds that documents are added to."""
    info = read_info(folder)
    if (info.embedding_model, info.embedding_revision) != (embedder.model, embedder.revision):
        raise InputError(
            f"{folder} was built with {info.embedding_model} ({info.embedding_revision}), but the embedding model is "
            f"{embedder.model} ({embedder.revision}); an index holds the embeddings of one model only: use its model, "
            "or another folder."
        )
    return info


def _finished(path: Path, expected: str) -> str | None:
    """Return the fingerprint of a shard that was built from the same input before, or None."""
    if not path.is_file():
        return None
    try:
        shard = Shard(path)
    except InputError:
        return None
    return shard.fingerprint if shard.input_hash == expected else None


def _check_folder(folder: Path) -> None:
    """Raise InputError if the folder holds something else, so that no other file is overwritten."""
    if folder.is_dir():
        strange = [
            p.name
            for p in folder.iterdir()
            if p.name != "index.json" and not p.name.startswith(".") and not SHARD_FILE.fullmatch(p.name)
        ]
        if strange:
            raise InputError(
                f"the folder {folder} holds {strange[0]!r}, which is not part of an index; give an empty one."
            )
    elif folder.exists():
        raise InputError(f"{folder} is a file; give a folder for the index.")


def _create(folder: Path) -> None:
    """Create the folder; called only when there is a shard to write, so that bad input leaves no folder behind."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise StorageError(f"the index folder {folder} cannot be created: {e}; give another one.") from e
