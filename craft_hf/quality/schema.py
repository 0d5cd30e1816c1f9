"""Is the answer whole, is it JSON, and does it follow the task's schema?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from craft_hf.base import CUT, JSON, OVERLONG, Verdict
from craft_hf.quality.check import Check, GeneratedSample

REPAIRED = "nearly JSON, repaired"
"""Remark on a sample that was read from an answer with faults in its punctuation, or inside of another object."""


class SchemaCheck(Check):
    """Drops what is no sample of the task, or none that its templates can render for training."""

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
        if sample.problem:
            cut = sample.answer.finish_reason in (CUT, OVERLONG)
            return self.drop(sample.problem, float(sample.answer.completion_tokens) if cut else None)
        if problem := self._untrainable(sample.fields):
            return self.drop(problem)
        return self.keep(remark=REPAIRED if sample.is_repaired else "")

    def _untrainable(self, fields: Mapping[str, JSON]) -> str:
        """Say why a sample cannot become a row: the task's templates decide what is trained on."""
        import jinja2

        try:
            _, completion = self.task.conversation(fields)
        except jinja2.TemplateError as e:
            return f"does not fit the templates of the task: {' '.join(str(e).split())[:200]}"
        return "" if completion[0]["content"] else "the task's completion template gives nothing for it"
