"""Rebuilds the report of a dataset from the rows and rejects in its folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import jinja2

from craft_hf.base import EMBEDDED, Embedder, FewShot, InputError, StorageError, embedder_weights, incomplete
from craft_hf.dataset.diversity import RowVectors, measure_diversity
from craft_hf.dataset.folder import DatasetFolder
from craft_hf.dataset.funnel import funnel_mismatch
from craft_hf.dataset.layout import PARQUET, ROWS
from craft_hf.dataset.parquet import ParquetRows, write_rows
from craft_hf.dataset.report import Row, RunReport, make_report
from craft_hf.dataset.row_vectors import GeneratedTexts, embed_rows
from craft_hf.dataset.rows import derived_columns, is_few_shot
from craft_hf.tasks import Task, load_task

logger = logging.getLogger("craft_hf")


def rebuild_report(dataset: Path, out: Path, task: str | None = None) -> RunReport:
    """Write the report of a dataset anew; what only the run knew (identity, usage, funnel, coverage, ...) is kept.

    Rows and documents are embedded again. What their vectors tell (nearest rows, the map) may differ a little from the
    run's report, for which the checks had embedded a row before its options were shuffled, and the index all of a
    document's text.

    Args:
        dataset: folder that a run wrote, with data/*.parquet, rejected/*.parquet and report.json.
        out: folder for the report; may be the same.
        task: name or folder of the task; None for the shipped one that report.json names.

    Raises:
        InputError: there is no such folder or report, a Parquet file is broken, or the task is unknown or another one.
        StorageError: `out` cannot be written.
    """
    folder = DatasetFolder(dataset)
    loaded = task_of(folder.report, task)
    if missing := sorted(loaded.required - set(folder.rows.schema.names)):
        raise InputError(
            f"{dataset} has no column {missing[0]!r}, which the task {loaded.name} asks for; give the folder "
            "that a run of this task wrote, or with --task the task that it was made with."
        )
    _follow_fields(folder, loaded, is_changed=out.resolve() == dataset.resolve())
    report, vectors = rebuilt_report(folder.report, folder.rows, folder.rejects, loaded)
    DatasetFolder(out).write_report(report, folder.rows, folder.rejects, vectors)
    return report


def rebuilt_report(
    old: RunReport, rows: ParquetRows, rejects: Sequence[Row], task: Task
) -> tuple[RunReport, RowVectors | None]:
    """Return a report with the figures of other rows and rejects, and their vectors; see `rebuild_report`.

    Args:
        old: what else stands in the report.
        rows, rejects: of the dataset now.
        task: of the dataset, see `task_of`.
    """
    loaded = replace(task, few_shots=tuple(_few_shot(row, task) for row in rows if is_few_shot(row)))
    vectors = _vectors(rows, loaded, old)
    diversity = measure_diversity(GeneratedTexts(rows, loaded.fields), vectors)
    new = make_report(
        loaded,
        config_id=old.config_id,
        created=old.created,
        identity=old.identity,
        index=old.index,
        funnel=old.funnel,
        usage=old.usage,
        rows=rows,
        rejects=rejects,
        notes=[note for note in old.notes if note not in funnel_mismatch(old.funnel, old.rows["generated"])],
        versions=old.versions,
        diversity=asdict(diversity) if diversity.rows else {},
    )
    report = replace(
        old,
        rows=new.rows,
        drops=new.drops,
        sources=new.sources,
        lengths=new.lengths,
        similarity=new.similarity,
        answers=new.answers,
        few_shot_use=new.few_shot_use,
        notes=new.notes,
        measured={**old.measured, **new.measured},
        diversity=new.diversity,
    )
    return report, vectors


def _follow_fields(folder: DatasetFolder, task: Task, is_changed: bool) -> None:
    """Let the columns that follow from a row's fields say what these say now, or tell that they do not."""
    rows = folder.rows
    try:
        stale = sum(any(row[n] != value for n, value in derived_columns(task, row).items()) for row in rows)
        if not stale:
            return
        if not is_changed:
            logger.warning(
                "%d rows were changed, and their prompt, completion, sample_id or license_spdx say something else "
                "now: craft-hf report %s, without --out, mends that.",
                stale,
                folder.path,
            )
            return
        beside = folder.path / ROWS / incomplete(PARQUET).replace("*", "follows")
        write_rows(beside, ({**row, **derived_columns(task, row)} for row in rows), rows.schema)
    except jinja2.TemplateError as e:
        raise InputError(
            f"a row of {folder.path} does not fit the templates of the task {task.name}: {e}; mend it, or leave it out."
        ) from e
    except OSError as e:
        raise StorageError(f"the rows of {folder.path} cannot be written: {e}; they are what they were.") from e
    os.replace(beside, folder.path / ROWS / PARQUET)
    for path in rows.files:
        if path.name != PARQUET:
            path.unlink()
    logger.info("%d rows were changed: prompt, completion and ids follow what they say now", stale)


def task_of(report: RunReport, name: str | None) -> Task:
    """Return the task of a report: of that name or folder, or the shipped one that the report names.

    Raises:
        InputError: there is no such task, or it is another one.
    """
    try:
        task = load_task(name or report.task)
    except InputError as e:
        hint = "" if name else " If the task is your own, give its folder with --task."
        raise InputError(f"{e}{hint}") from e
    if task.name != report.task:
        raise InputError(f"the dataset is of the task {report.task!r}, but --task {name} is {task.name!r}.")
    return task


def _few_shot(row: Row, task: Task) -> FewShot:
    """Return the few-shot in a row; the run may have used others than the task's own."""
    return FewShot(str(row.get("document_id")), str(row.get("document")), task.sample(row))


def _vectors(rows: Sequence[Row], task: Task, report: RunReport) -> RowVectors | None:
    """Embed the rows with the index's model; None without generated rows, or if that model is not available."""
    if all(map(is_few_shot, rows)):
        return None
    name = str(report.index.get("embedding_model") or "")
    try:
        embedder = Embedder(EMBEDDED if name == embedder_weights().name else name)
    except InputError as e:
        logger.warning("The similarity of rows is not measured, for it takes the index's embedding model: %s", e)
        return None
    return embed_rows(rows, task.fields, embedder)
