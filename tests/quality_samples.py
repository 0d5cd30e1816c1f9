"""What the tests of the checks share: a task, a document, and a good sample of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from craft_hf.base.embedder import Embedder
from craft_hf.base.records import Answer, Document, Verdict
from craft_hf.quality.quality import Quality
from craft_hf.tasks.task import load_task

BIOQA = load_task("bioqa")

PLANTS = Document(
    "plants-1",
    "In photosynthesis, plants take up carbon dioxide through small pores in their leaves. With the energy of light "
    "they turn it into sugar, and give off oxygen. A square metre of leaf fixes about 1,200 milligrams of the gas in "
    "an hour, twice as much as at dusk; half of it comes back at night, when the cells burn a part of the sugar.",
)

GOOD: Mapping[str, Any] = {
    "question": "Which gas do plants take up in photosynthesis?",
    "options": ["A. Carbon dioxide", "B. Oxygen", "C. Nitrogen", "D. Helium"],
    "answer": "A",
}


def changed(**fields: object) -> dict[str, Any]:
    """The good sample with other fields."""
    return {**GOOD, **fields}


def answer(fields: Mapping[str, Any] | str, finish_reason: str = "stop") -> Answer:
    """An answer as a model would give it."""
    return Answer(fields if isinstance(fields, str) else json.dumps(fields), finish_reason, 10, 20)


def last(quality: Quality, fields: Mapping[str, Any] | str, document: Document = PLANTS) -> Verdict:
    """The last verdict on one answer."""
    return quality.check_all([document], [answer(fields)])[0][1][-1]


def quality(**settings: Any) -> Quality:
    """All checks of bioqa, with the real embedder."""
    return Quality(settings.pop("task", BIOQA), Embedder(), **settings)


def task(name: str = "bioqa", **changes: Any) -> Any:
    """A shipped task with other rules."""
    return replace(load_task(name), **changes)
