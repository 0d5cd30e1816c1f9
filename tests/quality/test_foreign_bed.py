"""The frozen part of the foreign bed: what README says of the checks on data that they have not seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from craft_hf.base.embedder import Embedder
from tests.benchmarks.foreign.damage import SEEN
from tests.benchmarks.foreign.frozen import measure_frozen

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.slow
@pytest.mark.weights
def test_what_readme_says_of_the_frozen_bed_is_so() -> None:
    """How many good samples are kept, and how many defects that a rule can see are caught."""
    found = measure_frozen(Embedder())
    dropped, good = (sum(counts) for counts in zip(*found.false_drops.values(), strict=True))
    seen = [counts for kind, counts in found.recall.items() if SEEN[kind]]
    caught, bad = (sum(counts) for counts in zip(*seen, strict=True))
    said = f"{good - dropped} of {good} good samples are kept and {caught} of {bad} with a defect dropped"
    assert said in " ".join(README.read_text().split()), said
