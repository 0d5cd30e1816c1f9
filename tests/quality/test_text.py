"""Text as the checks see it: stems, numbers, sentences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_hf.quality.text import digits, ngrams, numbers, sentences, stems, tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,200 birds, 3.50 grams", {"1200", "3.5"}),
        ("twenty-five of them, twice", {"25", "20", "5", "2"}),
        ("½ cup, or 1/2 cup", {"1/2"}),
        ("H2O and CO2 at 007 °C", {"7"}),
        ("10.0 and 10", {"10"}),
        ("1940-1990", {"1940", "1990"}),
        ("no number", set()),
        ("٣ apples", {"٣"}),
    ],
)
def test_numbers_are_told_however_they_are_written(text: str, expected: set[str]) -> None:
    """Digits, words and fractions of the same number are the same; the 2 of CO2 is none."""
    assert numbers(text) == expected


def test_digits_leave_words_out() -> None:
    """What a sample says in words is not held against it."""
    assert digits("two of 30") == {"30"}


def test_stems_are_those_of_content_words() -> None:
    """Stop words are left out in English, endings everywhere that Snowball knows the language."""
    assert stems("The cells are dividing, and divided") == ["cell", "divid", "divid"]
    assert stems("die Häuser der Stadt", "de") == ["die", "haus", "der", "stadt"]
    assert stems("palabras", "xx") == ["palabras"]


def test_sentences_end_at_marks_and_lines() -> None:
    """Full stops inside numbers end nothing, and what says nothing is no sentence."""
    assert sentences("It is 3.5 m. Really? Yes!\n\n- item\n...") == ["It is 3.5 m.", "Really?", "Yes!", "- item"]


@given(st.text(), st.integers(1, 5))
def test_ngrams_are_runs_of_the_words(text: str, n: int) -> None:
    """There are as many as places where they can begin, and each is n words long."""
    words = tokens(text)
    found = list(ngrams(words, n))
    assert len(found) == max(0, len(words) - n + 1)
    assert all(len(gram.split(" ")) == n for gram in found)
