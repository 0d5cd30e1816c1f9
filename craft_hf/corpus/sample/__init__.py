"""The sample corpus that ships with the package: some 500 openly licensed documents (see ATTRIBUTION.md)."""

from __future__ import annotations

from pathlib import Path


def sample_corpus() -> Path:
    """Return the JSONL file of the sample corpus; fields id, text, source, title, url, license."""
    return Path(__file__).parent / "sample.jsonl.gz"
