"""Builds an index: documents come in, a folder with `index.json` and HDF5 shards goes out, resumable per shard."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
from datasets.utils import tqdm

from craft_hf.corpus import Corpus
from craft_hf.embed import Embedder, Vectors
from craft_hf.errors import InputError, StorageError
from craft_hf.index.shard import FORMAT, Shard, input_hash, write_shard
from craft_hf.records import JSON, Document, fingerprint

SHARD_DOCUMENTS = 50_000
BATCH_DOCUMENTS = 256
"""Documents embedded between two steps of the progress bar."""

_OURS = re.compile(r"shard-\d{5,}\.(h5|incomplete)")


@dataclass(frozen=True)
class IndexInfo:
    """What `index.json` holds.

    `embedding_name` is the name that loads the model, `embedding_model` and `embedding_revision` say what it is.
    `shards` hold "file", "documents", "bytes" and "fingerprint"; `corpora` hold "source", "license" and "documents";
    `skipped` counts by reason the documents that were left out. `fingerprint` is a hash of the content.
    """

    format: int
    embedding_name: str
    embedding_model: str
    embedding_revision: str
    dimension: int
    documents: int
    shards: tuple[Mapping[str, JSON], ...]
    corpora: tuple[Mapping[str, JSON], ...]
    skipped: Mapping[str, int]
    fingerprint: str


def build_index(
    corpora: Sequence[Corpus], folder: Path, embedder: Embedder, *, shard_documents: int = SHARD_DOCUMENTS
) -> IndexInfo:
    """Embed the documents of some corpora into a folder.

    Interrupted at any moment, the same call goes on with the first shard that is not there; a shard whose documents
    did not change is not embedded again.

    Args:
        corpora: what to index, in this order.
        folder: made if needed; may hold an earlier or an unfinished index, but nothing else.
        embedder: its model is written into the index.
        shard_documents: documents of a shard.

    Raises:
        InputError: a corpus is missing, broken or empty, or the folder holds something else.
        StorageError: the disk is full; what was built before is whole.
    """
    _check_folder(folder)
    if not corpora:
        raise InputError("no corpus was given; expected at least one to build an index of.")
    made_by = f"{embedder.model}@{embedder.revision}"
    shards: list[Mapping[str, JSON]] = []
    counts: Counter[tuple[str, str]] = Counter()
    with tqdm(desc="Embedding", unit=" documents") as bar:
        for documents in _batched(itertools.chain.from_iterable(corpora), shard_documents):
            path = folder / f"shard-{len(shards):05d}.h5"
            content = _finished(path, input_hash(documents, made_by))
            if content is None:
                _make(folder)
                content = write_shard(path, documents, _embed(documents, embedder, bar), made_by)
            else:
                bar.update(len(documents))
            counts.update((d.source, d.license) for d in documents)
            size = path.stat().st_size
            shards.append({"file": path.name, "documents": len(documents), "bytes": size, "fingerprint": content})
    info = IndexInfo(
        format=FORMAT,
        embedding_name=embedder.name,
        embedding_model=embedder.model,
        embedding_revision=embedder.revision,
        dimension=embedder.dimension,
        documents=sum(counts.values()),
        shards=tuple(shards),
        corpora=tuple({"source": s, "license": lic, "documents": n} for (s, lic), n in sorted(counts.items())),
        skipped=dict(sum((corpus.skipped for corpus in corpora), Counter())),
        fingerprint=fingerprint([made_by, *(s["fingerprint"] for s in shards)]),
    )
    _write_info(info, folder)
    for stale in set(_shard_files(folder)) - {folder / str(s["file"]) for s in shards}:
        stale.unlink()
    return info


def _embed(documents: Sequence[Document], embedder: Embedder, bar: tqdm) -> Vectors:
    """Embed a shard's documents, longest first inside, with a step of the bar for every batch."""
    vectors = np.empty((len(documents), embedder.dimension), dtype=np.float32)
    by_length = sorted(range(len(documents)), key=lambda i: -len(documents[i].text))
    for start in range(0, len(by_length), BATCH_DOCUMENTS):
        rows = by_length[start : start + BATCH_DOCUMENTS]
        vectors[rows] = embedder.encode([documents[row].text for row in rows])
        bar.update(len(rows))
    return vectors


def _batched(documents: Iterable[Document], size: int) -> Iterator[list[Document]]:
    iterator = iter(documents)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _finished(path: Path, expected: str) -> str | None:
    """Return the fingerprint of a shard that was built from the same input before, or None."""
    if not path.is_file():
        return None
    try:
        shard = Shard(path)
    except InputError:
        return None
    shard.close()
    return shard.fingerprint if shard.input_hash == expected else None


def _check_folder(folder: Path) -> None:
    """Never write into a folder that holds something else."""
    if folder.is_dir():
        strange = [
            p.name
            for p in folder.iterdir()
            if p.name != "index.json" and not p.name.startswith(".") and not _OURS.fullmatch(p.name)
        ]
        if strange:
            raise InputError(
                f"the folder {folder} holds {strange[0]!r}, which is no part of an index; give an empty one."
            )
    elif folder.exists():
        raise InputError(f"{folder} is a file; give a folder for the index.")


def _shard_files(folder: Path) -> list[Path]:
    """Return shards, whole or not; "shard-00000-of-00010.parquet" is somebody else's."""
    return [p for p in folder.iterdir() if _OURS.fullmatch(p.name)]


def _make(folder: Path) -> None:
    """Make the folder: only when there is something to write, so that bad input leaves nothing behind."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise StorageError(f"the index folder {folder} cannot be made: {e}; give another one.") from e


def _check(info: IndexInfo) -> None:
    """Raise ValueError, TypeError or KeyError if an `index.json` does not describe its shards."""
    documents = 0
    for shard in info.shards:
        if not (isinstance(shard["file"], str) and isinstance(shard["fingerprint"], str)):
            raise TypeError("a shard's name or fingerprint is no text")
        if not isinstance(shard["bytes"], int):
            raise TypeError("a shard's size is no number")
        documents += cast(int, shard["documents"])
    if documents != info.documents:
        raise ValueError(f"the shards hold {documents} documents, expected {info.documents}")


def _write_info(info: IndexInfo, folder: Path) -> None:
    temporary = folder / ".index.json.incomplete"
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(asdict(info), file, indent=1, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, folder / "index.json")
    except OSError as e:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StorageError(
            f"{folder / 'index.json'} cannot be written: {e}; make room and run the command again."
        ) from e


def read_info(folder: Path) -> IndexInfo:
    """Read an index's `index.json`.

    Raises:
        InputError: the folder is missing, empty, no index, unfinished, or of another format.
    """
    advice = "build one with: craft-hf index build CORPUS --out FOLDER"
    if not folder.is_dir():
        raise InputError(f"there is no index folder {folder}; {advice}")
    path = folder / "index.json"
    if not path.is_file():
        if _shard_files(folder):
            raise InputError(f"the index {folder} is unfinished; run the command that built it again, it goes on.")
        empty = "is empty" if not any(folder.iterdir()) else "is no index (it has no index.json)"
        raise InputError(f"the folder {folder} {empty}; {advice}")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise InputError(
                f"{path} has format {data['format']}, this craft_hf reads format {FORMAT}; build the index again, or "
                "install the version of craft_hf that built it."
            )
        info = IndexInfo(**{**data, "shards": tuple(data["shards"]), "corpora": tuple(data["corpora"])})
        _check(info)
        return info
    except InputError:
        raise
    except (ValueError, TypeError, KeyError) as e:
        raise InputError(f"{path} is no index of craft_hf ({type(e).__name__}: {e}); {advice}") from e
