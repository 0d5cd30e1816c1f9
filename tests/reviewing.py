"""Samples to review, made of few-shots: a stand-in for generated ones where people are what a test is about."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from craft_hf.base.records import JSON
from craft_hf.review.decisions import Decision
from craft_hf.review.samples import ReviewSample
from craft_hf.review.store import ReviewStore
from craft_hf.tasks.task import Task, load_task

TASK = load_task("bioqa")

_keys = map(str, itertools.count())


def made_sample(number: int, task: Task = TASK, **more: object) -> ReviewSample:
    """Sample `number` of document `number`; what is given takes the place of what is made."""
    shot = task.few_shots[number % len(task.few_shots)]
    document = {"id": f"doc-{number}", "text": shot.text, "source": "made", "title": "", "url": "", "license": "CC0"}
    fields: Mapping[str, JSON] = {**shot.sample, "question": f"{number}: {shot.sample['question']}"}
    sample = ReviewSample(task.sample_id(document["id"], fields), fields, document, [], uncertainty=1 / (number + 1))
    return replace(sample, **more)  # type: ignore[arg-type]


def made_reviews(path: Path, count: int) -> tuple[ReviewStore, list[ReviewSample]]:
    """A store with samples 0 to count - 1."""
    samples = [made_sample(number) for number in range(count)]
    reviews = ReviewStore(path, TASK.name)
    reviews.add(samples)
    return reviews, samples


def decide(reviews: ReviewStore, sample: ReviewSample, verdict: str, reviewer: str = "ann", **more: object) -> Decision:
    """Decide, with a key of its own; returns the decision."""
    decision = Decision(sample.id, reviewer, verdict, key=f"key-{next(_keys)}")
    reviews.decide(decision := replace(decision, **more))  # type: ignore[arg-type]
    return decision
