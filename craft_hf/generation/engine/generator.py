"""A generator whose servers are engines that it starts: named by a model, not by an address."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

from craft_hf.base import (
    FAILED,
    JSON,
    Answer,
    GeneratorError,
    InputError,
    Prompt,
    Weights,
    cache_folder,
    path_fingerprint,
    require,
)
from craft_hf.generation.engine.command import engine_identity
from craft_hf.generation.engine.engines import Engines
from craft_hf.generation.engine.name import ENGINES, parse_engine
from craft_hf.generation.engine.options import EngineOptions
from craft_hf.generation.generator import (
    CONCURRENCY,
    MAX_RETRIES,
    TIMEOUT_S,
    Generator,
    Sampling,
    ignore_answer,
    send_all,
)

NOTICED_S = 10.0
"""Seconds that may pass between the first failure because of a death and the end of the engine's process."""

MOST_AGAIN = 2
"""How often a prompt that failed while an engine died is asked again as if it had not been."""

MOST_TOGETHER, MOST_ALONE = 2, 2
"""Deaths while a prompt was in flight after which it is asked alone, and further ones after which it is their cause."""

MOST_BLAMED = 2
"""Prompts in a row, without an answer, of which an engine may die; if it dies of more, it is the engine's fault."""


class EngineGenerator:
    """A model served by engines that are started when the first prompt is sent; implements `generate.Generator`.

    Each group of GPUs gets an engine. They end when the block of `running_engines` does, or without one when a call of
    `generate` does. What is asked of them goes the way of `ServerGenerator`.

    Args:
        name: "vllm:MODEL", "llamacpp:FILE.gguf", or "engine:MODEL" for the one that `options.command` starts.
        options: how it is started.
        model: what the engine calls the model, where it serves several, such as an adapter.
        concurrency, timeout_s, max_retries: see `ServerGenerator`.

    Raises:
        InputError: the name is none of these, or an option does not go with it.
        MissingExtra: aiohttp is not installed.
    """

    def __init__(
        self,
        name: str,
        options: EngineOptions | None = None,
        model: str | None = None,
        concurrency: int = CONCURRENCY,
        timeout_s: float = TIMEOUT_S,
        max_retries: int = MAX_RETRIES,
    ) -> None:
        parsed = parse_engine(name)
        if parsed is None:
            raise InputError(
                f"{name!r} names no engine; expected {', '.join(f'{engine}:MODEL' for engine in ENGINES)}."
            )
        self._name, self._options, self._model = parsed, options or EngineOptions(), model
        self._options.check(parsed)
        require("aiohttp", "server")
        self._limits = {"concurrency": concurrency, "timeout_s": timeout_s, "max_retries": max_retries}
        self._opened, self._lock = 0, threading.Lock()
        self._engines: Engines | None = None
        self._logs = cache_folder() / "engines"

    @cached_property
    def _weights(self) -> Weights:
        return engine_identity(self._name)

    @cached_property
    def _deciding(self) -> list[str]:
        code = ""
        if self._options.runs_code and Path(self._name.model).is_dir():  # that of a Hub model is of its commit
            code = path_fingerprint(Path(self._name.model), ".py")
        return self._options.deciding() + ([f"code {code}"] if code else [])

    @property
    def identity(self) -> Mapping[str, JSON]:
        """Model, revision, engine, and what of its options may change answers: no port, no key, no number of GPUs."""
        known: dict[str, JSON] = {
            "model": self._weights.name,
            "revision": self._weights.revision,
            "weights": self._name.engine,
        }
        if self._deciding:
            known["options"] = [*self._deciding]
        return known | ({"served": self._model} if self._model else {})

    @contextmanager
    def opened(self, logs: Path) -> Iterator[None]:
        """Let engines that are started live until the block ends.

        Args:
            logs: folder for what they print.
        """
        with self._lock:
            self._opened += 1
            if self._opened == 1:
                self._logs = logs
        try:
            yield
        finally:
            with self._lock:
                self._opened -= 1
                engines, self._engines = (self._engines, None) if not self._opened else (None, self._engines)
            if engines:
                engines.stop()

    def generate(
        self,
        prompts: Sequence[Prompt],
        schema: Mapping[str, JSON],
        sampling: Sampling,
        should_send: Callable[[Prompt], bool] = send_all,
        on_answer: Callable[[Prompt, Answer], None] = ignore_answer,
    ) -> Iterator[tuple[Prompt, Answer]]:
        """Answer every prompt that `should_send` accepts once; see `ServerGenerator.generate`.

        What was in flight when an engine died is asked again; what was so twice is asked alone, after all others, and a
        prompt of which an engine dies then, too, gets an answer that is none.

        Raises:
            GeneratorError: an engine does not start, or dies again and again; the message has the end of its log.
            InputError: the engine is not installed, or there are too few GPUs.
        """
        if not prompts:
            return
        with self.opened(self._logs):
            asked = _Asked(prompts, on_answer)
            while asked.left:
                engines = self._running()
                asked.begin(engines)
                if blamed := asked.blamed():
                    yield blamed
                    continue
                try:
                    for prompt, answer in engines.server.generate(
                        asked.next, schema, sampling, asked.accepts(should_send), asked.take, asked.may_repeat
                    ):
                        if asked.has_taken(prompt):
                            yield prompt, answer
                except GeneratorError:
                    if not engines.has_died_since(asked.deaths, NOTICED_S):
                        raise
                else:
                    if not asked.must_repeat:
                        return

    def _running(self) -> Engines:
        """Return the engines, of which one at least answers; start them if they are not."""
        with self._lock:
            if self._engines is None:
                self._engines = Engines(self._name, self._options, self._model, self._limits, self._logs)
        self._engines.wait()
        return self._engines


