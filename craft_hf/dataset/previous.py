"""Datasets that were made before: folders come in, their samples go out, so that a new run does not repeat them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet

from craft_hf.base import JSON, InputError, file_fingerprint
from craft_hf.tasks import Task


def read_earlier(folders: Sequence[str], task: Task) -> list[tuple[str, Mapping[str, JSON]]]:
    """Return the samples of datasets: "folder: document", and the task's fields; their few-shots are left out.

    Args:
        folders: as `craft-hf generate --out` wrote them.
        task: whose fields to read.

    Raises:
        InputError: a folder holds no dataset of this task.
    """
    found = list[tuple[str, Mapping[str, JSON]]]()
    for folder in folders:
        for path in earlier_files(folder):
            try:
                rows = pyarrow.parquet.read_table(path).to_pylist()
            except (OSError, pyarrow.ArrowException) as e:
                raise InputError(f"{path} cannot be read as Parquet: {e}.") from e
            if rows and (missing := sorted(task.required - set(rows[0]))):
                raise InputError(f"{path} has no column {missing[0]!r}; expected a dataset of the task {task.name}.")
            found += [
                (f"{Path(folder).name}: {row.get('document_id', '')}", task.sample(row))
                for row in rows
                if not row.get("is_few_shot")
            ]
    return found


def earlier_files(folder: str) -> list[Path]:
    """Return the Parquet files of a dataset's rows.

    Raises:
        InputError: there are none.
    """
    paths = sorted(Path(folder).glob("data/*.parquet"))
    if not paths:
        raise InputError(f"{folder} holds no data/*.parquet; give a folder that `craft-hf generate --out` wrote.")
    return paths


def earlier_identity(folders: Sequence[str]) -> list[JSON]:
    """Return what stands for datasets in a run's identity: their content."""
    return [file_fingerprint(path) for folder in folders for path in earlier_files(folder)]
