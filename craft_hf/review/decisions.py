"""Records of a review: `Decision` about a sample, `Change` of later prompts and thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from craft_hf.base import JSON

ACCEPT, REJECT, EDIT, UNDO = "accept", "reject", "edit", "undo"
VERDICTS = (ACCEPT, REJECT, EDIT, UNDO)
PROMOTE, THRESHOLD = "promote", "threshold"


@dataclass(frozen=True)
class Decision:
    """A reviewer's decision about a sample; `fields` are those of the edited sample, `at` is UTC in ISO 8601.

    `key` is unique, so that a decision that is sent twice counts once; `undoes` is the key of the decision that an undo
    takes back.
    """

    sample_id: str
    reviewer: str
    verdict: str
    reason: str = ""
    note: str = ""
    fields: Mapping[str, JSON] = field(default_factory=dict)
    at: str = ""
    key: str = ""
    undoes: str = ""


@dataclass(frozen=True)
class Change:
    """A promoted few-shot or a threshold, in force from prompt number `position` on; None before a run took it up.

    A promotion's `value` is the few-shot (id, text, sample, source, license), a threshold's the check and the score.
    """

    number: int
    kind: str
    value: Mapping[str, JSON]
    reviewer: str
    at: str
    position: int | None
