"""The store of a review: samples, decisions and changes, each on the disk as soon as it is made.

One SQLite file in WAL mode, which several processes may use at a time: a page for people, and a run that is going on.
Decisions are only ever added; an undo is a decision too. Each has a unique key, so that one that is sent twice after a
lost connection counts once.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from craft_hf.base import JSON, InputError, StorageError
from craft_hf.review.decisions import EDIT, UNDO, VERDICTS, Change, Decision
from craft_hf.review.samples import ReviewSample
from craft_hf.tasks import texts_of

VERSION = 1
"""Format of the tables; raised when they change."""

_TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE sample (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, dropped_by TEXT NOT NULL, uncertainty REAL NOT NULL,
    text TEXT NOT NULL, scores TEXT NOT NULL, record TEXT NOT NULL
);
CREATE TABLE decision (
    number INTEGER PRIMARY KEY AUTOINCREMENT, sample_id TEXT NOT NULL, reviewer TEXT NOT NULL, verdict TEXT NOT NULL,
    reason TEXT NOT NULL, note TEXT NOT NULL, fields TEXT NOT NULL, at TEXT NOT NULL, key TEXT NOT NULL UNIQUE,
    undoes INTEGER
);
CREATE INDEX decision_of ON decision (sample_id, reviewer);
CREATE TABLE change (
    number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, value TEXT NOT NULL, reviewer TEXT NOT NULL,
    at TEXT NOT NULL, key TEXT NOT NULL UNIQUE, position INTEGER
);
CREATE VIEW standing AS
    SELECT * FROM decision WHERE number IN (
        SELECT max(number) FROM decision
        WHERE verdict != 'undo' AND number NOT IN (SELECT undoes FROM decision WHERE undoes IS NOT NULL)
        GROUP BY sample_id, reviewer
    );
"""

_UNDONE = "(SELECT u.key FROM decision u WHERE u.number = d.undoes) AS undone"


