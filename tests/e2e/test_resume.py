"""Real kills of the real command and of streams: no answer is paid for twice, whatever ends the run."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest

from craft_hf.run.resolution import resolve
from craft_hf.run.runs import read_rows, stream_rows
from craft_hf.run.settings import RunSettings
from tests.command_process import CommandProcess, WarmProcess
from tests.generation.engine.conftest import Lives, command, model
from tests.run.test_streaming import FEW_SHOTS, assert_nothing_is_asked_any_more, journal_lines, resolved
from tests.server_client import until
from tests.writer_server import WriterServer

__all__ = ["model"]

pytestmark = [pytest.mark.slow, pytest.mark.weights]

CONCURRENCY = 4


def start(server: WriterServer, out: Path, samples: int = 40) -> CommandProcess:
    """Start `craft-hf generate` against the server."""
    command = ["generate", "bioqa", "--generator", server.url, "--num-samples", str(samples)]
    return CommandProcess([*command, "--concurrency", str(CONCURRENCY), "--out", str(out)], out.with_name("printed"))


def wait_for_requests(server: WriterServer, count: int, process: CommandProcess) -> None:
    """Wait until the server has seen so many requests, a minute at most."""
    end = time.monotonic() + 60
    while len(server.requests) < count and time.monotonic() < end and process.poll() is None:
        time.sleep(0.01)
    assert len(server.requests) >= count, process.stderr


@pytest.mark.parametrize("kill", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_a_killed_run_goes_on_and_pays_for_nothing_twice(
    home: Path, server: WriterServer, tmp_path: Path, kill: signal.Signals
) -> None:
    """Killed in the middle, run again: calls add up to the number of prompts plus at most what was in flight."""
    server.delay_s = 0.05
    process = start(server, tmp_path / "out")
    wait_for_requests(server, 15, process)
    process.send_signal(kill)
    sent = time.monotonic()
    assert process.wait() != 0
    error = process.stderr
    if kill == signal.SIGINT:
        assert time.monotonic() - sent < 15, "the answers in flight are not waited for"
        assert "Stopped; every answer is in the journal" in error
        assert "Traceback" not in error
    before = len(server.requests)
    assert 15 <= before < 40
    assert not (tmp_path / "out").exists()
    assert not list((home / "runs").glob("bioqa-*/report.json"))

    server.delay_s = 0
    again = start(server, tmp_path / "out")
    assert again.wait() == 0, again.stderr
    asked_twice = sum(count - 1 for count in Counter(server.documents).values())
    prompts = len(set(server.documents))
    assert len(server.requests) == prompts + asked_twice
    assert asked_twice <= CONCURRENCY
    rows = pyarrow.parquet.read_table(tmp_path / "out" / "data" / "train-00000-of-00001.parquet").to_pylist()
    assert sum(not r["is_few_shot"] for r in rows) == 40


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.long
def test_an_engine_is_gone_with_its_run(home: Path, tmp_path: Path, model: Path, kill: signal.Signals) -> None:
    """Interrupted or killed: no process and no port is left; the same command goes on at another port."""
    lives = Lives(tmp_path / "lives.jsonl")
    options = {
        "--generator": f"engine:{model}",
        "--engine-command": command(lives, "--children", "--delay-s", 0.1),
        "--num-samples": 20,
        "--concurrency": 2,
        "--out": tmp_path / "out",
    }
    arguments = ["generate", "bioqa", *(str(part) for option in options.items() for part in option)]
    process = CommandProcess(arguments, tmp_path / "printed")
    until(lambda: process.poll() is not None or journal_lines(home) >= 5, 60)
    process.send_signal(kill)
    assert process.wait() == (130 if kill == signal.SIGINT else -kill), process.stderr
    if kill == signal.SIGINT:
        assert lives.nothing_left(), "they were waited for"
    until(lives.nothing_left)
    again = CommandProcess(arguments, tmp_path / "printed")
    assert again.wait() == 0, again.stderr
    assert lives.nothing_left()
    first, second = lives.all
    assert first["port"] != second["port"]
    lines = [line for segment in (home / "journal").rglob("*.jsonl") for line in segment.read_bytes().splitlines(True)]
    keys = [json.loads(line)["key"] for line in lines if line.endswith(b"\n")]
    assert len(keys) == len(set(keys))


def ensure(home: str, settings: RunSettings) -> None:
    """Do a run in this process, with a cache of its own."""
    os.environ["CRAFT_HF_HOME"] = home
    from craft_hf.run.runs import ensure_run

    ensure_run(resolve(replace(settings, batch_size=4, concurrency=CONCURRENCY)))


def journalled(home: Path) -> int:
    """How many lines the journal has."""
    return sum(len(segment.read_bytes().splitlines()) for segment in (home / "journal").rglob("*.jsonl"))


@pytest.mark.long
@pytest.mark.parametrize("kind", ["server", "local"])
@pytest.mark.parametrize("kills", [3, 10])
def test_kills_change_no_row(
    home: Path, server: WriterServer, tmp_path: Path, kind: str, kills: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 at random moments: rows, rejects and their order are those of a run that nobody disturbed.

    Locally a random model answers, in bfloat16 where the CPU has it: there, a batch of another shape would give other
    answers.
    """
    from craft_hf.dataset.folder import DatasetFolder
    from tests.tiny_model import save_tiny_model

    if kind == "server":
        server.delay_s, server.bad_every = 0.02, 3
        settings = RunSettings("bioqa", generator=server.url, num_samples=60)
    else:
        model = str(save_tiny_model(tmp_path / "model"))
        settings = RunSettings("terms", generator=model, num_samples=8, max_new_tokens=64, temperature=1.5)
    rng, paid = random.Random(0), [0]
    for _ in range(kills):
        child = WarmProcess(target=ensure, args=(str(home), settings))
        child.start()
        enough = paid[-1] + rng.randint(1, 6)
        while journalled(home) < enough and child.is_alive():
            time.sleep(0.002)
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL, "it was still at work"
        paid.append(journalled(home))
    last = WarmProcess(target=ensure, args=(str(home), settings))
    last.start()
    last.join()
    assert last.exitcode == 0
    if kind == "server":
        asked_twice = len(server.requests) - len(set(server.documents))
        assert asked_twice <= kills * CONCURRENCY

    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    for folder in ("models", "indexes"):
        (undisturbed / folder).symlink_to((home / folder).resolve())
    monkeypatch.setenv("CRAFT_HF_HOME", str(undisturbed))
    ensure(str(undisturbed), settings)
    folders = [next((place / "runs").glob("*/report.json")).parent for place in (home, undisturbed)]
    tables = [[list(part) for part in (made.rows, made.rejects)] for made in map(DatasetFolder, folders)]
    assert tables[0] == tables[1]
    assert len(tables[0][1]) > 5


