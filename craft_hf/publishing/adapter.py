"""An adapter's folder as a model repository: what a recipe wrote for publishing, and nothing else of it."""

from __future__ import annotations

import fnmatch
from pathlib import Path

from craft_hf.base import Content, InputError
from craft_hf.publishing.leaks import check_places, check_texts
from craft_hf.publishing.repository import Repository

_FILES = (
    *("README.md", "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "tokenizer*.json"),
    *("tokenizer.model", "special_tokens_map.json", "trainer_state.json", "assets/loss.png", ".gitattributes"),
)
"""All that goes up; checkpoints and training_args.bin hold the token and local paths, and never do."""
_CONFIG = "adapter_config.json"
_NAME_IN_CARD = "this/repository"


def find_adapter(folder: Path) -> Path | None:
    """Return the adapter's folder, also for the run's folder that it lies in; None where there is none."""
    return next((place for place in (folder, folder / "adapter") if (place / _CONFIG).is_file()), None)


def adapter_repository(folder: Path, repo_id: str, what: str) -> Repository:
    """Make of an adapter's folder what its repository is to hold.

    Args:
        folder: what a recipe wrote: `output_dir` or its subfolder adapter.
        repo_id: the repository's name, for the card.
        what: a sentence without an end that says what cannot be done.

    Raises:
        InputError: it is a checkpoint, a part is missing, or a text holds a secret or a local path.
    """
    place = find_adapter(folder)
    if place is None or (place / "training_args.bin").exists():
        raise InputError(f"{what}: it is a checkpoint, for resuming only; give the folder `adapter` beside it.")
    names = sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())
    files: dict[str, Content] = {name: place / name for name in names if _belongs(name)}
    for needed in ("README.md", "adapter_model.safetensors"):
        if needed not in files:
            raise InputError(f"{what}: {place} has no {needed}; expected the folder `adapter` that a recipe wrote.")
    card = (place / "README.md").read_text(encoding="utf-8").replace(_NAME_IN_CARD, repo_id)
    files["README.md"] = card.encode()
    texts = [
        (name, (place / name).read_text(encoding="utf-8")) for name in files if name.endswith((".json", ".jinja"))
    ]  # fmt: skip
    texts.append(("README.md", card))
    check_texts(texts, what)
    check_places([(name, text) for name, text in texts if name != "tokenizer.json"], what)
    return Repository("model", files, _belongs, "LoRA adapter")


def _belongs(path: str) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in _FILES)
