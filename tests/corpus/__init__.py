"""Tests of corpora."""

from __future__ import annotations

from craft_hf.corpus.ledger import Ledger


def left_out(ledger: Ledger) -> dict[str, int]:
    """How much was left out, by reason."""
    return {str(reason): found.count for reason, found in ledger.left_out.items()}
