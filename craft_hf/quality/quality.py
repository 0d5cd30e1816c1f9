"""All checks of a run, one after the other: each sample is kept, or dropped with a reason by the first check."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from craft_hf.base import JSON, Answer, Document, Vectors, Verdict
from craft_hf.quality.check import CheckContext, GeneratedSample
from craft_hf.quality.contaminated import ContaminatedCheck, Overlap
from craft_hf.quality.guarded import guarded_check
from craft_hf.quality.registry import checks_for
from craft_hf.quality.semantic import SemanticCheck
from craft_hf.tasks import answer_reader


@dataclass
class _Case:
    """A sample on its way through the checks."""

    sample: GeneratedSample
    reasoning: str = ""
    verdicts: list[Verdict] = field(default_factory=list)
    vector: np.ndarray | None = None

    @property
    def keep(self) -> bool:
        return all(verdict.keep for verdict in self.verdicts)


class Checked(NamedTuple):
    """What the checks say of an answer.

    Attributes:
        fields: of the sample; empty if there is no JSON object.
        verdicts: of the checks up to the first that drops it.
        vector: of the sample, float32 (dimension,), if a check has made it.
        reasoning: what the model wrote before its answer.
    """

    fields: Mapping[str, JSON]
    verdicts: Sequence[Verdict]
    vector: np.ndarray | None = None
    reasoning: str = ""


class Quality:
    """The checks of a run, in the order of `checks_for`; the first one that drops a sample decides.

    Args:
        context: what they need.
        skip: names of checks that are not made.

    Raises:
        InputError: see `checks_for`; or a check cannot be made.
    """

    def __init__(self, context: CheckContext, skip: Sequence[str] = ()) -> None:
        self._reader = answer_reader(context.task.schema)
        kinds = [kind for kind in checks_for(context.task) if kind.name not in skip]
        self._checks = [check for kind in kinds if (check := guarded_check(kind, context)) is not None]
        self._single = list(itertools.takewhile(lambda check: not check.compares, self._checks))
        self._comparing = self._checks[len(self._single) :]
        self._semantic = next((c.check for c in self._checks if isinstance(c.check, SemanticCheck)), None)
        self.answers = self.valid = 0  # that were given, and of these such as follow the task's schema

    @property
    def active(self) -> tuple[str, ...]:
        """The names of the checks that are made, in order."""
        return tuple(check.name for check in self._checks)

    @property
    def overlaps(self) -> Sequence[Overlap]:
        """What was found of each test set so far."""
        return next((c.check.overlaps for c in self._checks if isinstance(c.check, ContaminatedCheck)), ())

    def vector_of(self, fields: Mapping[str, JSON]) -> np.ndarray | None:
        """Return the vector of a sample that people have changed; None if no check makes any."""
        return self._semantic.vector_of(fields) if self._semantic else None

    @property
    def few_shot_vectors(self) -> Vectors:
        """The few-shots' vectors; none if no check makes any."""
        return self._semantic.few_shot_vectors if self._semantic else np.empty((0, 0), np.float32)

    def check_all(self, documents: Sequence[Document], answers: Sequence[Answer]) -> list[Checked]:
        """Judge answers, each to the prompt of a document, and remember what is kept for later ones.

        The verdicts are the same in whatever batches the answers come, as long as their order is.

        Raises:
            CraftError: a check fails for every sample, or the judge's model cannot be asked.
        """
        cases = [self._read(document, answer) for document, answer in zip(documents, answers, strict=True)]
        for check in self._single:
            left = [case for case in cases if case.keep]
            check.prepare([case.sample for case in left])
            for case in left:
                case.verdicts.append(check.judge(case.sample))
        left = [case for case in cases if case.keep]
        self._prepare([case.sample for case in left])
        for case in left:
            for check in self._comparing:
                case.verdicts.append(check.judge(case.sample))
                if not case.keep:
                    break
            else:
                if self._semantic:
                    case.vector = self._semantic.vector(case.sample)
                for check in self._checks:
                    check.remember(case.sample)
        return [Checked(case.sample.fields, case.verdicts, case.vector, case.reasoning) for case in cases]

    def finish(self) -> None:
        """Say that there will be no more samples.

        Raises:
            CraftError: a check failed for every sample that it saw.
        """
        for check in self._checks:
            check.finish()

    def _prepare(self, samples: Sequence[GeneratedSample]) -> None:
        """Prepare the checks that compare, and those behind them: nothing is paid for what is dropped already now."""
        for place, check in enumerate(self._comparing, 1):
            check.prepare(samples)
            if place < len(self._comparing):
                samples = [sample for sample in samples if check.look(sample).keep]

    def _read(self, document: Document, answer: Answer) -> _Case:
        found = self._reader.read(answer)
        self.answers += answer.is_answer
        self.valid += answer.is_answer and not found.problem
        sample = GeneratedSample(document, found.fields, answer, found.problem, found.is_repaired)
        return _Case(sample, found.reasoning)
