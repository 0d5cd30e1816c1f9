"""What decisions mean for a sample: those of several reviewers come in, one `Outcome` a sample goes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from craft_hf.base import JSON
from craft_hf.review.decisions import EDIT, REJECT, Decision


@dataclass(frozen=True)
class Outcome:
    """Keep the sample or not; `fields` are those of the edited one, None where nobody edited; `reason` is why not."""

    keep: bool
    fields: Mapping[str, JSON] | None
    reason: str
    reviewers: int

    @property
    def remark(self) -> str:
        """What a row says of it: "accepted" or "edited", and by how many."""
        return f"{'accepted' if self.fields is None else 'edited'} by {self.reviewers}"


def outcomes(standing: Iterable[Decision]) -> dict[str, Outcome]:
    """Return what people want with each sample that they decided: the majority counts, on a tie the last word.

    An edit keeps the sample, with the fields of the last edit.

    Args:
        standing: decisions as `Reviews.standing` gives them, oldest first.
    """
    by_sample: dict[str, list[Decision]] = {}
    for decision in standing:
        by_sample.setdefault(decision.sample_id, []).append(decision)
    return {sample_id: _outcome(decisions) for sample_id, decisions in by_sample.items()}


def _outcome(decisions: list[Decision]) -> Outcome:
    rejects = [d for d in decisions if d.verdict == REJECT]
    edits = [d for d in decisions if d.verdict == EDIT]
    tie, more = 2 * len(rejects) == len(decisions), 2 * len(rejects) > len(decisions)
    drop = decisions[-1].verdict == REJECT if tie else more
    reasons = Counter(d.reason for d in rejects if d.reason).most_common(1)
    reason = reasons[0][0] if drop and reasons else ""
    return Outcome(not drop, edits[-1].fields if edits and not drop else None, reason, len(decisions))
