"""Quality: samples come in one by one, each is kept or dropped with a reason. One check a file, cheapest first."""

from __future__ import annotations

from collections.abc import Mapping

from craft_hf.quality.duplicate import Duplicates
from craft_hf.quality.schema import SchemaCheck
from craft_hf.quality.wellformed import WellFormedCheck
from craft_hf.records import JSON, Answer, Verdict
from craft_hf.tasks import Task

DUPLICATE_THRESHOLD = 85.0
"""Token-set ratio from which two samples count as the same (CRAFT, arXiv 2409.02098, section 3.4)."""


class Quality:
    """All checks of a run, in order; the first one that drops a sample decides.

    Args:
        task: its schema, rules and few-shots.
        duplicate_threshold: token-set ratio, 0 to 100.
    """

    def __init__(self, task: Task, duplicate_threshold: float = DUPLICATE_THRESHOLD) -> None:
        self._schema = SchemaCheck(task.schema)
        self._wellformed = WellFormedCheck(task)
        self._duplicates = Duplicates(task.few_shots, duplicate_threshold)

    def would_keep(self, answer: Answer) -> bool:
        """Whether an answer passes the checks that look at nothing but itself."""
        fields, verdict = self._schema.check(answer)
        return verdict.keep and self._wellformed.check(fields).keep

    def check(self, document_id: str, answer: Answer) -> tuple[Mapping[str, JSON], list[Verdict]]:
        """Judge the answer to a document's prompt, and remember it for later ones if it is kept.

        Returns:
            The sample's fields (empty if the answer is no JSON object), and the verdicts up to the first drop.
        """
        fields, verdict = self._schema.check(answer)
        verdicts = [verdict]
        if verdict.keep:
            verdicts.append(self._wellformed.check(fields))
        if verdicts[-1].keep:
            verdicts.append(self._duplicates.check(document_id, fields))
        return fields, verdicts
