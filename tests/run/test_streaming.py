"""Streaming: rows while the run goes on, one run for all who read it, and nothing asked once nobody does."""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
import threading
import time
from pathlib import Path

import datasets
import pytest
from datasets import load_dataset
from torch.utils.data import DataLoader

import craft_hf  # noqa: F401  (makes load_dataset("craft") work)
from craft_hf.base.errors import GeneratorError, InputError
from craft_hf.base.records import Prompt
from craft_hf.generation.local.batches import EncodedPrompt, early_first, plan_batches
from craft_hf.generation.prefix_order import prefix_order
from craft_hf.run.resolution import ResolvedRun, resolve
from craft_hf.run.runs import ensure_run, read_rows, stream_rows
from craft_hf.run.settings import RunSettings
from tests.openai_server import error, serving
from tests.run.test_pipeline_quality import JudgingServer
from tests.writer_server import WriterServer

pytestmark = [pytest.mark.weights, pytest.mark.slow]

FEW_SHOTS = 32


def resolved(server: WriterServer, samples: int = 12, concurrency: int = 2, **more: object) -> ResolvedRun:
    """A bioqa run on the scripted server."""
    more |= {"generator": server.url, "num_samples": samples, "concurrency": concurrency}
    return resolve(RunSettings("bioqa", **more))  # type: ignore[arg-type]


def stream(server: WriterServer, **more: object) -> datasets.IterableDataset:
    """The stream that `load_dataset` gives, of twelve samples unless said otherwise."""
    arguments = {"task": "bioqa", "generator": server.url, "num_samples": 12, "concurrency": 2, **more}
    return load_dataset("craft", split="train", streaming=True, **arguments)


def journal_lines(home: Path) -> int:
    """How many answers the journal has."""
    return sum(len(segment.read_bytes().splitlines()) for segment in (home / "journal").rglob("*.jsonl"))


def assert_nothing_is_asked_any_more(server: WriterServer, home: Path, in_flight: int = 0) -> None:
    """The requests that were answered are in the journal, but for those in flight at the end, and none comes after."""
    asked = len(server.requests)
    time.sleep(5 * server.delay_s)
    assert len(server.requests) == asked
    assert 0 <= server.answers - journal_lines(home) <= in_flight


