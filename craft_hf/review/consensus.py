"""The consensus of several reviewers on a sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from craft_hf.base import JSON
from craft_hf.review.decisions import EDIT, REJECT, Decision


@dataclass(frozen=True)
class Consensus:
    """Whether a sample is kept, with the edited fields (None if nobody edited it) and the reason if it is not."""

    keep: bool
    fields: Mapping[str, JSON] | None
    reason: str
    reviewers: int

    @property
    def remark(self) -> str:
        """What the row's `checks` say: "accepted" or "edited", and by how many reviewers."""
        return f"{'accepted' if self.fields is None else 'edited'} by {self.reviewers}"


def consensus_by_sample(standing: Iterable[Decision]) -> dict[str, Consensus]:
    """Return the consensus on each sample that was decided: the majority, and on a tie the last decision.

    An edit counts as keeping the sample; the fields of the last edit are used.

    Args:
        standing: decisions as `ReviewStore.current_decisions` gives them, oldest first.
    """
    by_sample: dict[str, list[Decision]] = {}
    for decision in standing:
        by_sample.setdefault(decision.sample_id, []).append(decision)
    return {sample_id: _consensus(decisions) for sample_id, decisions in by_sample.items()}


def _consensus(decisions: list[Decision]) -> Consensus:
    rejects = [d for d in decisions if d.verdict == REJECT]
    edits = [d for d in decisions if d.verdict == EDIT]
    tie, more = 2 * len(rejects) == len(decisions), 2 * len(rejects) > len(decisions)
    drop = decisions[-1].verdict == REJECT if tie else more
    reasons = Counter(d.reason for d in rejects if d.reason).most_common(1)
    reason = reasons[0][0] if drop and reasons else ""
    return Consensus(not drop, edits[-1].fields if edits and not drop else None, reason, len(decisions))
