"""Do a run, and write what came of it into its folder."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pyarrow
import pyarrow.parquet
from datasets import Features
from filelock import FileLock

from craft_hf.base import JSON, Embedder, StorageError
from craft_hf.dataset import (
    REJECTED,
    REJECTS,
    ROWS,
    RUN_YAML,
    embed_rows,
    few_shot_rows,
    findings,
    generated_texts,
    make_report,
    measure,
    rejected_rows,
    sample_rows,
    task_features,
    write_card,
    write_report,
)
from craft_hf.run.pipeline import Outcome, execute
from craft_hf.run.resolution import ResolvedRun, resolve
from craft_hf.run.run_yaml import write_run_yaml
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
    if not fresh and (run.folder / "report.json").is_file():
        return run.folder
    try:
        run.folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise StorageError(f"the folder {run.folder.parent} cannot be made: {e}") from e
    with FileLock(f"{run.folder}.lock"):  # workers of a DataLoader may all come here: one pays, the others read
        if fresh or not (run.folder / "report.json").is_file():
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
        temporary = Path(tempfile.mkdtemp(dir=run.folder.parent, prefix=".incomplete-"))
        try:
            _write(run, outcome, temporary, time.monotonic() - started)
            _replace(temporary, run.folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as e:
        raise StorageError(
            f"the run cannot be written to {run.folder}: {e}. All answers are safe in the journal; "
            "make room and run the same command again."
        ) from e
    logger.info("%d rows, report and card are in %s", len(outcome.samples), run.folder)


def _replace(source: Path, target: Path) -> None:
    """Put a complete folder in the place of an older one."""
    if target.exists():
        old = Path(tempfile.mkdtemp(dir=target.parent, prefix=".replaced-"))
        os.replace(target, old / target.name)
        os.replace(source, target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(source, target)


def _write(run: ResolvedRun, outcome: Outcome, folder: Path, seconds: float) -> None:
    identity = run.generator.identity if outcome.samples or outcome.rejects else {}
    generator = f"{identity.get('model', '')}@{identity.get('revision', '')}".strip("@")
    rows = [*few_shot_rows(run.task.few_shots), *sample_rows(outcome.samples, generator)]
    rejects = rejected_rows(outcome.rejects)
    budget = run.settings.budget
    cost = budget.spent(outcome.usage) if budget.prices else None
    vectors = embed_rows(rows, run.task.fields, Embedder(outcome.embedding_name)) if outcome.samples else None
    diversity = measure(generated_texts(rows, run.task.fields), vectors) if vectors else None
    report = make_report(
        run.task,
        config_id=run.run_id,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        identity=run.identity,
        index=outcome.index,
        funnel=list(outcome.funnel.items()),
        usage={**asdict(outcome.usage), "cost": cost, "seconds_total": seconds},
        rows=rows,
        rejects=rejects,
        notes=outcome.notes,
        versions=versions(),
        diversity=asdict(diversity) if diversity else {},
        coverage=asdict(outcome.coverage) if outcome.coverage else {},
        measured=findings(outcome.samples, outcome.overlaps, outcome.review),
        balance=asdict(outcome.balance) if outcome.balance.before else {},
        contamination=[asdict(overlap) for overlap in outcome.overlaps],
        settings=run.settings.changed(decides_rows=True),
    )
    _parquet(rows, task_features(run.task), folder / ROWS)
    _parquet(rejects, REJECTED, folder / REJECTS)
    write_report(report, rows, rejects, folder, vectors)
    write_card(report, rows, folder)
    write_run_yaml(run.settings, folder / RUN_YAML)


def _parquet(rows: Sequence[Mapping[str, JSON]], features: Features, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {name: [row.get(name) for row in rows] for name in features}
    pyarrow.parquet.write_table(pyarrow.Table.from_pydict(columns, schema=features.arrow_schema), path)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that shape the rows."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def read_rows(folder: Path, shard: int, shards: int) -> list[dict[str, JSON]]:
    """Return part `shard` of `shards` consecutive parts of a run's rows."""
    table = pyarrow.parquet.read_table(folder / ROWS)
    start, end = (table.num_rows * i // shards for i in (shard, shard + 1))
    rows: list[dict[str, JSON]] = table.slice(start, end - start).to_pylist()
    return rows