class _Asked:
    """The prompts of a call, of which those are asked again that were in flight when an engine died.

    Args:
        prompts: of the call.
        on_answer: called with each answer.

    Attributes:
        left: prompts that have no answer.
        next: those of them to ask now.
        deaths: of the engines, when they were asked last.
        must_repeat: whether prompts without an answer are to be asked then.
    """

    def __init__(self, prompts: Sequence[Prompt], on_answer: Callable[[Prompt, Answer], None]) -> None:
        self.left, self.next, self.deaths, self.must_repeat = list(prompts), list(prompts), 0, False
        self._taken, self._failed, self._on_answer = set[str](), Counter[str](), on_answer
        self._seen, self._died, self._refused = dict[str, int](), Counter[str](), set[str]()
        self._alone: Prompt | None = None
        self._died_alone, self._blamed = 0, 0

    def begin(self, engines: Engines) -> None:
        """Take note that the engines are asked for what is left: first for what is not suspected of killing them."""
        self._engines = engines
        for key in list(self._seen):
            self._count_deaths(key)
        self._seen.clear()
        self.left = [p for p in self.left if not self.has_taken(p) and p.key not in self._refused]
        others = [prompt for prompt in self.left if self._died[prompt.key] < MOST_TOGETHER]
        self.next = others or self.left[:1]
        alone = self.left[0] if self.left and not others else None
        if alone and alone is self._alone:
            self._died_alone += engines.deaths - self.deaths
        elif alone:
            self._died_alone = 0
            if self._blamed < MOST_BLAMED:
                engines.forgive()
        self._alone = alone
        self.deaths, self.must_repeat = engines.deaths, len(self.next) < len(self.left)

    def accepts(self, should_send: Callable[[Prompt], bool]) -> Callable[[Prompt], bool]:
        """Return `should_send`, which takes note of what is in flight from then on."""

        def accept(prompt: Prompt) -> bool:
            accepted = should_send(prompt)
            if accepted:
                self._seen[prompt.key] = self._engines.deaths
            else:
                self._refused.add(prompt.key)
            return accepted

        return accept

    def may_repeat(self, prompt: Prompt) -> bool:
        """Whether a prompt that failed may be sent again beside those that are in flight."""
        self._count_deaths(prompt.key)
        may = self._engines.deaths == self.deaths if self._alone else self._died[prompt.key] < MOST_TOGETHER
        self.must_repeat |= not may
        return may

    def _count_deaths(self, key: str) -> None:
        """Count the deaths since a prompt in flight was looked at last."""
        deaths = self._engines.deaths
        self._died[key] += deaths - self._seen.get(key, deaths)
        self._seen[key] = deaths

    def take(self, prompt: Prompt, answer: Answer) -> None:
        """Hand on an answer, unless it says that requests failed while an engine died."""
        failed = answer.finish_reason == FAILED and self._failed[prompt.key] < MOST_AGAIN
        if failed and self._engines.has_died_since(self.deaths):
            self._failed[prompt.key] += 1
            self.must_repeat = True
        else:
            self._hand_on(prompt, answer)
            self._blamed = 0

    def _hand_on(self, prompt: Prompt, answer: Answer) -> None:
        self._seen.pop(prompt.key, None)
        self._taken.add(prompt.key)
        self._on_answer(prompt, answer)

    def blamed(self) -> tuple[Prompt, Answer] | None:
        """Hand on that there is no answer to a prompt of which the engine died often enough while it was alone."""
        prompt = self._alone
        if prompt is None or self._died_alone < MOST_ALONE or self._blamed == MOST_BLAMED:
            return None
        self._blamed += 1
        self.left.remove(prompt)
        answer = Answer("", FAILED, error="the engine died of it each time that it was asked, also alone")
        self._hand_on(prompt, answer)
        return prompt, answer

    def has_taken(self, prompt: Prompt) -> bool:
        """Whether a prompt's answer was handed on."""
        return prompt.key in self._taken


@contextmanager
def running_engines(logs: Path, *generators: Generator | None) -> Iterator[None]:
    """Let the engines that some generators start, if any of them does, live until the block ends.

    Args:
        logs: folder for what they print.
        generators: of the run.
    """
    with ExitStack() as stack:
        for generator in generators:
            if isinstance(generator, EngineGenerator):
                stack.enter_context(generator.opened(logs))
        yield
