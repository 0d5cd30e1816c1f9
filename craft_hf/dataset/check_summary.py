"""Sentences on the results of the checks, for report and card."""

from __future__ import annotations

from collections.abc import Sequence

from craft_hf.base import Sample
from craft_hf.quality import CONTAMINATION, HUMAN_REVIEW, Overlap, summaries_for
from craft_hf.tasks import Task


def summarize_checks(
    task: Task, samples: Sequence[Sample], overlaps: Sequence[Overlap], review: str = ""
) -> dict[str, str]:
    """Return a sentence each on contamination, human review, and what the checks say; none for what was not checked.

    Args:
        task: of the run.
        samples: those that were kept.
        overlaps: for each test set what was found of it.
        review: what people decided, in a sentence.
    """
    found = {CONTAMINATION: " ".join(map(_overlap, overlaps)), HUMAN_REVIEW: review}
    said = summaries_for(task, (verdict for sample in samples for verdict in sample.verdicts))
    return {**{name: sentence for name, sentence in found.items() if sentence}, **said}


def _overlap(overlap: Overlap) -> str:
    if overlap.problem:
        return f"{overlap.name}: not checked ({overlap.problem})."
    return (
        f"{overlap.name}, {overlap.items:,} items: {overlap.dropped:,} samples dropped; of {overlap.kept:,} others "
        f"none has 13 words in a row from an item, and {overlap.with_short:,} have 5."
    )
