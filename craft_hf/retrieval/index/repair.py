"""Repairs an index: what was damaged comes back from what is whole in its shards, and from the sources."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from craft_hf.base import JSON, Bar, Document, Embedder, InputError
from craft_hf.corpus import Ledger, Reason
from craft_hf.retrieval.index.build import build_shard, note_shard
from craft_hf.retrieval.index.chunks import Chunks, chunks_of, cut
from craft_hf.retrieval.index.deduplication import Deduplicator, UniqueIds, hashes_of, text_hashes
from craft_hf.retrieval.index.edit import with_shards
from craft_hf.retrieval.index.info import IndexInfo, OtherFormatError, read_copy, read_info, shard_names
from craft_hf.retrieval.index.quantize import Halves, quantize
from craft_hf.retrieval.index.search import Index
from craft_hf.retrieval.index.shard import (
    BROKEN,
    LongHashes,
    Shard,
    ShardContent,
    document_hashes,
    documents_hash,
    embedding_hashes,
    shard_entry,
    shard_fingerprint,
    shard_name,
    write_shard,
)
from craft_hf.retrieval.index.sources import open_sources_again
from craft_hf.retrieval.index.vectors import KnownVectors, vector_files
from craft_hf.retrieval.index.verify import find_problems, shard_counts
from craft_hf.retrieval.index.writing import replace_index, writing

_REASONS = 5
"""Reasons that a message gives at most."""


@dataclass(frozen=True)
class Repair:
    """What was done to repair an index.

    Attributes:
        problems: what was wrong.
        embedded: how many documents were embedded again.
        read_again: how many were read from the sources again.
        lost: how many are not in the index any more.
    """

    problems: Sequence[str]
    embedded: int = 0
    read_again: int = 0
    lost: int = 0


@dataclass
class _Broken:
    """A broken shard: what is whole of it.

    Attributes:
        entry: what `index.json` says of it.
        documents: its documents in order; None for each that is not whole.
        texts: hashes of their texts, uint64 (documents,), or None if these are not known.
        written: hashes of the documents, uint64 (documents, 2), if those of the texts are known.
        chunks, vectors: what of its documents is embedded, and the embeddings, if these are whole.
        sound: which embeddings are whole, bool (chunks,).
    """

    entry: Mapping[str, JSON]
    documents: list[Document | None]
    texts: np.ndarray | None = None
    chunks: Chunks | None = None
    vectors: Halves | None = None
    sound: np.ndarray | None = None
    written: LongHashes | None = None

    @property
    def lost(self) -> int:
        return self.documents.count(None)

    def is_as_it_was(self) -> bool:
        """Whether its documents are those that `index.json` says it held."""
        documents = [document for document in self.documents if document]
        return not self.lost and documents_hash(document_hashes(documents)) == self.entry["documents_hash"]


def repair_index(folder: Path, *, device: str | None = None, drop_lost: bool = False, embedding: str = "") -> Repair:
    """Mend what `verify_index` finds; an index that is whole is left alone.

    A document that is whole in a damaged shard stays. Others are read from the sources again, as far as these are known
    and there. Only what has no whole vector in the folder is embedded again. An `index.json` that cannot be read comes
    back from its copy; numbers in it that are wrong are counted anew.

    Args:
        folder: of the index.
        device: torch device for what is embedded.
        drop_lost: go on without the documents that cannot be brought back; they are counted in the index.
        embedding: where the embedding model lies, see `Index.open_embedder`.

    Raises:
        InputError: there is no index, documents are lost and `drop_lost` was not given, or the embedding model is not
            there; the index was not changed.
        StorageError: the disk is full; the index stays what it was.
    """
    _info_of(folder)
    with writing(folder):
        old, problems = _info_of(folder)
        in_shards, in_info = find_problems(folder, old)
        problems += [*in_shards.values(), *in_info]
        if not problems:
            return Repair([])
        old = replace(old, dimension=_dimension(folder, old))
        broken = {
            str(entry["file"]): _salvaged(folder, entry)
            for entry in old.shards
            if str(entry["file"]) in in_shards and not _is_whole(folder / str(entry["file"]), old)
        }
        lost = sum(part.lost for part in broken.values())
        read_again, reasons = _read_again(folder, old, broken) if lost else (0, [])
        lost -= read_again
        if lost and not drop_lost:
            raise InputError(_what_is_lost(folder, broken, lost, reasons))
        embedder = _LazyEmbedder(folder, old, embedding, device)
        known = KnownVectors(vector_files(folder), old.dimension)
        shards: list[Mapping[str, JSON]] = []
        counts: Counter[tuple[str, str]] = Counter()
        embedded = 0
        with Bar("Repairing", old.documents, "documents") as bar:
            for entry in old.shards:
                if (part := broken.get(str(entry["file"]))) is None:
                    made: Mapping[str, JSON] | None = shard_entry(Shard(folder / str(entry["file"])))
                else:
                    made, count = _mended(folder, part, known, embedder)
                    embedded += count
                if made:
                    shards.append(made)
                    counts += shard_counts(Shard(folder / str(made["file"])))
                bar.update(int(str(entry["documents"])))
        if not shards:
            raise InputError(f"nothing of the index {folder} is left; delete the folder, and build it again.")
        ledger = Ledger.from_json(old.ledger)
        if lost:
            ledger.leave_out(Reason.LOST, next(name for name, part in broken.items() if part.lost), lost)
        replace_index(replace(with_shards(old, shards, counts), ledger=ledger.to_json()), folder, old)
    return Repair(problems, embedded, read_again, lost)


class _LazyEmbedder:
    """Opens the embedding model of an index when something has to be embedded."""

    def __init__(self, folder: Path, info: IndexInfo, embedding: str, device: str | None) -> None:
        self._folder, self._info, self._embedding, self._device = folder, info, embedding, device

    @property
    def identity(self) -> str:
        return self._info.embedding_identity

    def cut(self, texts: Sequence[str]) -> Chunks:
        """Cut texts as those of the index are."""
        if self._info.window is None:
            return chunks_of([[(0, len(text))] for text in texts], self._info.vectors)
        return cut(texts, self.opened, self._info.vectors)

    @cached_property
    def opened(self) -> Embedder:
        """The model.

        Raises:
            InputError: it cannot be loaded, or is another one than that of the index.
        """
        return Index(self._folder, self._info).open_embedder(self._embedding, self._device)


def _info_of(folder: Path) -> tuple[IndexInfo, list[str]]:
    """Return what `index.json` says or, if it cannot be read, its copy; then what is wrong with it.

    Raises:
        InputError: neither can be read; the shards alone do not tell which of them are the index.
    """
    try:
        return read_info(folder), []
    except OtherFormatError:
        raise
    except InputError as e:
        if info := read_copy(folder):
            return info, [str(e)]
        raise


def _dimension(folder: Path, info: IndexInfo) -> int:
    """Return the dimension of an index's embeddings, which a shard knows better than `index.json`."""
    for name in shard_names(info):
        with contextlib.suppress(InputError):
            return Shard(folder / name).dimension
    return info.dimension


