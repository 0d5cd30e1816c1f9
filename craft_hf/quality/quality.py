"""Quality: samples come in by the batch, each is kept or dropped with a reason and a score. One check a file.

The order is that of `CHECKS`: what looks at one sample alone comes first, the cheapest first, then the judge, if there
is one, and what compares with samples kept before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from craft_hf.base import JSON, Answer, Document, Embedder, Verdict
from craft_hf.quality.contaminated import ContaminatedCheck, Overlap
from craft_hf.quality.copied import CopiedCheck
from craft_hf.quality.duplicate import Duplicates
from craft_hf.quality.grounded import GroundedCheck
from craft_hf.quality.judge import Judge
from craft_hf.quality.language import LanguageCheck
from craft_hf.quality.repetitive import RepetitiveCheck
from craft_hf.quality.schema import SchemaCheck
from craft_hf.quality.semantic import SemanticDuplicates
from craft_hf.quality.test_sets import TestSet
from craft_hf.quality.wellformed import WellFormedCheck
from craft_hf.tasks import Task

DUPLICATE_THRESHOLD = 85.0
"""Token-set ratio from which two samples count as the same (CRAFT, arXiv 2409.02098, section 3.4)."""

CHECKS = (
    "schema", "wellformed", "repetitive", "language", "copied", "contaminated", "grounded", "judge", "duplicate",
    "semantic",
)  # fmt: skip
"""The names of all checks, in order."""

OPTIONAL = ("repetitive", "language", "copied", "contaminated", "grounded", "semantic")
"""Checks that can be switched off."""


@dataclass
class _Case:
    """A sample on its way through the checks."""

    document: Document
    fields: Mapping[str, JSON]
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def keep(self) -> bool:
        return self.verdicts[-1].keep


class Quality:
    """All checks of a run, in order; the first one that drops a sample decides.

    Args:
        task: its schema, rules and few-shots.
        embedder: for what is compared by meaning.
        duplicate_threshold: token-set ratio, 0 to 100.
        skip: names from `OPTIONAL` that are not checked.
        test_sets: benchmarks that no sample may be taken from.
        earlier: samples of other datasets that no sample may repeat: (name of the sample, its fields).
        judge: a model that is asked about each sample which passed the checks before it.
    """

    def __init__(
        self,
        task: Task,
        embedder: Embedder,
        duplicate_threshold: float = DUPLICATE_THRESHOLD,
        skip: Sequence[str] = (),
        test_sets: Sequence[TestSet] = (),
        earlier: Sequence[tuple[str, Mapping[str, JSON]]] = (),
        judge: Judge | None = None,
    ) -> None:
        self._schema = SchemaCheck(task.schema)
        self._wellformed = WellFormedCheck(task)
        self._repetitive = RepetitiveCheck(task) if "repetitive" not in skip else None
        self._language = LanguageCheck(task.language) if "language" not in skip else None
        self._copied = CopiedCheck(task) if "copied" not in skip else None
        self._contaminated = ContaminatedCheck(test_sets) if "contaminated" not in skip else None
        self._grounded = GroundedCheck(task, embedder) if "grounded" not in skip and task.grounded else None
        self._judge = judge
        self._duplicates = Duplicates(task.few_shots, duplicate_threshold, earlier)
        self._semantic = SemanticDuplicates(task.few_shots, embedder, earlier) if "semantic" not in skip else None
        active = (
            self._schema, self._wellformed, self._repetitive, self._language, self._copied, self._contaminated,
            self._grounded, self._judge, self._duplicates, self._semantic,
        )  # fmt: skip
        self.active = tuple(name for name, check in zip(CHECKS, active, strict=True) if check is not None)

    @property
    def overlaps(self) -> Sequence[Overlap]:
        """What was found of each test set so far."""
        return self._contaminated.overlaps if self._contaminated else ()

    def would_keep(self, answer: Answer) -> bool:
        """Whether an answer passes the checks that look at nothing but itself, and cost nothing."""
        fields, verdict = self._schema.check(answer)
        return verdict.keep and self._wellformed.check(fields).keep

    def check_all(
        self, documents: Sequence[Document], answers: Sequence[Answer]
    ) -> list[tuple[Mapping[str, JSON], list[Verdict]]]:
        """Judge a batch of answers, each to the prompt of a document, and remember what is kept for later ones.

        Returns:
            For each answer the sample's fields (empty if it is no JSON object), and the verdicts up to the first drop.
        """
        cases = [self._read(document, answer) for document, answer in zip(documents, answers, strict=True)]
        if self._judge:  # nobody is paid for what is dropped for another reason anyway
            new = [case for case in cases if case.keep and self._duplicates.check(case.fields).keep]
            judged = self._judge.check_all([(case.document, case.fields) for case in new])
            for case, verdict in zip(new, judged, strict=True):
                case.verdicts.append(verdict)
        self._compare([case for case in cases if case.keep])
        return [(case.fields, case.verdicts) for case in cases]

    def _read(self, document: Document, answer: Answer) -> _Case:
        """Apply what looks at one sample alone."""
        fields, verdict = self._schema.check(answer)
        case = _Case(document, fields, [verdict])
        if case.keep:
            case.verdicts.append(self._wellformed.check(fields))
        if case.keep and self._repetitive:
            case.verdicts.append(self._repetitive.check(fields))
        if case.keep and self._language:
            case.verdicts.append(self._language.check(fields))
        if case.keep and self._copied:
            case.verdicts.append(self._copied.check(document, fields))
        if case.keep and self._contaminated:
            case.verdicts.append(self._contaminated.check(fields))
        if case.keep and self._grounded:
            case.verdicts.append(self._grounded.check(document, fields))
        return case

    def _compare(self, cases: Sequence[_Case]) -> None:
        """Compare samples with those before them, in order."""
        if self._semantic:
            self._semantic.start([case.fields for case in cases])
        for number, case in enumerate(cases):
            case.verdicts.append(self._duplicates.check(case.fields))
            if case.keep and self._semantic:
                case.verdicts.append(self._semantic.check(number))
            if case.keep:
                self._duplicates.remember(case.document.id, case.fields)
                if self._semantic:
                    self._semantic.remember(number, case.document.id)
                if self._contaminated:
                    self._contaminated.count(case.fields)
        if self._semantic:
            self._semantic.finish()
