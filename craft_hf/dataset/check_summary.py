"""Sentences on the results of the checks, for report and card."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from craft_hf.base import Sample
from craft_hf.quality import Overlap


def summarize_checks(samples: Sequence[Sample], overlaps: Sequence[Overlap], review: str = "") -> dict[str, str]:
    """Return a sentence each on contamination, grounding, judge and human review; none for what was not checked.

    Args:
        samples: those that were kept.
        overlaps: for each test set what was found of it.
        review: what people decided, in a sentence.
    """
    scores: dict[str, list[float]] = {}
    remarks: dict[str, int] = {}
    for verdict in (verdict for sample in samples for verdict in sample.verdicts):
        if verdict.score is not None:
            scores.setdefault(verdict.check, []).append(verdict.score)
        remarks[verdict.check] = remarks.get(verdict.check, 0) + bool(verdict.reason)
    found = {
        "contamination": " ".join(map(_overlap, overlaps)),
        "grounding": _grounding(scores.get("grounded", [])),
        "human_review": review,
        "judge": _judge(scores.get("judge", []), remarks.get("judge", 0)),
    }
    return {name: sentence for name, sentence in found.items() if sentence}


def _overlap(overlap: Overlap) -> str:
    if overlap.problem:
        return f"{overlap.name}: not checked ({overlap.problem})."
    return (
        f"{overlap.name}, {overlap.items:,} items: {overlap.dropped:,} samples dropped; of {overlap.kept:,} others "
        f"none has 13 words in a row from an item, and {overlap.with_short:,} have 5."
    )


def _grounding(shares: Sequence[float]) -> str:
    if not shares:
        return ""
    return (
        f"All {len(shares):,} generated rows passed the check of their words against their documents: of a row's least "
        f"supported claim {statistics.mean(shares):.0%} of the content words stand there on average, and "
        f"{min(shares):.0%} at least."
    )


def _judge(scores: Sequence[float], remarked: int) -> str:
    if not scores:
        return ""
    return f"The judge accepted all {len(scores):,} generated rows; {remarked:,} of them are marked as too easy."
