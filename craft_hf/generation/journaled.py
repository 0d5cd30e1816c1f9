"""Answers of a model, from the journal where they were paid for before."""

from __future__ import annotations

import collections.abc
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

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


_counting = threading.Lock()


@dataclass
class Outcomes:
    """What became of a run's prompts, over several calls of `ask`: when are too many of them without an answer?

    Attributes:
        max_failed: share of prompts that may get no answer because all requests for them fail, or a filter stops them,
            0 to 1; up to `LEAST_FAILED` always may. More than that in a row end a run in which the model has answered.
        least_alike: how many must have failed before no answer at all ends the run.
        answered: prompts with an answer.
        arrived, taken: answers, and words that there is none, that have come, and those that were handed on.
    """

    max_failed: float = MAX_FAILED
    least_alike: int = 1
    answered: int = 0
    arrived: int = 0
    taken: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    _in_a_row: int = 0
    _was_answered: bool = False

    def add(self, answer: Answer) -> None:
        """Take note of what became of a prompt that was sent."""
        if answer.is_answer:
            self.answered, self._in_a_row = self.answered + 1, 0
            self._was_answered = True
        elif answer.error:
            self.failures[answer.error] += 1
            self._in_a_row += self._was_answered  # a resumed run may have nothing left but prompts that always fail

    @property
    def error(self) -> GeneratorError | None:
        """The error that has to end the run now."""
        failed = self.failures.total()
        if failed > max(LEAST_FAILED, self.max_failed * (self.answered + failed)):
            return self._error(f"more than max_failed ({self.max_failed:g})")
        return self._error("the last ones all") if self._in_a_row > LEAST_FAILED else None

    @property
    def error_at_end(self) -> GeneratorError | None:
        """The error that has to end the run when there is nothing more to ask."""
        return self._error("every one") if self.failures.total() >= self.least_alike and not self.answered else None

    def _error(self, how_many: str) -> GeneratorError:
        failed = self.failures.total()
        (error, times), *others = self.failures.most_common(3)
        if failed == 1:
            return GeneratorError(error)
        listed = "".join(f" {count} times: {said}" for said, count in others)
        asked = f"{failed} of {failed + self.answered} prompts"
        return GeneratorError(f"{asked} got no answer, {how_many}; {times} times: {error}{listed}")


def ask(
    generator: Generator,
    schema: Mapping[str, JSON],
    sampling: Sampling,
    prompts: Sequence[Prompt],
    journal: Journal,
    usage: Usage,
    may_send: Callable[[], bool],
    outcomes: Outcomes | None = None,
) -> collections.abc.Generator[tuple[Prompt, Answer], None, None]:
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
        outcomes: of the prompts of earlier calls; is counted up.

    Raises:
        GeneratorError: more prompts got no answer, or not one got any; or see `Generator.generate`.
        StorageError: the journal cannot be written.
    """
    unique = list({prompt.key: prompt for prompt in prompts}.values())
    windows = (unique[start : start + WINDOW] for start in range(0, len(unique), WINDOW))
    prompts = [prompt for window in windows for prompt in prefix_order(window, lambda prompt: prompt.few_shot_ids)]
    keys = {prompt.key: answer_key(generator, schema, sampling, prompt) for prompt in prompts}
    outcomes = outcomes or Outcomes()
    known = {prompt.key: answer for prompt in unique if (answer := journal.get(keys[prompt.key])) is not None}
    outcomes.arrived += len(known)
    for prompt in unique:
        if (answer := known.get(prompt.key)) is not None:
            usage.add(answer, from_journal=True)
            outcomes.taken += 1
            yield prompt, answer
    outcomes.answered += len(known)
    if len(known) == len(prompts):
        return

    arrivals = _Arrivals(journal, keys, usage, outcomes)

    def should_send(prompt: Prompt) -> bool:
        return prompt.key not in known and not arrivals.error and may_send()

    for prompt, answer in generator.generate(prompts, schema, sampling, should_send, arrivals.add):
        outcomes.taken += 1
        if prompt.key not in arrivals.in_vain:  # else what is in flight still comes in, and is kept
            started = time.monotonic()
            yield prompt, answer
            arrivals.reading_s += time.monotonic() - started
    if error := arrivals.error or outcomes.error_at_end:
        raise error


class _Arrivals:
    """Takes note of answers when they arrive, which may be long before anybody takes them, and in another thread.

    Args:
        journal: gets them.
        keys: there, by those of the prompts.
        usage: is counted up.
        outcomes: is counted up.

    Attributes:
        error: that has to end the run.
        in_vain: keys of the prompts whose answers came when that was clear.
        reading_s: seconds that whoever takes the answers took with them, since the last one came.
    """

    def __init__(self, journal: Journal, keys: Mapping[str, str], usage: Usage, outcomes: Outcomes) -> None:
        self.error: GeneratorError | None = None
        self.in_vain, self.reading_s = set[str](), 0.0  # since the last arrival
        self._journal, self._keys, self._usage, self._outcomes = journal, keys, usage, outcomes
        self._counted, self._reader = time.monotonic(), threading.get_ident()

    def add(self, prompt: Prompt, answer: Answer) -> None:
        """Take note of an answer."""
        if answer.is_answer:
            self._journal.put(self._keys[prompt.key], answer)
        now = time.monotonic()
        seconds = now - self._counted
        if threading.get_ident() == self._reader:  # the model waits while its answers are read
            seconds -= self.reading_s
        self._counted, self.reading_s = now, 0.0
        with _counting:  # a judge is asked at the same time
            self._usage.add(answer, from_journal=False)
            self._usage.seconds_generating += seconds
        self._outcomes.add(answer)
        self.error = self.error or self._outcomes.error
        if self.error:
            self.in_vain.add(prompt.key)
        self._outcomes.arrived += 1
