"""Reviewers of a run that is going on: they see its samples, and their promotions and thresholds count from then on.

A promoted sample is a few-shot from the next round on, and a threshold that somebody said yes to is held from
then on. From which prompt on is written down at that moment, so that the same run done again has the same prompts, and
finds their answers in the journal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from craft_hf.base import JSON, Document, FewShot, Reject, Sample, Verdict, fingerprint
from craft_hf.quality import PEOPLE, SIMILARITY
from craft_hf.review.agreement import review_summary
from craft_hf.review.consensus import consensus_by_sample
from craft_hf.review.decisions import PROMOTE, THRESHOLD, Change, Decision
from craft_hf.review.samples import from_reject, from_sample, schema_problem
from craft_hf.review.store import ReviewStore
from craft_hf.review.threshold_proposals import checks_that_drop_above
from craft_hf.tasks import Task


class People:
    """The reviewers of a run.

    Args:
        path: the store.
        task: of the run.
        decisions: those that the run knows of; what is decided while it goes on is for the next one, which finds all
            answers in the journal. So the rows follow from what the run was asked for, and from nothing else.
    """

    def __init__(self, path: Path, task: Task, decisions: Sequence[Decision]) -> None:
        self._reviews, self._task, self._decisions = ReviewStore(path, task.name), task, decisions
        self._outcomes = consensus_by_sample(decisions)
        self._limits: dict[str, float] = {}
        self._drop_above = checks_that_drop_above(task)
        self._ids: list[str] = []
        self._applied = list[Change]()

    def close(self) -> None:
        """Close the store."""
        self._reviews.close()

    def next_change(self, seen: int) -> int | None:
        """Return the number of the next prompt, after `seen`, before which a recorded change applies; None if none."""
        later = [c.position for c in self._reviews.changes() if c.position is not None and c.position > seen]
        return min(later, default=None)

    def apply_changes(self, seen: int) -> list[FewShot]:
        """Apply what people changed until now from prompt number `seen` on; return all promoted few-shots."""
        self._reviews.set_positions([c.number for c in self._reviews.changes() if c.position is None], seen)
        self._applied = [c for c in self._reviews.changes() if c.position is not None and c.position <= seen]
        for change in self._applied:
            if change.kind == THRESHOLD:
                score, check = change.value["score"], str(change.value["check"])
                assert isinstance(score, int | float)
                self._limits[check] = float(score)
        return list({c.value["id"]: few_shot(c.value) for c in self._applied if c.kind == PROMOTE}.values())

    def decide(
        self, document: Document, similarity: float, fields: Mapping[str, JSON], verdicts: Sequence[Verdict]
    ) -> tuple[Mapping[str, JSON], list[Verdict]]:
        """Return a sample as people want it, with their verdict after those of the checks.

        Whoever accepts or edits what a check dropped puts it back; thresholds say nothing about what people decided.
        """
        if not fields:
            return fields, list(verdicts)
        self._ids.append(name := self._task.sample_id(document.id, fields))
        if outcome := self._outcomes.get(name):
            if not outcome.keep:
                return fields, [*verdicts, Verdict(PEOPLE, False, outcome.reason or "rejected")]
            wanted = fields if outcome.fields is None else outcome.fields
            if problem := schema_problem(self._task, wanted):
                return fields, [*verdicts, Verdict(PEOPLE, False, f"{outcome.remark}, but {problem}")]
            return wanted, [*verdicts, Verdict(PEOPLE, True, outcome.remark)]
        if verdicts[-1].keep:
            scores = {v.check: v.score for v in verdicts} | {SIMILARITY: similarity}
            for check, limit in self._limits.items():
                score = scores.get(check)
                above = check in self._drop_above
                if score is not None and (score > limit if above else score < limit):
                    side = "above" if above else "below"
                    reason = f"{check} is {side} the threshold that a reviewer set ({limit:g})"
                    return fields, [*verdicts, Verdict(PEOPLE, False, reason, score)]
        return fields, list(verdicts)

    def add(self, outcomes: Sequence[Sample | Reject]) -> None:
        """Show people the samples of a round, kept and dropped ones, unless they have decided about them."""
        samples = [outcome for outcome in outcomes if isinstance(outcome, Sample)]
        kept = [from_sample(self._task, s) for s in samples if not any(v.check == PEOPLE for v in s.verdicts)]
        rejects = [outcome for outcome in outcomes if isinstance(outcome, Reject)]
        dropped = [from_reject(self._task, reject) for reject in rejects if reject.fields]
        self._reviews.add([*kept, *(sample for sample in dropped if sample.id not in self._outcomes)])

    def summary(self) -> str:
        """Return what report and card say of the review."""
        changes = [f"From prompt {c.position:,} on, {_what(c)}." for c in self._applied if c.position is not None]
        return " ".join(part for part in (review_summary(self._reviews, self._decisions, self._ids), *changes) if part)


def promoted_few_shots(path: str, task: Task) -> list[FewShot]:
    """Return the promoted few-shots of a run's first prompt: those in force, and those not taken up yet."""
    with ReviewStore(Path(path), task.name) as reviews:
        changes = [c for c in reviews.changes() if c.kind == PROMOTE and not c.position]
        return list({c.value["id"]: few_shot(c.value) for c in changes}.values())


def few_shot(value: Mapping[str, JSON]) -> FewShot:
    """Return the few-shot of a promotion."""
    sample = value["sample"]
    assert isinstance(sample, Mapping)
    texts = {name: str(value[name]) for name in ("id", "text", "source", "license")}
    return FewShot(sample=sample, **texts)


def _what(change: Change) -> str:
    if change.kind == PROMOTE:
        return f"the promoted sample {change.value['id']} is a few-shot"
    return f"the threshold of {change.value['check']} is {change.value['score']}"


def read_review(path: str, task: Task) -> tuple[tuple[Decision, ...], JSON]:
    """Return the decisions that stand, and what of a review decides the rows of a run: what was said, not who said it.

    Raises:
        InputError: the file is of another task, or none of ours.
    """
    with ReviewStore(Path(path), task.name) as reviews:
        decisions = tuple(reviews.current_decisions())
        said: list[JSON] = [[d.sample_id, d.verdict, dict(d.fields)] for d in decisions]
        changed: list[JSON] = [[c.kind, dict(c.value), c.position] for c in reviews.changes()]
        return decisions, {"id": reviews.id, "decisions": fingerprint(said), "changes": fingerprint(changed)}
