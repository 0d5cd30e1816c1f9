"""What every generator is: prompts come in, answers go out as they finish."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from craft_hf.base import JSON, Answer, Prompt, fingerprint


@dataclass(frozen=True)
class Sampling:
    """How the model draws its tokens; the defaults are CRAFT's (arXiv 2409.02098, section 3).

    `max_new_tokens` is the limit of one answer; `seed` makes the draw of the local generator repeatable.
    """

    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 40
    max_new_tokens: int = 1536
    seed: int = 0


def everything(prompt: Prompt) -> bool:
    """Want every prompt's answer."""
    return True


class Generator(Protocol):
    """A model that answers prompts with JSON; see `local.LocalGenerator` and `server.ServerGenerator`."""

    @property
    def identity(self) -> Mapping[str, JSON]:
        """What decides the answers besides the prompt: "model", "revision", "weights"; no address, no key."""
        ...

    def generate(
        self,
        prompts: Sequence[Prompt],
        schema: Mapping[str, JSON],
        sampling: Sampling,
        wanted: Callable[[Prompt], bool] = everything,
    ) -> Iterator[tuple[Prompt, Answer]]:
        """Answer every prompt once, in any order, each as soon as it is finished.

        `wanted` is asked right before a prompt is sent, and again with every prompt: it says no to those whose answer
        is known, and to all once the budget is spent. Known ones are passed all the same because the numbers that a
        model computes depend, in their last bits, on what it computes at the same time: a run that was stopped and goes
        on needs the batches that it had.

        A prompt that does not fit into the model's context comes back with finish_reason "prompt_too_long" and an
        empty text.

        Raises:
            GeneratorError: the model cannot be reached or answers with what is no answer.
        """
        ...


def answer_key(generator: Generator, schema: Mapping[str, JSON], sampling: Sampling, prompt: Prompt) -> str:
    """Return the journal's key of an answer: everything that decides it, and nothing else."""
    parts: dict[str, JSON] = {
        "generator": dict(generator.identity),
        "sampling": asdict(sampling),
        "schema": json.dumps(schema),
        "prompt": prompt.key,
    }
    return fingerprint(parts)
