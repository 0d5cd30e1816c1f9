"""Changes to an index for which nothing is embedded: documents are removed, small shards are joined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from craft_hf.base import JSON, Activity, Bar, InputError
from craft_hf.corpus import Ledger, Reason
from craft_hf.retrieval.index import SHARD_DOCUMENTS
from craft_hf.retrieval.index.deduplication import Hashes
from craft_hf.retrieval.index.info import IndexInfo, corpora_of, counts_of, index_fingerprint, read_info, shard_names
from craft_hf.retrieval.index.layout import is_shard
from craft_hf.retrieval.index.shard import Shard, ShardContent, check_intact, mending, write_shard
from craft_hf.retrieval.index.vectors import KnownVectors, open_whole_vectors, save_vectors
from craft_hf.retrieval.index.verify import shard_counts
from craft_hf.retrieval.index.writing import leftovers, replace_index, writing


def remove_documents(folder: Path, ids: Collection[str] = (), sources: Collection[str] = ()) -> IndexInfo:
    """Remove documents from an index; only the shards that hold some of them are written anew.

    Args:
        folder: of the index.
        ids: of documents to remove.
        sources: whose documents are all removed, as `IndexInfo.corpora` names them.

    Raises:
        InputError: an id or a source is not in the index, none was given, or nothing would be left.
        StorageError: the disk is full; the index stays what it was.
    """
    if not ids and not sources:
        raise InputError("nothing was given to remove; name ids of documents (--id), or sources (--source).")
    read_info(folder)
    with writing(folder):
        old = read_info(folder)
        wanted, named = set(ids), set(sources)
        staying: list[int] = []
        unseen_ids, unseen_sources = set(wanted), set(named)
        with Bar("Looking for documents", old.documents, "documents") as bar:
            for entry in old.shards:
                shard = _opened(folder, entry)
                staying.append(len(_staying(shard, wanted, named)))
                unseen_ids.difference_update(shard.strings("id"))
                unseen_sources.difference_update(source for source, _ in shard.corpora)
                bar.update(shard.rows)
        if unseen_ids:
            raise InputError(f"no document of {folder} has the id {min(unseen_ids)!r}. Nothing was removed.")
        if unseen_sources:
            there = ", ".join(sorted({str(corpus["source"]) for corpus in old.corpora}))
            raise InputError(
                f"no document of {folder} has the source {min(unseen_sources)!r}; its sources: {there}. Nothing was "
                "removed."
            )
        if not any(staying):
            raise InputError(f"that is all that {folder} holds; to be rid of it, delete the folder.")
        left: list[Mapping[str, JSON]] = []
        counts: Counter[tuple[str, str]] = Counter()
        changed: list[Path] = []
        texts: list[Hashes] = []
        for entry, count in zip(old.shards, staying, strict=True):
            shard = _opened(folder, entry)
            if count < shard.rows:
                changed.append(shard.path)
                rows = _staying(shard, wanted, named)
                texts.append(np.delete(shard.text_hashes, rows))
                if not rows:
                    continue
                entry = write_shard(folder, _content(shard).take(rows), shard.embedder)
            left.append(entry)
            counts += shard_counts(Shard(folder / str(entry["file"])))
        info = with_shards(old, left, counts)
        ledger = Ledger.from_json(old.ledger)
        ledger.leave_out(Reason.REMOVED, min(wanted | named), old.documents - info.documents)
        info = replace(
            info,
            ledger=ledger.to_json(),
            removed_ids=tuple(sorted({*old.removed_ids, *wanted})),
            removed_sources=tuple(sorted({*old.removed_sources, *named})),
        )
        changed += _texts_elsewhere(folder, old, wanted, named, np.concatenate(texts))
        replace_index(info, folder, dropped=changed)
    return info


def _texts_elsewhere(
    folder: Path, info: IndexInfo, ids: Collection[str], sources: Collection[str], texts: Hashes
) -> list[Path]:
    """Return the shards beside an index that hold documents which are removed, after saving their vectors.

    Args:
        folder: of the index.
        info: what it is before they are removed.
        ids: of documents that are removed.
        sources: the same.
        texts: hashes of the texts that are removed, see `text_hashes`.
    """
    found: list[Path] = []
    for path in leftovers(folder, info):
        if is_shard(path.name):
            try:
                check_intact(path)
                shard = Shard(path)
                is_clean = len(_staying(shard, ids, sources)) == shard.rows
                if is_clean and not np.isin(shard.text_hashes, texts).any():
                    continue
                save_vectors(folder, shard.embedding_hashes, shard.embeddings)
                found.append(path)
            except InputError as e:
                Activity(
                    f"{str(e).rstrip('.')}: what was removed may still be in it; craft-hf index compact {folder} "
                    "removes it"
                ).print_line()
    return found


def _staying(shard: Shard, ids: Collection[str], sources: Collection[str]) -> list[int]:
    """Return the rows of a shard whose documents are not removed."""
    fields = zip(shard.strings("id"), shard.strings("source"), strict=True)
    return [row for row, (id, source) in enumerate(fields) if id not in ids and source not in sources]


def compact_index(folder: Path, shard_documents: int = SHARD_DOCUMENTS) -> IndexInfo:
    """Join small shards that follow each other, and remove what lies beside the index; the rows stay in their order.

    What unfinished builds and earlier indexes left is removed also if the index does not hold its embeddings; how many
    these are is said.

    Args:
        folder: of the index.
        shard_documents: most documents of a shard that is made; shards that hold more stay as they are.

    Raises:
        InputError: there is no index, or a shard is broken.
        StorageError: the disk is full; the index stays what it was.
    """
    read_info(folder)
    with writing(folder):
        old = read_info(folder)
        shards: list[Mapping[str, JSON]] = []
        with Bar("Compacting", old.documents, "documents") as bar:
            for group in _groups(old.shards, shard_documents):
                if len(group) == 1:
                    shards += group
                else:
                    parts = [_opened(folder, entry) for entry in group]
                    content = ShardContent.join([_content(shard) for shard in parts])
                    shards.append(write_shard(folder, content, parts[0].embedder))
                bar.update(sum(int(str(entry["documents"])) for entry in group))
        info = with_shards(old, shards, counts_of(old.corpora))
        dropped = leftovers(folder, info)
        told = _what_goes(dropped, KnownVectors([folder / name for name in shard_names(info)], info.dimension))
        replace_index(info, folder, dropped=dropped)
        if told:
            Activity(f"{folder}: {told}").print_line()
    return info


def _what_goes(paths: Sequence[Path], index: KnownVectors) -> str:
    """Say how many embeddings go with some files that the index does not hold, or nothing if it holds them all."""
    lost = unread = 0
    for path in paths:
        try:
            source = open_whole_vectors(path)
            if not source.chunks:
                continue
            if source.dimension == index.dimension:
                lost += int((~index.find(source.embedding_hashes)[1]).sum())
            else:
                lost += source.chunks
        except InputError:
            unread += 1
    parts = [f"{lost} embeddings that the index does not hold"] * bool(lost)
    parts += [f"{unread} files that are damaged or could not be read"] * bool(unread)
    return f"removed {' and '.join(parts)}" if parts else ""


def with_shards(
    info: IndexInfo, shards: Sequence[Mapping[str, JSON]], counts: Mapping[tuple[str, str], int]
) -> IndexInfo:
    """Return what `index.json` says when an index has other shards.

    Args:
        info: what it said before.
        shards: as in `IndexInfo`.
        counts: the documents of the shards by source and licence.
    """
    return replace(
        info,
        documents=sum(counts.values()),
        shards=tuple(shards),
        corpora=corpora_of(counts),
        fingerprint=index_fingerprint(info.embedding_identity, shards),
    )


def _groups(shards: Sequence[Mapping[str, JSON]], most: int) -> Iterator[list[Mapping[str, JSON]]]:
    """Yield the shards in groups that together hold at most so many documents; a larger one is alone."""
    group: list[Mapping[str, JSON]] = []
    size = 0
    for entry in shards:
        documents = int(str(entry["documents"]))
        if group and size + documents > most:
            yield group
            group, size = [], 0
        group.append(entry)
        size += documents
    if group:
        yield group


def _opened(folder: Path, entry: Mapping[str, JSON]) -> Shard:
    """Open a shard after checking that it is the one that was built."""
    shard = Shard(folder / str(entry["file"]))
    if shard.fingerprint != entry["fingerprint"]:
        raise InputError(f"the shard {shard.path} is not the one that index.json names; {mending(folder)}.")
    return shard


def _content(shard: Shard) -> ShardContent:
    """Read a shard after checking that it is whole, to the last bit, so that no damage is taken over unseen."""
    if not shard.is_intact():
        raise InputError(f"the shard {shard.path} was changed after it was written; {mending(shard.path.parent)}.")
    return shard.content()
