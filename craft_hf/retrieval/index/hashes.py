"""The hashes of a shard's documents in a file beside it, which tell what the shard held when it is lost.

16 bytes for each document, in order, see `document_hashes`; the hash of them all is in `index.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from craft_hf.base import JSON
from craft_hf.retrieval.index.info import IndexInfo, write_note
from craft_hf.retrieval.index.layout import hashes_path
from craft_hf.retrieval.index.shard import HASH_BYTES, LongHashes, Shard, documents_hash


def read_hashes(shard: Path, entry: Mapping[str, JSON]) -> LongHashes | None:
    """Return the hashes of a shard's documents, uint64 (documents, 2); None if their file is not what was written.

    Args:
        shard: its file, which may be missing.
        entry: what `index.json` says of it.
    """
    try:
        content = hashes_path(shard).read_bytes()
    except OSError:
        return None
    if len(content) != int(str(entry["documents"])) * HASH_BYTES:
        return None
    hashes: LongHashes = np.frombuffer(content, "<u8").astype(np.uint64).reshape(-1, 2)
    return hashes if documents_hash(hashes) == entry["documents_hash"] else None


def write_hashes(folder: Path, info: IndexInfo) -> None:
    """Write the files of hashes that an index lacks, or whose content is wrong, from its shards.

    Raises:
        InputError: a shard that lacks its file cannot be opened.
        StorageError: the disk is full or the folder not writable.
    """
    for entry in info.shards:
        path = folder / str(entry["file"])
        if read_hashes(path, entry) is None:
            hashes = Shard(path).document_hashes
            if documents_hash(hashes) == entry["documents_hash"]:  # else the shard is damaged, which `verify` tells
                write_note(hashes_path(path), hashes.astype("<u8").tobytes())


def hashes_problem(shard: Path, entry: Mapping[str, JSON]) -> str:
    """Say what is wrong with the file of hashes of a shard that `index.json` names, or nothing."""
    if read_hashes(shard, entry) is not None:
        return ""
    path = hashes_path(shard)
    is_wrong = "was changed, or cannot be read" if path.exists() else "is missing"
    return f"{path}, which tells the documents of {shard.name} if that is lost, {is_wrong}"