class ReviewStore:
    """The samples of a task and all decisions about them, in one SQLite file.

    Args:
        path: the file; made if it is not there.
        task: name of the task, which a file keeps; None to take what the file says.

    Raises:
        InputError: the file is none of ours, or of another task, or there is none and no task to make it for.
        StorageError: it cannot be written.
    """

    def __init__(self, path: Path, task: str | None = None) -> None:
        self.path = path
        self._lock = threading.RLock()
        if task is None and not path.is_file():
            raise InputError(f"there is no {path}; give the file that `craft-hf review` or --review wrote.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.row_factory = sqlite3.Row
            self._prepare(task)
        except (OSError, sqlite3.OperationalError) as e:
            raise StorageError(f"{path} cannot be written: {e}; give another file for the reviews.") from e
        except sqlite3.DatabaseError as e:
            raise InputError(f"{path} is no file of reviews: {e}; give one that `craft-hf review` wrote.") from e

    def _prepare(self, task: str | None) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")  # a decision that was confirmed survives a power cut
        with self._write():
            if self._db.execute("PRAGMA user_version").fetchone()[0] == 0:
                if self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    raise InputError(f"{self.path} is a database of another program; give another file.")
                if task is None:
                    raise InputError(f"{self.path} is empty; give the file that `craft-hf review` or --review wrote.")
                for statement in _TABLES.split(";"):
                    if statement.strip():
                        self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version={VERSION}")
                about = {"task": task, "id": uuid.uuid4().hex}
                self._db.executemany("INSERT INTO about VALUES (?, ?)", about.items())
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found != VERSION:
            raise InputError(
                f"{self.path} has format {found}, this craft_hf reads {VERSION}; export its decisions with the version "
                "that wrote it, and import them into a new file."
            )
        if task is not None and task != self.task:
            raise InputError(f"{self.path} holds reviews of the task {self.task}, not of {task}; give another file.")

    def close(self) -> None:
        """Close the file; every decision is in it already."""
        self._db.close()

    def __enter__(self) -> ReviewStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def task(self) -> str:
        """Name, or folder, of the task."""
        return self._about("task")

    @property
    def id(self) -> str:
        """A unique id of this store, which stays when the file is moved."""
        return self._about("id")

    def _about(self, name: str) -> str:
        return str(self._one("SELECT value FROM about WHERE name = ?", name)["value"])

    # samples

    def add(self, samples: Iterable[ReviewSample]) -> int:
        """Add samples, or update those that are there already; returns how many are new."""
        with self._write():
            before = self.count()
            for sample in samples:
                text = "\n".join(texts_of(sample.fields)).casefold()
                plain = text, json.dumps(sample.scores), json.dumps(asdict(sample))
                self._db.execute(
                    "INSERT INTO sample (id, dropped_by, uncertainty, text, scores, record) VALUES (?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT (id) DO UPDATE SET dropped_by = excluded.dropped_by, record = excluded.record, "
                    "uncertainty = excluded.uncertainty, scores = excluded.scores",
                    (sample.id, sample.dropped_by, sample.uncertainty, *plain),
                )
            return self.count() - before

    def count(self) -> int:
        """Return the number of samples."""
        return int(self._one("SELECT count(*) AS n FROM sample")["n"])

    def sample(self, sample_id: str) -> ReviewSample | None:
        """Return a sample, None where there is none of this id."""
        with self._lock:
            row = self._db.execute("SELECT record FROM sample WHERE id = ?", (sample_id,)).fetchone()
        return ReviewSample(**json.loads(row["record"])) if row else None

    def samples(self) -> Iterator[ReviewSample]:
        """Yield all samples in the order in which they came."""
        for row in self.query("SELECT record FROM sample ORDER BY number"):
            yield ReviewSample(**json.loads(row["record"]))

    def scores(self) -> Iterator[tuple[str, str, dict[str, float]]]:
        """Yield id, the check that dropped it, and what the checks measured, of all samples."""
        for row in self.query("SELECT id, dropped_by, scores FROM sample ORDER BY number"):
            yield row["id"], row["dropped_by"], json.loads(row["scores"])

    # decisions

    def decide(self, decision: Decision) -> None:
        """Save a decision; when this returns it is on the disk. One whose key is there already changes nothing.

        Raises:
            InputError: no reviewer, an unknown verdict, or an undo of nothing.
            StorageError: the disk is full or not writable.
        """
        if decision.verdict not in VERDICTS or not decision.reviewer.strip() or not decision.key:
            raise InputError(
                f"a decision has verdict {decision.verdict!r}, reviewer {decision.reviewer!r} and key "
                f"{decision.key!r}; expected a verdict of {', '.join(VERDICTS)}, a name and a key."
            )
        if decision.verdict == EDIT and not decision.fields:
            raise InputError("an edit has no fields; expected those of the edited sample.")
        with self._write():
            if self._db.execute("SELECT 1 FROM decision WHERE key = ?", (decision.key,)).fetchone():
                return
            undone = None
            if decision.verdict == UNDO:
                find = "SELECT number FROM decision WHERE key = ? AND reviewer = ?"
                undone = self._db.execute(find, (decision.undoes, decision.reviewer)).fetchone()
                if undone is None:
                    raise InputError(f"there is no decision {decision.undoes!r} of {decision.reviewer} to undo.")
            self._db.execute(
                "INSERT INTO decision (sample_id, reviewer, verdict, reason, note, fields, at, key, undoes) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    decision.sample_id, decision.reviewer.strip(), decision.verdict, decision.reason, decision.note,
                    json.dumps(decision.fields), decision.at or _now(), decision.key, undone and undone["number"],
                ),
            )  # fmt: skip

    def decide_all(self, decisions: Iterable[Decision]) -> None:
        """Save decisions, all or none; see `decide`."""
        with self._write():
            for decision in decisions:
                self.decide(decision)

    def undo_last(self, reviewer: str, key: str) -> str:
        """Undo the last decision of a reviewer that is not undone yet; returns the sample's id, "" if there is none."""
        with self._write():
            again = self._db.execute("SELECT sample_id FROM decision WHERE key = ?", (key,)).fetchone()
            if again:
                return str(again["sample_id"])
            find = (
                "SELECT * FROM decision d WHERE reviewer = ? AND verdict != 'undo' AND NOT EXISTS "
                "(SELECT 1 FROM decision u WHERE u.undoes = d.number) ORDER BY number DESC LIMIT 1"
            )
            last = self._db.execute(find, (reviewer.strip(),)).fetchone()
            if last is None:
                return ""
            self.decide(Decision(last["sample_id"], reviewer, UNDO, key=key, undoes=last["key"]))
            return str(last["sample_id"])

    def current_decisions(self, sample_id: str | None = None) -> list[Decision]:
        """Return the latest decision of each reviewer on each sample, without undone ones, oldest first."""
        where = "" if sample_id is None else "WHERE sample_id = ?"
        rows = self.query(
            f"SELECT * FROM standing {where} ORDER BY number", *([] if sample_id is None else [sample_id])
        )
        return [_decision(row) for row in rows]

    def history(self) -> list[Decision]:
        """Return everything that was ever decided, undone decisions and undos included, oldest first."""
        return [_decision(row) for row in self.query(f"SELECT d.*, {_UNDONE} FROM decision d ORDER BY number")]

    # changes of later prompts

    def change(self, kind: str, value: Mapping[str, JSON], reviewer: str, key: str) -> None:
        """Save a change of later prompts; a running run takes it up at its next round.

        One whose key is there already changes nothing.

        Raises:
            InputError: no reviewer, or no key.
            StorageError: the disk is full or not writable.
        """
        if not reviewer.strip() or not key:
            raise InputError(f"a change has reviewer {reviewer!r} and key {key!r}; expected a name and a key.")
        with self._write():
            self._db.execute(
                "INSERT INTO change (kind, value, reviewer, at, key) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (kind, json.dumps(value), reviewer.strip(), _now(), key),
            )

    def changes(self) -> list[Change]:
        """Return all changes, oldest first."""
        rows = self.query("SELECT * FROM change ORDER BY number")
        names = ("number", "kind", "value", "reviewer", "at", "position")
        return [Change(**{n: json.loads(row[n]) if n == "value" else row[n] for n in names}) for row in rows]

    def set_positions(self, numbers: Sequence[int], position: int) -> None:
        """Record from which prompt on changes are in force; those that have a position keep it."""
        with self._write():
            for number in numbers:
                self._db.execute(
                    "UPDATE change SET position = ? WHERE number = ? AND position IS NULL", (position, number)
                )

    # access

    @contextmanager
    def _write(self) -> Iterator[None]:
        """A transaction; inside another one it is part of that."""
        with self._lock:
            if self._db.in_transaction:
                yield
                return
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield
                except BaseException:
                    self._db.execute("ROLLBACK")
                    raise
                self._db.execute("COMMIT")
            except sqlite3.OperationalError as e:
                raise StorageError(f"{self.path} cannot be written: {e}; make room, then decide again.") from e

    def query(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """Return the rows of a SELECT with positional values, or with one mapping of named ones."""
        bound = values[0] if values and isinstance(values[0], dict) else values
        with self._lock:
            return self._db.execute(statement, bound).fetchall()

    def _one(self, statement: str, *values: Any) -> sqlite3.Row:
        return self.query(statement, *values)[0]


def _decision(row: sqlite3.Row) -> Decision:
    names = ("sample_id", "reviewer", "verdict", "reason", "note", "at", "key")
    undone = row["undone"] if "undone" in row.keys() else None  # noqa: SIM118 (a Row is no mapping)
    return Decision(**{n: row[n] for n in names}, fields=json.loads(row["fields"]), undoes=undone or "")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
