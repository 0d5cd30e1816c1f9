"""`craft-hf generate` with real engines that it starts itself; they and it are killed again and again."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from craft_hf.dataset.folder import DatasetFolder
from tests.command_process import CommandProcess
from tests.engines.engine import ENVIRONMENTS, THREADS
from tests.engines.gguf_file import write_gguf
from tests.engines.test_kills import journal_keys
from tests.generation.engine.conftest import is_running
from tests.server_client import until

pytestmark = pytest.mark.engine

CONCURRENCY = 2

VLLM_ARGUMENTS = "--dtype float32 --enforce-eager --max-model-len 8192 --max-num-seqs 16"


@dataclass(frozen=True)
class Started:
    """How an engine is named on the command line; `gone` is what must not be left of it."""

    name: str
    options: Mapping[str, object]

    def start(self, task: str, prompts: int, out: Path, **options: object) -> CommandProcess:
        """Start `craft-hf generate`."""
        given = {
            "--num-samples": prompts,
            "--prompts-per-sample": 1,
            "--prefix-groups": 1,
            "--max-new-tokens": 64,
            "--concurrency": CONCURRENCY,
            "--timeout-s": 600,
            "--out": out,
            **self.options,
            **options,
        }
        words = ["generate", task, *(str(part) for option in given.items() for part in option)]
        return CommandProcess(words, out.with_name(f"{out.name}-printed"))


@pytest.fixture(params=["llamacpp", "vllm"])
def started(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    """Each engine, from its environment."""
    python = ENVIRONMENTS / request.param / "bin" / "python"
    if not (ENVIRONMENTS / request.param / "installed").exists():
        pytest.skip("`make test-engines` installs it")
    monkeypatch.setenv("OMP_NUM_THREADS", str(THREADS))
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    model = f"llamacpp:{write_gguf(tmp_path)}" if request.param == "llamacpp" else "vllm:embedded"
    arguments = f"--threads {THREADS}" if request.param == "llamacpp" else VLLM_ARGUMENTS
    options = {"--generator": model, "--engine-python": python, "--engine-arguments": arguments}
    return Started(request.param, options)


def processes(client: int) -> list[int]:
    """The processes that a client has started: its watchdog, its engine, and what that has started, in this order."""
    command = ["ps", "-A", "-ww", "-o", "pid=", "-o", "ppid=", "-o", "args="]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()]
    found = [int(pid) for pid, parent, words in rows if int(parent) == client and "watchdog.py" in words]
    for pid, parent, words in rows:  # parents come first: numbers do not begin anew in the time of a test
        if int(parent) in found and not words.startswith("ps "):
            found.append(int(pid))
    return found


def wait_for_answers(client: CommandProcess, home: Path, count: int) -> None:
    """Wait until the journal holds so many answers, or the client has ended."""
    until(lambda: client.poll() is not None or len(journal_keys(home)) >= count, 900)


def test_kills_of_engine_and_client_change_no_row(
    started: Started, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """kill -9 in turn of the engine, of one of its processes, and of the client, at random moments of answering.

    No answer is in the journal twice, and nothing is left of what was killed. An engine may answer a prompt otherwise
    when it is asked again, or beside others; so a run that nobody disturbs gets the same answers, from the journal, and
    must write the same rows.
    """
    prompts, kills = request.config.getoption("--prompts"), request.config.getoption("--kills")
    task, rng, out = request.config.getoption("--task"), random.Random(0), tmp_path / "out"
    client, killed, seen = started.start(task, prompts, out), list[str](), set[int]()
    for number in range(kills):
        wait_for_answers(client, home, len(journal_keys(home)) + 1)
        if client.poll() is not None:
            break
        time.sleep(rng.uniform(0, 2))
        found = processes(client.pid)
        seen |= {*found}
        victim = ("engine", "part", "client")[number % 3]
        pid = {"engine": found[1], "part": found[-1], "client": client.pid}[victim]
        os.kill(pid, signal.SIGKILL)
        killed.append(victim)
        if victim == "client":
            client.wait()
            until(lambda found=found: not any(map(is_running, found)), 30)
            client = started.start(task, prompts, out)
    client.wait(3600)
    assert DatasetFolder(out).is_complete, client.stderr
    until(lambda: not any(map(is_running, seen)), 30)
    keys = journal_keys(home)
    assert len(keys) == len(set(keys)) == prompts

    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    for folder in ("models", "indexes"):
        (undisturbed / folder).symlink_to((home / folder).resolve())
    shutil.copytree(home / "journal", undisturbed / "journal")
    monkeypatch.setenv("CRAFT_HF_HOME", str(undisturbed))
    again = started.start(task, prompts, tmp_path / "again")
    again.wait(3600)
    assert not list(undisturbed.glob("runs/*.engine")), "it starts no engine for what is known"
    one, other = DatasetFolder(out), DatasetFolder(tmp_path / "again")
    assert other.is_complete, again.stderr
    assert list(one.rows) == list(other.rows)
    assert list(one.rejects) == list(other.rejects)
    print(f"{started.name}: {prompts} prompts of {task}, killed: {', '.join(killed)}")


@pytest.mark.parametrize("started", ["vllm"], indirect=True)
def test_more_memory_than_there_is_is_told_in_its_own_words(
    started: Started, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cause stands far above the end of its log; it is in the error."""
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "100000")
    client = started.start("csqa", 1, tmp_path / "out")
    assert client.wait(600) == 1
    shown = client.stderr.partition("craft-hf: ")[2]
    for part in ("the engine vllm:embedded ended with exit status", "ValueError: Available memory", "VLLM_CPU_KVCACHE"):
        assert part in shown
    assert not processes(client.pid)
