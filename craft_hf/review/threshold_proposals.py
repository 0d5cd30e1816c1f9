"""Thresholds that are proposed to reviewers, from the reasons and scores of what they rejected."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from craft_hf.quality import SIMILARITY, checks_for, limits_for
from craft_hf.review.consensus import consensus_by_sample
from craft_hf.review.decisions import REJECT, THRESHOLD
from craft_hf.review.store import ReviewStore
from craft_hf.tasks import Task

_OTHER_REASONS: Mapping[str, Sequence[str]] = {
    "not what the task asks for": [SIMILARITY],
    "badly written": [],
    "other": [],
}
"""Reasons to reject that no check of craft_hf measures; `SIMILARITY` is the document's."""

MIN_REJECTS = 3
"""Rejections for one reason before a threshold is proposed."""


@dataclass(frozen=True)
class ThresholdProposal:
    """A threshold of a check, and what it would have dropped: `rejected` of `of_rejected` that were rejected for it,
    and `accepted` of `of_accepted` that were accepted. `reason` is why samples were rejected.

    With `drops_above` it drops scores above it, else those below. `open` counts undecided samples that it would drop.
    """

    check: str
    score: float
    drops_above: bool
    reason: str
    rejected: int
    of_rejected: int
    accepted: int
    of_accepted: int
    open: int


def reject_reasons(task: Task) -> dict[str, list[str]]:
    """Return the reasons to reject, each with the checks whose scores measure it."""
    found: dict[str, list[str]] = {}
    measured = [(check.reject_reason, [check.name]) for check in checks_for(task) if check.reject_reason]
    for reason, names in [*measured, *_OTHER_REASONS.items()]:
        found.setdefault(reason, []).extend(names)
    return found


def checks_that_drop_above(task: Task) -> set[str]:
    """Return the names of the checks that drop a sample for a high score; others do for a low one."""
    return {name for name, limit in limits_for(task).items() if limit.drops_above}


def propose_thresholds(reviews: ReviewStore, task: Task) -> list[ThresholdProposal]:
    """Return for each reason, and check that measures it, the threshold that tells most rejected from accepted samples.

    It drops at least half of those rejected for the reason and at most a tenth of those accepted; of such thresholds
    the one with the most rejected minus accepted. None where no threshold is like this, or one that
    is as strict was accepted before.
    """
    standing = reviews.current_decisions()
    decided = consensus_by_sample(standing)
    held = {str(c.value["check"]): float(str(c.value["score"])) for c in reviews.changes() if c.kind == THRESHOLD}
    why: dict[str, set[str]] = {}
    for decision in standing:
        if decision.verdict == REJECT and decision.reason:
            why.setdefault(decision.reason, set()).add(decision.sample_id)
    found, above = [], checks_that_drop_above(task)
    for reason, check in [(reason, check) for reason, names in reject_reasons(task).items() for check in names]:
        if len(why.get(reason, ())) < MIN_REJECTS:
            continue
        side = -1.0 if check in above else 1.0
        kept = ((name, found.get(check)) for name, dropped_by, found in reviews.scores() if not dropped_by)
        scores = {name: side * score for name, score in kept if score is not None}
        bad = [scores[i] for i in why[reason] if i in scores and not decided[i].keep]
        good = [score for i, score in scores.items() if i in decided and decided[i].keep]
        rest = [score for i, score in scores.items() if i not in decided]
        best = _best(bad, good)
        if best is None or (check in held and side * held[check] >= best):
            continue
        dropped = [sum(score < best for score in group) for group in (bad, good, rest)]
        proposal = ThresholdProposal(
            check, round(side * best, 4), check in above, reason, dropped[0], len(why[reason]), dropped[1], len(good),
            dropped[2],
        )  # fmt: skip
        found.append(proposal)
    return found


def _best(bad: list[float], good: list[float]) -> float | None:
    """The threshold below which samples are to be dropped."""
    best, most = None, 0
    for score in sorted(set(bad)):
        limit = (math.floor(score * 1e4) + 1) / 1e4  # four digits, and above this one
        below, lost = sum(s < limit for s in bad), sum(s < limit for s in good)
        if 2 * below >= len(bad) and 10 * lost <= len(good) and below - lost > most:
            best, most = limit, below - lost
    return best
