"""Prompts: a task and a retrieved document come in, chat messages with three few-shots as earlier turns go out."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping

from craft_hf.records import JSON, Document, FewShot, Prompt, fingerprint
from craft_hf.tasks import Task

FEW_SHOTS_IN_PROMPT = 3
"""Few-shots shown in a prompt (CRAFT, arXiv 2409.02098, section 3.3)."""


def sample_json(sample: Mapping[str, JSON]) -> str:
    """Return a sample as the model sees and writes it: one line of JSON, keys in the order of the schema."""
    return json.dumps(sample, ensure_ascii=False)


class Prompter:
    """Builds the prompt of a document; the same document always gets the same prompt, whatever else is asked.

    The few-shots are drawn per group, not per prompt, so that the prompts of a group share a prefix that the model
    reads once. There are as many groups as few-shots, and over the groups every few-shot stands equally often in every
    position. A document's group (and which of the task's instructions it gets) follows from a hash of its id and the
    seed, so asking for more documents later changes no prompt.

    Args:
        task: gives instructions and few-shots.
        seed: another seed draws other groups.
    """

    def __init__(self, task: Task, seed: int = 0) -> None:
        self.task = task
        self.seed = seed
        rng = random.Random(seed)
        shots = list(task.few_shots)
        rng.shuffle(shots)
        offsets = [0, *rng.sample(range(1, len(shots)), FEW_SHOTS_IN_PROMPT - 1)]
        self.groups: tuple[tuple[FewShot, ...], ...] = tuple(
            tuple(shots[(first + offset) % len(shots)] for offset in offsets) for first in range(len(shots))
        )

    def prompt(self, document: Document) -> Prompt:
        """Return the prompt for a document."""
        draw = int(fingerprint([self.seed, document.id]), 16)
        group = self.groups[draw % len(self.groups)]
        instruction = self.task.instructions[draw // len(self.groups) % len(self.task.instructions)]
        messages: list[Mapping[str, str]] = []
        for shot in group:
            messages.append(_user(shot.text, instruction))
            messages.append({"role": "assistant", "content": sample_json(shot.sample)})
        messages.append(_user(document.text, instruction))
        plain = [dict(m) for m in messages]
        return Prompt(fingerprint(plain), document.id, tuple(messages), tuple(shot.id for shot in group))


def _user(text: str, instruction: str) -> Mapping[str, str]:
    return {"role": "user", "content": f"{instruction}\n\nText:\n{text.strip()}"}
