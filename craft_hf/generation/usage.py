"""What a run costs: token counts, prices, and the budget that ends a run."""

from __future__ import annotations

from dataclasses import dataclass, field

from craft_hf.base import PROMPT_TOO_LONG, Answer

TOKENS_PER_PRICE = 1_000_000
"""Prices are for this many tokens."""


@dataclass(frozen=True)
class Prices:
    """Prices of a million input (prompt) and output (completion) tokens, in any currency."""

    input: float = 0.0
    output: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.input or self.output)

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Return the cost of so many tokens; cached ones are counted at the full price."""
        return (self.input * prompt_tokens + self.output * completion_tokens) / TOKENS_PER_PRICE


@dataclass
class Usage:
    """Token counts of a run's answers.

    Attributes:
        answers_generated: answers that the model gave in this process.
        answers_from_journal: answers that an earlier run had paid for.
        prompt_tokens: of all answers.
        cached_tokens: prompt tokens that the model had in its prefix cache.
        completion_tokens: of all answers.
        completion_tokens_generated: of the answers that the model gave in this process.
        seconds_generating: time from the first prompt of each round that was sent to the last answer to these.
        failed: prompts that got no answer although they were sent.
        cut_prompts: answers to prompts of which the server counted fewer tokens than their text must have.
        left_out: answers by parameters of the request that the server does not take, separated by commas.
    """

    answers_generated: int = 0
    answers_from_journal: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    completion_tokens_generated: int = 0
    seconds_generating: float = 0.0
    failed: int = 0
    cut_prompts: int = 0
    left_out: dict[str, int] = field(default_factory=dict)

    def add(self, answer: Answer, from_journal: bool) -> None:
        """Count an answer; a prompt that was too long to be sent costs nothing."""
        if not answer.is_answer:
            if answer.finish_reason != PROMPT_TOO_LONG:
                self.failed += 1
                self.prompt_tokens += answer.prompt_tokens
                self.completion_tokens += answer.completion_tokens
            return
        self.cut_prompts += answer.prompt_is_cut
        if answer.left_out:
            self.left_out[answer.left_out] = self.left_out.get(answer.left_out, 0) + 1
        if from_journal:
            self.answers_from_journal += 1
        else:
            self.answers_generated += 1
            self.completion_tokens_generated += answer.completion_tokens
        self.prompt_tokens += answer.prompt_tokens
        self.cached_tokens += answer.cached_tokens
        self.completion_tokens += answer.completion_tokens

    @property
    def answers(self) -> int:
        """All answers, generated or from the journal."""
        return self.answers_generated + self.answers_from_journal


@dataclass(frozen=True)
class Budget:
    """The most that a run may cost.

    Attributes:
        limit: an amount of money if there are prices, else a number of prompt and completion tokens; None for no limit.
        prices: of the model.
    """

    limit: float | None = None
    prices: Prices = Prices()

    def spent(self, usage: Usage) -> float:
        """Return what a run has cost so far, in money or tokens as `limit`."""
        if self.prices:
            return self.prices.cost(usage.prompt_tokens, usage.completion_tokens)
        return usage.prompt_tokens + usage.completion_tokens

    def is_spent(self, usage: Usage) -> bool:
        """Whether no further prompt may be sent."""
        return self.limit is not None and self.spent(usage) >= self.limit

    def prompts_left(self, usage: Usage, pilot: int) -> float:
        """Return how many more prompts the budget allows at the mean cost so far.

        As long as that is unknown, `pilot` prompts; infinity without a limit.
        """
        if self.limit is None:
            return float("inf")
        if not usage.answers or not (spent := self.spent(usage)):
            return pilot
        return max(1.0, (self.limit - spent) * usage.answers / spent)

    def __str__(self) -> str:
        return f"{self.limit:g}" if self.prices else f"{self.limit:,.0f} tokens"
