"""What the tests of the checks share: a task, a document, and a good sample of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from craft_hf.base.embedder import Embedder
from craft_hf.base.records import Answer, Document, Verdict
from craft_hf.quality.check import CheckContext, GeneratedSample
from craft_hf.quality.quality import Quality
from craft_hf.quality.registry import checks_for, optional_checks
from craft_hf.quality.test_sets import TestSet
from craft_hf.tasks.task import Task, load_task
from tests.vectors import HashEmbedder

BIOQA = load_task("bioqa")

PLANTS = Document(
    "plants-1",
    "In photosynthesis, plants take up carbon dioxide through small pores in their leaves. With the energy of light "
    "they turn it into sugar, and give off oxygen. A square metre of leaf fixes about 1,200 milligrams of the gas in "
    "an hour, twice as much as at dusk; half of it comes back at night, when the cells burn a part of the sugar.",
)

CHECKS = tuple(check.name for check in checks_for(BIOQA))
OPTIONAL = optional_checks(BIOQA)

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
    return quality.check_all([document], [answer(fields)])[0].verdicts[-1]


def context(
    task: Task = BIOQA, test_sets: Sequence[TestSet] = (), embedder: Embedder | None = None, **settings: Any
) -> CheckContext:
    """What checks of a task get; vectors mean something only with an embedder."""
    return CheckContext(task, embedder or HashEmbedder(), test_sets=lambda: test_sets, **settings)


def sample(fields: Mapping[str, Any] = GOOD, document: Document = PLANTS) -> GeneratedSample:
    """A sample that was read."""
    return GeneratedSample(document, fields)


def quality(skip: Sequence[str] = (), embedder: Embedder | None = None, **settings: Any) -> Quality:
    """All checks of bioqa, with the real embedder unless another is given."""
    return Quality(context(embedder=embedder or Embedder(), **settings), skip)


def task(name: str = "bioqa", **changes: Any) -> Any:
    """A shipped task with other rules."""
    return replace(load_task(name), **changes)
