"""Shared by all tests: a cache of their own, no Hub, no weights unless marked, and a server that writes samples."""
# ruff: noqa: E402  # the environment has to be set before any Hugging Face library is imported

from __future__ import annotations

import os
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:  # as many workers as cores: each, and each process that it starts, takes one
    os.environ["OMP_NUM_THREADS"] = "1"
else:
    os.environ.setdefault("HF_HOME", tempfile.mkdtemp(prefix="craft-hf-tests-"))
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
for name in ("CRAFT_HF_API_KEY", "OPENAI_API_KEY", "CRAFT_HF_HOME"):
    os.environ.pop(name, None)

import shutil
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from craft_hf.base.models import cache_folder
from tests.openai_server import serving
from tests.writer_server import WriterServer

UNMEASURED = ("slow", "long", "engine")
"""Marks of tests in which no coverage is measured, and which may open the embedded weights."""

NO_WEIGHTS = str(Path(__file__).with_name("no_weights"))
"""A folder with modules that hide the packages of the embedded weights."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure no coverage in slow tests, where it costs much; begin with their files, so that workers end together."""
    slow = [item for item in items if any(map(item.get_closest_marker, UNMEASURED))]
    for item in slow:
        item.add_marker("no_cover")
    first = {item.path for item in slow if item.get_closest_marker("weights")}
    items.sort(key=lambda item: item.path not in first)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Hide the embedded weights, also from subprocesses, from the tests of the quick round."""
    if any(item.get_closest_marker(name) for name in ("weights", *UNMEASURED)):
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [NO_WEIGHTS, *sys.path])
        patch.setenv("PYTHONPATH", NO_WEIGHTS, prepend=os.pathsep)
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say how to mend a test that found no weights because it is not marked."""
    report = yield
    if report.failed and "embedded default weights are not installed" in report.longreprtext:
        report.sections.append(
            ("weights", "They are hidden from tests that are marked neither `weights` nor `slow`, see conftest.py.")
        )
    return report


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh cache for runs and journals, with the models and the sample index of the session's cache linked in."""
    shared, own = cache_folder(), tmp_path / "home"
    own.mkdir()
    for folder in ("models", "indexes"):
        (shared / folder).mkdir(parents=True, exist_ok=True)
        (own / folder).symlink_to(shared / folder)
    monkeypatch.setenv("CRAFT_HF_HOME", str(own))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    return own


@pytest.fixture
def server() -> Iterator[WriterServer]:
    """A real HTTP server on loopback that answers prompts of the bioqa task; it stands in for a hosted model."""
    with serving(WriterServer()) as fake:
        assert isinstance(fake, WriterServer)
        yield fake


def pytest_unconfigure() -> None:
    """Remove the cache when the last test is done; workers share that of the process that started them."""
    if "PYTEST_XDIST_WORKER" not in os.environ and "craft-hf-tests-" in os.environ["HF_HOME"]:
        shutil.rmtree(os.environ["HF_HOME"], ignore_errors=True)
