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
from craft_hf.corpus import FAULTS, Corpus, Ledger, Reason, read_corpora
from craft_hf.retrieval.index.build import build_shard, note_shard
from craft_hf.retrieval.index.chunks import Chunks, chunks_of, cut
from craft_hf.retrieval.index.deduplication import Deduplicator, UniqueIds, hashes_of, possible_ids, text_hashes
from craft_hf.retrieval.index.edit import with_shards
from craft_hf.retrieval.index.info import IndexInfo, OtherFormatError, read_copy, read_info, shard_names
from craft_hf.retrieval.index.salvage import BrokenShard, salvaged
from craft_hf.retrieval.index.search import Index
from craft_hf.retrieval.index.shard import (
    Shard,
    ShardContent,
    document_hashes,
    embedding_hashes,
    shard_entry,
    shard_name,
    write_shard,
)
from craft_hf.retrieval.index.sources import open_sources_again
from craft_hf.retrieval.index.vectors import KnownVectors, vector_files
from craft_hf.retrieval.index.verify import find_problems, shard_counts
from craft_hf.retrieval.index.writing import replace_index, writing

_REASONS = 5
"""Reasons that a message gives at most."""

_BLOCK = 256
"""Documents that are read from the sources at a time."""

_MOST_IDS = 3
"""Ids that are tried for a document: its own, and those that it gets if that was taken, once or twice."""


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
            str(entry["file"]): salvaged(folder, entry)
            for entry in old.shards
            if str(entry["file"]) in in_shards and not _is_whole(folder / str(entry["file"]), old)
        }
        lost = sum(part.lost for part in broken.values())
        is_all_there = not lost and not any(part.doubtful for part in broken.values())
        read_again, reasons = (0, []) if is_all_there else _read_again(folder, old, broken)
        lost -= read_again
        if lost and not drop_lost:
            raise InputError(_what_is_lost(folder, broken, lost, reasons))
        problems += [_what_is_doubtful(folder / name, part) for name, part in broken.items() if part.doubtful]
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


def _read_again(folder: Path, info: IndexInfo, broken: Mapping[str, BrokenShard]) -> tuple[int, list[str]]:
    """Fill in documents that are lost from the sources; return how many, and why others were not found."""
    lost = sum(part.lost for part in broken.values())
    wanted = _Wanted(folder, info, broken)
    reasons = dict[str, None]()
    for settings in info.builds:
        if wanted.are_found:
            break
        if not settings:
            reasons["it was built of rows in memory"] = None
            continue
        corpora: list[Corpus] = []
        try:
            corpora = open_sources_again(settings)
            documents = read_corpora(corpora)
            while not wanted.are_found and (block := list(itertools.islice(documents, _BLOCK))):
                wanted.find(block)
        except InputError as e:
            reasons[str(e).rstrip(".")] = None
        if (faults := _faults(corpora)) and not any(faults in reason for reason in reasons):
            reasons[faults] = None
    reasons |= dict.fromkeys(wanted.settle())
    told = list(reasons)[:_REASONS]
    if len(reasons) > _REASONS:
        told.append(f"and for {len(reasons) - _REASONS} other reasons")
    return lost - sum(part.lost for part in broken.values()), told or ["the sources do not hold them any more"]


def _faults(corpora: Sequence[Corpus]) -> str:
    """Say what of some corpora could not be read."""
    total = Ledger()
    for corpus in corpora:
        total.add(corpus.ledger)
    total.left_out = {reason: total.left_out[reason] for reason in FAULTS if reason in total.left_out}
    return total.reasons().rstrip(".")