def _is_whole(path: Path, info: IndexInfo) -> bool:
    """Whether a shard is the one of its name, whatever `index.json` says."""
    try:
        shard = Shard(path)
    except InputError:
        return False
    found = shard.embedder, shard.dimension, shard.vectors, shard.window, shard_name(shard.fingerprint)
    wanted = info.embedding_identity, info.dimension, info.vectors, info.window, path.name
    return found == wanted and shard.is_intact()


def _salvaged(folder: Path, entry: Mapping[str, JSON]) -> _Broken:
    """Read what is whole of a broken shard."""
    part = _Broken(entry, [None] * int(str(entry["documents"])))
    try:
        shard = Shard(folder / str(entry["file"]))
        texts, written = shard.text_hashes, shard.document_hashes
        chunks, vectors = shard.cut(), np.array(shard.embeddings)
    except (InputError, ValueError, MemoryError):
        return part
    shapes = texts.shape, written.shape
    if shard_name(shard.fingerprint) != entry["file"] or shapes != ((shard.rows,), (shard.rows, 2)):
        return part  # another shard lies in its place, or nothing in it is where it was
    documents = _readable(shard, range(shard.rows))
    now = document_hashes([document or Document("", "") for document in documents])
    if shard_fingerprint(shard.embedder, now, chunks, vectors) == shard.fingerprint:
        return _Broken(entry, documents, texts, chunks, vectors)  # what is damaged follows from these
    whole = (now == written).all(axis=1)
    documents = [document if ok else None for document, ok in zip(documents, whole, strict=True)]
    if shard_fingerprint(shard.embedder, written, chunks, vectors) == shard.fingerprint:
        return _Broken(entry, documents, texts, chunks, vectors, written=written)
    with contextlib.suppress(*BROKEN, InputError):
        parts = chunks.parts([document.text for document in documents if document])
        if whole.all() and np.array_equal(embedding_hashes(parts, shard.embedder), shard.embedding_hashes):
            return _Broken(entry, documents, texts, chunks, vectors, _sound(shard, vectors))
    return _Broken(entry, documents, texts, written=written)


def _sound(shard: Shard, vectors: Halves) -> np.ndarray:
    """Return which embeddings of a shard are those of which its codes, scales and errors were made, bool (chunks,)."""
    with np.errstate(all="ignore"):
        made = quantize(vectors)
    same_codes = (made.codes == shard.codes).all(axis=1)
    same: np.ndarray = same_codes & (made.scales == shard.scales) & (made.residuals == shard.residuals)
    return same


def _readable(shard: Shard, rows: Sequence[int]) -> list[Document | None]:
    """Read documents, with None for those that cannot be read."""
    try:
        return list(shard.documents(rows))
    except InputError:
        if len(rows) < 2:
            return [None for _ in rows]
        middle = len(rows) // 2
        return _readable(shard, rows[:middle]) + _readable(shard, rows[middle:])


