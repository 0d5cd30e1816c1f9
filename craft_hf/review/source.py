"""Opens the samples of a dataset, or of a running run, for review."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from craft_hf.base import InputError
from craft_hf.corpus import json_rows
from craft_hf.dataset import DataArguments, DatasetFolder, load_rows
from craft_hf.review.decisions import Decision
from craft_hf.review.samples import from_rows, problem
from craft_hf.review.store import ReviewStore
from craft_hf.tasks import Task, load_task, normalized, unwritable

SUFFIX = ".reviews.sqlite"


def open_review_store(source: str, reviews: Path | None = None, task: str | None = None) -> tuple[ReviewStore, Task]:
    """Open what is to be reviewed; a dataset's samples are put into the store, if they are not there yet.

    Args:
        source: folder of `craft-hf generate --out`, a dataset on the Hub or of `save_to_disk`, or a file of reviews,
            such as that of a run which is going on.
        reviews: the file of reviews; by default, for a dataset, its name with ".reviews.sqlite" beside it.
        task: name or folder of the task; by default the one that the report or the file of reviews names.

    Raises:
        InputError: there is no such dataset or file, it is of another task, or its task is unknown.
    """
    path = Path(source).expanduser()
    if path.is_file():
        if reviews is not None:
            raise InputError(f"{source} is a file of reviews itself; leave --reviews {reviews} out.")
        opened = ReviewStore(path)
        loaded = _task(task or opened.task)
        if loaded.name != opened.task:
            raise InputError(
                f"{source} holds reviews of the task {opened.task}, not of {loaded.name}; leave --task out."
            )
        return opened, loaded
    if not path.exists() and source.count("/") != 1:
        raise InputError(f"there is no {source}; give a dataset's folder, user/name on the Hub, or a file of reviews.")
    folder = DatasetFolder(path)
    if task is None and folder.has_report:
        task = folder.report.task
    if task is None:
        raise InputError(f"{source} has no report.json that says which task it is of; give it with --task.")
    loaded = _task(task)
    rows = load_rows(DataArguments(dataset=source), loaded)
    if missing := [name for name in ("document", "document_id") if name not in rows.column_names]:
        raise InputError(f"{source} lacks the column {missing[0]}; a review needs what craft_hf writes of each row.")
    beside = path.parent / (path.name + SUFFIX) if path.is_dir() else Path(source.replace("/", "--") + SUFFIX)
    store = ReviewStore(reviews or beside, loaded.name)
    store.add(from_rows(loaded, rows, folder.rejects if folder.has_report else ()))
    return store, loaded


def _task(name: str) -> Task:
    try:
        return load_task(name)
    except InputError as e:
        raise InputError(f"{e} If the task is your own, give its folder with --task.") from e


def import_decisions(reviews: ReviewStore, path: Path, task: Task) -> int:
    """Take in decisions that were exported as JSONL; those that are there already count once. Returns how many are new.

    Raises:
        InputError: a line is no decision, or an edit in it is no sample of the task; then none is taken in.
    """
    names = set(Decision.__dataclass_fields__)
    found = []
    for where, given in json_rows(path):
        texts = {name: given.get(name) for name in names - {"fields"}}
        edited = given.get("fields", {})
        if set(given) - names or not all(isinstance(t, str) for t in texts.values()) or not isinstance(edited, Mapping):
            expected = f"expected the texts {', '.join(sorted(texts))}, and fields"
            raise InputError(f"{where}, is no decision: {expected}; give a file that `craft-hf reviews export` wrote.")
        if reason := unwritable(given):
            raise InputError(f"{where}: holds {reason}, which no review can; remove it.")
        decision = Decision(**{n: str(text) for n, text in texts.items()}, fields=normalized(edited, task.schema))
        if decision.fields and (wrong := problem(task, decision.fields)):
            raise InputError(f"{where}: the edited sample is none of {task.name}: {wrong}.")
        found.append(decision)
    before = len(reviews.history())
    reviews.decide_all(found)
    return len(reviews.history()) - before