class _Wanted:
    """The documents of broken shards that are lost, each to be known by its hash, its text or its turn when it is read.

    A hash tells that it is the document, whatever else was read, and under which of its ids it is in the index. Where
    none is known, the sources are read as a build reads them.
    """

    def __init__(self, folder: Path, info: IndexInfo, broken: Mapping[str, BrokenShard]) -> None:
        self._parts = list(broken.values())
        self._deduplicator, self._ids = Deduplicator(), UniqueIds()
        self._removed_ids, self._removed_sources = set(info.removed_ids), set(info.removed_sources)
        self._by_hash: dict[tuple[int, ...], tuple[BrokenShard, int]] = {}
        self._by_text: dict[int, tuple[BrokenShard, int]] = {}
        self._in_turn: list[tuple[BrokenShard, int]] = []
        self._with_other_fields: dict[int, str] = {}
        for name in shard_names(info):
            if name not in broken:
                note_shard(Shard(folder / name), self._deduplicator, self._ids)
        for part in self._parts:
            whole = list[Document]()
            for row, document in enumerate(part.documents):
                if document and row not in part.doubtful:
                    whole.append(document)
                elif part.hashes is None or part.texts is None:
                    self._in_turn.append((part, row))
                else:
                    self._by_hash[tuple(part.hashes[row].tolist())] = part, row
                    self._by_text[int(part.texts[row])] = part, row
            self._note(whole)
        self._in_turn.reverse()

    @property
    def are_found(self) -> bool:
        """Whether none is left."""
        return not self._by_hash and not self._in_turn

    def find(self, documents: Sequence[Document]) -> None:
        """Look for those that are lost among the next documents of the sources."""
        found, others = list[Document](), list[Document]()
        for document in documents:
            for id in itertools.islice(possible_ids(document), _MOST_IDS if self._by_hash else 0):
                named = replace(document, id=id)
                if place := self._by_hash.pop(tuple(document_hashes([named])[0].tolist()), None):
                    place[0].put(place[1], named, is_sure=True)
                    found.append(named)
                    break
            else:
                others.append(document)
        self._note(found)
        for text in text_hashes(found).tolist():
            self._with_other_fields.pop(text, None)
        for document in self._ids.rename(self._deduplicator.filter(others)):
            if document.id in self._removed_ids or document.source in self._removed_sources:
                continue
            text = int(text_hashes([document])[0])
            if text in self._by_text:
                part, row = self._by_text[text]
                self._with_other_fields[text] = document.id
                if not part.is_sure:
                    part.put(row, document, is_sure=False)
            elif self._in_turn:
                part, row = self._in_turn.pop()
                part.put(row, document, is_sure=False)

    def settle(self) -> list[str]:
        """Take out what the shards did not hold; return why documents that were read are not those that are lost."""
        reasons = []
        for part in self._parts:
            is_filled = not part.lost
            if not part.settle() and is_filled and part.texts is None:
                reasons.append("the sources hold other documents beside them, or in another order")
        lost = [id for text, id in self._with_other_fields.items() if self._is_lost(text)]
        if lost:
            others = f" and {len(lost) - 1} other documents" if len(lost) > 1 else ""
            reasons.append(f"the sources hold the text of {lost[0]}{others} with other fields, such as its licence")
        return reasons

    def _is_lost(self, text: int) -> bool:
        part, row = self._by_text[text]
        return part.documents[row] is None

    def _note(self, documents: Sequence[Document]) -> None:
        """Remember texts and ids of documents that are in the index."""
        self._deduplicator.add(text_hashes(documents))
        self._ids.add(hashes_of(document.id for document in documents))


def _what_is_lost(folder: Path, broken: Mapping[str, BrokenShard], lost: int, reasons: Sequence[str]) -> str:
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


def _what_is_doubtful(path: Path, part: BrokenShard) -> str:
    document = part.documents[min(part.doubtful)]
    return (
        f"{path}: of {len(part.doubtful)} documents, such as {document.id if document else ''}, the text is whole, but "
        "nothing tells whether title, link, licence and so on are; they were kept"
    )


def _ids(path: Path, part: BrokenShard) -> str:
    """Return the first ids of the documents that are lost of a shard, as far as these can be read."""
    rows = [row for row, document in enumerate(part.documents) if document is None]
    try:
        ids = Shard(path).strings("id")
    except (InputError, ValueError):
        return f"rows {', '.join(map(str, rows[:5]))}{', ...' * (len(rows) > 5)}"
    return f"{', '.join(ids[row] for row in rows[:5])}{', ...' * (len(rows) > 5)}"


def _mended(
    folder: Path, part: BrokenShard, known: KnownVectors, embedder: _LazyEmbedder
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
