"""Words of texts in any script, and runs of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_hf.base.word_sequences import word_runs, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Water, H2O (1.5 l)!", ["water", "h2o", "1", "5", "l"]),
        ("Größe ÄÖ ﬁne", ["grösse", "äö", "fine"]),
        ("古い橋、ﾄﾗｯｸ。", ["古", "い", "橋", "ト", "ラ", "ッ", "ク"]),
        ("ที่นี่", ["ท", "ี", "่", "น", "ี", "่"]),
        ("用 Python 3 写的", ["用", "python", "3", "写", "的"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("", []),
    ],
)
def test_words_of_any_script(text: str, expected: list[str]) -> None:
    """Words between blanks, and single characters of the scripts that have no blanks, with their marks."""
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "length"),
    [("one two three four five six", 5), ("古い橋は東側にひびが", 10), ("ภาษาไทยเป็นภาษาที่มีระดับเสียง", 20)],
)
def test_runs_hold_as_much_in_any_script(text: str, length: int) -> None:
    """Five words are ten characters of Japanese and twenty of Thai; all runs of a text are there, none shorter."""
    runs, found = list(word_runs(text, 5)), words(text)
    assert runs == [tuple(found[i : i + length]) for i in range(len(found) - length + 1)]
    assert runs
    assert list(word_runs(text[: length // 2], 5)) == []


def test_runs_over_two_scripts_count_both() -> None:
    """Two Chinese characters weigh as much as a word beside them."""
    assert list(word_runs("中文 word 汉字", 3)) == [("中", "文", "word", "汉", "字")]


@given(st.text(), st.integers(1, 6))
def test_runs_are_parts_of_the_words(text: str, length: int) -> None:
    """Whatever the text, runs are consecutive words, each starting one word later."""
    found = words(text)
    for start, run in enumerate(word_runs(text, length)):
        assert tuple(found[start : start + len(run)]) == run
