"""Publication of datasets, indexes and adapters on the Hub.

Repositories are private by default. Before anything is uploaded, the login, the visibility of the repository, the
licences of the rows and the absence of secrets are checked. All files are uploaded in one commit, then loaded back and
compared.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from craft_hf.base import (
    InputError,
    StorageError,
    check_login,
    ensure_repository,
    hub_api,
    parse_repo_name,
    pending_changes,
    push_files,
    replaced_folder,
)
from craft_hf.dataset import DatasetFolder
from craft_hf.publishing.adapter import adapter_repository, find_adapter
from craft_hf.publishing.dataset import dataset_repository
from craft_hf.publishing.index import index_repository
from craft_hf.publishing.repository import Repository
from craft_hf.publishing.verify import verify_upload
from craft_hf.retrieval import is_index

INDEX, DATASET, ADAPTER = "index", "dataset", "adapter"


def folder_kind(folder: str | Path) -> str:
    """Return what a folder contains: "dataset", "index" or "adapter".

    Raises:
        InputError: the folder is none of these.
    """
    folder = Path(folder)
    if is_index(folder):
        return INDEX
    if find_adapter(folder):
        return ADAPTER
    if DatasetFolder(folder).has_report:
        return DATASET
    raise InputError(
        f"{folder} cannot be published; expected a dataset (`craft-hf generate --out`), an index "
        "(`craft-hf index build --out`), or an adapter (the folder `adapter` that a recipe writes)."
    )


def publish(folder: str | Path, repo_id: str, *, private: bool = True, mask_personal: bool = False) -> str:
    """Publish a dataset, an index or an adapter on the Hub and return its URL.

    If nothing has changed since the last call, nothing is uploaded and no commit is made. A call that is interrupted
    leaves the repository in its old or its new state; call again to complete it.

    Args:
        folder: of a run, an index, or an adapter.
        repo_id: "user/name"; created if needed. It may contain an earlier version of the same, but nothing else.
        private: visibility of a new repository; an existing one must have it already.
        mask_personal: replace e-mail addresses, numbers of phones, cards and accounts, and IP addresses in a dataset's
            rows by [e-mail], [phone], ...

    Raises:
        InputError: the folder cannot be published, licences are in conflict, a file contains a secret, nobody is logged
            in, the token may not write there, or an existing repository has the other visibility.
        HubError: the Hub cannot be reached, or what it returns differs from what was uploaded.
    """
    failure = f"{folder} cannot be published to {repo_id}"
    if parse_repo_name(repo_id) != (repo_id, None):
        raise InputError(f"{failure}: that is not the name of a Hub repository; expected user/name.")
    with tempfile.TemporaryDirectory(prefix="craft-hf-") as work:
        repository = _repository(Path(folder), repo_id, Path(work), failure, private, mask_personal)
        check_login(failure)
        ensure_repository(failure, repo_id, repository.type, private)
        commit = push_files(
            failure, repo_id, repository.type, repository.files, repository.may_contain, repository.message
        )  # fmt: skip
        verify_upload(repository, repo_id, commit, failure)
    return f"{hub_api().endpoint}/{'datasets/' if repository.type == 'dataset' else ''}{repo_id}"


def plan_publish(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = True,
    mask_personal: bool = False,
    compare_with_hub: bool = True,
) -> list[tuple[str, int, str]]:
    """Return what `publish` would upload, after the same checks: path, size in bytes, and state of each file.

    The state is "new", "changed", "same" or "removed".

    Args:
        folder, repo_id, private, mask_personal: as for `publish`.
        compare_with_hub: compare with the files on the Hub; otherwise every file counts as new.

    Raises:
        InputError, HubError: see `publish`.
    """
    failure = f"{folder} cannot be published to {repo_id}"
    with tempfile.TemporaryDirectory(prefix="craft-hf-") as work:
        repository = _repository(Path(folder), repo_id, Path(work), failure, private, mask_personal)
        sizes = {path: c.stat().st_size if isinstance(c, Path) else len(c) for path, c in repository.files.items()}
        states = dict.fromkeys(sizes, "new")
        if compare_with_hub:
            check_login(failure)
            states = pending_changes(failure, repo_id, repository.type, repository.files)
    return [(path, sizes.get(path, 0), state) for path, state in states.items()]


def write_repository(
    folder: str | Path, target: Path, repo_id: str = "user/name", *, private: bool = True, mask_personal: bool = False
) -> None:
    """Write the files that `publish` would upload into a folder, after the same checks.

    Raises:
        InputError: see `publish`; or `target` exists and is not an empty folder.
        StorageError: `target` cannot be written.
    """
    failure = f"{folder} cannot be written to {target}"
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{failure}: it exists and is not an empty folder; give another one.")
    with tempfile.TemporaryDirectory(prefix="craft-hf-") as work:
        repository = _repository(Path(folder), repo_id, Path(work), failure, private, mask_personal)
        try:
            with replaced_folder(target) as new:
                for path, content in repository.files.items():
                    (new / path).parent.mkdir(parents=True, exist_ok=True)
                    if isinstance(content, Path):
                        shutil.copyfile(content, new / path)
                    else:
                        (new / path).write_bytes(content)
        except OSError as e:
            raise StorageError(f"{failure}: {e}; free disk space, or give another folder.") from e


def _repository(
    folder: Path, repo_id: str, work: Path, failure: str, private: bool, mask_personal: bool
) -> Repository:  # fmt: skip
    kind = folder_kind(folder)
    if kind == DATASET:
        return dataset_repository(folder, repo_id, work, failure, private=private, mask_personal=mask_personal)
    if mask_personal:
        raise InputError(f"{failure}: mask_personal applies to datasets only; leave it out.")
    if kind == ADAPTER:
        return adapter_repository(folder, repo_id, failure)
    return index_repository(folder, repo_id, failure, private=private)
