"""Repairs an index: what was damaged comes back from what is whole in its shards, and from the sources."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from craft_hf.base import JSON, Bar, Document, Embedder, InputError
from craft_hf.corpus import FAULTS, Corpus, Ledger, Reason, read_corpora
from craft_hf.retrieval.index.build import build_shard
from craft_hf.retrieval.index.chunks import Chunks, chunks_of, cut
from craft_hf.retrieval.index.deduplication import possible_ids, text_hashes
from craft_hf.retrieval.index.edit import with_shards
from craft_hf.retrieval.index.hashes import read_hashes
from craft_hf.retrieval.index.info import IndexInfo, OtherFormatError, read_copy, read_info, read_shards, restore_info
from craft_hf.retrieval.index.layout import shard_name, vector_files
from craft_hf.retrieval.index.salvage import BrokenShard, salvaged
from craft_hf.retrieval.index.search import Index
from craft_hf.retrieval.index.shard import (
    Shard,
    ShardContent,
    document_hashes,
    documents_hash,
    embedding_hashes,
    is_intact,
    shard_entry,
    write_shard,
)
from craft_hf.retrieval.index.sources import open_sources_again
from craft_hf.retrieval.index.vectors import KnownVectors, LooseVectors, save_vectors
from craft_hf.retrieval.index.verify import copy_problems, find_problems, shard_counts, verify_index
from craft_hf.retrieval.index.writing import finish, replace_index, writing

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
    and there; their hashes tell which they are, also if the shard is gone. Only what has no whole vector in the folder
    is embedded again. An `index.json` that cannot be read comes back from its copy; numbers in it that are wrong are
    counted anew.

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
        if problems and not read_shards(folder):
            restore_info(folder)
            finish(folder)
        copy = read_copy(folder) or old
        in_shards, in_info = find_problems(folder, old)
        problems += [*in_shards.values(), *in_info, *copy_problems(folder, old)]
        if not problems:
            return Repair([])
        old = _settled(folder, old, copy, in_shards)
        whole, broken = _sorted_out(folder, old, copy, in_shards)
        parts = list(broken.values())
        lost = sum(part.lost for part in parts)
        read_again, reasons = _read_again(old, parts) if lost else (0, [])
        lost -= read_again
        if lost and not drop_lost:
            raise InputError(_what_is_lost(folder, parts, lost, reasons))
        embedder = _LazyEmbedder(folder, old, embedding, device)
        loose = [part.vectors for part in parts]
        files = [path for path in vector_files(folder) if all(path != part.path for part in parts)]
        known = KnownVectors(files, old.dimension, loose)
        shards: list[Mapping[str, JSON]] = []
        counts: Counter[tuple[str, str]] = Counter()
        embedded = 0
        with Bar("Repairing", old.documents, "documents") as bar:
            for number, entry in enumerate(old.shards):
                if number in whole:
                    made: Mapping[str, JSON] | None = shard_entry(whole[number])
                else:
                    made, count = _mended(folder, broken[number], known, embedder)
                    embedded += count
                if made:
                    shards.append(made)
                    counts += shard_counts(Shard(folder / str(made["file"])))
                bar.update(int(str(entry["documents"])))
        if not shards:
            raise InputError(
                f"nothing of the index {folder} is left; build it again with --replace: what is embedded is not "
                "embedded again."
            )
        ledger = Ledger.from_json(old.ledger)
        if lost:
            ledger.leave_out(Reason.LOST, next(part.path.name for part in parts if part.lost), lost)
            _save_rest(folder, shards, loose, old.dimension)
        replace_index(replace(with_shards(old, shards, counts), ledger=ledger.to_json()), folder)
        if left := verify_index(folder):
            raise InputError(f"{len(left)} problems of {folder} could not be mended, such as: {left[0]}.")
    return Repair(problems, embedded, read_again, lost)


def _settled(folder: Path, info: IndexInfo, copy: IndexInfo, in_shards: Mapping[int, str]) -> IndexInfo:
    """Return what `index.json` says with the model, the dimension and the chunks that most of its whole shards have.

    Where none is whole, the copy of `index.json` knows them.
    """
    shards = [Shard(folder / str(entry["file"])) for i, entry in enumerate(info.shards) if i not in in_shards]
    said = Counter((shard.embedder, shard.dimension, shard.vectors, shard.window) for shard in shards)
    of_copy = copy.embedding_identity, copy.dimension, copy.vectors, copy.window
    identity, dimension, vectors, window = said.most_common(1)[0][0] if said else of_copy
    return replace(info, embedding_identity=identity, dimension=dimension, vectors=vectors, window=window)


def _sorted_out(
    folder: Path, info: IndexInfo, copy: IndexInfo, in_shards: Mapping[int, str]
) -> tuple[dict[int, Shard], dict[int, BrokenShard]]:
    """Return the shards that are whole, also under another name than `index.json` gives them, and what is left of the
    others, by their places in it.
    """
    whole: dict[int, Shard] = {}
    broken: dict[int, BrokenShard] = {}
    own = {shard_name(str(entry["fingerprint"])) for entry in info.shards}
    for number, entry in enumerate(info.shards):
        hash, named = entry["documents_hash"], str(entry["file"])
        others = [str(e["file"]) for e in copy.shards if hash == e["documents_hash"]]
        paths = [folder / name for name in dict.fromkeys((shard_name(str(entry["fingerprint"])), named, *others))]
        for path in paths:
            shard = _whole(path, info, is_read=number not in in_shards and path.name == named)
            if shard and (
                shard.fingerprint == entry["fingerprint"]
                or documents_hash(shard.document_hashes) == hash
                or (path.name == named and named not in own)
            ):
                whole[number] = shard
                break
        else:
            path = next(filter(os.path.exists, paths), paths[0])
            kept = (read_hashes(path, entry) for path in paths)
            broken[number] = salvaged(path, next((hashes for hashes in kept if hashes is not None), None), entry, info)
    return whole, broken


def _whole(path: Path, info: IndexInfo, *, is_read: bool) -> Shard | None:
    """Return a shard if it is whole, and one of its name, whatever `index.json` says of it.

    Args:
        path: its file.
        info: what it is made with.
        is_read: whether every byte of it was found to be right already.
    """
    try:
        if not is_read and not is_intact(path):
            return None
        shard = Shard(path)
        found = shard.embedder, shard.dimension, shard.vectors, shard.window, shard_name(shard.fingerprint)
        wanted = info.embedding_identity, info.dimension, info.vectors, info.window, path.name
        return shard if found == wanted else None
    except InputError:
        return None


def _save_rest(
    folder: Path, shards: Sequence[Mapping[str, JSON]], loose: Sequence[LooseVectors], dimension: int
) -> None:
    """Save what is whole of the vectors of broken shards and is in no shard of the index that takes their place."""
    in_index = KnownVectors([folder / str(entry["file"]) for entry in shards], dimension)
    for vectors in loose:
        left = ~in_index.find(vectors.embedding_hashes)[1]
        if left.any():
            save_vectors(folder, vectors.embedding_hashes[left], vectors.embeddings[left])


class _LazyEmbedder:
    """Opens the embedding model of an index when something has to be embedded."""

    def __init__(self, folder: Path, info: IndexInfo, embedding: str, device: str | None) -> None:
        self._folder, self._info, self._embedding, self._device = folder, info, embedding, device

        self.identity, self.vectors, self.window = info.embedding_identity, info.vectors, info.window

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
    """Return what `index.json` says, be it with wrong numbers, or else its copy; then what is wrong with it.

    Raises:
        InputError: neither can be read; the shards alone do not tell which of them are the index.
    """
    try:
        return read_info(folder), []
    except OtherFormatError:
        raise
    except InputError as e:
        if info := read_shards(folder) or read_copy(folder):
            return info, [str(e)]
        raise


def _read_again(info: IndexInfo, broken: Sequence[BrokenShard]) -> tuple[int, list[str]]:
    """Fill in documents that are lost from the sources; return how many, and why others were not found."""
    lost = sum(part.lost for part in broken)
    wanted = _Wanted(broken)
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
    reasons |= dict.fromkeys(wanted.reasons())
    told = list(reasons)[:_REASONS]
    if len(reasons) > _REASONS:
        told.append(f"and for {len(reasons) - _REASONS} other reasons")
    return lost - sum(part.lost for part in broken), told or ["the sources do not hold them any more"]


def _faults(corpora: Sequence[Corpus]) -> str:
    """Say what of some corpora could not be read."""
    total = Ledger()
    for corpus in corpora:
        total.add(corpus.ledger)
    total.left_out = {reason: total.left_out[reason] for reason in FAULTS if reason in total.left_out}
    return total.reasons().rstrip(".")


class _Wanted:
    """The documents of broken shards that are lost. Their hashes tell, whatever else is read from the sources, which
    they are, with all their fields, and under which of its ids each is in the index.
    """

    def __init__(self, broken: Sequence[BrokenShard]) -> None:
        self._by_hash: dict[tuple[int, ...], tuple[BrokenShard, int]] = {}
        self._by_text: dict[int, tuple[BrokenShard, int]] = {}
        self._with_other_fields: dict[int, str] = {}
        self._unknown: list[str] = []
        for part in broken:
            if part.hashes is None:
                self._unknown.append(part.path.name)
                continue
            for row, document in enumerate(part.documents):
                if not document:
                    self._by_hash[tuple(part.hashes[row].tolist())] = part, row
                    self._by_text[int(part.texts[row])] = part, row

    @property
    def are_found(self) -> bool:
        """Whether none is left that can be found."""
        return not self._by_hash

    def find(self, documents: Sequence[Document]) -> None:
        """Look for those that are lost among documents of the sources."""
        for document in documents:
            for id in itertools.islice(possible_ids(document), _MOST_IDS):
                named = replace(document, id=id)
                if place := self._by_hash.pop(tuple(document_hashes([named])[0].tolist()), None):
                    part, row = place
                    part.documents[row] = named
                    break
            else:
                if (text := int(text_hashes([document])[0])) in self._by_text:
                    self._with_other_fields[text] = document.id

    def reasons(self) -> list[str]:
        """Return why documents that were read are not those that are lost."""
        reasons = []
        if self._unknown:
            names = f"{', '.join(self._unknown[:_REASONS])}{', ...' * (len(self._unknown) > _REASONS)}"
            reasons.append(f"nothing tells which documents {names} held, as their hashes are lost as well")
        lost = [id for text, id in self._with_other_fields.items() if self._is_lost(text)]
        if lost:
            others = f" and {len(lost) - 1} other documents" if len(lost) > 1 else ""
            reasons.append(f"the sources hold the text of {lost[0]}{others} with other fields, such as its licence")
        return reasons

    def _is_lost(self, text: int) -> bool:
        part, row = self._by_text[text]
        return part.documents[row] is None


def _what_is_lost(folder: Path, broken: Sequence[BrokenShard], lost: int, reasons: Sequence[str]) -> str:
    """Say which documents are lost, why, and what to do."""
    where = []
    for part in broken:
        if part.lost == len(part.documents):
            where.append(f"all {part.lost} of {part.path.name}")
        elif part.lost:
            where.append(f"{part.lost} of the {len(part.documents)} of {part.path.name} ({_ids(part)})")
    away = [part.path.name for part in broken if part.lost and not _can_be_read(part.path)]
    named = f"{', '.join(away[:_REASONS])}{', ...' * (len(away) > _REASONS)}"
    copy_back = f"copy {named} back into {folder} (is a disk not mounted, or a copy not complete?), " if away else ""
    return (
        f"{lost} documents of the index {folder} are lost: {'; '.join(where)}. They cannot be read again: "
        f"{'; '.join(reasons)}. Nothing was changed: {copy_back}bring the sources back to what they were, or go on "
        f"without these documents: craft-hf index repair {folder} --drop-lost. What the sources hold is then added by "
        "craft-hf index build with --add, also what was taken out by craft-hf index remove."
    )


def _can_be_read(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return bool(file.read(1))
    except OSError:
        return False


def _ids(part: BrokenShard) -> str:
    """Return the first ids of the documents that are lost of a shard, as far as these can be read."""
    rows = [row for row, document in enumerate(part.documents) if document is None]
    names = ", ".join(part.ids[row] or f"row {row}" for row in rows[:5])
    return f"{names}{', ...' * (len(rows) > 5)}"


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
    spans = [part.spans[row] for row in rows]
    uncut = [i for i, of_text in enumerate(spans) if of_text is None]
    if uncut:
        anew = embedder.cut([texts[i] for i in uncut])
        for i, start, end in zip(uncut, anew.starts.tolist(), anew.ends.tolist(), strict=True):
            spans[i] = anew.spans[start:end]
    flat = [of_text for of_text in spans if of_text is not None]
    ends = np.cumsum([len(of_text) for of_text in flat], dtype=np.int64)
    chunks = Chunks(ends, np.concatenate(flat), embedder.vectors, embedder.window)
    hashes = embedding_hashes(chunks.parts(texts), embedder.identity)
    vectors, found = known.find(hashes)
    if found.all():
        return write_shard(folder, ShardContent(documents, chunks, vectors, hashes), embedder.identity), 0
    entry = build_shard(folder, documents, chunks, hashes, found, vectors[found], embedder.opened)
    owners = np.repeat(np.arange(len(texts)), chunks.ends - chunks.starts)
    return entry, len(np.unique(owners[~found]))
