"""Runs without plots, which take as long as all else in a small run; tests/dataset and tests/e2e draw them."""

from __future__ import annotations

import pytest


@pytest.fixture
def plots() -> None:
    """Let the runs of a test draw their plots."""


@pytest.fixture(autouse=True)
def no_plots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run draw nothing, unless a test asks for `plots`."""
    if "plots" not in request.fixturenames:
        monkeypatch.setattr("craft_hf.dataset.folder.draw_plots", lambda *_, **__: {})
