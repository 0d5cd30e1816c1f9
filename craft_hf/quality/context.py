"""Is there an answer at all?"""

from __future__ import annotations

from craft_hf.base import FILTERED, PROMPT_TOO_LONG, Verdict
from craft_hf.quality.check import Check, GeneratedSample


class ContextCheck(Check):
    """Drops what the model never answered."""

    name = "context"
    label = "answered"
    about = "a prompt that fits into the model's context and that the server answers"
    optional = False

    def check(self, sample: GeneratedSample) -> Verdict:
        """Judge by why there is no answer; the score is the tokens of a prompt that is too long."""
        answer = sample.answer
        if answer.is_answer:
            return self.keep()
        if answer.finish_reason == PROMPT_TOO_LONG:
            return self.drop("prompt too long for the model's context", float(answer.prompt_tokens))
        if answer.finish_reason == FILTERED:
            return self.drop("stopped by the server's filter")
        return self.drop("every request failed")
