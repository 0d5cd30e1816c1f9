"""`craft-hf generate` at a real engine, killed again and again: rows stay the same, and nothing is paid for twice."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import pytest

from craft_hf.dataset.folder import DatasetFolder
from tests.command_process import CommandProcess
from tests.engines.engine import MODEL, Engine
from tests.openai_server import serving
from tests.recording_proxy import RecordingProxy

pytestmark = pytest.mark.engine

PROMPTS, CONCURRENCY = 20, 2

MOMENTS = (*range(0, 18, 2), PROMPTS)
"""Answers in the journal at which the command is killed: at first none, but a request; at last all, but no folder."""


def start(proxy: RecordingProxy, out: Path) -> CommandProcess:
    """Start `craft-hf generate` against the proxy."""
    options = {
        "--generator": proxy.url,
        "--num-samples": PROMPTS,
        "--prompts-per-sample": 1,
        "--prefix-groups": 1,
        "--max-new-tokens": 64,
        "--concurrency": CONCURRENCY,
        "--timeout-s": 600,
        "--out": out,
    }
    arguments = ["generate", "csqa", *(str(part) for option in options.items() for part in option)]
    return CommandProcess(arguments, out.with_name("printed"))


def journal_keys(home: Path) -> list[str]:
    """The keys of all answers that the journal holds."""
    lines = [line for file in (home / "journal").rglob("*.jsonl") for line in file.read_bytes().splitlines(True)]
    return [json.loads(line)["key"] for line in lines if line.endswith(b"\n")]


def test_ten_kills_change_no_row_and_pay_for_nothing_twice(
    engine: Engine, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 before the first answer, among the answers, and while the folder is written; then to the end.

    Each request that the proxy counts has one answer in the journal, or was in flight at a kill. An engine may answer
    such a request otherwise when it comes again; so the proxy gives the answer that it had. A run without kills gets
    the same answers from it, and must write the same rows.
    """
    rng, lost = random.Random(0), list[int]()
    with serving(RecordingProxy(engine.url, MODEL)) as proxy:
        assert isinstance(proxy, RecordingProxy)
        for enough in MOMENTS:
            process, before = start(proxy, tmp_path / "out"), len(proxy.requests)
            while process.poll() is None and not (
                len(journal_keys(home)) >= enough and (len(proxy.requests) > before or enough == PROMPTS)
            ):
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.2))
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL, process.stderr
            lost.append(len(proxy.requests) - len(journal_keys(home)) - sum(lost))
        assert not (tmp_path / "out").exists()
        last = start(proxy, tmp_path / "out")
        assert last.wait(600) == 0, last.stderr
        asked, keys = len(proxy.requests), journal_keys(home)

        undisturbed = tmp_path / "undisturbed"
        undisturbed.mkdir()
        for folder in ("models", "indexes"):
            (undisturbed / folder).symlink_to((home / folder).resolve())
        monkeypatch.setenv("CRAFT_HF_HOME", str(undisturbed))
        again = start(proxy, undisturbed / "out")
        assert again.wait(600) == 0, again.stderr
        assert len(proxy.requests) == asked + len(keys), "it asks what the killed one asked"

    assert len(keys) == len(set(keys)) == PROMPTS
    assert asked == PROMPTS + sum(lost)
    assert max(lost) <= CONCURRENCY
    assert len(proxy.replies) == PROMPTS
    killed, whole = (DatasetFolder(place / "out") for place in (tmp_path, undisturbed))
    assert list(killed.rows) == list(whole.rows)
    assert list(killed.rejects) == list(whole.rejects)
    print(f"{engine.name}: {PROMPTS} prompts, {asked} requests, in flight at the kills: {lost}")
