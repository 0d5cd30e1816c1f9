"""What a run costs: answers come in, tokens and money are added up, and a budget says when it is enough."""

from __future__ import annotations

from dataclasses import dataclass

from craft_hf.base import Answer

PER = 1_000_000
"""Tokens that a price is for."""


@dataclass(frozen=True)
class Prices:
    """Price of a million tokens that the model reads, and of a million that it writes, in any currency."""

    read: float = 0.0
    written: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.read or self.written)

    def of(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Return what so many tokens cost; tokens from a cache are taken at the full price."""
        return (self.read * prompt_tokens + self.written * completion_tokens) / PER


@dataclass
class Usage:
    """The tokens behind the rows of a run, whenever they were paid, and what was paid just now.

    `cached_tokens` are those of the prompt tokens that the model did not have to read again. `seconds_generating` went
    by while the model was waited for, and gave `completion_tokens_now`.
    """

    answers_generated: int = 0
    answers_from_journal: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    completion_tokens_now: int = 0
    seconds_generating: float = 0.0

    def add(self, answer: Answer, from_journal: bool) -> None:
        """Count an answer; a prompt that was never sent costs nothing."""
        if answer.finish_reason == "prompt_too_long":
            return
        if from_journal:
            self.answers_from_journal += 1
        else:
            self.answers_generated += 1
            self.completion_tokens_now += answer.completion_tokens
        self.prompt_tokens += answer.prompt_tokens
        self.cached_tokens += answer.cached_tokens
        self.completion_tokens += answer.completion_tokens

    @property
    def answers(self) -> int:
        """All answers."""
        return self.answers_generated + self.answers_from_journal


@dataclass(frozen=True)
class Budget:
    """The most that a run may cost: money where there are prices, else tokens, read and written; None is no limit."""

    most: float | None = None
    prices: Prices = Prices()

    def spent(self, usage: Usage) -> float:
        """Return what a run has cost so far, in the budget's unit."""
        if self.prices:
            return self.prices.of(usage.prompt_tokens, usage.completion_tokens)
        return usage.prompt_tokens + usage.completion_tokens

    def is_spent(self, usage: Usage) -> bool:
        """Whether no further prompt may be sent."""
        return self.most is not None and self.spent(usage) >= self.most

    def prompts_left(self, usage: Usage, pilot: int) -> float:
        """Return for how many prompts the rest will do, by the mean so far; at first `pilot`, to learn that mean."""
        if self.most is None:
            return float("inf")
        if not usage.answers or not (spent := self.spent(usage)):
            return pilot
        return max(1.0, (self.most - spent) * usage.answers / spent)

    def __str__(self) -> str:
        return f"{self.most:g}" if self.prices else f"{self.most:,.0f} tokens"
