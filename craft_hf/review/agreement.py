"""Agreement between reviewers, and of the judge with them, as shares and Cohen's kappa."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from craft_hf.quality import JudgeCheck
from craft_hf.review.consensus import consensus_by_sample
from craft_hf.review.decisions import REJECT, Decision
from craft_hf.review.store import ReviewStore

JUDGE = "the judge"


@dataclass(frozen=True)
class Agreement:
    """How two reviewers agree: on how many samples both decided, on which share alike, and Cohen's kappa.

    Kappa is (p - e) / (1 - e), with p the share on which they agree and e the share that chance would give with as
    many rejections of each (Cohen 1960); None where both always said the same, which leaves nothing to compare.
    """

    first: str
    second: str
    samples: int
    share: float
    kappa: float | None


def agreements(reviews: ReviewStore, decisions: Sequence[Decision]) -> list[Agreement]:
    """Return the agreement of every two reviewers, and of the judge with people, on keeping a sample or not.

    An edit counts as keeping the sample. The judge is compared with the consensus of people, on samples that it judged.

    Args:
        reviews: the store, which also holds what the judge said.
        decisions: those to compare, as `ReviewStore.current_decisions` gives them.
    """
    kept: dict[str, dict[str, bool]] = {}
    for decision in decisions:
        kept.setdefault(decision.reviewer, {})[decision.sample_id] = decision.verdict != REJECT
    together = {sample_id: outcome.keep for sample_id, outcome in consensus_by_sample(decisions).items()}
    check = JudgeCheck.name
    judged = {name: by != check for name, by, scores in reviews.scores() if by == check or check in scores}
    pairs = [(a, b, kept[a], kept[b]) for a, b in itertools.combinations(kept, 2)]
    return [
        found
        for first, second, mine, yours in [*pairs, (JUDGE, "people", judged, together)]
        if (found := _agreement(first, second, mine, yours)) is not None
    ]


def _agreement(first: str, second: str, mine: Mapping[str, bool], yours: Mapping[str, bool]) -> Agreement | None:
    from sklearn.metrics import cohen_kappa_score

    both = sorted(set(mine) & set(yours))
    if not both:
        return None
    a, b = [mine[s] for s in both], [yours[s] for s in both]
    share = sum(x == y for x, y in zip(a, b, strict=True)) / len(both)
    kappa = float(cohen_kappa_score(a, b)) if len({*a, *b}) > 1 else None
    return Agreement(first, second, len(both), round(share, 4), None if kappa is None else round(kappa, 4))


def review_summary(reviews: ReviewStore, decisions: Sequence[Decision], ids: Sequence[str]) -> str:
    """Return what report and card say about the review, without names; "" if nobody decided anything.

    Args:
        reviews: the store.
        decisions: what people decided, as `ReviewStore.current_decisions` gives it.
        ids: of all samples that the run had, kept or not.
    """
    wanted = set(ids)
    decisions = [d for d in decisions if d.sample_id in wanted]
    if not decisions:
        return ""
    names = {name: f"reviewer {n}" for n, name in enumerate(dict.fromkeys(d.reviewer for d in decisions), 1)}
    found = consensus_by_sample(decisions).values()
    edited = sum(outcome.fields is not None for outcome in found)
    dropped = sum(not outcome.keep for outcome in found)
    people = "1 person" if len(names) == 1 else f"{len(names)} people"
    text = (
        f"{people} decided about {len(found):,} of {len(wanted):,} samples: "
        f"{len(found) - dropped - edited:,} accepted, {edited:,} edited, {dropped:,} rejected."
    )
    for pair in agreements(reviews, decisions):
        kappa = "not defined, for both always said the same" if pair.kappa is None else f"{pair.kappa:.2f}"
        first, second = (names.get(name, name) for name in (pair.first, pair.second))
        text += (
            f" {first[:1].upper()}{first[1:]} and {second} agree on {pair.share:.0%} of {pair.samples:,} samples "
            f"(Cohen's kappa {kappa})."
        )
    return text
