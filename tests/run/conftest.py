"""Runs without plots, which take as long as all else in a small run; tests/dataset and tests/e2e draw them."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a run draw nothing."""
    monkeypatch.setattr("craft_hf.dataset.folder.draw_plots", lambda *_, **__: {})
