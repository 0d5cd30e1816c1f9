"""Is the sample worth anything as a sample of its task? The rules come from the task's YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping

from craft_hf.base import JSON, Verdict
from craft_hf.quality.check import Check, GeneratedSample
from craft_hf.quality.text import stem, tokens
from craft_hf.tasks import Task, options_of, texts_of

_ARTICLES = {"a", "an", "the"}
_SAYS_SOMETHING = re.compile(r"[^\W_]")
_RUN = re.compile(r"([^\w\s])\1{3,}")


class WellFormedCheck(Check):
    """Drops what breaks a rule of the task."""

    name = "wellformed"
    label = "well-formed"
    about = "the rules of the task: lengths, distinct options, no reference to an unseen text"
    optional = False

    def check(self, sample: GeneratedSample) -> Verdict:
        """Judge a sample that follows the schema."""
        return self.drop(reason) if (reason := broken_rule(self.task, sample.fields)) else self.keep()


def broken_rule(task: Task, fields: Mapping[str, JSON]) -> str:
    """Say which rule of its task a sample that follows the schema breaks; "" for none.

    Rules are least lengths, last characters, what is forbidden, and for multiple choice distinct, meaningful options
    with the answer among them. Lengths and the shape of options are CRAFT's; the rest is ours: small models repeat
    options, leave them empty, or fill them with one character.
    """
    rules = (_lengths, _ends, _forbidden, _texts, _options)
    return next((reason for rule in rules if (reason := rule(task, fields))), "")


def _lengths(task: Task, fields: Mapping[str, JSON]) -> str:
    for name, least in task.min_chars.items():
        if name in fields and len(str(fields[name]).strip()) < least:
            return f"{name}: under {least} characters"
    return ""


def _ends(task: Task, fields: Mapping[str, JSON]) -> str:
    for name, marks in task.ends.items():
        if name in fields and not str(fields[name]).rstrip("\"'\u201d\u2019 \n").endswith(tuple(marks)):
            return f"{name}: does not end with {' or '.join(marks)}"
    return ""


def _forbidden(task: Task, fields: Mapping[str, JSON]) -> str:
    for name, forbidden in task.forbids.items():
        for words, pattern in forbidden.items():
            if any(re.search(pattern, text, re.IGNORECASE | re.DOTALL) for text in texts_of(fields.get(name))):
                return f"{name}: {words}"
    return ""


def _texts(task: Task, fields: Mapping[str, JSON]) -> str:
    for name, value in fields.items():
        texts = options_of(value, may_repeat=True).texts if name == task.options_field else texts_of(value)
        for text in texts:
            if not _SAYS_SOMETHING.search(text) or _RUN.search(text):
                return f"{name}: empty, or only repeats punctuation"
    return ""


def _options(task: Task, fields: Mapping[str, JSON]) -> str:
    name = task.options_field
    if not name:
        return ""
    options = fields[name]
    if not isinstance(options, list):
        return f"{name}: no list"
    texts = [_said(text, task.language) for text in options_of(options, may_repeat=True).texts]
    if len(set(texts)) < len(texts):
        return f"{name}: two options say the same"
    choices = task.multiple_choice
    if choices and choices.read(fields).right is None:
        return f"{choices.answer_field}: not among the options"
    return ""


def _said(option: str, language: str) -> str:
    """What an option says: its words in order, each by its stem, without articles."""
    return " ".join(stem(word, language) for word in tokens(option) if word not in _ARTICLES)
