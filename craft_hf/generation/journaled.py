"""Answers of a model, from the journal where they were paid for before."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict

from craft_hf.base import JSON, Answer, GeneratorError, Prompt, cache_folder, fingerprint
from craft_hf.generation.generator import Generator, Sampling, answer_key
from craft_hf.generation.journal import Journal
from craft_hf.generation.prefix_order import prefix_order
from craft_hf.generation.usage import Usage

MAX_FAILED, LEAST_FAILED = 0.1, 20
"""Share of the prompts that may get no answer before a run ends, by default, and how many always may."""

WINDOW = 128
"""Prompts within which those with the same few-shots are sent one after the other.

In the whole of a large round, the first prompts would wait for nearly all others. With the eleven groups of 32
few-shots, some twelve in a row share what a server with room for one prefix has in its cache; a server with room for
all of them reads each once in any order.
"""


def open_journal(generator: Generator, sampling: Sampling, replay: bool = True) -> Journal:
    """Open the journal of a model's answers; runs of the same generator and sampling have the same one."""
    folder = cache_folder() / "journal" / fingerprint([dict(generator.identity), asdict(sampling)])
    return Journal(folder, replay=replay)


def ask(
    generator: Generator,
    schema: Mapping[str, JSON],
    sampling: Sampling,
    prompts: Sequence[Prompt],
    journal: Journal,
    usage: Usage,
    may_send: Callable[[], bool],
    max_failed: float = MAX_FAILED,
) -> Iterator[tuple[Prompt, Answer]]:
    """Yield every prompt's answer: from the journal, or from the model, whose answers the journal then has.

    Closing the iterator ends the requests: an answer that has arrived by then is in the journal, whether it was taken
    or not.

    Args:
        generator: the model.
        schema: JSON Schema of an answer.
        sampling: sampling parameters.
        prompts: those whose answers are needed first come first; two with the same key get one answer.
        journal: is read and written.
        usage: is counted up.
        may_send: called before each prompt is sent; once it returns False, prompts that are not in flight get no
            answer.
        max_failed: share of prompts that may get no answer because all requests for them fail, 0 to 1; up to
            `LEAST_FAILED` always may.

    Raises:
        GeneratorError: more prompts got no answer, or not one got any; or see `Generator.generate`.
        StorageError: the journal cannot be written.
    """
    unique = list({prompt.key: prompt for prompt in prompts}.values())
    windows = (unique[start : start + WINDOW] for start in range(0, len(unique), WINDOW))
    prompts = [prompt for window in windows for prompt in prefix_order(window, lambda prompt: prompt.few_shot_ids)]
    keys = {prompt.key: answer_key(generator, schema, sampling, prompt) for prompt in prompts}
    known = set()
    for prompt in unique:
        if (answer := journal.get(keys[prompt.key])) is not None:
            known.add(prompt.key)
            usage.add(prompt, answer, from_journal=True)
            yield prompt, answer
    if len(known) == len(prompts):
        return

    def should_send(prompt: Prompt) -> bool:
        return prompt.key not in known and may_send()

    def write_down(prompt: Prompt, answer: Answer) -> None:
        if answer.is_answer:
            journal.put(keys[prompt.key], answer)

    failures = Counter[str]()
    started = time.monotonic()
    for prompt, answer in generator.generate(prompts, schema, sampling, should_send, write_down):
        usage.add(prompt, answer, from_journal=False)
        usage.seconds_generating += time.monotonic() - started
        if answer.error:
            failures[answer.error] += 1
            if usage.failed > max(LEAST_FAILED, max_failed * (usage.answers + usage.failed)):
                raise _too_many_failed(usage, failures, f"more than max_failed ({max_failed:g})")
        yield prompt, answer
        started = time.monotonic()  # the time that the reader took is not the model's
    if failures and not usage.answers:
        raise _too_many_failed(usage, failures, "every one")


def _too_many_failed(usage: Usage, failures: Counter[str], how_many: str) -> GeneratorError:
    """Return the error that ends a run; it names the most frequent failures."""
    (error, times), *others = failures.most_common(3)
    if usage.failed == 1:
        return GeneratorError(error)
    listed = "".join(f" {count} times: {said}" for said, count in others)
    asked = usage.failed + usage.answers
    return GeneratorError(
        f"{usage.failed} of {asked} prompts got no answer, {how_many}; {times} times: {error}{listed}"
    )
