"""Verification that an index is what was built, to the last bit, and that `index.json` says what its shards hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from craft_hf.base import JSON, Bar, InputError
from craft_hf.retrieval.index.hashes import hashes_problem
from craft_hf.retrieval.index.info import IndexInfo, copy_path, corpora_of, index_fingerprint, read_copy, read_info
from craft_hf.retrieval.index.layout import INFO
from craft_hf.retrieval.index.shard import Shard, cannot_be_read, documents_hash, hub_repository, is_intact


def verify_index(folder: Path) -> list[str]:
    """Read every byte of an index and return a message for each problem.

    Every shard must exist, have the SHA-256 that is stored at its end, and be the one that `index.json` names; what
    `index.json` says of them must be so, also of the hashes of their documents; and its copy must say the same.

    Raises:
        InputError: `index.json` is missing or broken.
    """
    info = read_info(folder)
    in_shards, in_info = find_problems(folder, info)
    return [*in_shards.values(), *in_info, *copy_problems(folder, info)]


def copy_problems(folder: Path, info: IndexInfo) -> list[str]:
    """Say what is wrong with the copy of `index.json`, from which it would come back; the Hub has none."""
    if hub_repository(folder) or read_copy(folder) == info:
        return []
    path = copy_path(folder)
    is_wrong = "is another one than that, or broken" if path.exists() else "is missing"
    return [f"{path}, the copy from which index.json would come back, {is_wrong}"]


def find_problems(folder: Path, info: IndexInfo) -> tuple[dict[int, str], list[str]]:
    """Read every byte of the shards that an `index.json` names.

    Returns:
        What is wrong with shards, by their places in `index.json`, and what of that does not fit the whole ones.
    """
    in_shards: dict[int, str] = {}
    in_info: list[str] = []
    counts: Counter[tuple[str, str]] = Counter()
    size_in_all = sum(int(str(entry["bytes"])) for entry in info.shards)
    with Bar("Verifying", size_in_all, "bytes") as bar:
        for number, entry in enumerate(info.shards):
            path = folder / str(entry["file"])
            try:
                if problem := _shard_problem(path, entry):
                    in_shards[number] = problem
                else:
                    shard = Shard(path)
                    counts += shard_counts(shard)
                    in_info += _wrong_numbers(info, entry, shard)
            except OSError as e:
                in_shards[number] = str(cannot_be_read(path, e))
            except InputError as e:
                in_shards[number] = str(e)
            bar.update(int(str(entry["bytes"])))
    if not in_shards and not in_info:
        in_info += _wrong_sums(folder, info, counts)
    in_info += filter(None, (hashes_problem(folder / str(entry["file"]), entry) for entry in info.shards))
    return in_shards, in_info


def _shard_problem(path: Path, entry: Mapping[str, JSON]) -> str:
    """Say what is wrong with a shard that `index.json` names, or nothing; reads all of it."""
    if not path.is_file():
        return f"{path} is missing"
    if not is_intact(path):
        if (size := path.stat().st_size) != entry["bytes"]:
            return f"{path} has {size} bytes, expected {entry['bytes']}"
        return f"{path} was changed after it was written: its SHA-256 is not the one at its end"
    if (found := Shard(path).fingerprint) != entry["fingerprint"]:
        return f"{path} is not the shard that index.json names (its fingerprint is {found})"
    return ""


def shard_counts(shard: Shard) -> Counter[tuple[str, str]]:
    """Count a shard's documents by source and licence.

    Raises:
        InputError: the file is damaged.
    """
    return Counter(zip(shard.strings("source"), shard.strings("license"), strict=True))


def _wrong_numbers(info: IndexInfo, entry: Mapping[str, JSON], shard: Shard) -> list[str]:
    """Say which numbers of `index.json` do not fit a shard that is whole."""
    return [
        f"index.json gives {shard.path} the {name} {said}, but the shard says {is_so}"
        for name, said, is_so in (
            ("bytes", entry["bytes"], shard.path.stat().st_size),
            ("documents", entry["documents"], shard.rows),
            ("chunks", entry["chunks"], shard.chunks),
            ("longer_than_window", entry["longer_than_window"], shard.longer_than_window),
            ("vectors", info.vectors, shard.vectors),
            ("window", info.window, shard.window),
            ("dimension", info.dimension, shard.dimension),
            ("hash of its documents", entry["documents_hash"], documents_hash(shard.document_hashes)),
            ("embedding model", info.embedding_identity, shard.embedder),
        )
        if said != is_so
    ]


def _wrong_sums(folder: Path, info: IndexInfo, counts: Mapping[tuple[str, str], int]) -> list[str]:
    problems = []
    if info.fingerprint != (found := index_fingerprint(info.embedding_identity, info.shards)):
        problems.append(f"{folder / INFO} gives the fingerprint {info.fingerprint}, but the shards make {found}")
    said = [dict(corpus) for corpus in info.corpora]
    if said != (are := [dict(corpus) for corpus in corpora_of(counts)]):
        wrong = next(corpus for corpus in [*said, *are] if (corpus in said) != (corpus in are))
        problems.append(
            f"{folder / INFO} counts the documents of the corpora otherwise than the shards hold them: "
            f"{wrong['documents']} of {wrong['source']} ({wrong['license'] or 'licence not stated'}) "
            f"{'are not what they hold' if wrong in said else 'are not in it'}"
        )
    return problems
