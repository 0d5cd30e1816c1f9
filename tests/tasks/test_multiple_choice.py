"""Multiple choice: options and answers as question banks write them, and the same in another order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_hf.base.records import JSON
from craft_hf.tasks.multiple_choice import (
    LABEL,
    MOST_LETTERS,
    NUMBER,
    TEXT,
    MultipleChoice,
    leading_option,
    multiple_choice_of,
    options_of,
    split_options,
)

CHOICES = MultipleChoice("options", "answer")
STYLES = ["{A}. {}", "{A}) {}", "({A}) {}", "{a}) {}", "{a}. {}", "({a}) {}", "{1}. {}", "{1}) {}", "{0}: {}", "{}"]
WORDS = ["pier", "crane", "market", "quay"]


def options(style: str) -> list[str]:
    """Four options in a style."""
    written = []
    for place, word in enumerate(WORDS):
        marks = {"{A}": "ABCD"[place], "{a}": "abcd"[place], "{1}": str(place + 1), "{0}": str(place), "{}": word}
        option = style
        for mark, value in marks.items():
            option = option.replace(mark, value)
        written.append(option)
    return written


def sample(options: list[str], answer: JSON) -> dict[str, JSON]:
    """A sample of a task with options."""
    return {"question": "Which?", "options": options, "answer": answer}


@pytest.mark.parametrize("style", STYLES)
def test_texts_are_told_from_labels(style: str) -> None:
    """Whatever stands before options, they say the same."""
    found = options_of(options(style))
    assert found.texts == tuple(WORDS)
    assert [p + t for p, t in zip(found.prefixes, found.texts, strict=True)] == options(style)
    assert bool(found.labels[0]) == (style != "{}")


@pytest.mark.parametrize(
    "texts",
    [
        ["C. elegans", "E. coli", "B. subtilis"],
        ["1.5 kg", "2.5 kg"],
        ["A. pier", "B. crane", "B. quay"],
        ["A. pier", "crane"],
        ["A. pier", "b. crane"],
        ["C. elegans", "A. baumannii", "B. subtilis", "D. rerio"],
        ["1. Mai", "2. Mai", "3. Mai", "4. Mai"],
        [],
    ],
)
def test_what_only_looks_like_labels_is_text(texts: list[str]) -> None:
    """Names of species, numbers with a point, and labels that are in no sequence."""
    assert options_of(texts).texts == tuple(texts)
    assert not any(options_of(texts).labels)


@pytest.mark.parametrize(
    ("style", "answer", "kind"),
    [
        ("{A}. {}", "C", LABEL), ("{A}. {}", "C.", LABEL), ("{A}. {}", "c", LABEL),
        ("{A}. {}", "market", TEXT), ("{A}. {}", 2, NUMBER), ("({A}) {}", "(C)", LABEL), ("{a}) {}", "c", LABEL),
        ("{1}. {}", "3", LABEL), ("{1}. {}", 3, LABEL), ("{0}: {}", 2, LABEL), ("{}", "market", TEXT),
        ("{}", " Market ", TEXT), ("{}", 2, NUMBER), ("{}", "2", NUMBER), ("{}", "C", LABEL), ("{}", "c", LABEL),
    ],
)  # fmt: skip
def test_the_right_option_is_found_however_it_is_named(style: str, answer: JSON, kind: str) -> None:
    """By its label with or without punctuation, by its number, by its text."""
    found = CHOICES.read(sample(options(style), answer))
    assert (found.right, found.kind, found.right_text) == (2, kind, "market")


@pytest.mark.parametrize(
    ("texts", "answer"),
    [
        (options("{A}. {}"), "E"), (options("{A}. {}"), "harbour"), (options("{A}. {}"), None), (options("{}"), 4),
        (options("{}"), -1), (options("{}"), True), (options("{}"), "E"), (options("{1}. {}"), 0), ([], "A"),
        (["C. elegans", "E. coli"], "B"), (["pier", "pier"], "pier"), (options("{A}. {}"), ["A"]),
    ],
)  # fmt: skip
def test_an_answer_that_names_no_option_is_none(texts: list[str], answer: JSON) -> None:
    """Beyond the options, of another type, or of two meanings."""
    found = CHOICES.read(sample(texts, answer))
    assert (found.right, found.right_text) == (None, "")
    with pytest.raises(ValueError, match="none of the options"):
        CHOICES.reordered(sample(texts, answer), range(len(texts)))


@given(
    st.sampled_from(STYLES),
    st.permutations(range(4)),
    st.integers(0, 3),
    st.sampled_from(["label", "number", "text"]),
)
def test_in_another_order_the_answer_follows_and_the_style_stays(
    style: str, order: list[int], right: int, way: str
) -> None:
    """Labels stay in their places; the answer is of the same kind and type, and names the same text."""
    texts = options(style)
    read = options_of(texts)
    answers: dict[str, JSON] = {
        "label": read.labels[right] or "ABCD"[right], "number": right, "text": WORDS[right]
    }  # fmt: skip
    given_ = sample(texts, answers[way])
    before = CHOICES.read(given_)
    if before.right != right:  # a number means the label where labels are numbers
        return
    after = CHOICES.reordered(given_, order)
    found = CHOICES.read(after)
    assert found.labels == read.labels
    assert found.prefixes == read.prefixes
    assert found.texts == tuple(WORDS[n] for n in order)
    assert (found.right_text, found.kind) == (WORDS[right], before.kind)
    assert type(after["answer"]) is type(given_["answer"])
    back = CHOICES.reordered(after, [order.index(n) for n in range(4)])
    assert back == given_


@pytest.mark.parametrize(
    "texts",
    [
        ["1. Januar 1900", "2. Februar 1910", "3. Mai 1920"],
        ["A. baumannii", "B. subtilis", "C. elegans", "D. rerio"],
        ["C. elegans", "A. baumannii", "B. subtilis", "D. rerio"],
    ],
)
def test_what_a_whole_option_says_stays_in_another_order(texts: list[str]) -> None:
    """An answer that repeats a whole option makes its beginning part of the text; texts that count keep their order."""
    for right, answer in enumerate(texts):
        for turned in range(len(texts)):
            order = [(n + turned) % len(texts) for n in range(len(texts))]
            after = CHOICES.reordered(sample(texts, answer), order)
            assert after == sample([texts[n] for n in order], answer)
        found = CHOICES.read(sample(texts, answer))
        assert (found.right, found.kind, found.right_text) == (right, TEXT, answer)
        assert found.depends_on_order is (texts == sorted(texts))


def test_options_that_repeat_behind_labels_are_found_on_demand() -> None:
    """A check for repeated options sees what is behind the labels."""
    assert options_of(["A. pier", "B. pier"], may_repeat=True).texts == ("pier", "pier")


def test_numbers_count_from_what_the_schema_says() -> None:
    """From 0, or as enum or minimum have it."""
    for field, first in (({}, 0), ({"minimum": 1}, 1), ({"enum": [1, 2, 3, 4]}, 1), ({"enum": ["0", "1"]}, 0)):
        choices = multiple_choice_of({"properties": {"answer": field}}, "options", "answer")
        assert choices
        assert choices.first == first
        assert choices.read(sample(options("{}"), first)).right == 0
    assert multiple_choice_of({}, "options", "") is None


def test_samples_are_counted_by_the_place_of_the_right_option() -> None:
    """The label, else the number that the answer is, else (texts, also with what looks like labels) the letter."""
    names = {
        style: [CHOICES.name_of(sample(options(style), answer)) for answer in answers]
        for style, answers in (("{a}) {}", ["b", "crane", "b) crane"]), ("{}", ["crane", 1, "B"]), ("{1}. {}", [2]))
    }
    assert names == {"{a}) {}": ["b", "b", "B"], "{}": ["B", "1", "B"], "{1}. {}": ["2"]}


@pytest.mark.parametrize(
    ("texts", "bound"),
    [
        (["A. One", "B. All of the above"], True), (["a) One", "b) both a and b"], True),
        (["1. x", "2. 1 or 2"], True),
        (["A. Vitamins C and E", "B. Water"], False), (["one", "none of these"], True),
        (["A. All cells", "B. No"], False),
    ],
)  # fmt: skip
def test_options_that_speak_of_others_depend_on_the_order(texts: list[str], bound: bool) -> None:
    """By their place or by their labels, whatever those are."""
    assert options_of(texts).depends_on_order is bound


def test_options_in_a_text_are_split_off() -> None:
    """The last sequence of labelled lines; a line without a label belongs to the option before it."""
    assert split_options("Which?\nA. one\ncontinued\nB. two") == ("Which?", ["A. one\ncontinued", "B. two"])
    assert split_options("1. x\n2. y\nBoth?\na) yes\nb) no") == ("1. x\n2. y\nBoth?", ["a) yes", "b) no"])
    assert split_options("Which one?\nA. only") == ("Which one?\nA. only", [])


@pytest.mark.parametrize("labels", [("A", "B"), ("(A)", "(B)"), ("A.", "B."), ("a", "b"), ("1", "2"), ("fox", "owl")])
def test_the_option_that_an_answer_begins_with_is_found(labels: tuple[str, str]) -> None:
    """Whatever punctuation labels and answers have; other words are no labels."""
    name = labels[1].strip("().")
    for answer in (name, f"({name})", f"{name}.", f" {name}) because", f"{name}: it is", f"**{name}**", name.upper()):
        assert leading_option(answer, labels) == 1, answer
    for answer in ("", "C", f"{name}s", f"{name}'s", f"{name}.5 kg", "it is " + name):
        assert leading_option(answer, labels) is None, answer


def test_a_word_is_no_label() -> None:
    """An article is not the label A, nor has an option without a label one."""
    assert leading_option("a fox", ("A", "B")) is None
    assert leading_option("A fox", ("A", "B")) == 0
    assert leading_option("fox", ("", "")) is None
    assert leading_option("the owl", ("the fox", "the owl")) == 1
    assert leading_option("12", ("1", "12")) == 1


def test_letters_name_as_many_options_as_there_are_letters() -> None:
    """Of more options without labels, the answer is a text or a number, and so says the message."""
    for count, place in ((MOST_LETTERS, 1), (MOST_LETTERS + 1, None)):
        texts = [f"word {number}" for number in range(count)]
        read = CHOICES.read(sample(texts, "B"))
        assert read.right == place
        assert ("its letter" in CHOICES.expected(read)) is (place is not None)
        assert CHOICES.read(sample(texts, f"word {count - 1}")).right == count - 1
    assert CHOICES.name_of(sample(texts, texts[-1])) == "26"