@pytest.mark.long
def test_a_server_that_dies_midway_loses_nothing(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """When the server goes away, the run ends with a clear error; with the server back it goes on."""
    from tests.openai_server import error

    server.fail_after = 12
    server.failure = error(401, "Invalid key")
    process = start(server, tmp_path / "out")
    assert process.wait() == 1
    message = process.stderr
    assert "401" in message
    assert "Traceback" not in message
    good = server.answered
    server.fail_after = 0
    assert start(server, tmp_path / "out").wait() == 0
    assert server.answered == len(set(server.documents))
    assert good >= 12 - CONCURRENCY


def stream_in_process(home: str, run: RunSettings, rows: int, found: multiprocessing.Queue[object]) -> None:
    """Stream some rows of a run in this process, or all for 0, then wait to be killed if it was not all."""
    os.environ["CRAFT_HF_HOME"] = home
    stream = stream_rows(resolve(run))
    found.put(list(itertools.islice(stream, rows or None)))
    if rows:
        time.sleep(60)


@pytest.mark.long
def test_a_worker_that_is_killed_asks_no_more_and_loses_no_answer(home: Path, server: WriterServer) -> None:
    """kill -9 while answers arrive that nobody has taken yet."""
    server.delay_s = 0.1
    found: multiprocessing.Queue[object] = multiprocessing.get_context("forkserver").Queue()
    arguments = str(home), resolved(server, samples=40, concurrency=4).settings, FEW_SHOTS + 3, found
    child = WarmProcess(target=stream_in_process, args=arguments)
    child.start()
    assert len(found.get(timeout=120)) == FEW_SHOTS + 3  # type: ignore[arg-type]
    time.sleep(5 * server.delay_s)
    child.kill()
    child.join()
    assert 3 <= len(server.requests) < 36
    assert_nothing_is_asked_any_more(server, home)
    asked = set(server.documents)
    rows = list(stream_rows(resolved(server, samples=40)))
    assert len(rows) == FEW_SHOTS + 40
    assert len(server.requests) == len(set(server.documents)), "no answer was lost"
    assert asked <= set(server.documents)


def test_two_processes_stream_one_run(home: Path, server: WriterServer) -> None:
    """Both get all rows; one run is paid for."""
    server.delay_s = 0.05
    queues = [multiprocessing.get_context("forkserver").Queue() for _ in range(2)]
    settings = resolved(server).settings
    children = [WarmProcess(target=stream_in_process, args=(str(home), settings, 0, q)) for q in queues]
    for child in children:
        child.start()
    first, second = (q.get(timeout=120) for q in queues)
    for child in children:
        child.join()
    assert first == second == list(read_rows(resolved(server).folder, 0, 1))
    assert len(server.requests) == len(set(server.documents)) == journal_lines(home)
