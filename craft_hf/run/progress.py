"""What a person sees while a run goes on: kept samples, what was dropped and why, and how fast the model writes."""

from __future__ import annotations

from collections import Counter

from datasets.utils import tqdm

from craft_hf.generation import Usage


class Progress:
    """A bar of kept samples.

    While answers arrive, those that pass the checks of single samples count as kept; once a round is in, what is a
    duplicate is known too, and the bar is put right.

    Args:
        name: of the task.
        wanted: samples to keep.
        usage: is read, as the run counts it up.
    """

    def __init__(self, name: str, wanted: int, usage: Usage) -> None:
        self._wanted, self._usage = wanted, usage
        self._kept, self._dropped = 0, Counter[str]()
        self._good = self._bad = 0
        self._bar = tqdm(total=wanted, desc=f"Generating {name}", unit=" samples")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def arrived(self, good: bool) -> None:
        """Count an answer of the round that is going on."""
        self._good += good
        self._bad += not good
        self._show()

    def judged(self, kept: int, dropped: Counter[str]) -> None:
        """End a round with what is kept and dropped of all answers so far."""
        self._kept, self._dropped, self._good, self._bad = kept, dropped, 0, 0
        self._show()

    def __str__(self) -> str:
        prompts = self._kept + self._dropped.total() + self._good + self._bad
        reasons = self._dropped + Counter({"bad": self._bad})
        speed = self._usage.completion_tokens_generated / max(self._usage.seconds_generating, 1e-9)
        dropped = " ".join(f"{reason}={count}" for reason, count in sorted(reasons.items()))
        return f"{prompts} prompts, dropped: {dropped or 0}, {speed:.0f} tokens/s"

    def _show(self) -> None:
        self._bar.set_postfix_str(str(self), refresh=False)
        self._bar.update(min(self._kept + self._good, self._wanted) - self._bar.n)
