"""Datasets that were made before, whose samples a new run does not repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from craft_hf.base import JSON, InputError, file_fingerprint
from craft_hf.dataset.folder import DatasetFolder
from craft_hf.dataset.rows import is_few_shot
from craft_hf.tasks import Task


def read_previous_samples(folders: Sequence[str], task: Task) -> list[tuple[str, Mapping[str, JSON]]]:
    """Return the generated samples of datasets: "folder: document", and the task's fields.

    Args:
        folders: as `craft-hf generate --out` wrote them.
        task: whose fields to read.

    Raises:
        InputError: a folder holds no dataset of this task.
    """
    found = list[tuple[str, Mapping[str, JSON]]]()
    for folder in folders:
        rows = DatasetFolder(Path(folder)).rows
        if missing := sorted(task.required - set(rows.schema.names)):
            raise InputError(f"{folder} has no column {missing[0]!r}; expected a dataset of the task {task.name}.")
        found += [
            (f"{Path(folder).name}: {row.get('document_id', '')}", task.sample(row))
            for row in rows
            if not is_few_shot(row)
        ]
    return found


def fingerprint_previous(folders: Sequence[str]) -> list[JSON]:
    """Return hashes of what datasets hold, which stand for them in a run's identity.

    Raises:
        InputError: a folder holds no rows.
    """
    return [file_fingerprint(path) for folder in folders for path in DatasetFolder(Path(folder)).rows.files]
