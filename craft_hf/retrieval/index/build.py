"""Builds an index: documents come in, a folder with `index.json` and HDF5 shards goes out, resumable per shard."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path

from craft_hf.base import (
    JSON,
    Document,
    Embedder,
    InputError,
    StorageError,
    Workers,
    fingerprint,
    progress_bar,
)  # fmt: skip
from craft_hf.corpus import Corpus
from craft_hf.retrieval.index.info import SHARD_FILE, IndexInfo, read_info, shard_files, write_info
from craft_hf.retrieval.index.shard import FORMAT, Shard, input_hash, write_shard
from craft_hf.retrieval.index.unique import Unique

SHARD_DOCUMENTS = 50_000

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
    """Embed the documents of some corpora into a folder; of equal texts only the first is taken.

    Interrupted at any moment, the same call goes on with the first shard that is not there; a shard whose documents
    did not change is not embedded again.

    Args:
        corpora: what to index, in this order.
        folder: made if needed; may hold an earlier or an unfinished index, but nothing else. Workers write to it, too.
        embedder: its model is written into the index.
        shard_documents: documents of a shard.
        add: keep what the index in the folder holds, and put new shards behind it.
        workers: where shards are embedded; by default in this process. The index does not depend on it.

    Raises:
        InputError: a corpus is missing, broken or empty, or the folder holds something else; with `add`, there is no
            index, or its embedding model is another.
        StorageError: the disk is full or a worker process was lost; what was built before is whole.
    """
    _check_folder(folder)
    if not corpora:
        raise InputError("no corpus was given; expected at least one to build an index of.")
    old = _start(folder, embedder) if add else None
    made_by = f"{embedder.model}@{embedder.revision}"
    shards: list[Mapping[str, JSON]] = list(old.shards) if old else []
    counts: Counter[tuple[str, str]] = Counter()
    skipped: Counter[str] = Counter(old.skipped if old else {})
    for earlier in old.corpora if old else ():
        counts[str(earlier["source"]), str(earlier["license"])] += int(str(earlier["documents"]))
    unique = Unique()
    for entry in shards:
        unique.add(Shard(folder / str(entry["file"])).text_hashes)
    unique.dropped = 0
    documents = unique.filter(itertools.chain.from_iterable(corpora))
    with progress_bar("Embedding", " documents") as bar:
        made = _shards(documents, folder, embedder, len(shards), shard_documents, workers, bar.update)
        for content, batch in made:
            counts.update((d.source, d.license) for d in batch)
            path = folder / _name(len(shards))
            size = path.stat().st_size
            shards.append({"file": path.name, "documents": len(batch), "bytes": size, "fingerprint": content})
    for corpus in corpora:
        skipped.update(corpus.skipped)
    if unique.dropped:
        skipped["exact duplicate"] += unique.dropped
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
    """Embed documents and write them as a shard; this is what a worker does.

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
    """Yield fingerprint and documents of each shard from number `first` on, in order, when its file is there."""
    under_way: deque[tuple[Future[str], list[Document]]] = deque()
    made_by = f"{embedder.model}@{embedder.revision}"

    def finish() -> tuple[str, list[Document]]:
        future, batch = under_way.popleft()
        try:
            content = future.result()
        except BrokenExecutor as e:
            raise StorageError(
                f"a worker process was lost ({e}), often for want of memory. The shards that are finished are whole; "
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
                _make(folder)
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


def _start(folder: Path, embedder: Embedder) -> IndexInfo:
    """Return what an index holds that is to be added to."""
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
    """Never write into a folder that holds something else."""
    if folder.is_dir():
        strange = [
            p.name
            for p in folder.iterdir()
            if p.name != "index.json" and not p.name.startswith(".") and not SHARD_FILE.fullmatch(p.name)
        ]
        if strange:
            raise InputError(
                f"the folder {folder} holds {strange[0]!r}, which is no part of an index; give an empty one."
            )
    elif folder.exists():
        raise InputError(f"{folder} is a file; give a folder for the index.")


def _make(folder: Path) -> None:
    """Make the folder: only when there is something to write, so that bad input leaves nothing behind."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise StorageError(f"the index folder {folder} cannot be made: {e}; give another one.") from e
