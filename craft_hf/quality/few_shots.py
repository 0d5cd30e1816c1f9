"""Checks a task's few-shots as if a model had written them."""

from __future__ import annotations

from dataclasses import replace

from craft_hf.base import Answer, Document, Embedder, FewShot, Verdict
from craft_hf.quality.check import CheckContext, GeneratedSample
from craft_hf.quality.copied import CopiedCheck
from craft_hf.quality.grounded import GroundedCheck
from craft_hf.quality.quality import Quality
from craft_hf.tasks import Task, sample_json


def check_few_shots(task: Task, embedder: Embedder) -> list[tuple[FewShot, Verdict]]:
    """Judge each few-shot as if a model had written it from its text: by all checks, and against those before it.

    By what words it may ask is learnt from the others, as for what a model writes. What the model is shown is what it
    will imitate: few-shots that would be dropped ask for samples that are dropped.

    Args:
        task: its few-shots, schema and rules.
        embedder: for what is compared by meaning.

    Returns:
        Every few-shot with the verdict that decided; of two that are nearly the same it is the second that would be
        dropped.
    """
    task, shots = task.of_people, task.few_shots
    quality = Quality(CheckContext(replace(task, few_shots=()), embedder), skip=(GroundedCheck.name,))
    checked = quality.check_all(
        [Document(shot.id, shot.text) for shot in shots], [Answer(sample_json(shot.sample), "stop") for shot in shots]
    )
    quality.finish()
    found = []
    for number, (shot, found_of_shot) in enumerate(zip(shots, checked, strict=True)):
        last = found_of_shot.verdicts[-1]
        sample = GeneratedSample(Document(shot.id, shot.text), shot.sample)
        before, others = shots[:number], (*shots[:number], *shots[number + 1 :])
        for kind, shown in ((GroundedCheck, others), (CopiedCheck, before)):
            context = CheckContext(replace(task, few_shots=shown), embedder)
            if last.keep and kind.applies(context):
                verdict = kind(context).check(sample)
                last = last if verdict.keep else verdict
        found.append((shot, last))
    return found
