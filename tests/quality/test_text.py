"""Text as the checks see it: stems, sentences."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from craft_hf.quality.text import ngrams, sentences, stems, tokens


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
