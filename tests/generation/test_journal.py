"""The journal: nothing that was written is lost, nothing is torn."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from craft_hf.base.errors import StorageError
from craft_hf.base.records import Answer
from craft_hf.generation.journal import Journal

WRITER = """
import itertools, sys
from pathlib import Path
from craft_hf.generation.journal import Journal
from craft_hf.base import Answer
with Journal(Path(sys.argv[1])) as journal:
    for number in itertools.count():
        journal.put(f"key{number}", Answer("x" * 1500, "stop", number, 1))
        print(number, flush=True)
"""


def test_answers_are_found_again_by_another_journal(tmp_path: Path) -> None:
    """What one journal wrote, the next one reads, every field of it."""
    answer = Answer('{"q": "ä\\n"}', "stop", 12, 3)
    with Journal(tmp_path / "j") as journal:
        assert journal.get("k") is None
        journal.put("k", answer)
        assert journal.get("k") == answer
    with Journal(tmp_path / "j") as journal:
        assert len(journal) == 1
        assert journal.get("k") == answer


def test_a_later_answer_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    """A forced new answer to the same prompt is the one that later runs read."""
    for text in ("old", "new"):
        with Journal(tmp_path, replay=False) as journal:
            assert len(journal) == 0
            journal.put("k", Answer(text, "stop"))
    assert Journal(tmp_path).get("k") == Answer("new", "stop")


@pytest.mark.parametrize(
    "tail", [b'{"key": "torn", "te', b"\xff\xfe\n", b"null\n", b'{"key": "k2"}\n', b'{"text": ""}\n']
)
def test_a_torn_or_foreign_line_is_skipped(tmp_path: Path, tail: bytes) -> None:
    """A line that a kill cut off costs that line only."""
    with Journal(tmp_path) as journal:
        journal.put("k", Answer("whole", "stop"))
    segment = next(tmp_path.glob("*.jsonl"))
    segment.write_bytes(segment.read_bytes() + tail)
    journal = Journal(tmp_path)
    assert len(journal) == 1
    assert journal.get("k") == Answer("whole", "stop")


def test_kill_9_loses_no_answer_that_put_returned_for(tmp_path: Path) -> None:
    """Whatever the writing process had been told is written is there after SIGKILL."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(200):
        last = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read().split()
    process.wait()
    written = int(rest[-1]) if rest and rest[-1].isdigit() else last
    journal = Journal(tmp_path)
    assert all(journal.get(f"key{n}") == Answer("x" * 1500, "stop", n, 1) for n in range(written))
    assert written >= 199


def _write_some(folder: str, name: str) -> None:
    with Journal(Path(folder)) as journal:
        for number in range(100):
            journal.put(f"{name}-{number}", Answer(name, "stop"))


def test_processes_share_a_folder(tmp_path: Path) -> None:
    """Two processes that write at the same time do not hurt each other: each has a segment of its own."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write_some, args=(str(tmp_path), name)) for name in ("a", "b")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(Journal(tmp_path)) == 200
    assert len(list(tmp_path.glob("*.jsonl"))) == 2


def test_a_full_disk_says_that_answers_are_safe(tmp_path: Path) -> None:
    """No space left (here: for this process) tears a line, says what is safe, and once there is room all goes on."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(tmp_path) as journal:
        journal.put("k", Answer("a", "stop"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
        try:
            with pytest.raises(StorageError, match=r"File too large.*1 answers are safe.*run the same command again"):
                journal.put("k2", Answer("b" * 1000, "stop"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert next(tmp_path.glob("*.jsonl")).stat().st_size == 200
        assert journal.get("k2") is None
        journal.put("k3", Answer("c", "stop"))
        assert journal.get("k3") == Answer("c", "stop")
    again = Journal(tmp_path)
    assert [again.get(key) and again.get(key).text for key in ("k", "k2", "k3")] == ["a", None, "c"]  # type: ignore[union-attr]


def test_memory_holds_places_not_answers(tmp_path: Path) -> None:
    """Of 25,000 answers of 2,000 characters, 50 MB, an open journal holds less than a tenth in memory."""
    lines = (json.dumps({"key": f"{n:016x}", "text": "x" * 2000, "finish_reason": "stop"}) for n in range(25_000))
    (tmp_path / "0.jsonl").write_text("\n".join(lines) + "\n")
    tracemalloc.start()
    journal = Journal(tmp_path)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(journal) == 25_000
    assert journal.get(f"{24_999:016x}") == Answer("x" * 2000, "stop")
    assert held < peak < 10e6


def test_a_journal_that_changed_meanwhile_is_an_error(tmp_path: Path) -> None:
    """A segment that was removed or written over since it was opened gives no wrong answer."""
    with Journal(tmp_path) as journal:
        journal.put("k", Answer("a", "stop"))
    segment = next(tmp_path.glob("*.jsonl"))
    journal = Journal(tmp_path)
    segment.write_text(segment.read_text().replace('"k"', '"x"'))
    with pytest.raises(StorageError, match="changed while it was in use"):
        journal.get("k")
    segment.unlink()
    with pytest.raises(StorageError, match="changed while it was in use"):
        journal.get("k")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A journal below a file gives a clear error."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be read"):
        Journal(tmp_path / "file" / "journal")


def test_the_disk_is_synced_about_every_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many quick answers cost few fsyncs, so that the journal costs no time."""
    calls: list[float] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(time.monotonic()), fsync(fd))[1])
    with Journal(tmp_path) as journal:
        started = time.monotonic()
        for number in range(2000):
            journal.put(str(number), Answer("x", "stop"))
        elapsed = time.monotonic() - started
    assert 1 <= len(calls) <= elapsed + 3
    assert json.loads(next(tmp_path.glob("*.jsonl")).read_text().splitlines()[-1])["key"] == "1999"
