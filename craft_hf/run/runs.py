"""Do a run, whose rows may be read meanwhile, and write its folder."""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import platform
import threading
import weakref
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pyarrow
from datasets import Features
from filelock import FileLock, Timeout

from craft_hf.base import JSON, Activity, InputError, Sample, StorageError, replaced_folder
from craft_hf.dataset import (
    DatasetFolder,
    GeneratedTexts,
    ParquetRows,
    few_shot_rows,
    make_report,
    measure_diversity,
    rejected_rows,
    sample_rows,
    summarize_checks,
    task_features,
)
from craft_hf.run.pipeline import steps
from craft_hf.run.progress import progress_line
from craft_hf.run.resolution import ResolvedRun, resolve
from craft_hf.run.result import RunResult
from craft_hf.run.run_yaml import run_yaml
from craft_hf.run.settings import RunSettings

_PACKAGES = ("craft_hf", "datasets", "transformers", "torch", "sentence-transformers", "xgrammar", "h5py", "aiohttp")

logger = logging.getLogger("craft_hf")


def ensure_run(run: ResolvedRun, fresh: bool = False) -> Path:
    """Return the folder of a run, after doing the run if that was not done before.

    Args:
        run: what to do.
        fresh: do it again, and ask the model again for every answer.

    Raises:
        CraftError: see `pipeline.steps`; nothing half-written is left.
        StorageError: the folder cannot be written; answers are safe in the journal.
    """
    if fresh or not DatasetFolder(run.folder).is_complete:
        with _joined(run, fresh) as live:
            live.finish()
    return run.folder


def stream_rows(run: ResolvedRun) -> Iterator[dict[str, JSON]]:
    """Yield the rows of a run while it goes on, in the order and with the content of its folder.

    The few-shots come before the run begins. Whoever takes the last row, and asks for more, has the finished folder;
    whoever stops before has ended the run, unless somebody else in this process reads it too. The rows of a finished
    run, also one that another process finishes meanwhile, come from its folder.

    Raises:
        CraftError: see `ensure_run`.
    """
    rows = _stream(run)
    _streams.add(rows)
    return rows


_streams: weakref.WeakSet[Generator[dict[str, JSON], None, None]] = weakref.WeakSet()
os.register_at_fork(after_in_child=_streams.clear)  # they are the parent's


@atexit.register
def _close_streams() -> None:
    """End the streams that are half read while their threads and modules are still there."""
    for rows in list(_streams):
        with suppress(ValueError):  # another thread is in it
            rows.close()


def _stream(run: ResolvedRun) -> Generator[dict[str, JSON], None, None]:
    start = 0
    if not DatasetFolder(run.folder).is_complete:
        features = task_features(run.task, run.settings.keep_reasoning)
        few_shots = list(few_shot_rows(run.task))
        yield from _as_stored(few_shots, features)
        number = 0
        with _joined(run) as live:
            while (sample := live.sample(number)) is not None:
                yield from _as_stored(sample_rows(run.task, [sample], _generator_name(run)), features)
                number += 1
        if number:
            return
        start = len(few_shots)
    yield from DatasetFolder(run.folder).rows[start:]


def ensure_reviewed_run(settings: RunSettings, fresh: bool = False) -> Path:
    """Return the folder of a run, and do it once more if people decided something meanwhile.

    The second time finds all answers in the journal: it asks for what takes the place of rejected rows.

    Args:
        settings: of the run.
        fresh: see `ensure_run`.

    Raises:
        CraftError: see `resolve` and `ensure_run`.
    """
    with Activity("Looking up task, index and generator"):
        run = resolve(settings)
    folder = ensure_run(run, fresh)
    if settings.review is None:
        return folder
    again = resolve(settings)
    return folder if again.run_id == run.run_id else ensure_run(again)


class _LiveRun:
    """A run that goes on in this process for all who read it there; each of them drives it on when it needs more."""

    def __init__(self, run: ResolvedRun, fresh: bool) -> None:
        self._result = RunResult()
        wanted = run.settings.rows_wanted(run.task)
        self._activity = Activity(lambda: progress_line(run.task.name, wanted, self._result))
        self._steps = _do(run, self._result, fresh, self._activity)
        self._lock = threading.RLock()
        self._error: BaseException | None = None
        self.has_ended = False
        self.readers = 0

    def sample(self, number: int) -> Sample | None:
        """Return the sample of a number, from 0, or None if the run ended with fewer; then its folder is written."""
        with self._lock:
            while number >= len(self._result.samples) and self._advance():
                pass
            return self._result.samples[number] if number < len(self._result.samples) else None

    def finish(self) -> None:
        """Do all that is left."""
        with self._lock:
            while self._advance():
                pass

    def close(self) -> None:
        """End the run where it is."""
        self._steps.close()

    def _advance(self) -> bool:
        """Take one more step; return False if there is none."""
        if self._error:
            raise self._error
        try:
            with self._activity:
                next(self._steps)
        except StopIteration:
            self.has_ended = True
            return False
        except BaseException as e:  # the others who read this run get it too, and no end that looks like one
            self._error, self.has_ended = e, True
            raise
        return True


