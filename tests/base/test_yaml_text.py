"""YAML that people write: what is wrong with it is told with file and line, and never as a traceback."""

from __future__ import annotations

import pytest

from craft_hf.base.errors import InputError
from craft_hf.base.yaml_text import load_yaml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [2", "line 2: not valid YAML"),
        ("a: 1\nb: 2024-13-45", "line 2: .* looks like a date or a number and is none; put it in quotes"),
        ("a: !!int many", "line 1: .* looks like a date"),
        ("a: !!bool perhaps", "line 1: .* looks like a date"),
        ("a: !!timestamp now", "line 1: .* looks like a date"),
        ("a: !!int ''", "line 1: .* looks like a date"),
        ("a: " + "1" * 5000, "line 1: .* looks like a date"),
        ("a: 1\nb: x\x07", r"line 2: .*the character U\+0007 is not allowed"),
        ("a: \ud800", r"line 1: .*U\+D800"),
        ("a: " + "[" * 5000, "f.yaml: .*nested too deeply"),
        ("a: 1\nb: 2\na: 3", "line 3: .*'a' stands in line 1 as well; leave one out"),
        ("a:\n  b: 1\n  b: 2", "line 3: .*'b' stands in line 2 as well"),
        ("? [1, 2]\n: 3", "line 1: .*unhashable key"),
        ("a: 1\n--- 2", "line 2: .*another document"),
        ("a: !mine 1", "line 1: .*!mine"),
    ],
)
def test_what_is_no_yaml_is_one_error_with_the_line(text: str, message: str) -> None:
    """Whatever the parser, or the functions that make dates and numbers, raise."""
    with pytest.raises(InputError, match=message):
        load_yaml(text, "f.yaml")


def test_a_message_shows_no_value() -> None:
    """A line may hold a key."""
    for text in ("a: !!int secret", "a: [secret", "a: secret\x07"):
        with pytest.raises(InputError) as e:
            load_yaml(text, "f.yaml")
        assert "secret" not in str(e.value)


def test_keys_have_their_lines() -> None:
    """Also those that a merge brings; a key of one's own beside a merged one is no second one."""
    assert load_yaml("# head\na: 1\nb: {c: 2}\n5: d\n", "") == (
        {"a": 1, "b": {"c": 2}, 5: "d"},
        {"a": 2, "b": 3, "5": 4},
    )
    merged = "x: [&all {<<: &base {a: 1, b: 2}, a: 3}]\n<<: *all\nb: 4\n"
    assert load_yaml(merged, "") == ({"x": [{"a": 3, "b": 2}], "a": 3, "b": 4}, {"x": 1, "a": 1, "b": 3})
    assert load_yaml("", "") == (None, {})
    assert load_yaml("- a", "") == (["a"], {})
