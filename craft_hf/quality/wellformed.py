"""Is the sample worth anything as a sample of its task? The rules come from the task's YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping

from craft_hf.base import JSON, Verdict
from craft_hf.quality.check import Check, GeneratedSample
from craft_hf.quality.residue import is_list_of_links, is_placeholder, residue_in, residue_of_page_in
from craft_hf.quality.standalone import leans_on
from craft_hf.quality.text import stem, tokens
from craft_hf.tasks import Task, options_of, texts_of

_ARTICLES = {"a", "an", "the"}
_SYMBOL = 2
_SIGNS = re.compile(r"[<>≤≥±↑↓#]|[+−-](?=\s?\d)|(?<=[\w)+])[+−-](?!\w)")
"""What changes what an option says and is no word: comparisons, signs, charges, directions."""
_SAYS_SOMETHING = re.compile(r"[^\W_]")
_RUN = re.compile(r"([^\w\s])\1{3,}")
_LIST_ITEM = re.compile(r"\s*(?:[-*•–]|\d{1,2}[.)])\s+\S")


class WellFormedCheck(Check):
    """Drops what breaks a rule of the task."""

    name = "wellformed"
    label = "well-formed"
    about = "the rules of the task: lengths, distinct options, whole questions that stand alone, no rests of a page"
    optional = False

    def check(self, sample: GeneratedSample) -> Verdict:
        """Judge a sample that follows the schema."""
        return self.drop(reason) if (reason := broken_rule(self.task, sample.fields)) else self.keep()


def broken_rule(task: Task, fields: Mapping[str, JSON]) -> str:
    """Say which rule of its task a sample that follows the schema breaks; "" for none.

    Rules are least lengths, last characters, what is forbidden, for prose that it says something and nothing but that,
    for questions that they stand alone, and for multiple choice distinct, meaningful options with the answer among
    them. Lengths and the shape of options are CRAFT's; the rest is ours: small models repeat options, leave them empty,
    or fill them with one character, and copy what stands around a text.
    """
    rules = (_lengths, _ends, _forbidden, _prose, _standalone, _options)
    return next((reason for rule in rules if (reason := rule(task, fields))), "")


def _lengths(task: Task, fields: Mapping[str, JSON]) -> str:
    for name, least in task.min_chars.items():
        if name in fields and len(str(fields[name]).strip()) < least:
            return f"{name}: under {least} characters"
    return ""


def _ends(task: Task, fields: Mapping[str, JSON]) -> str:
    for name, marks in task.ends.items():
        if name not in fields:
            continue
        text = str(fields[name]).rstrip("\"'\u201d\u2019) \n")
        if not text.endswith(tuple(marks)) and not _LIST_ITEM.match(text.rpartition("\n")[2]):
            return f"{name}: does not end with {' or '.join(marks)}"
    return ""


def _forbidden(task: Task, fields: Mapping[str, JSON]) -> str:
    for name, forbidden in task.forbids.items():
        for words, pattern in forbidden.items():
            if any(re.search(pattern, text, re.IGNORECASE | re.DOTALL) for text in texts_of(fields.get(name))):
                return f"{name}: {words}"
    return ""


def _prose(task: Task, fields: Mapping[str, JSON]) -> str:
    """Say which text is empty or no prose, and what a text has in it that is no part of it."""
    for name in dict.fromkeys((*task.prose, task.options_field)):
        value = fields.get(name)
        texts = options_of(value, may_repeat=True).texts if name == task.options_field else texts_of(value)
        for text in texts:
            if not _SAYS_SOMETHING.search(text) or _RUN.search(text):
                return f"{name}: empty, or only repeats punctuation"
            if name in task.prose and (residue := residue_in(text, task.language)):
                return f"{name}: {residue}"
            if isinstance(value, str) and name in task.prose and is_list_of_links(text):
                return f"{name}: is a list of names, or a menu"
    for name in task.cleaned:
        for text in texts_of(fields.get(name)):
            if residue := residue_of_page_in(text, task.language):
                return f"{name}: {residue}"
    return ""


def _standalone(task: Task, fields: Mapping[str, JSON]) -> str:
    if task.language == "en":
        for name in task.standalone:
            for text in texts_of(fields.get(name)):
                if words := leans_on(text):
                    return f'{name}: "{words}" refers to what the reader does not have'
    return ""


def _options(task: Task, fields: Mapping[str, JSON]) -> str:
    name = task.options_field
    if not name:
        return ""
    options = fields[name]
    if not isinstance(options, list):
        return f"{name}: no list"
    read = options_of(options, may_repeat=True)
    texts = [_said(text, task.language) for text in read.texts]
    if len(set(texts)) < len(texts):
        return f"{name}: two options say the same"
    if sum(_again(label, text) for label, text in zip(read.labels, read.texts, strict=True)) > 1:  # not "B. cereus"
        return f"{name}: one is labelled twice"
    if task.language == "en" and any(map(is_placeholder, read.texts)):
        return f"{name}: one is a placeholder"
    choices = task.multiple_choice
    if choices and choices.read(fields).right is None:
        return f"{choices.answer_field}: not among the options"
    return ""


def _said(option: str, language: str) -> str:
    """What an option says: its words in order, each by its stem, without articles, and its signs.

    Of a symbol, such as Co or CO, the case counts too.
    """
    words = [stem(word, language) for word in tokens(option) if word not in _ARTICLES]
    if len(option.strip()) <= _SYMBOL:
        words = [option.strip()]
    return " ".join([*words, *_SIGNS.findall(option)])


def _again(label: str, text: str) -> bool:
    """Whether a text without its label begins with it again."""
    return bool(label) and re.match(rf"\s*[(\[]?{re.escape(label)}[.):\]]\s*\S", text) is not None
