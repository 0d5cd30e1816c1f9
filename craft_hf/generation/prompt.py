"""Builds prompts: chat messages with three few-shots as earlier turns, and a retrieved document as the last one."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

from craft_hf.base import JSON, Document, FewShot, Hit, Prompt, chat_message, fingerprint
from craft_hf.tasks import Task, sample_json

FEW_SHOTS_IN_PROMPT = 3
"""Few-shots shown in a prompt (CRAFT, arXiv 2409.02098, section 3.3)."""


def default_prefix_groups(task: Task) -> int:
    """Return the fewest groups that show every few-shot: with more, fewer prompts would share a prefix."""
    return math.ceil(len(task.few_shots) / FEW_SHOTS_IN_PROMPT)


class PromptBuilder:
    """Builds the prompt of a document; the same document always gets the same prompt, whatever else is asked.

    Few-shots are drawn per group, not per prompt, so that the prompts of a group share a prefix that the model reads
    once. Over all groups each few-shot is used equally often, or once more. A document's group, and which of the task's
    instructions it gets, follow from a hash of its id and the seed, so a run over more documents changes no prompt. A
    few-shot is shown with the instruction that asks for it, if the task tells which one does.

    Args:
        task: gives instructions and few-shots.
        seed: another seed draws other groups.
        prefix_groups: how many groups, 1 or more; by default `default_prefix_groups`. "per-prompt" draws the few-shots
            of each prompt separately, as CRAFT does.
        promoted: further few-shots, found during the run: each gets an additional group of its own, so that the
            prefixes of the other groups stay cached.
    """

    def __init__(
        self,
        task: Task,
        seed: int = 0,
        prefix_groups: int | str | None = None,
        promoted: Sequence[FewShot] = (),
    ) -> None:
        self.task = task
        self.seed = seed
        self._all = (*task.few_shots, *promoted)
        self.groups: tuple[tuple[FewShot, ...], ...] = ()
        if not isinstance(prefix_groups, str):
            more = (_with_promoted(task, seed, shot) for shot in promoted)
            self.groups = (*_groups(task, seed, prefix_groups or default_prefix_groups(task)), *more)

    def build(self, document: Document, number: int = 0) -> Prompt:
        """Return a prompt for a document.

        Args:
            document: what to write a sample from.
            number: of the prompt among those of this document, from 0; each has other few-shots where there are enough,
                and a key of its own in any case.
        """
        draw = int(fingerprint([self.seed, document.id]), 16)
        if self.groups:
            draw, group = divmod(draw, len(self.groups))
            shots: Sequence[FewShot] = self.groups[(group + number) % len(self.groups)]
        else:
            shots = random.Random(draw + number).sample(self._all, FEW_SHOTS_IN_PROMPT)
        instruction = self.task.instructions[draw % len(self.task.instructions)]
        messages: list[Mapping[str, str]] = []
        for shot in shots:
            messages.append(user_message(shot.text, self.task.instruction(shot.sample) or instruction))
            messages.append(chat_message("assistant", sample_json(shot.sample)))
        messages.append(user_message(document.text, instruction))
        plain: list[JSON] = [dict(m) for m in messages]
        key = fingerprint([*plain, number] if number else plain)
        return Prompt(key, document.id, tuple(messages), tuple(shot.id for shot in shots))

    def build_all(self, hits: Sequence[Hit], prompts_per_document: int) -> list[tuple[Hit, Prompt]]:
        """Return so many prompts for each retrieved document, those of one document one after the other."""
        return [(hit, self.build(hit.document, number)) for hit in hits for number in range(prompts_per_document)]


def _groups(task: Task, seed: int, count: int) -> tuple[tuple[FewShot, ...], ...]:
    """Draw groups in rounds; in a round, position p of the groups cycles through the shuffled few-shots from offset p.

    A full round uses each few-shot once in each position. In a partial round the offsets are chosen so that each
    few-shot is used as often as any other, or once more.
    """
    rng = random.Random(seed)
    shots, groups = list(task.few_shots), list[tuple[FewShot, ...]]()
    while len(groups) < count:
        rng.shuffle(shots)
        size = min(len(shots), count - len(groups))
        offsets = [0, *rng.sample(range(1, len(shots)), FEW_SHOTS_IN_PROMPT - 1)]
        if len({place * size % len(shots) for place in range(FEW_SHOTS_IN_PROMPT)}) == FEW_SHOTS_IN_PROMPT:
            offsets = [place * size for place in range(FEW_SHOTS_IN_PROMPT)]
        elif 2 * size == len(shots):  # two positions use each few-shot once, whatever the third one does
            offsets = [0, size, next(offset for offset in offsets[1:] if offset != size)]
        groups += [tuple(shots[(first + offset) % len(shots)] for offset in offsets) for first in range(size)]
    return tuple(groups)


def _with_promoted(task: Task, seed: int, shot: FewShot) -> tuple[FewShot, ...]:
    """Return a group that ends with a promoted few-shot, where it influences the answer most."""
    draw = random.Random(int(fingerprint([seed, shot.id]), 16))
    return (*draw.sample(task.few_shots, FEW_SHOTS_IN_PROMPT - 1), shot)


def user_message(text: str, instruction: str) -> Mapping[str, str]:
    """Return the user turn that asks for a sample of a text, in which chat markers are broken up."""
    return chat_message("user", f"{instruction}\n\nText:\n{text.strip()}")
