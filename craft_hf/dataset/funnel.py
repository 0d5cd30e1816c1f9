"""The funnel of a run: how many documents were left after each stage, from the index to the kept rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A stage of the funnel.

    Args:
        stage: its name: "index", "selected", "passed_over", "retrieved", "few_shot_texts", "prompted", that of a check,
            "review", "kept".
        label: what people read, such as "supported by the document".
        count: how many documents were left after it.
        removed: whether `count` says instead how many this stage took away.
    """

    stage: str
    label: str
    count: int
    removed: bool = False


def funnel_shares(funnel: Sequence[Stage]) -> list[tuple[Stage, str]]:
    """Return each stage with its share of the stage before, in percent; "" for the first, and after an empty one."""
    shares, before = [], 0
    for stage in funnel:
        shares.append((stage, f"{100 * stage.count / before:.1f}%" if before else ""))
        before = before if stage.removed else stage.count
    return shares


def funnel_mismatch(funnel: Sequence[Stage], generated: int) -> list[str]:
    """Return a sentence if the funnel does not end in the rows that there are: better said than hidden."""
    if not funnel or funnel[-1].count == generated:
        return []
    last = funnel[-1]
    return [f"The last stage, {last.label}, counts {last.count}, but the dataset has {generated} generated rows."]
