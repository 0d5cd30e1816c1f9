"""Is the answer whole, is it JSON, and does it follow the task's schema?"""

from __future__ import annotations

from collections.abc import Sequence

from craft_hf.base import CUT, OVERLONG, Verdict
from craft_hf.quality.check import Check, GeneratedSample

REPAIRED = "nearly JSON, repaired"
"""Remark on a sample that was read from an answer with faults in its punctuation, or inside of another object."""


class SchemaCheck(Check):
    """Drops what is no sample of the task."""

    name = "schema"
    label = "following the schema"
    about = "whole, valid JSON that follows the task's JSON Schema"
    optional = False

    @classmethod
    def summary(cls, verdicts: Sequence[Verdict]) -> str:
        """Tell how many answers were repaired."""
        repaired = sum(verdict.reason == REPAIRED for verdict in verdicts)
        return f"{repaired} of {len(verdicts)} samples were read from answers that were {REPAIRED}." if repaired else ""

    def check(self, sample: GeneratedSample) -> Verdict:
        """Judge by what was wrong when the answer was read; of a cut one the score is its tokens."""
        if not sample.problem:
            return self.keep(remark=REPAIRED if sample.is_repaired else "")
        cut = sample.answer.finish_reason in (CUT, OVERLONG)
        return self.drop(sample.problem, float(sample.answer.completion_tokens) if cut else None)