def test_the_stream_has_the_rows_of_the_finished_run_and_leaves_its_folder(
    home: Path, server: WriterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few-shots first, then the samples; every column is as the folder has it; the next call reads the folder."""
    server.bad_every = 3
    rows = list(stream(server))
    run = resolved(server)
    stored = list(read_rows(run.folder, 0, 1))
    assert rows == stored
    assert [row["is_few_shot"] for row in rows] == [True] * FEW_SHOTS + [False] * 12
    assert any(check["score"] for row in rows for check in row["checks"])
    asked = len(server.requests)
    assert list(stream(server)) == rows
    assert len(server.requests) == asked
    other = home.with_name("other-home")
    other.mkdir()
    for name in ("models", "indexes"):
        (other / name).symlink_to((home / name).resolve())
    monkeypatch.setenv("CRAFT_HF_HOME", str(other))
    assert list(read_rows(ensure_run(resolved(server)), 0, 1)) == rows, "a run that nobody streams gives the same"


def test_rows_come_before_the_first_round_ends_with_a_judge_too(home: Path) -> None:
    """The judge is asked about the first sample alone, later about many at once; the rows are those of the run."""
    with serving(JudgingServer(delay_s=0.02)) as judging:
        assert isinstance(judging, JudgingServer)
        run = resolve(RunSettings("bioqa", generator=judging.url, num_samples=24, judge="generator", concurrency=1))
        rows = stream_rows(run)
        first = list(itertools.islice(rows, FEW_SHOTS + 1))[-1]
        assert not first["is_few_shot"]
        assert sum("Question:\n" not in body["messages"][-1]["content"] for body in judging.requests) < 24
        assert [first, *rows] == list(read_rows(run.folder, 0, 1))[FEW_SHOTS:]


def test_rows_come_before_the_first_round_ends(home: Path, server: WriterServer) -> None:
    """With one request at a time, the first sample is there after a few of the round's 24 prompts."""
    server.delay_s = 0.02
    rows = stream_rows(resolved(server, samples=24, concurrency=1))
    few_shots = list(itertools.islice(rows, FEW_SHOTS))
    assert not server.requests, "few-shots cost nothing"
    assert all(row["is_few_shot"] for row in few_shots)
    first = next(rows)
    assert not first["is_few_shot"]
    assert len(server.requests) <= 3
    assert len(list(rows)) == 23
    assert len(server.requests) == 24


@pytest.mark.parametrize("way", ["break", "take", "close", "collect"])
def test_a_stream_that_is_stopped_asks_no_more_and_loses_no_answer(home: Path, server: WriterServer, way: str) -> None:
    """Whatever ends the stream; run again, nothing is paid twice."""
    server.delay_s = 0.1
    rows = stream(server, num_samples=40, concurrency=4)
    if way == "break":
        for number, _ in enumerate(rows):
            if number == FEW_SHOTS + 3:
                break
    elif way == "take":
        assert len(list(rows.take(FEW_SHOTS + 3))) == FEW_SHOTS + 3
    else:
        generator = stream_rows(resolved(server, samples=40, concurrency=4))
        for _ in range(FEW_SHOTS + 3):
            next(generator)
        time.sleep(3 * server.delay_s)  # whoever trains on a row: answers arrive meanwhile that nobody takes
        if way == "close":
            generator.close()  # type: ignore[attr-defined]
        del generator
        gc.collect()
    assert 3 <= len(server.requests) < 36
    assert_nothing_is_asked_any_more(server, home, 4 if way in ("break", "take") else 0)
    if way != "close":
        return
    before = journal_lines(home)
    server.delay_s = 0
    server.requests.clear()
    assert len(list(rows)) == FEW_SHOTS + 40
    assert len(server.requests) == 40 - before


def test_a_stream_that_waits_for_its_reader_does_not_run_ahead(home: Path, server: WriterServer) -> None:
    """While a row is looked at, a few answers more than `concurrency` are asked for at most; all are written down."""
    rows = stream_rows(resolved(server, samples=40, concurrency=4))
    for _ in range(FEW_SHOTS + 1):
        next(rows)
    time.sleep(0.5)
    asked = len(server.requests)
    assert asked <= 12, "of 40; what was dropped before the first row is among them"
    assert journal_lines(home) == asked


def test_two_readers_in_one_process_share_a_run(home: Path, server: WriterServer) -> None:
    """A second stream, and a load, beside a stream that is half read: none waits for ever, nothing is paid twice."""
    first = iter(stream(server))
    begun = list(itertools.islice(first, FEW_SHOTS + 2))
    second = list(stream(server))
    assert len(second) == FEW_SHOTS + 12
    assert begun + list(first) == second
    assert len(server.documents) == len(set(server.documents))
    half = iter(stream(server, seed=1))
    next(itertools.islice(half, FEW_SHOTS, None))
    with pytest.raises(InputError, match="being streamed in this process"):
        ensure_run(resolved(server, seed=1), fresh=True)
    loaded = load_dataset("craft", task="bioqa", split="train", generator=server.url, num_samples=12, seed=1)
    assert len(loaded) == FEW_SHOTS + 12
    assert len(list(half)) == 11


def test_threads_share_a_run(home: Path, server: WriterServer) -> None:
    """Four threads that stream at once get the same rows of one run."""
    run, got = resolved(server), list[list[dict[str, object]]]()
    threads = [threading.Thread(target=lambda: got.append(list(stream_rows(run)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 4
    assert all(rows == got[0] for rows in got)
    assert len(server.documents) == len(set(server.documents)) == len(server.requests)


def test_a_failed_run_is_no_short_stream(home: Path, server: WriterServer) -> None:
    """The error comes where the rows end, for each of two readers, after the rows that were there."""
    server.fail_after, server.failure = 5, error(401, "Invalid key")
    run = resolved(server, concurrency=1)
    first, second = stream_rows(run), stream_rows(run)
    for rows in (first, second):
        next(itertools.islice(rows, FEW_SHOTS + 1, None))
    for rows in (first, second):
        with pytest.raises(GeneratorError, match="401"):
            list(rows)
    assert not run.folder.exists()
    assert journal_lines(home) == 5


def test_workers_of_a_data_loader_do_one_run(home: Path, server: WriterServer) -> None:
    """Of three workers one streams, in order; closed early, its process asks no more."""
    server.delay_s = 0.05
    loader = DataLoader(stream(server, num_samples=6), batch_size=None, num_workers=3)
    rows = list(loader)
    assert len(server.requests) == len(set(server.documents))
    assert [row["document_id"] for row in rows] == [
        row["document_id"] for row in read_rows(resolved(server, samples=6).folder, 0, 1)
    ]


def test_early_prompts_and_their_like_go_first() -> None:
    """The first prompt goes first, then those that begin like it; batches are those of the plan, in such an order."""
    paths = ["ba", "ca", "bb", "ab", "ca", "ba"]
    assert prefix_order(list(enumerate(paths)), lambda item: item[1]) == [
        (0, "ba"), (5, "ba"), (2, "bb"), (1, "ca"), (4, "ca"), (3, "ab")
    ]  # fmt: skip
    parts = ((9,) * 10,), ((8,) * 10,)
    prompts = [EncodedPrompt(Prompt(f"p{n:02}", "d", (), ()), parts[n % 2], tuple(range(40 - n))) for n in range(24)]
    planned = list(plan_batches(prompts, 4, 10_000, 10))
    ordered = early_first(planned, [e.prompt.key for e in prompts])
    assert sorted(map(str, ordered)) == sorted(map(str, planned))
    assert ordered[0].rows[-1].prompt.key == "p00"
    assert [shared for shared, _ in itertools.groupby(batch.shared for batch in ordered)] == list(parts), "read once"


@pytest.mark.long
def test_a_process_that_ends_in_the_middle_of_a_stream_ends(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """A script that breaks out of the loop and ends, or raises, does not hang on threads and asks no more."""
    server.delay_s = 0.05
    code = (
        "import craft_hf, datasets\n"
        f"d = datasets.load_dataset('craft', task='bioqa', split='train', generator={server.url!r}, "
        "num_samples=40, streaming=True, concurrency=4)\n"
        "rows = iter(d)\n"
        f"for _ in range({FEW_SHOTS + 3}): next(rows)\n"
        "print('here')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "here\n", done.stderr
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert_nothing_is_asked_any_more(server, home, 4)
