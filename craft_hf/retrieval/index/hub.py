"""Indexes on the Hub: which files their repositories have, and how they come into the Hub's cache."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import hf_hub_download, snapshot_download

from craft_hf.base import Content, InputError, hub_call, parse_repo_name
from craft_hf.retrieval.index.card import index_card
from craft_hf.retrieval.index.info import IndexInfo, info_json, read_info, shard_names
from craft_hf.retrieval.index.layout import CARD, INFO, hashes_path, is_shard
from craft_hf.retrieval.index.search import Index
from craft_hf.retrieval.index.sources import without_local_places

_TYPE = "dataset"


def index_files(folder: Path, info: IndexInfo, repo_id: str) -> dict[str, Content]:
    """Return the files of an index's repository, by path; `index.json` names no place of this machine."""
    shards = [folder / name for name in _shard_names(info, str(folder))]
    files: dict[str, Content] = {path.name: path for shard in shards for path in (shard, hashes_path(shard))}
    files[CARD] = index_card(info, repo_id).encode()
    return files | {INFO: info_json(without_local_places(info))}


def pull_index(repo_id: str, revision: str | None = None) -> Path:
    """Download an index from the Hub and return its folder in the Hub's cache.

    `index.json` is downloaded first, then the shards that it names, with the hashes of their documents, as far as the
    cache lacks them, several at a time. A second
    call downloads nothing, and offline the cache is used.

    Args:
        repo_id: "user/name", a dataset repository that `craft_hf.publish` wrote.
        revision: commit, tag or branch; by default the newest.

    Raises:
        InputError: the repository or revision does not exist, it is not an index, or the copy in the cache is damaged.
        HubError: the Hub cannot be reached or fails; complete files are kept.
        StorageError: the disk is full.
    """
    folder = _pull_info(repo_id, revision)
    shards = _shard_names(read_info(folder), repo_id)
    hashes = [hashes_path(Path(name)).name for name in shards]

    def fetch() -> None:
        commit = folder.name
        snapshot_download(repo_id, repo_type=_TYPE, revision=commit, allow_patterns=[INFO, *shards, *hashes])
        for name in shards:  # offline, the client takes the folder in the cache for a complete snapshot
            if not (folder / name).is_file():
                hf_hub_download(repo_id, name, repo_type=_TYPE, revision=commit)

    hub_call(_cannot_pull(repo_id, revision), fetch)
    try:
        Index.open(folder)
    except InputError as e:
        raise InputError(f"the copy of the index {repo_id} in the Hub's cache is damaged: {e}") from e
    return folder


def index_folder(index: str | Path) -> Path:
    """Return the folder of an index: an existing folder, or "user/name[@revision]" pulled from the Hub.

    Raises:
        InputError: see `pull_index`; a folder that is missing or not an index is refused when it is opened.
    """
    name = _on_hub(index)
    return pull_index(*name) if name else Path(index)


def find_index(index: str | Path) -> tuple[str, IndexInfo]:
    """Look up an index without downloading or opening a shard.

    Args:
        index: a folder, or "user/name[@revision]" on the Hub.

    Returns:
        A name of exactly this content (a folder as it is, a repository with its commit), and what the index holds.

    Raises:
        InputError: the index does not exist, or is broken.
        HubError: the Hub cannot be reached, and the cache does not have it.
    """
    name = _on_hub(index)
    if name is None:
        return str(index), read_info(Path(index))
    folder = _pull_info(*name)
    return f"{name[0]}@{folder.name}", read_info(folder)


def _on_hub(index: str | Path) -> tuple[str, str | None] | None:
    """Return repository and revision, or None for a folder and for what looks like one."""
    return None if Path(index).exists() else parse_repo_name(str(index))


def _cannot_pull(repo_id: str, revision: str | None) -> str:
    at = f" at {revision}" if revision else ""
    return f"the index {repo_id}{at} (on the Hub; no folder here has that name) cannot be fetched"


def _pull_info(repo_id: str, revision: str | None) -> Path:
    """Download `index.json` alone, to a folder that is named after the commit."""
    return Path(
        hub_call(
            _cannot_pull(repo_id, revision),
            lambda: hf_hub_download(repo_id, INFO, repo_type=_TYPE, revision=revision),
        )
    ).parent


def _shard_names(info: IndexInfo, index: str) -> list[str]:
    """Return the shards' file names, after checking that each is one."""
    names = shard_names(info)
    for name in names:
        if not is_shard(name):
            raise InputError(f"index.json of {index} names a shard {name!r}, expected shard-0123456789abcdef.h5.")
    return names
