"""Balance: no letter is favoured, the answer follows its option, and a longer run begins like a shorter one."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from craft_hf.quality.balance import Shuffle
from craft_hf.quality.wellformed import broken_rule
from craft_hf.tasks.multiple_choice import MOST_LETTERS, options_of
from craft_hf.tasks.task import load_task
from tests.quality_samples import BIOQA, changed, task


def sample(number: int, answer: str = "A") -> dict[str, Any]:
    """A sample whose right option is named "right"."""
    options = [f"{letter}. {'right' if letter == answer else 'wrong'} {letter}{number}" for letter in "ABCD"]
    return changed(options=options, answer=answer)


@given(st.lists(st.sampled_from("ABCD"), max_size=30), st.integers(0, 5))
def test_every_letter_is_right_equally_often_and_the_answer_follows(answers: list[str], seed: int) -> None:
    """After each four samples all letters were right as often; options stay the same set, labels in order."""
    shuffle, after = Shuffle(BIOQA, seed), Counter[str]()
    for number, answer in enumerate(answers, 1):
        given_ = sample(number, answer)
        fields = shuffle.shuffled(f"d{number}", given_)
        options = options_of(fields["options"])
        assert options.labels == tuple("ABCD")
        assert set(options.texts) == set(options_of(given_["options"]).texts)
        right = "ABCD".index(str(fields["answer"]))
        assert options.texts[right] == f"right {answer}{number}"
        after[str(fields["answer"])] += 1
        if number % 4 == 0:
            assert set(after.values()) == {number // 4}
    assert shuffle.balance.after == after
    assert sum(shuffle.balance.before.values()) == len(answers)


def test_more_samples_begin_with_the_same() -> None:
    """The order of a sample's options does not depend on how many follow; another seed gives another order."""
    runs = [
        [shuffle.shuffled(f"d{n}", sample(n)) for n in range(count)]
        for shuffle, count in ((Shuffle(BIOQA, 0), 6), (Shuffle(BIOQA, 0), 12), (Shuffle(BIOQA, 1), 12))
    ]
    assert runs[1][:6] == runs[0]
    assert runs[2] != runs[1]


def test_options_that_speak_of_others_keep_their_place() -> None:
    """All of the above has to stand below, and A and B must stay A and B."""
    for option in ("All of the above", "none of these", "Both A and B", "A and C", "neither of the two"):
        fields = changed(options=["A. One", "B. Two", "C. Three", f"D. {option}"], answer="D")
        shuffle = Shuffle(BIOQA, 0)
        assert shuffle.shuffled("d", fields) is fields
        assert (shuffle.balance.fixed, shuffle.balance.moved) == (1, 0)
    free = changed(options=["A. All cells divide", "B. Vitamin C", "C. None", "D. A cell"], answer="A")
    shuffle = Shuffle(BIOQA, 0)
    shuffle.shuffled("d", free)
    assert shuffle.balance.fixed == 0


def test_a_schema_that_fixes_the_order_is_left_alone() -> None:
    """Yes stays A and No stays B; what is right how often is still counted."""
    shuffle = Shuffle(load_task("csqa"), 0)
    fields = {"question": "Is water wet?", "options": ["A. Yes", "B. No"], "answer": "A"}
    assert shuffle.shuffled("d", fields) is fields
    assert (shuffle.balance.before, shuffle.balance.after, shuffle.balance.fixed) == ({"A": 1}, {"A": 1}, 1)


def test_a_task_without_options_is_left_alone() -> None:
    """There is nothing to count."""
    shuffle = Shuffle(load_task("recipegen"), 0)
    assert shuffle.shuffled("d", {"steps": ["x"]}) == {"steps": ["x"]}
    assert not shuffle.balance.before


def test_an_answer_that_can_name_no_other_place_is_never_moved_there() -> None:
    """Of 30 options without labels a letter names none: the sample is dropped before, and left as it is here."""
    loose = json.loads(json.dumps(BIOQA.schema))
    loose["properties"] |= {"options": {"type": "array", "items": {"type": "string"}}, "answer": {"type": "string"}}
    asked = task(schema=loose)
    for count, problem in ((MOST_LETTERS, ""), (30, "answer: not among the options")):
        options = [f"the {number}th word" for number in range(count)]
        lettered, named = (changed(options=options, answer=answer) for answer in ("B", options[-1]))
        assert broken_rule(asked, lettered) == problem
        assert broken_rule(asked, named) == ""
        shuffle = Shuffle(asked, 0)
        for number in range(2 * count):
            fields = shuffle.shuffled(f"d{number}", lettered)
            assert fields is lettered or asked.multiple_choice.read(fields).right_text == options[1]
            fields = shuffle.shuffled(f"e{number}", named)
            assert asked.multiple_choice.read(fields).right_text == options[-1]
