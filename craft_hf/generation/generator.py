"""The protocol of generators, and the sampling parameters that they share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from craft_hf.base import JSON, Answer, Prompt, fingerprint

CONCURRENCY, MAX_CONCURRENCY = 64, 1000
"""Requests in flight at a time, by default and at most: beyond, a process runs out of sockets before servers of work.
"""

TIMEOUT_S = 120.0
"""Seconds that one request may take."""

MAX_RETRIES = 4
"""How often a failed request is sent again."""

BATCH_SIZE = {"cpu": 16, "cuda": 128}
"""Answers that a local generator decodes at a time, by the kind of device."""


@dataclass(frozen=True)
class Sampling:
    """Sampling parameters; the defaults are CRAFT's (arXiv 2409.02098, section 3).

    Attributes:
        temperature: 0 takes the likeliest token.
        top_p: nucleus sampling, in (0, 1].
        top_k: sample from this many likeliest tokens.
        max_new_tokens: tokens of one answer at most.
        seed: makes the local generator's answers repeatable; servers get it too, and may ignore it.
    """

    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 40
    max_new_tokens: int = 1536
    seed: int = 0


def send_all(prompt: Prompt) -> bool:
    """Accept every prompt; the default of `should_send`."""
    return True


def ignore_answer(prompt: Prompt, answer: Answer) -> None:
    """Do nothing; the default of `on_answer`."""


class Generator(Protocol):
    """A model that answers prompts with JSON, such as `LocalGenerator` and `ServerGenerator`."""

    @property
    def identity(self) -> Mapping[str, JSON]:
        """What decides the answers besides prompt and sampling: "model", "revision", "weights"; no URL, no API key."""
        ...

    def generate(
        self,
        prompts: Sequence[Prompt],
        schema: Mapping[str, JSON],
        sampling: Sampling,
        should_send: Callable[[Prompt], bool] = send_all,
        on_answer: Callable[[Prompt, Answer], None] = ignore_answer,
    ) -> Iterator[tuple[Prompt, Answer]]:
        """Answer every prompt that `should_send` accepts once, in any order, each as soon as its answer is finished.

        A prompt that cannot be answered, for one because it does not fit into the model's context, gets an `Answer`
        that says so (`Answer.is_answer`).

        Args:
            prompts: all prompts of the call, those whose answer is known included: the last bits of a model's numbers
                depend on what is computed in the same batch, so a resumed run must form the same batches. Needed first
                come first.
            schema: JSON Schema of an answer.
            sampling: sampling parameters.
            should_send: called right before a prompt is sent; False for a prompt whose answer is known, or once the
                budget is spent.
            on_answer: called with each answer as soon as it exists, before it is yielded; maybe in another thread, and
                also for an answer that nobody takes because the iterator is closed.

        Raises:
            GeneratorError: the model cannot be reached, or its responses are unusable.
        """
        ...


def answer_key(generator: Generator, schema: Mapping[str, JSON], sampling: Sampling, prompt: Prompt) -> str:
    """Return the journal key of an answer: a hash of everything that decides it, and of nothing else."""
    parts: dict[str, JSON] = {
        "generator": dict(generator.identity),
        "sampling": asdict(sampling),
        "schema": json.dumps(schema),
        "prompt": prompt.key,
    }
    return fingerprint(parts)
