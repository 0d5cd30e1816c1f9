"""Patterns of schemas: what engines are asked means what the check of finished answers wants."""

from __future__ import annotations

import json
import re

import pytest
import xgrammar
from xgrammar.testing import _is_grammar_accept_string

from craft_hf.base.errors import InputError
from craft_hf.tasks.grammar import check_patterns, engine_pattern, engine_schema, without_keywords

TEXTS = ["", "?", "why?", "A. x", "AA. x", "a", "b", "xa", "ab", "bx", "aé9", "[x]", "a-b", "1.5", "x|y", "^", "a.b"]


def accepts(pattern: str, text: str) -> bool:
    """Whether a grammar of a pattern takes a text."""
    schema = {"type": "object", "properties": {"q": {"type": "string", "pattern": pattern}}, "required": ["q"]}
    grammar = xgrammar.Grammar.from_json_schema(json.dumps(schema), any_whitespace=False)
    return bool(_is_grammar_accept_string(grammar, json.dumps({"q": text}, ensure_ascii=False)))


@pytest.mark.parametrize(
    "pattern",
    [r"\?$", "^a", "b", r"^A\. .+$", r"^A\. .+", "^a|b$", "a|^b$", "a|b|x", r"^\S+$", r"^[^x]+$",
     r"^\w+[?]$", r"\.", r"^\d+\.\d$", r"^[\]\[x]+$", r"^(?:a|b){1,2}$", r"^a{1}b?$", r"x\|y", r"^\^$", ".", "^$",
     "[^-a]", "[^a-]", "[^]a]", "[]a]", "[a-]", "[-a]", r"^[^-,;]+$"],
)  # fmt: skip
def test_a_grammar_takes_what_the_pattern_finds(pattern: str) -> None:
    """For texts without anything that JSON escapes, the grammar and `re.search` agree."""
    asked = engine_pattern(pattern)
    for text in TEXTS:
        assert accepts(asked, text) == bool(re.search(pattern, text)), (asked, text)


@pytest.mark.parametrize(
    "pattern", [r"[\s\S]", "[ -~]", "[!-~]", '"', r"\"", r"\\", r"[\"x]", r"a\nb", "(^a$|^b$)", "a(?:^b)", r"^a$b"]
)
def test_what_no_engine_can_be_asked_is_left_to_the_check_of_answers(pattern: str) -> None:
    """A pattern that matches what JSON escapes, or is anchored inside, is not sent; the task may have it."""
    assert engine_schema({"type": "string", "pattern": pattern, "maxLength": 3}) == {"type": "string", "maxLength": 3}
    check_patterns({"pattern": pattern}, InputError)


@pytest.mark.parametrize("pattern", [r"^A\. .+$", "x", r"^[^,]+$", r"\S$", r"^\D*$"])
def test_no_part_runs_over_the_end_of_a_text(pattern: str) -> None:
    """Whatever an engine makes of it, an unescaped quotation mark is matched by nothing."""
    assert not re.search(engine_pattern(pattern), 'A. x", "more": "A. y')
    assert not re.search(engine_pattern(pattern), "A. x\\")


@pytest.mark.parametrize(
    "pattern",
    [
        "^(?=a)b",
        "(?!a)b",
        "(?<=a)b",
        r"\bfoo\b",
        r"^\p{L}+$",
        r"^(a|b)\1$",
        "(?i)a",
        "(?P<x>a)",
        "(?>x)",
        "(?-i:x)",
        "(?#c)",
    ],
)
def test_what_no_grammar_can_is_refused(pattern: str) -> None:
    """The error has the pattern, what is in the way, and what to do."""
    with pytest.raises(InputError, match="which no grammar for constrained decoding can; write it without"):
        check_patterns({"properties": {"a": {"items": [{"pattern": pattern}]}}}, InputError)


def test_only_patterns_of_schemas_are_changed() -> None:
    """A property or a value that is called pattern stays."""
    schema = {
        "properties": {"pattern": {"type": "string", "pattern": "a"}},
        "enum": [{"pattern": "a"}],
        "anyOf": [{"pattern": "^b$"}],
    }
    assert engine_schema(schema) == {
        "properties": {"pattern": {"type": "string", "pattern": r'^[^"\\\n]*a[^"\\\n]*$'}},
        "enum": [{"pattern": "a"}],
        "anyOf": [{"pattern": "^b$"}],
    }
    assert without_keywords(schema, ["pattern"]) == {
        "properties": {"pattern": {"type": "string"}},
        "enum": [{"pattern": "a"}],
        "anyOf": [{}],
    }
    check_patterns(schema, InputError)
