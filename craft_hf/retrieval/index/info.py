"""`index.json`: what an index holds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from craft_hf.base import JSON, InputError, StorageError, write_file
from craft_hf.retrieval.index.shard import FORMAT

SHARD_FILE = re.compile(r"shard-\d{5,}\.h5|\.shard-\d{5,}\.h5\.incomplete")
"""Names of shards, complete or not; "shard-00000-of-00010.parquet" is of another program."""


@dataclass(frozen=True)
class IndexInfo:
    """What `index.json` holds.

    Attributes:
        format: version of the format.
        embedding_name: the name that loads the embedding model.
        embedding_model: what the model is called.
        embedding_revision: its revision.
        dimension: of the embeddings.
        documents: how many there are.
        shards: "file", "documents", "bytes" and "fingerprint" of each.
        corpora: "source", "license" and "documents" of each.
        skipped: how many documents were left out, by reason.
        fingerprint: hash of the content.
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


def shard_files(folder: Path) -> list[Path]:
    """Return the shards in a folder, complete or not."""
    return [p for p in folder.iterdir() if SHARD_FILE.fullmatch(p.name)]


def _check(info: IndexInfo) -> None:
    """Raise ValueError, TypeError or KeyError if an `index.json` does not describe its shards."""
    documents = 0
    for shard in info.shards:
        if not (isinstance(shard["file"], str) and isinstance(shard["fingerprint"], str)):
            raise TypeError("a shard's name or fingerprint is not a string")
        if not isinstance(shard["bytes"], int):
            raise TypeError("a shard's size is not a number")
        documents += cast(int, shard["documents"])
    if documents != info.documents:
        raise ValueError(f"the shards hold {documents} documents, expected {info.documents}")


def write_info(info: IndexInfo, folder: Path) -> None:
    """Replace an index's `index.json` atomically.

    Raises:
        StorageError: the disk is full or the folder not writable; the old one stays.
    """
    try:
        write_file(folder / "index.json", json.dumps(asdict(info), indent=1, ensure_ascii=False).encode())
    except OSError as e:
        raise StorageError(
            f"{folder / 'index.json'} cannot be written: {e}; free disk space and run the command again."
        ) from e


def read_info(folder: Path) -> IndexInfo:
    """Read an index's `index.json`.

    Raises:
        InputError: the folder is missing, empty, not an index, unfinished, or of another format.
    """
    advice = "build one with: craft-hf index build CORPUS --out FOLDER"
    if not folder.is_dir():
        raise InputError(f"there is no index folder {folder}; {advice}, or give the name of one on the Hub: user/name")
    path = folder / "index.json"
    if not path.is_file():
        if shard_files(folder):
            raise InputError(f"the index {folder} is unfinished; run the command that built it again: it resumes.")
        empty = "is empty" if not any(folder.iterdir()) else "is not an index (it has no index.json)"
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
        raise InputError(f"{path} is not an index of craft_hf ({type(e).__name__}: {e}); {advice}") from e
