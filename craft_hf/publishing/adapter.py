"""Contents of the model repository for an adapter: the files that a recipe wrote for publication, and no others."""

from __future__ import annotations

import fnmatch
from pathlib import Path

from craft_hf.base import Content, InputError
from craft_hf.publishing.repository import Repository
from craft_hf.publishing.secret_scan import check_local_names, check_secrets

_PUBLIC_FILES = (
    *("README.md", "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "tokenizer*.json"),
    *("tokenizer.model", "special_tokens_map.json", "trainer_state.json", "assets/loss.png", ".gitattributes"),
)
"""The only files that are published. Checkpoints and training_args.bin contain the Hub token and local paths."""
_CONFIG = "adapter_config.json"
_PLACEHOLDER_REPO_ID = "this/repository"


def find_adapter(folder: Path) -> Path | None:
    """Return the folder of the adapter: `folder` itself or its subfolder `adapter`; None where there is none."""
    return next((path for path in (folder, folder / "adapter") if (path / _CONFIG).is_file()), None)


def adapter_repository(folder: Path, repo_id: str, failure: str) -> Repository:
    """Return the repository for an adapter, after checks of its files.

    Args:
        folder: what a recipe wrote: `output_dir` or its subfolder `adapter`.
        repo_id: name of the repository, for the card.
        failure: beginning of error messages, such as "X cannot be published to Y".

    Raises:
        InputError: the folder is a checkpoint, a file is missing, or a file contains a secret or a local path.
    """
    adapter = find_adapter(folder)
    if adapter is None or (adapter / "training_args.bin").exists():
        raise InputError(
            f"{failure}: the folder is a checkpoint, which serves to resume training only; give the folder `adapter` "
            "beside it."
        )
    names = sorted(str(path.relative_to(adapter)) for path in adapter.rglob("*") if path.is_file())
    files: dict[str, Content] = {name: adapter / name for name in names if _is_public(name)}
    for needed in ("README.md", "adapter_model.safetensors"):
        if needed not in files:
            raise InputError(
                f"{failure}: {adapter} has no {needed}; expected the folder `adapter` that a recipe writes."
            )
    card = (adapter / "README.md").read_text(encoding="utf-8").replace(_PLACEHOLDER_REPO_ID, repo_id)
    files["README.md"] = card.encode()
    texts = [
        (name, (adapter / name).read_text(encoding="utf-8")) for name in files if name.endswith((".json", ".jinja"))
    ]  # fmt: skip
    texts.append(("README.md", card))
    check_secrets(texts, failure)
    check_local_names([(name, text) for name, text in texts if name != "tokenizer.json"], failure)
    return Repository("model", files, _is_public, "LoRA adapter")


def _is_public(path: str) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in _PUBLIC_FILES)
