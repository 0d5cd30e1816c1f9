"""Verification of an upload: files are loaded back by the clients that readers use, and compared."""

from __future__ import annotations

import itertools
import tempfile
from functools import partial
from pathlib import Path

from huggingface_hub import hf_hub_download

from craft_hf.base import HubError, hub_call, pending_changes
from craft_hf.dataset import PARQUET, ParquetRows
from craft_hf.publishing.repository import Repository


def verify_upload(repository: Repository, repo_id: str, commit: str, failure: str) -> None:
    """Check that an upload's commit holds the files that were uploaded, and that they can be loaded.

    Somebody else may have committed since; that is no fault of this upload.

    Args:
        repository: what was uploaded.
        repo_id: the repository on the Hub.
        commit: hash of the upload's commit.
        failure: beginning of error messages, such as "X cannot be published to Y".

    Raises:
        HubError: a file differs, or cannot be loaded.
    """
    states = pending_changes(failure, repo_id, repository.type, repository.files, commit)
    if wrong := [path for path, state in states.items() if state != "same"]:
        raise HubError(f"{failure}: after the upload, {wrong[0]} on the Hub differs from the local file. Run it again.")
    with tempfile.TemporaryDirectory(prefix="craft-hf-") as cache:
        if repository.type == "dataset":
            _load_rows(repository, repo_id, commit, failure, cache)
        else:
            _read_adapter(repository, repo_id, commit, failure, Path(cache))


def _load_rows(repository: Repository, repo_id: str, commit: str, failure: str, cache: str) -> None:
    from datasets import Dataset, load_dataset

    def load(name: str) -> Dataset:
        try:
            return load_dataset(repo_id, name, split="train", revision=commit, cache_dir=cache)
        except ValueError as e:  # if the Hub does not answer, datasets falls back to its cache and reports only that
            raise ConnectionError(str(e)) from e

    for config in repository.configs:
        sent = repository.files[f"{config.folder}/{PARQUET}"]
        assert isinstance(sent, Path)
        loaded = hub_call(failure, partial(load, config.name))
        if any(row != other for row, other in itertools.zip_longest(loaded, ParquetRows([sent]))):
            raise HubError(
                f"{failure}: the configuration {config.name}, loaded back, has different rows. Run it again."
            )


def _read_adapter(repository: Repository, repo_id: str, commit: str, failure: str, cache: Path) -> None:
    from safetensors import safe_open

    def fetch(name: str) -> Path:
        return Path(hub_call(failure, lambda: hf_hub_download(repo_id, name, revision=commit, local_dir=cache)))

    sent = {name: repository.files[name] for name in ("adapter_config.json", "adapter_model.safetensors")}
    for name, content in sent.items():
        if not isinstance(content, Path) or fetch(name).read_bytes() != content.read_bytes():
            raise HubError(f"{failure}: {name}, loaded back, differs from the local file. Run it again.")
    with safe_open(str(cache / "adapter_model.safetensors"), "pt") as weights:
        if not list(weights.keys()):
            raise HubError(f"{failure}: the adapter, loaded back, has no weights. Run it again.")
