"""Presets: what follows from the checks that there are."""

from __future__ import annotations

import pytest

from craft_hf.quality import registry
from craft_hf.quality.grounded import GroundedCheck
from craft_hf.quality.schema import SchemaCheck
from craft_hf.run.presets import PAPER


def test_preset_paper_skips_whatever_may_be_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new optional check of craft_hf does not slip into the paper's method."""

    class New(GroundedCheck):
        name = "new"

    monkeypatch.setattr(registry, "_built_in", lambda: (SchemaCheck, New))
    assert PAPER.of("bioqa")["skip_checks"] == ("new",)
