"""Lengths by script, and passages of long texts."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.length import passages, says_less_than

ENGLISH = "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience."
TEXTS = {
    "chinese": "人人生而自由,在尊严和权利上一律平等。他们赋有理性和良心,并应以兄弟关系的精神相对待。",
    "japanese": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。人間は、理性と",
    "thai": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม และควรปฏิบัติต่อกัน",
}
"""The first article of the Universal Declaration of Human Rights, or most of it."""


@pytest.mark.parametrize("script", TEXTS)
def test_scripts_without_blanks_say_more_with_fewer_characters(script: str) -> None:
    """What says as much as 100 characters of English is as long as that, in fewer characters."""
    text = TEXTS[script]
    assert not says_less_than(text, 100)
    assert says_less_than(text[: len(text) // 2], 100)
    assert says_less_than("x" * 99, 100)
    assert not says_less_than("x" * 100, 100)


def test_a_chinese_note_of_fifty_characters_is_a_document() -> None:
    """200 characters of English are some 50 of Chinese; fewer are too short."""
    assert len(list(Corpus([{"text": "自" * 50}, {"text": "自" * 49}]))) == 1


PARAGRAPHS = st.lists(st.text("ab .\n", max_size=60), max_size=12).map("\n\n".join)


@given(PARAGRAPHS, st.integers(1, 80))
def test_passages_hold_all_words_and_are_short_enough(text: str, longest: int) -> None:
    """Nothing but blanks is lost, none is too long, and there are hardly more than needed."""
    found = list(passages(text, longest))
    assert re.sub(r"\s", "", "".join(found)) == re.sub(r"\s", "", text)
    assert all(0 < len(passage) <= longest for passage in found)
    assert all(passage.strip() for passage in found)
    assert len(found) <= 1 + 2 * len(text.strip()) / max(1, longest // 2)


@pytest.mark.parametrize(
    ("text", "longest", "found"),
    [
        ("short", 9, ["short"]),
        ("One.\n\nTwo two.\n\nThree.", 16, ["One.\n\nTwo two.", "Three."]),
        ("aaa bbb\nccc ddd", 10, ["aaa bbb", "ccc ddd"]),
        ("One two. Three four.", 12, ["One two.", "Three four."]),
        ("一二三。四五六。", 5, ["一二三。", "四五六。"]),
        ("aaaa bbbb cccc", 9, ["aaaa bbbb", "cccc"]),
        ("x" * 25, 10, ["x" * 8, "x" * 8, "x" * 9]),
    ],
)
def test_a_passage_ends_at_the_best_end_there_is(text: str, longest: int, found: list[str]) -> None:
    """A paragraph's, else a line's, a sentence's, a word's; near the middle of what is left."""
    assert list(passages(text, longest)) == found


def test_a_long_document_becomes_passages_with_its_title_link_and_licence() -> None:
    """Each has the document's id with its number; the document is counted as split."""
    paragraphs = [f"{number} " + "Lichens grow slowly. " * 100 for number in range(20)]
    row = {
        "id": "book",
        "text": "\n\n".join(paragraphs),
        "title": "Lichens",
        "url": "u",
        "license": "CC0",
        "author": "Ann",
    }
    corpus = Corpus([row, {"text": "Short enough. " * 30}], name="c")
    *parts, whole = corpus
    assert [part.id for part in parts] == ["book#1", "book#2"]
    assert {(p.title, p.url, p.license, p.author, p.source) for p in parts} == {("Lichens", "u", "CC0", "Ann", "c")}
    assert "\n\n".join(part.text for part in parts).split() == row["text"].split()
    assert parts[1].text.startswith("10 ")
    assert whole.id == "c:2"
    ledger = corpus.ledger
    assert (ledger.records, ledger.whole, ledger.split, ledger.passages, ledger.documents) == (2, 1, 1, 2, 3)