_live: dict[Path, _LiveRun] = {}
_live_lock = threading.RLock()
os.register_at_fork(after_in_child=_live.clear)  # they go on in the parent


@contextmanager
def _joined(run: ResolvedRun, fresh: bool = False) -> Iterator[_LiveRun]:
    """Take part in a run: one that goes on in this process already, or a new one. The last who leaves ends it."""
    with _live_lock:
        live = _live.get(run.folder)
        if live is None or live.has_ended:
            live = _live[run.folder] = _LiveRun(run, fresh)
        elif fresh:
            raise InputError(
                f"the run {run.run_id} is being streamed in this process, so it cannot be done afresh at the same "
                "time; read that stream to its end, or delete it, first."
            )
        live.readers += 1
    try:
        yield live
    finally:
        with _live_lock:
            live.readers -= 1
            if not live.readers:
                live.close()
                if _live.get(run.folder) is live:
                    del _live[run.folder]


@contextmanager
def _locked(run: ResolvedRun) -> Iterator[None]:
    """Keep other processes from doing the same run at the same time: one pays, the others wait and read."""
    try:
        run.folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise StorageError(f"the folder {run.folder.parent} cannot be made: {e}") from e
    lock = FileLock(f"{run.folder}.lock", thread_local=False)  # a stream may be closed by another thread
    try:
        lock.acquire(timeout=0)
    except Timeout:
        hint = "if that one waits for this one, as ranks of DDP do, load the dataset once without streaming before"
        with Activity(f"Waiting for another process that does the run {run.run_id} ({hint})"):
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _do(run: ResolvedRun, result: RunResult, fresh: bool, activity: Activity) -> Generator[None, None, None]:
    """Do a run step by step, unless another process has done it, and write its folder at the end."""
    with _locked(run):
        if not fresh and DatasetFolder(run.folder).is_complete:
            return
        for _ in steps(run, result, fresh):
            yield
        if result.samples or result.rejects:
            activity.print_line()
        for note in result.notes:
            logger.warning(note)
        try:
            with Activity("Writing rows, report and card"), replaced_folder(run.folder) as folder:
                _write(run, result, DatasetFolder(folder), activity.seconds)
        except OSError as e:
            raise StorageError(
                f"the run cannot be written to {run.folder}: {e}. All answers are safe in the journal; "
                "make room and run the same command again."
            ) from e
        logger.info("%d rows, report and card are in %s", len(result.samples), run.folder)


def _write(run: ResolvedRun, result: RunResult, folder: DatasetFolder, seconds: float) -> None:
    generator = _generator_name(run) if result.samples else ""
    folder.write_data(
        itertools.chain(few_shot_rows(run.task), sample_rows(run.task, result.samples, generator)),
        task_features(run.task, run.settings.keep_reasoning),
        rejected_rows(result.rejects),
        run_yaml(run.settings),
    )
    rows, rejects = folder.rows, folder.rejects  # as they are on the disk
    budget = run.settings.budget
    cost = budget.spent(result.usage) if budget.prices else None
    texts = GeneratedTexts(rows, run.task.fields)
    diversity = measure_diversity(texts, result.vectors) if result.samples else None
    if result.samples and not result.vectors:
        logger.info(
            "Without the check semantic rows have no vectors: nearest rows, few-shots and the map are left out of the "
            "report; `craft-hf report` makes them."
        )
    report = make_report(
        run.task,
        config_id=run.run_id,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        identity=run.identity,
        index=result.index,
        funnel=result.funnel,
        usage={**asdict(result.usage), "cost": cost, "seconds_total": seconds},
        rows=rows,
        rejects=rejects,
        notes=result.notes,
        versions=versions(),
        diversity=asdict(diversity) if diversity else {},
        coverage=asdict(result.coverage) if result.coverage else {},
        measured=summarize_checks(run.task, result.samples, result.overlaps, result.review),
        balance=asdict(result.balance) if result.balance.before else {},
        contamination=[asdict(overlap) for overlap in result.overlaps],
        settings=run.settings.changed(to_repeat=True),
    )
    folder.write_report(report, rows, rejects, result.vectors)
    folder.write_card(report, rows)


def _generator_name(run: ResolvedRun) -> str:
    """Return what a row says of the model that wrote it."""
    identity = run.generator.identity
    return f"{identity.get('model', '')}@{identity.get('revision', '')}".strip("@")


def _as_stored(rows: Iterable[Mapping[str, JSON]], features: Features) -> list[dict[str, JSON]]:
    """Return rows as they are when they are read from Parquet: numbers rounded to their type, what is absent None."""
    stored: list[dict[str, JSON]] = pyarrow.Table.from_pylist(list(rows), schema=features.arrow_schema).to_pylist()
    return stored


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
