"""A running engine, one after the other, for all tests that take it; and the place of their figures."""
# ruff: noqa: D103

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.engine import Engine, running
from tests.engines.figures import Figures


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--figures", type=Path, help="JSON file for the figures of the engines (default: a temporary one)")
    parser.addoption("--task", default="csqa", help="task of the runs in which started engines are killed")
    parser.addoption("--prompts", type=int, default=12, help="prompts of such a run")
    parser.addoption("--kills", type=int, default=6, help="kills in such a run")


@pytest.fixture(scope="session", params=["vllm", "llamacpp"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A real server over the embedded model; pytest runs all tests of one before it starts the next."""
    with running(request.param, tmp_path_factory.mktemp(request.param)) as engine:
        yield engine


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Figures:
    """What is measured; each figure is printed and written down as soon as it is there."""
    given = request.config.getoption("--figures", default=None)
    return Figures(given or tmp_path_factory.getbasetemp() / "figures.json")
