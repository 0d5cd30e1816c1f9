"""What a reviewer says: `Decision` about a sample, `Change` for the prompts to come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from craft_hf.base import JSON

ACCEPT, REJECT, EDIT, UNDO = "accept", "reject", "edit", "undo"
VERDICTS = (ACCEPT, REJECT, EDIT, UNDO)
PROMOTE, THRESHOLD = "promote", "threshold"


@dataclass(frozen=True)
class Decision:
    """What a reviewer said of a sample; `fields` are those of the edited sample, `at` is UTC in ISO 8601."""

    sample_id: str
    reviewer: str
    verdict: str
    reason: str = ""
    note: str = ""
    fields: Mapping[str, JSON] = field(default_factory=dict)
    at: str = ""
    key: str = ""
    undoes: str = ""
    """Token of the decision that an undo takes back."""


@dataclass(frozen=True)
class Change:
    """What a reviewer changed for the prompts to come; `position` says from which prompt on, None for not yet.

    A promotion's `value` is the few-shot: id, text, sample, source, license. A threshold's is the check and the score.
    """

    number: int
    kind: str
    value: Mapping[str, JSON]
    reviewer: str
    at: str
    position: int | None
