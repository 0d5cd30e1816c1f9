"""Is the sample worth anything as a sample of its task? The rules come from the task's YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping

from craft_hf.quality.options import label_of, without_label
from craft_hf.quality.text import stem, tokens
from craft_hf.records import JSON, Verdict
from craft_hf.tasks import Task

_ARTICLES = {"a", "an", "the"}
_RUN = re.compile(r"([^\w\s])\1{3,}")


class WellFormedCheck:
    """Least lengths, and for multiple choice: distinct, meaningful options with the answer among them.

    Lengths and the shape of options are CRAFT's rules; the rest is ours: small models repeat options, leave them
    empty, or fill them with one character.
    """

    def __init__(self, task: Task) -> None:
        self._task = task

    def check(self, fields: Mapping[str, JSON]) -> Verdict:
        """Judge a sample that follows the schema."""
        reason = self._lengths(fields) or self._texts(fields) or self._options(fields)
        return Verdict("wellformed", not reason, reason)

    def _lengths(self, fields: Mapping[str, JSON]) -> str:
        for name, least in self._task.min_chars.items():
            if len(str(fields.get(name, "")).strip()) < least:
                return f"{name}: under {least} characters"
        return ""

    def _texts(self, fields: Mapping[str, JSON]) -> str:
        for name, value in fields.items():
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str) and (not re.search(r"\w", without_label(text)) or _RUN.search(text)):
                    return f"{name}: empty, or only repeats punctuation"
        return ""

    def _options(self, fields: Mapping[str, JSON]) -> str:
        name = self._task.options_field
        if not name:
            return ""
        options = fields[name]
        if not isinstance(options, list):
            return f"{name}: no list"
        texts = [self._said(without_label(str(o))) for o in options]
        if len(set(texts)) < len(texts):
            return f"{name}: two options say the same"
        labels = [label_of(str(o)) for o in options]
        if self._task.answer_field and str(fields[self._task.answer_field])[:1] not in labels:
            return f"{self._task.answer_field}: not among the options"
        return ""

    def _said(self, option: str) -> str:
        """What an option says: its words in order, each by its stem, without articles."""
        return " ".join(stem(word, self._task.language) for word in tokens(option) if word not in _ARTICLES)
