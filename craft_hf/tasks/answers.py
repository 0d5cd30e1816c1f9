"""Reading a model's answer: the one function that finds the sample in what a model wrote."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from craft_hf.base import CUT, JSON, OVERLONG, Answer
from craft_hf.tasks.sample import DECODER, LENIENT, normalized, parse_json, unwritable

_TAGS = "think|thinking|thoughts?|reason|reasoning|reflection|analysis|scratchpad|seed:think"

_REASONING: Sequence[tuple[str, str]] = (
    (rf"<(?:{_TAGS})(?:\s[^<>]*)?>", rf"</(?:{_TAGS})>"),
    (r"\[THINK\]", r"\[/THINK\]"),
    (r"◁think▷", r"◁/think▷"),
    (r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>"),
    (r"<\|START_THINKING\|>", r"<\|END_THINKING\|>"),
    (r"<unused94>", r"<unused95>"),
    (
        r"<\|channel\|>\s*(?:analysis|commentary)(?:\s*<\|message\|>)?",
        r"(?:<\|start\|>assistant\s*)?<\|channel\|>\s*final(?:[^<{]*<\|(?:constrain|message)\|>)*|<\|end\|>",
    ),
    (r"\Aanalysis(?=[A-Z{\"'])", r"assistantfinal"),
)
"""How models mark the beginning and the end of reasoning: most of them by tags, Mistral's by [THINK], Kimi's by
◁think▷, Sky-T1 by begin_of_thought, Cohere's by START_THINKING, MedGemma by unused tokens, gpt-oss by channels, whose
special tokens some servers take out."""

_MARK = re.compile(
    "|".join(f"(?P<open{i}>{opening})|(?P<close{i}>{closing})" for i, (opening, closing) in enumerate(_REASONING))
    + r"|(?P<object>\{)",
    re.IGNORECASE,
)
_THOUGHT = re.compile(rf"(?i)(?:{_TAGS}|drafts?|chain_of_thought)")
"""Names of fields in which models put reasoning, where the answer is an object around the sample."""

_CLOSING = [re.compile(closing, re.IGNORECASE) for _, closing in _REASONING]

_MOST_TRIES, _LONGEST, _LONGEST_REPAIRED = 100, 500_000, 8_000
"""Braces at which an object is looked for, and characters of a text in which objects are looked for, and which is
repaired: an answer that repeats itself may be as long as the limit of tokens allows, and both take time that grows with
the square of it."""

_REST = re.compile(r"(?:\s|```|</?\w+>|<\|[^|<>\s]+\|>|\])*")
"""What may stand behind an object that is repaired; with anything else it may be a cut one."""

_MOST_KNOWN = 1024
"""Answers whose readings are kept."""

_FENCE = re.compile(r"\A```[\w-]*\n(.*?)\n?```\Z", re.DOTALL)
_ESCAPE = re.compile(r"\\u[0-9a-fA-F]{4}|\\.", re.DOTALL)
_PUNCTUATION = frozenset("\"'`“”„‘’,;:{}[]\\")


@dataclass(frozen=True)
class Reading:
    """What was found in an answer.

    Attributes:
        fields: of the sample, in their one form (see `normalized`); of an invalid one as far as they could be read.
        problem: why it is no sample of the task, in the words of a dropped sample's reason; "" if it is one.
        detail: the same in more words, for the model that is asked again.
        is_repaired: whether it was no valid JSON, or stood in one more object.
        reasoning: what the model wrote before its answer, and marked as such.
    """

    fields: Mapping[str, JSON] = field(default_factory=dict)
    problem: str = ""
    detail: str = ""
    is_repaired: bool = False
    reasoning: str = ""


@dataclass
class _Found:
    """What stands in an answer outside of its reasoning.

    Attributes:
        objects: values that begin with a brace, and whether they had to be read leniently.
        broken: texts from a brace at which no object could be read to the end of what the model wrote there.
        reasoning: what is marked as reasoning.
        is_unfinished: reasoning begins, and does not end.
        has_text: anything but blanks stands outside of the reasoning.
        error: of the first brace at which no object could be read.
    """

    objects: list[tuple[JSON, bool]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    is_unfinished: bool = False
    has_text: bool = False
    error: str = ""


@functools.lru_cache(maxsize=8)
def _reader(schema: str) -> AnswerReader:
    return AnswerReader(json.loads(schema))


def answer_reader(schema: Mapping[str, JSON]) -> AnswerReader:
    """Return the reader of a schema: one in a process, so that the checks need not read what the asking has read."""
    return _reader(json.dumps(schema))


class AnswerReader:
    """Finds the sample in answers, checks it against a JSON Schema as it came, and gives its fields their one form.

    What is taken, in this order: the whole text, where it is a valid sample; the last valid object outside of marked
    reasoning; an object that is the only valid one inside another that has none of its fields; one that a repair of
    commas, quotation marks and line breaks makes valid, as long as no letter changes; the server's separate field of
    reasoning, where the text is blank and that field is nothing but one valid object. Nothing inside marked reasoning
    is ever taken.

    Args:
        schema: a JSON Schema of an object.
    """

    def __init__(self, schema: Mapping[str, JSON]) -> None:
        import jsonschema

        self._schema = schema
        self._known: dict[Answer, Reading] = {}
        properties = schema.get("properties")
        self._names = frozenset(properties if isinstance(properties, Mapping) else ())
        self._validator = jsonschema.Draft202012Validator(schema)

    def read(self, answer: Answer) -> Reading:
        """Read an answer; see `Reading`. What was read just before is not read again."""
        reading = self._known.get(answer)
        if reading is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            reading = self._known[answer] = self._read(answer)
        return reading

    def _read(self, answer: Answer) -> Reading:
        if answer.finish_reason == CUT:
            return Reading(problem="cut by the limit of new tokens")
        if answer.finish_reason == OVERLONG:
            return Reading(problem="given up: a text longer than the schema allows")
        text = _unfenced(answer.text)
        whole = self._read_whole(text)
        if whole is not None and not whole.problem:
            return Reading(whole.fields, reasoning=answer.reasoning)
        found = _scan(text) if len(text) <= _LONGEST else _Found(has_text=True)
        reasoning = "\n".join(filter(None, [answer.reasoning, *found.reasoning]))
        for value, is_lenient in self._candidates(found):
            if isinstance(value, dict) and (reading := self._judged(value)) is not None and not reading.problem:
                return Reading(reading.fields, is_repaired=is_lenient, reasoning=reasoning)
        if not found.has_text and answer.reasoning:
            other = self._read_whole(_unfenced(answer.reasoning))
            if other is not None and not other.problem:
                return other
        if whole is None and found.objects:
            first = found.objects[0][0]
            whole = self._judged(first) if isinstance(first, dict) else None
        reading = whole or _no_object(text, found, answer)
        return Reading(reading.fields, reading.problem, reading.detail, reasoning=reasoning)

    def _candidates(self, found: _Found) -> Iterator[tuple[JSON, bool]]:
        """Yield what may be the sample, with whether that has to be called repaired; the best first."""
        yield from reversed(found.objects)
        for value, _ in reversed(found.objects):
            if not isinstance(value, dict) or not self._names.isdisjoint(value):
                continue
            valid = [
                part
                for name, part in value.items()
                if isinstance(part, dict) and not _THOUGHT.fullmatch(name) and self._validator.is_valid(part)
            ]
            if len(valid) == 1:
                yield valid[0], True
        for text in reversed(found.broken):
            if (value := _repaired(text)) is not None:
                yield from self._candidates(_Found([(value, True)]))

    def _read_whole(self, text: str) -> Reading | None:
        """Read a text that is nothing but JSON; None if it is none."""
        try:
            value = parse_json(text)
            if isinstance(value, str):  # JSON in a JSON text, as some servers give a tool's arguments
                value = parse_json(value)
        except ValueError:
            return None
        if not isinstance(value, dict):
            return Reading(problem="no JSON object", detail="it holds no JSON object")
        return self._judged(value)

    def _judged(self, fields: Mapping[str, JSON]) -> Reading:
        sample = normalized(fields, self._schema)
        if reason := unwritable(sample):
            return Reading(problem=reason, detail=reason)
        error: Any = min(self._validator.iter_errors(fields), key=lambda e: list(map(str, e.path)), default=None)
        if error is None:
            return Reading(sample)
        place = ".".join(map(str, error.path))
        return Reading(
            sample,
            f"{place or 'sample'}: against the schema ({error.validator})",
            f"{place or 'the object'}: {error.message[:200]}",
        )


def _no_object(text: str, found: _Found, answer: Answer) -> Reading:
    """Say why an answer holds no object."""
    if found.is_unfinished:
        return Reading(problem="reasoning that does not end", detail="its reasoning did not end")
    if not found.has_text and (found.reasoning or answer.reasoning):
        return Reading(problem="nothing but reasoning", detail="it holds nothing but reasoning")
    if not text:
        return Reading(problem="empty", detail="it is empty")
    return Reading(problem="no valid JSON", detail=found.error or "it holds no JSON object")


def _unfenced(text: str) -> str:
    """Take a text out of a Markdown code fence, which models without constrained decoding like to put around it."""
    text = text.strip()
    return match[1].strip() if (match := _FENCE.match(text)) and "```" not in match[1] else text


def _scan(text: str) -> _Found:
    """Find the objects in a text, and what is marked as reasoning; of marks inside an object none counts."""
    found, place, last, tries = _Found(), 0, 0, 0
    outside: list[str] = []
    broken_at: int | None = None

    def end_broken(end: int) -> None:
        nonlocal broken_at
        if broken_at is not None:
            closed = text.rfind("}", broken_at, end) + 1
            part = text[broken_at:closed]
            counts = [_ESCAPE.sub("", part).count(mark) for mark in '{}[]"']
            is_whole = closed and counts[0] == counts[1] and counts[2] == counts[3] and not counts[4] % 2
            if is_whole and _REST.fullmatch(text, closed, end) and len(part) <= _LONGEST_REPAIRED:
                found.broken.append(part)
        broken_at = None

    while (mark := _MARK.search(text, place)) is not None:
        if mark.lastgroup == "object":
            place = mark.end()
            if tries == _MOST_TRIES:
                continue
            tries += 1
            try:
                value, is_lenient, place = _object_at(text, mark.start())
            except ValueError as e:
                broken = isinstance(e, json.JSONDecodeError)
                found.error = found.error or ("it holds no complete JSON object" if broken else str(e))
                if broken and broken_at is None:
                    broken_at = mark.start()
            else:
                found.objects.append((value, is_lenient))
            continue
        end_broken(mark.start())
        kind = int(str(mark.lastgroup).removeprefix("open").removeprefix("close"))
        if str(mark.lastgroup).startswith("open"):
            outside.append(text[last : mark.start()])
            closing = _CLOSING[kind].search(text, mark.end())
            found.reasoning.append(text[mark.end() : closing.start() if closing else None].strip())
            found.is_unfinished = closing is None
            place = last = closing.end() if closing else len(text)
        elif mark[0] == "<|end|>":  # the end of a turn, when no reasoning has begun
            place = mark.end()
        else:  # the beginning stood in the prompt
            found.reasoning.append(text[last : mark.start()].strip())
            found.objects.clear()
            found.broken.clear()
            outside, place, last = [], mark.end(), mark.end()
    end_broken(len(text))
    outside.append(text[last:])
    found.reasoning = [part for part in found.reasoning if part]
    found.has_text = any(part.strip() for part in outside)
    return found


def _object_at(text: str, start: int) -> tuple[JSON, bool, int]:
    """Return the object that begins at a brace, whether it holds raw line breaks, and where it ends.

    Raises:
        ValueError: there is none.
    """
    try:
        return (value := DECODER.raw_decode(text, start))[0], False, value[1]
    except ValueError:
        value = LENIENT.raw_decode(text, start)
        return value[0], True, value[1]


def _repaired(text: str) -> JSON:
    """Return the value of nearly valid JSON, in which only punctuation is wrong; None if more is.

    The repair library guesses where a text is cut or words stand outside of quotation marks; so its result counts only
    if it has all characters of the text but quotation marks, commas, brackets and blanks, in their order.
    """
    from json_repair import repair_json

    try:
        value: JSON = parse_json(repair_json(text, ensure_ascii=False))
        written = json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    return value if _content(written) == _content(text) else None


def _content(text: str) -> str:
    kept = (character for character in _ESCAPE.sub("", text) if not character.isspace())
    return "".join(character for character in kept if character not in _PUNCTUATION).casefold()
