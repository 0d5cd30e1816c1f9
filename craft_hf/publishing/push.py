"""Publishing: a folder that craft_hf wrote comes in; a repository on the Hub goes out, with all that it holds checked.

Private unless told otherwise. Nothing goes up before it is known who asks, who can see the repository, under which
licence the rows may be given on, and that no file holds a secret. All goes up in one commit, and is then loaded back
and compared.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from craft_hf.base import InputError, StorageError, changes, check_login, hub_api, hub_name, open_repository, push_files
from craft_hf.publishing.adapter import adapter_repository, find_adapter
from craft_hf.publishing.dataset import dataset_repository
from craft_hf.publishing.repository import Repository
from craft_hf.publishing.verify import verify
from craft_hf.retrieval import Index, index_files, push_index

__all__ = ["Repository", "kind_of", "planned", "publish", "write_repository"]

INDEX, DATASET, ADAPTER = "index", "dataset", "adapter"


def kind_of(folder: str | Path) -> str:
    """Return what a folder is: "dataset", "index" or "adapter".

    Raises:
        InputError: it is none of these.
    """
    folder = Path(folder)
    if (folder / "index.json").is_file():
        return INDEX
    if find_adapter(folder):
        return ADAPTER
    if (folder / "report.json").is_file() and (folder / "data").is_dir():
        return DATASET
    raise InputError(
        f"{folder} is nothing that can be published; expected a dataset (`craft-hf generate --out`), an index "
        "(`craft-hf index build --out`), or an adapter (the folder `adapter` that a recipe wrote)."
    )


def publish(folder: str | Path, repo_id: str, *, private: bool = True, mask_personal: bool = False) -> str:
    """Put a dataset, an index or an adapter on the Hub and return its URL.

    Done again, it uploads nothing and commits nothing. Stopped at any moment, the repository holds what it held before
    or all of the new; the same call goes on from there.

    Args:
        folder: a run's folder, an index, or an adapter.
        repo_id: "user/name"; made if needed, may hold an earlier version of the same, but nothing else.
        private: who can see the repository; one that exists must be like that already.
        mask_personal: write [e-mail] and [phone] into a dataset's rows in place of addresses and numbers.

    Raises:
        InputError: the folder is nothing to publish, licences are in conflict, a file holds a secret, nobody is logged
            in, the token may not write there, or others can see the repository than was asked for.
        HubError: the Hub cannot be reached, or has not what was sent.
    """
    what = f"{folder} cannot be published to {repo_id}"
    if hub_name(repo_id) != (repo_id, None):
        raise InputError(f"{what}: that is no name of a repository on the Hub; expected user/name.")
    if kind_of(folder) == INDEX:
        return push_index(folder, repo_id, private=private)
    with tempfile.TemporaryDirectory(prefix="craft-hf-") as work:
        repository = _repository(Path(folder), repo_id, Path(work), what, private, mask_personal)
        check_login(what)
        open_repository(what, repo_id, repository.type, private)
        commit = push_files(
            what, repo_id, repository.type, repository.files, repository.belongs, repository.message
        )  # fmt: skip
        verify(repository, repo_id, commit, what)
    return f"{hub_api().endpoint}/{'datasets/' if repository.type == 'dataset' else ''}{repo_id}"


def planned(
    folder: str | Path, repo_id: str, *, private: bool = True, mask_personal: bool = False, ask: bool = True
) -> list[tuple[str, int, str]]:
    """Return what `publish` would do, after all checks of the files: path, bytes, and what happens to it.

    Args:
        folder, repo_id, private, mask_personal: as for `publish`.
        ask: ask the Hub which files are new; otherwise all are.
    """
    what = f"{folder} cannot be published to {repo_id}"
    with tempfile.TemporaryDirectory(prefix="craft-hf-") as work:
        repository = _repository(Path(folder), repo_id, Path(work), what, private, mask_personal)
        sizes = {path: c.stat().st_size if isinstance(c, Path) else len(c) for path, c in repository.files.items()}
        states = dict.fromkeys(sizes, "new")
        if ask:
            check_login(what)
            states = changes(what, repo_id, repository.type, repository.files)
    return [(path, sizes.get(path, 0), state) for path, state in states.items()]


def write_repository(
    folder: str | Path, target: Path, repo_id: str = "user/name", *, mask_personal: bool = False
) -> None:
    """Write the folder that `publish` would make a repository of, after the same checks of its files.

    Raises:
        InputError: see `publish`; or there is something at `target`.
        StorageError: `target` cannot be written.
    """
    what = f"{folder} cannot be written to {target}"
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{what}: there is something; give a new folder, or an empty one.")
    with tempfile.TemporaryDirectory(prefix="craft-hf-") as work:
        repository = _repository(Path(folder), repo_id, Path(work), what, True, mask_personal)
        try:
            for path, content in repository.files.items():
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, Path):
                    shutil.copyfile(content, target / path)
                else:
                    (target / path).write_bytes(content)
        except OSError as e:
            raise StorageError(f"{what}: {e}; make room, or give another folder.") from e


def _repository(
    folder: Path, repo_id: str, work: Path, what: str, private: bool, mask_personal: bool
) -> Repository:  # fmt: skip
    kind = kind_of(folder)
    if kind == DATASET:
        return dataset_repository(folder, repo_id, work, what, private=private, mask_personal=mask_personal)
    if mask_personal:
        raise InputError(f"{what}: only a dataset has rows to mask; leave that out.")
    if kind == ADAPTER:
        return adapter_repository(folder, repo_id, what)
    return Repository("dataset", index_files(folder, Index.open(folder).info, repo_id), lambda path: True, "")
