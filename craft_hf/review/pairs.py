"""Preference pairs from review decisions, in the format of TRL's DPOTrainer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from craft_hf.base import JSON, chat_message
from craft_hf.generation import user_message
from craft_hf.review.consensus import Consensus, consensus_by_sample
from craft_hf.review.samples import ReviewSample
from craft_hf.review.store import ReviewStore
from craft_hf.tasks import Task, sample_json


def preference_pairs(reviews: ReviewStore, task: Task) -> Iterator[dict[str, JSON]]:
    """Yield pairs for a generator: columns prompt, chosen, rejected (chat messages), kind and sample_id.

    An edited sample is chosen over the one that it was made of ("edit"), and an accepted one over a rejected one of the
    same document ("same document"); the prompt is what a generator is asked, without few-shots. Where no sample of a
    rejected one's document was accepted, accepted samples of others are chosen in turn, and the prompt is the
    instruction alone ("instruction"): that teaches which samples are wanted, not which one suits a document.
    """
    decided = consensus_by_sample(reviews.current_decisions())
    samples = [(s, decided[s.id]) for s in reviews.samples() if s.id in decided]
    kept = [(s, _kept(s, outcome)) for s, outcome in samples if outcome.keep and (not s.dropped_by or outcome.fields)]
    by_document = {s.document["id"]: fields for s, fields in kept}
    turns = itertools.cycle(fields for _, fields in kept)
    for sample, outcome in samples:
        text = sample.document["text"]
        if outcome.keep:
            if outcome.fields is not None:
                yield _pair(task, text, outcome.fields, sample, "edit")
        elif (better := by_document.get(sample.document["id"])) is not None:
            yield _pair(task, text, better, sample, "same document")
        elif kept:
            yield _pair(task, "", next(turns), sample, "instruction")


def _kept(sample: ReviewSample, outcome: Consensus) -> Mapping[str, JSON]:
    return sample.fields if outcome.fields is None else outcome.fields


def _pair(task: Task, text: str, better: Mapping[str, JSON], sample: ReviewSample, kind: str) -> dict[str, JSON]:
    instruction = task.instruction(better) or task.instructions[0]
    return {
        "prompt": [user_message(text, instruction) if text else chat_message("user", instruction)],
        "chosen": [chat_message("assistant", sample_json(better))],
        "rejected": [chat_message("assistant", sample_json(sample.fields))],
        "kind": kind,
        "sample_id": sample.id,
    }
