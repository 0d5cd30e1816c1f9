"""Which file of an index's folder holds what.

index.json              what the index holds, see `IndexInfo`; it names the shards, and takes its place last of all
.index.json             a copy of it, from which `repair` brings it back
shard-*.h5              documents and their embeddings, see `Shard`; named by content, and never changed
shard-*.hashes          for each shard of the index the hashes of its documents, see `read_hashes`
.vectors-*.part         vectors that were in no shard when they were made
.build.json             how far an unfinished build has come
.leaving                what a writer removes once the new `index.json` is there
.lock, .writer          who writes
README.md, .gitattributes   in a repository on the Hub

Shards that `index.json` does not name are of an earlier index, or of an unfinished build.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from craft_hf.base import incomplete

INFO, COPY = "index.json", ".index.json"
BUILD, LEAVING, LOCK, WRITER = ".build.json", ".leaving", ".lock", ".writer"
SAVED_VECTORS = ".vectors-*.part"
"""Names of files with saved vectors."""

CARD = "README.md"

_SHARD, _HASHES = (re.compile(rf"shard-[0-9a-f]{{16}}\.{suffix}") for suffix in ("h5", "hashes"))
"""Names of shards, and of the hashes of their documents; "shard-00000-of-00010.parquet" is of another program."""

_BESIDE_SHARDS = {".gitattributes", CARD, INFO}


def shard_name(fingerprint: str) -> str:
    """Return the file name of the shard with a fingerprint."""
    return f"shard-{fingerprint[:16]}.h5"


def hashes_path(shard: Path) -> Path:
    """Return where the hashes of the documents of a shard lie."""
    return shard.with_suffix(".hashes")


def is_shard(name: str) -> bool:
    """Tell whether a file's name is that of a shard, and not "../x" or a pattern."""
    return bool(_SHARD.fullmatch(name))


def is_index_file(path: str) -> bool:
    """Tell whether a path belongs to an index, or to its repository on the Hub."""
    return path in _BESIDE_SHARDS or is_shard(path) or bool(_HASHES.fullmatch(path))


def is_index(folder: Path) -> bool:
    """Tell whether a folder holds an index, be it a broken one."""
    return os.path.isfile(folder / INFO)


def shards_in(folder: Path) -> list[Path]:
    """Return the shards in a folder, named by `index.json` or not."""
    return sorted(path for path in folder.glob("shard-*.h5") if is_shard(path.name))


def hashes_in(folder: Path) -> list[Path]:
    """Return the files in a folder with the hashes of the documents of a shard, named by `index.json` or not."""
    return sorted(path for path in folder.glob("shard-*.hashes") if _HASHES.fullmatch(path.name))


def half_written_in(folder: Path) -> list[Path]:
    """Return the shards and hashes of which a writer that is at work, or was killed, has written a part."""
    names = (f"shard-{'[0-9a-f]' * 16}.{suffix}" for suffix in ("h5", "hashes"))
    return sorted(path for name in names for path in folder.glob(incomplete(name)))


def vector_files(folder: Path) -> list[Path]:
    """Return the files of a folder that hold vectors: shards, named by `index.json` or not, and saved vectors."""
    return shards_in(folder) + sorted(folder.glob(SAVED_VECTORS))
