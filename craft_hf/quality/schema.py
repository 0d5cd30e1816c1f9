"""Is the answer whole, is it JSON, and does it follow the task's schema?"""

from __future__ import annotations

from collections.abc import Mapping

from craft_hf.base import JSON, Answer, Verdict
from craft_hf.quality.check import Check, GeneratedSample
from craft_hf.tasks import normalized, parse_json, unwritable


class SchemaCheck(Check):
    """Drops what is no sample of the task."""

    name = "schema"
    label = "following the schema"
    about = "whole, valid JSON that follows the task's JSON Schema"
    optional = False

    def check(self, sample: GeneratedSample) -> Verdict:
        """Judge by what was wrong when the answer was read; of a cut one the score is its tokens."""
        if not sample.problem:
            return self.keep()
        cut = sample.answer.finish_reason in ("length", "overlong")
        return self.drop(sample.problem, float(sample.answer.completion_tokens) if cut else None)


class AnswerReader:
    """Parses an answer, checks it against a JSON Schema as it came, and gives its fields their one form."""

    def __init__(self, schema: Mapping[str, JSON]) -> None:
        import jsonschema

        self._schema = schema
        self._validator = jsonschema.Draft202012Validator(schema)

    def read(self, answer: Answer) -> tuple[Mapping[str, JSON], str]:
        """Return the sample's fields, and why it does not follow the schema; "" if it does."""
        if answer.finish_reason == "length":
            return {}, "cut by the limit of new tokens"
        if answer.finish_reason == "overlong":
            return {}, "given up: a text longer than the schema allows"
        try:
            fields = parse_json(_unfenced(answer.text))
        except ValueError:
            return {}, "no valid JSON"
        if not isinstance(fields, dict):
            return {}, "no JSON object"
        sample = normalized(fields, self._schema)
        if reason := unwritable(sample):
            return {}, reason
        error = min(self._validator.iter_errors(fields), key=lambda e: list(map(str, e.path)), default=None)
        if error is not None:
            return sample, f"{'.'.join(map(str, error.path)) or 'sample'}: against the schema ({error.validator})"
        return sample, ""


def _unfenced(text: str) -> str:
    """Take the JSON out of a Markdown code fence, which models without constrained decoding like to put around it."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        return text.split("\n", 1)[1].removesuffix("```")
    return text
