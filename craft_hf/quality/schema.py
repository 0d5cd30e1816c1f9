"""Is the answer whole, is it JSON, and does it follow the task's schema?"""

from __future__ import annotations

from collections.abc import Mapping

from craft_hf.base import JSON, Answer, Verdict
from craft_hf.tasks import normalized, parse_json, unwritable


class SchemaCheck:
    """Parses an answer, checks it against a JSON Schema as it came, and gives its fields their one form."""

    def __init__(self, schema: Mapping[str, JSON]) -> None:
        import jsonschema

        self._schema = schema
        self._validator = jsonschema.Draft202012Validator(schema)

    def check(self, answer: Answer) -> tuple[Mapping[str, JSON], Verdict]:
        """Return the sample's fields and the verdict; an answer cut by the token limit is named so."""
        if answer.finish_reason == "prompt_too_long":
            return {}, Verdict("context", False, "prompt too long for the model's context", float(answer.prompt_tokens))
        if answer.finish_reason == "length":
            return {}, Verdict("schema", False, "cut by the limit of new tokens", float(answer.completion_tokens))
        if answer.finish_reason == "overlong":
            reason = "given up: a text longer than the schema allows"
            return {}, Verdict("schema", False, reason, float(answer.completion_tokens))
        try:
            fields = parse_json(_unfenced(answer.text))
        except (ValueError, RecursionError):
            return {}, Verdict("schema", False, "no valid JSON")
        if not isinstance(fields, dict):
            return {}, Verdict("schema", False, "no JSON object")
        if reason := unwritable(fields):
            return {}, Verdict("schema", False, reason)
        sample = normalized(fields, self._schema)
        error = min(self._validator.iter_errors(fields), key=lambda e: list(map(str, e.path)), default=None)
        if error is not None:
            where = ".".join(map(str, error.path)) or "sample"
            return sample, Verdict("schema", False, f"{where}: against the schema ({error.validator})")
        return sample, Verdict("schema", True)


def _unfenced(text: str) -> str:
    """Take the JSON out of a Markdown code fence, which models without constrained decoding like to put around it."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        return text.split("\n", 1)[1].removesuffix("```")
    return text
