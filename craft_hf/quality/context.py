"""Did the prompt fit into the model's context, so that there is an answer at all?"""

from __future__ import annotations

from craft_hf.base import Verdict
from craft_hf.quality.check import Check, GeneratedSample


class ContextCheck(Check):
    """Drops what was never sent."""

    name = "context"
    label = "answered"
    about = "a prompt that fits into the model's context"
    optional = False

    def check(self, sample: GeneratedSample) -> Verdict:
        """Judge by why the model stopped; the score is the tokens of a prompt that is too long."""
        if sample.answer.finish_reason == "prompt_too_long":
            return self.drop("prompt too long for the model's context", float(sample.answer.prompt_tokens))
        return self.keep()
