"""Do a run, and write what came of it into its folder."""

from __future__ import annotations

import itertools
import logging
import platform
import time
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from filelock import FileLock

from craft_hf.base import Embedder, StorageError, replaced_folder
from craft_hf.dataset import (
    DatasetFolder,
    ParquetRows,
    embed_rows,
    few_shot_rows,
    generated_texts,
    make_report,
    measure_diversity,
    rejected_rows,
    sample_rows,
    summarize_checks,
    task_features,
)
from craft_hf.run.pipeline import Outcome, execute
from craft_hf.run.resolution import ResolvedRun, resolve
from craft_hf.run.run_yaml import run_yaml
from craft_hf.run.settings import RunSettings

_PACKAGES = ("craft_hf", "datasets", "transformers", "torch", "sentence-transformers", "xgrammar", "h5py", "openai")

logger = logging.getLogger("craft_hf")


def ensure_run(run: ResolvedRun, fresh: bool = False) -> Path:
    """Return the folder of a run, after doing the run if that was not done before.

    Args:
        run: what to do.
        fresh: do it again, and ask the model again for every answer.

    Raises:
        CraftError: see `pipeline.execute`; nothing half-written is left.
        StorageError: the folder cannot be written; answers are safe in the journal.
    """
    if not fresh and DatasetFolder(run.folder).is_complete:
        return run.folder
    try:
        run.folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise StorageError(f"the folder {run.folder.parent} cannot be made: {e}") from e
    with FileLock(f"{run.folder}.lock"):  # workers of a DataLoader may all come here: one pays, the others read
        if fresh or not DatasetFolder(run.folder).is_complete:
            _do(run, fresh)
    return run.folder


def ensure_reviewed_run(settings: RunSettings) -> Path:
    """Return the folder of a run, and do it once more if people decided something meanwhile.

    The second time finds all answers in the journal: it asks for what takes the place of rejected rows.

    Raises:
        CraftError: see `resolve` and `ensure_run`.
    """
    run = resolve(settings)
    folder = ensure_run(run)
    if settings.review is None:
        return folder
    again = resolve(settings)
    return folder if again.run_id == run.run_id else ensure_run(again)


def _do(run: ResolvedRun, fresh: bool) -> None:
    started = time.monotonic()
    outcome = execute(run, fresh)
    for note in outcome.notes:
        logger.warning(note)
    try:
        with replaced_folder(run.folder) as folder:
            _write(run, outcome, DatasetFolder(folder), time.monotonic() - started)
    except OSError as e:
        raise StorageError(
            f"the run cannot be written to {run.folder}: {e}. All answers are safe in the journal; "
            "make room and run the same command again."
        ) from e
    logger.info("%d rows, report and card are in %s", len(outcome.samples), run.folder)


def _write(run: ResolvedRun, outcome: Outcome, folder: DatasetFolder, seconds: float) -> None:
    identity = run.generator.identity if outcome.samples or outcome.rejects else {}
    generator = f"{identity.get('model', '')}@{identity.get('revision', '')}".strip("@")
    folder.write_data(
        itertools.chain(few_shot_rows(run.task.few_shots), sample_rows(outcome.samples, generator)),
        task_features(run.task),
        rejected_rows(outcome.rejects),
        run_yaml(run.settings),
    )
    rows, rejects = folder.rows, folder.rejects  # as they are on the disk: they are in memory as samples already
    budget = run.settings.budget
    cost = budget.spent(outcome.usage) if budget.prices else None
    vectors = embed_rows(rows, run.task.fields, Embedder(outcome.embedding_name)) if outcome.samples else None
    diversity = measure_diversity(generated_texts(rows, run.task.fields), vectors) if vectors else None
    report = make_report(
        run.task,
        config_id=run.run_id,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        identity=run.identity,
        index=outcome.index,
        funnel=outcome.funnel,
        usage={**asdict(outcome.usage), "cost": cost, "seconds_total": seconds},
        rows=rows,
        rejects=rejects,
        notes=outcome.notes,
        versions=versions(),
        diversity=asdict(diversity) if diversity else {},
        coverage=asdict(outcome.coverage) if outcome.coverage else {},
        measured=summarize_checks(outcome.samples, outcome.overlaps, outcome.review),
        balance=asdict(outcome.balance) if outcome.balance.before else {},
        contamination=[asdict(overlap) for overlap in outcome.overlaps],
        settings=run.settings.changed(decides_rows=True),
    )
    folder.write_report(report, rows, rejects, vectors)
    folder.write_card(report, rows)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that shape the rows."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def read_rows(folder: Path, shard: int, shards: int) -> ParquetRows:
    """Return part `shard` of `shards` consecutive parts of a run's rows."""
    rows = DatasetFolder(folder).rows
    start, end = (len(rows) * i // shards for i in (shard, shard + 1))
    return rows[start:end]
