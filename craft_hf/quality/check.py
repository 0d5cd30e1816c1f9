"""What a check is: it looks at one sample at a time, and keeps it, or drops it with a reason.

A check of craft_hf is a class in a file of its own in this folder, and a line in `registry.BUILT_IN`. A user's own
check is the same class in `checks.py` of the task's folder, or behind an entry point: see docs/checks.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from craft_hf.base import JSON, Answer, Document, Embedder, Prompt, Verdict
from craft_hf.generation import Sampling
from craft_hf.tasks import Task

if TYPE_CHECKING:
    from craft_hf.quality.test_sets import TestSet

DUPLICATE_THRESHOLD = 85.0
"""Token-set ratio from which two samples count as the same (CRAFT, arXiv 2409.02098, section 3.4)."""

Ask = Callable[[Sequence[Prompt], Mapping[str, JSON], Sampling], Iterator[tuple[Prompt, Answer]]]
"""Asks a model prompts by a JSON Schema and a way of sampling; yields each prompt with its answer, if it has one."""


_WHOLE = Answer("", "stop")


@dataclass(frozen=True, eq=False)
class GeneratedSample:
    """What a model made of a document.

    `fields` are the sample's; `problem` says why the answer is no sample of the task, "" where it is one. From an
    answer that is no JSON object there are no fields. `is_repaired` tells of an answer that was nearly JSON.
    """

    document: Document
    fields: Mapping[str, JSON]
    answer: Answer = _WHOLE
    problem: str = ""
    is_repaired: bool = False


@dataclass(frozen=True)
class Limit:
    """What of a check's score decides.

    Args:
        threshold: where keeping ends and dropping begins.
        drops_above: whether high scores are dropped; otherwise low ones.
        near: how far from the threshold a score still leaves room for doubt, so that people should look; 0 for nowhere.
    """

    threshold: float
    drops_above: bool = False
    near: float = 0.0


@dataclass(frozen=True)
class CheckContext:
    """What a run gives its checks; each takes what it needs.

    Args:
        task: its schema, rules and few-shots.
        embedder: for what is compared by meaning.
        duplicate_threshold: token-set ratio, 0 to 100, from which two samples count as the same.
        duplicates_by: what of samples is compared, see `compared.COMPARED`.
        test_sets: loads the benchmarks that no sample may be taken from.
        earlier: samples of other datasets that no sample may repeat: (name of the sample, its fields).
        ask: asks the judge; None for no judge.
        judge_draws: how often the judge is asked about a sample, 1 or more.
        seed: of what is drawn.
    """

    task: Task
    embedder: Embedder
    duplicate_threshold: float = DUPLICATE_THRESHOLD
    duplicates_by: str = "values"
    test_sets: Callable[[], Sequence[TestSet]] = tuple
    earlier: Sequence[tuple[str, Mapping[str, JSON]]] = ()
    ask: Ask | None = None
    judge_draws: int = 1
    seed: int = 0


class Check(ABC):
    """Base of all checks; `check` is what a new one must have, beside `name` and `label`.

    A verdict follows from the sample and, where `compares` is true, from the samples that were remembered before it,
    and from nothing else: so it does not matter in which batches samples come.

    Attributes:
        name: stands in the rows and rejects, and after `--skip-checks`: lower-case letters, digits, "_" and "-".
        label: what the report's funnel calls samples that passed, such as "supported by the document".
        about: what the check wants, in a few words; for the docs and the review page.
        optional: whether a run may skip it.
        option: the option of a run without which the check is not made, such as "--judge"; "" for none.
        compares: whether verdicts depend on the samples kept before.
        reject_reason: what a person says who rejects a sample for what this check measures; "" for nothing. From such
            rejections the review page proposes thresholds.
    """

    name: ClassVar[str] = ""
    label: ClassVar[str] = ""
    about: ClassVar[str] = ""
    optional: ClassVar[bool] = True
    option: ClassVar[str] = ""
    compares: ClassVar[bool] = False
    reject_reason: ClassVar[str] = ""

    def __init__(self, context: CheckContext) -> None:
        self.task = context.task

    @classmethod
    def applies(cls, context: CheckContext) -> bool:
        """Return whether a run has anything for this check to look at; by default it has."""
        return True

    @classmethod
    def limit(cls, task: Task) -> Limit | None:
        """Return what of the score decides; None for a check without a score, or with none that says enough."""
        return None

    @classmethod
    def summary(cls, verdicts: Sequence[Verdict]) -> str:
        """Return what report and card say of what it measured, in a sentence; "" for nothing.

        Args:
            verdicts: those by which this check kept samples that are rows now; one or more.
        """
        return ""

    @abstractmethod
    def check(self, sample: GeneratedSample) -> Verdict:
        """Judge a sample by `keep` or `drop`; it may be asked twice about one, and no other verdict depends on that."""

    def prepare(self, samples: Sequence[GeneratedSample]) -> None:  # noqa: B027 (few checks need it)
        """Compute for a batch what costs less together, such as a model's answers, before each is checked.

        `check` must give the same verdict without it.
        """

    def remember(self, sample: GeneratedSample) -> None:  # noqa: B027 (few checks need it)
        """Take notice of a sample that passed all checks."""

    def keep(self, score: float | None = None, remark: str = "", partner: str = "") -> Verdict:
        """Return the verdict on a sample that passes.

        Args:
            score: what was measured.
            remark: what people should know of it all the same.
            partner: id of the document or few-shot that it was measured against.
        """
        return Verdict(self.name, True, remark, score, partner)

    def drop(self, reason: str, score: float | None = None, partner: str = "") -> Verdict:
        """Return the verdict on a sample that does not pass, with the reason; score and partner as for `keep`."""
        return Verdict(self.name, False, reason, score, partner)