def _read_again(folder: Path, info: IndexInfo, broken: Mapping[str, _Broken]) -> tuple[int, list[str]]:
    """Fill in documents that are lost from the sources; return how many, and why others were not found."""
    lost = sum(part.lost for part in broken.values())
    deduplicator, ids = Deduplicator(), UniqueIds()
    for name in shard_names(info):
        if name not in broken:
            note_shard(Shard(folder / name), deduplicator, ids)
    by_document: dict[tuple[int, ...], tuple[_Broken, int]] = {}
    by_text = set[int]()
    anywhere: list[tuple[_Broken, int]] = []
    for part in broken.values():
        whole = [document for document in part.documents if document]
        deduplicator.add(text_hashes(whole))
        ids.add(hashes_of(document.id for document in whole))
        for row, document in enumerate(part.documents):
            if document is None and part.texts is not None and part.written is not None:
                by_document[tuple(part.written[row].tolist())] = part, row
                by_text.add(int(part.texts[row]))
            elif document is None:
                anywhere.append((part, row))
    anywhere.reverse()
    reasons = []
    for settings in info.builds:
        try:
            corpora = open_sources_again(settings) if settings else []
            if not settings:
                reasons.append("it was built of rows in memory")
            for document in ids.rename(deduplicator.filter(itertools.chain.from_iterable(corpora))):
                if document.id in info.removed_ids or document.source in info.removed_sources:
                    continue
                place = by_document.pop(tuple(document_hashes([document])[0].tolist()), None)
                if not place and int(text_hashes([document])[0]) in by_text:
                    reasons.append(f"the sources hold the text of {document.id} with other fields, such as its licence")
                elif place := place or (anywhere.pop() if anywhere else None):
                    place[0].documents[place[1]] = document
                if not by_document and not anywhere:
                    break
        except InputError as e:
            reasons.append(str(e).rstrip("."))
        if not by_document and not anywhere:
            break
    for part in broken.values():
        if part.texts is None and not part.is_as_it_was():
            if not part.lost:
                reasons.append("the sources hold other documents beside them, or in another order")
            part.documents = [None] * len(part.documents)  # those that were read may never have been in the index
    count = lost - sum(part.lost for part in broken.values())
    return count, reasons[:_REASONS] or ["the sources do not hold them any more"]


def _what_is_lost(folder: Path, broken: Mapping[str, _Broken], lost: int, reasons: Sequence[str]) -> str:
    """Say which documents are lost, why, and what to do."""
    where = []
    for name, part in broken.items():
        if part.lost == len(part.documents):
            where.append(f"all {part.lost} of {name}")
        elif part.lost:
            where.append(f"{part.lost} of the {len(part.documents)} of {name} ({_ids(folder / name, part)})")
    return (
        f"{lost} documents of the index {folder} are lost: {'; '.join(where)}. They cannot be read again: "
        f"{'; '.join(reasons)}. Nothing was changed: bring the sources back to what they were, or go on without these "
        f"documents: craft-hf index repair {folder} --drop-lost. What the sources hold is then added by "
        "craft-hf index build with --add, also what was taken out by craft-hf index remove."
    )


def _ids(path: Path, part: _Broken) -> str:
    """Return the first ids of the documents that are lost of a shard, as far as these can be read."""
    rows = [row for row, document in enumerate(part.documents) if document is None]
    try:
        ids = Shard(path).strings("id")
    except (InputError, ValueError):
        return f"rows {', '.join(map(str, rows[:5]))}{', ...' * (len(rows) > 5)}"
    return f"{', '.join(ids[row] for row in rows[:5])}{', ...' * (len(rows) > 5)}"


def _mended(
    folder: Path, part: _Broken, known: KnownVectors, embedder: _LazyEmbedder
) -> tuple[Mapping[str, JSON] | None, int]:
    """Write what there is of a broken shard as a new one; return what `index.json` says of it, and how many documents
    were embedded.
    """
    rows = [row for row, document in enumerate(part.documents) if document]
    documents = [document for document in part.documents if document]
    if not documents:
        return None, 0
    texts = [document.text for document in documents]
    if part.chunks is not None and part.vectors is not None:
        chunks, chosen = part.chunks.take(rows)
        vectors = part.vectors[chosen]
        found = np.ones(len(chosen), dtype=bool) if part.sound is None else part.sound[chosen]
    else:
        chunks = embedder.cut(texts)
        vectors = np.zeros((len(chunks.spans), known.dimension), dtype=np.float16)
        found = np.zeros(len(chunks.spans), dtype=bool)
    hashes = embedding_hashes(chunks.parts(texts), embedder.identity)
    if len(missing := np.flatnonzero(~found)):
        vectors[missing], found[missing] = known.find(hashes[missing])
    if found.all():
        return write_shard(folder, ShardContent(documents, chunks, vectors, hashes), embedder.identity), 0
    entry = build_shard(folder, documents, chunks, hashes, found, vectors[found], embedder.opened)
    owners = np.repeat(np.arange(len(texts)), chunks.ends - chunks.starts)
    return entry, len(np.unique(owners[~found]))
