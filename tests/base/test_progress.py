"""What is shown on stderr while something goes on."""

from __future__ import annotations

import multiprocessing
import time

import datasets
import pytest

from craft_hf.base import progress
from craft_hf.base.progress import Activity, Bar


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A display of its own, which looks more often than a person would want."""
    monkeypatch.setattr(progress, "_display", progress._Display())
    monkeypatch.setattr(progress, "REFRESH_S", 0.02)
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.1)


def test_a_step_that_says_nothing_is_shown_all_the_while(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines where stderr is no terminal, at once and then now and then, of the innermost activity with its seconds."""
    with Activity("Cooking"):
        time.sleep(0.05)
        with Activity("Chopping"):
            time.sleep(1.2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Cooking"
    assert lines[1] == "Chopping"
    assert lines[-1] == "Chopping, 1 s"
    assert 5 <= len(lines) <= 14


def test_a_bar_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """Up to a total, if there is one."""
    with Bar("Embedding", total=2000, unit="texts") as bar:
        bar.update(1500)
        assert bar.line() == "Embedding: 1,500 of 2,000 texts"
    with Bar("Reading", unit="documents") as bar:
        bar.update()
        assert bar.line() == "Reading: 1 documents"


def test_a_bar_says_how_long_it_will_still_take() -> None:
    """By the rate so far, once that is known, as long as something is left, and where the total is known."""
    bar = Bar("Embedding", total=2000, unit="texts")
    bar._seconds = 60
    assert bar.line() == "Embedding: 0 of 2,000 texts, 1:00"
    bar.update(500)
    assert bar.line() == "Embedding: 500 of 2,000 texts, 1:00, about 3:00 left"
    assert bar.line(36) == "Embedding: 50, 1:00, about 3:00 left"
    assert bar.line(9) == ", 1:00, a"
    bar.update(1500)
    assert bar.line() == "Embedding: 2,000 of 2,000 texts, 1:00"
    bar._seconds, bar._count = 1.5, 1000
    assert bar.line() == "Embedding: 1,000 of 2,000 texts, 1 s"
    unknown = Bar("Reading", unit="documents")
    unknown._seconds = 60
    unknown.update()
    assert unknown.line() == "Reading: 1 documents, 1:00"


def test_a_terminal_has_one_line_that_changes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cut to the width, drawn again when it changes, and gone at the end; a line that stays is left above."""
    monkeypatch.setattr(progress, "_is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    steps = ["one", "two", "three, which is a long way to count"]
    shown = [steps[0]]
    with Activity(lambda: shown[-1]) as activity:
        for step in steps:
            shown.append(step)
            time.sleep(0.2)
        activity.print_line()
        shown.append("four")
        time.sleep(0.2)
    text = capsys.readouterr().err
    assert text.startswith("\rone\x1b[K\rtwo\x1b[K\rthree, which is a l\x1b[K\r\x1b[K")
    assert "three, which is a long way to count\n" in text
    assert text.endswith("\rfour\x1b[K\r\x1b[K")


def test_the_time_stays_in_view_on_a_narrow_terminal() -> None:
    """A text that fills the line is cut before the seconds: else nothing would move."""
    activity = Activity("A text that is longer than the line")
    activity._seconds = 75
    assert activity.line(20) == "A text that is, 1:15"
    assert activity.line() == "A text that is longer than the line, 1:15"


def test_an_activity_counts_only_the_time_in_which_it_is_entered() -> None:
    """A stream that waits for its reader is not at work."""
    activity = Activity("Working")
    for _ in range(2):
        with activity:
            time.sleep(0.05)
        time.sleep(0.3)
    assert 0.1 <= activity.seconds < 0.4


def test_disabled_progress_bars_are_silent(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of `datasets` are, by call or by environment."""
    datasets.disable_progress_bars()
    try:
        with Activity("Cooking"):
            time.sleep(0.1)
    finally:
        datasets.enable_progress_bars()
    monkeypatch.setattr(progress.sys, "modules", {})
    monkeypatch.setenv("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    with Activity("Cooking"):
        time.sleep(0.1)
    assert capsys.readouterr().err == ""


def _show(queue: multiprocessing.Queue[int]) -> None:
    with Activity("In the child"):
        time.sleep(0.1)
        queue.put(len(progress._display._stack))


def test_a_forked_process_shows_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    """A worker that is forked in the middle of an activity has a thread of its own, and does not show the parent's."""
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[int] = context.Queue()
    with Activity("In the parent"):
        time.sleep(0.05)
        child = context.Process(target=_show, args=(queue,))
        child.start()
        assert queue.get(timeout=30) == 1
        child.join()
    assert "In the child" in capfd.readouterr().err
