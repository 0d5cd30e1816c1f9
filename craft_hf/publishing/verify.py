"""What was published is loaded back, by the clients that others use, and compared with what was sent."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from huggingface_hub import hf_hub_download

from craft_hf.base import HubError, changes, hub_call
from craft_hf.publishing.repository import Repository


def verify(repository: Repository, repo_id: str, commit: str, what: str) -> None:
    """Make sure that a repository has the files that were sent, and that they can be loaded.

    Args:
        repository: what was sent.
        repo_id: where to.
        commit: which state of it.
        what: a sentence without an end that says what failed.

    Raises:
        HubError: something is not as it was sent.
    """
    states = changes(what, repo_id, repository.type, repository.files)
    if wrong := [path for path, state in states.items() if state != "same"]:
        raise HubError(
            f"{what}: afterwards the repository has another {wrong[0]}; was somebody else at it? Run it again."
        )
    with tempfile.TemporaryDirectory(prefix="craft-hf-") as cache:
        if repository.type == "dataset":
            _load_rows(repository, repo_id, commit, what, cache)
        else:
            _read_adapter(repository, repo_id, commit, what, Path(cache))


def _load_rows(repository: Repository, repo_id: str, commit: str, what: str, cache: str) -> None:
    import pyarrow.parquet
    from datasets import Dataset, load_dataset

    def load(name: str) -> Dataset:
        try:
            return load_dataset(repo_id, name, split="train", revision=commit, cache_dir=cache)
        except ValueError as e:  # where the Hub does not answer, datasets looks into its cache, and tells of that alone
            raise ConnectionError(str(e)) from e

    for config in repository.configs:
        sent = repository.files[config.data_files.replace("*", "00000-of-00001.parquet")]
        if hub_call(what, partial(load, config.name)).to_list() != pyarrow.parquet.read_table(sent).to_pylist():
            raise HubError(f"{what}: the configuration {config.name}, loaded back, has other rows. Run it again.")


def _read_adapter(repository: Repository, repo_id: str, commit: str, what: str, cache: Path) -> None:
    from safetensors import safe_open

    def fetch(name: str) -> Path:
        return Path(hub_call(what, lambda: hf_hub_download(repo_id, name, revision=commit, local_dir=cache)))

    sent = {name: repository.files[name] for name in ("adapter_config.json", "adapter_model.safetensors")}
    for name, content in sent.items():
        if not isinstance(content, Path) or fetch(name).read_bytes() != content.read_bytes():
            raise HubError(f"{what}: {name}, loaded back, is another one. Run it again.")
    with safe_open(str(cache / "adapter_model.safetensors"), "pt") as weights:
        if not list(weights.keys()):
            raise HubError(f"{what}: the adapter, loaded back, has no weights. Run it again.")
