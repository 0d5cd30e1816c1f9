"""Answers to prompts: from the journal if they are there, else from the model, and then into the journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict

from craft_hf.base import JSON, Answer, Prompt, cache_folder, fingerprint
from craft_hf.generation.generator import Generator, Sampling, answer_key
from craft_hf.generation.journal import Journal
from craft_hf.generation.usage import Usage


def open_journal(generator: Generator, sampling: Sampling, replay: bool = True) -> Journal:
    """Open the journal of a model's answers; runs with the same generator and sampling share one."""
    folder = cache_folder() / "journal" / fingerprint([dict(generator.identity), asdict(sampling)])
    return Journal(folder, replay=replay)


def ask(
    generator: Generator,
    schema: Mapping[str, JSON],
    sampling: Sampling,
    prompts: Sequence[Prompt],
    journal: Journal,
    usage: Usage,
    go_on: Callable[[], bool],
) -> Iterator[tuple[Prompt, Answer]]:
    """Yield each prompt with its answer: first those in the journal, then those that the model gives.

    Args:
        generator: the model.
        schema: JSON Schema of an answer.
        sampling: sampling parameters.
        prompts: in any order; prompts with the same key get one answer.
        journal: read, and written to as answers arrive.
        usage: counts every answer.
        go_on: asked before each prompt is sent; from the first False on, what is not in flight gets no answer.
    """
    # Prompts with the same few-shots are adjacent, so that a server has their prefix in its cache.
    prompts = sorted({prompt.key: prompt for prompt in prompts}.values(), key=lambda prompt: prompt.few_shot_ids)
    keys = {prompt.key: answer_key(generator, schema, sampling, prompt) for prompt in prompts}
    known = set()
    for prompt in prompts:
        if (answer := journal.get(keys[prompt.key])) is not None:
            known.add(prompt.key)
            usage.add(answer, from_journal=True)
            yield prompt, answer

    def wanted(prompt: Prompt) -> bool:
        return prompt.key not in known and go_on()

    if len(known) == len(prompts):
        return
    started = time.monotonic()
    for prompt, answer in generator.generate(prompts, schema, sampling, wanted):
        if answer.finish_reason != "prompt_too_long":  # nothing was paid, and a larger context may be set later
            journal.put(keys[prompt.key], answer)
        usage.add(answer, from_journal=False)
        usage.seconds_generating += time.monotonic() - started
        yield prompt, answer
        started = time.monotonic()
