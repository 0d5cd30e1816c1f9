"""Residue: what is no part of a text is seen, and what looks like it is not."""

from __future__ import annotations

import pytest

from craft_hf.quality.residue import is_list_of_links, is_placeholder, residue_in, residue_of_page_in


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Which <em>gas</em> do plants take up?", "HTML"),
        ("Salt &lt; sugar &nbsp; in tea", "HTML"),
        ("Which gas do [[plant]]s take up?", "wiki"),
        ("The '''cell''' divides.", "wiki"),
        ("Which **gas** do plants take up?", "Markdown"),
        ("See [the leaf](/leaf) for more.", "Markdown"),
        ("# Leaves\nThey are green.", "Markdown"),
        ("More at https://leaf.example/gas", "web address"),
        ("Ask leaf@plants.example about it.", "e-mail"),
        ("Ring +49 30 901820 for the leaf.", "phone"),
        ("Leaves | Roots | Stems\nThey are green.", "menu"),
        ("They are green.\nSign up for our leaf letters", "line of a web page"),
        ("Copyright 2020 Leaf Press\nThey are green.", "line of a web page"),
        ("Here's the statement you wanted: leaves are green.", "words about the task"),
        ("Statement 3: leaves are green.", "words about the task"),
        ("Certainly! This question is on leaves. What are they?", "words about the task"),
    ],
)
def test_each_kind_of_residue_is_said(text: str, said: str) -> None:
    """Markup, addresses, lines of a page and words about the task have a reason each."""
    assert said in residue_in(text, "en")


@pytest.mark.parametrize(
    "text",
    [
        "Is 3 < 5 and 7 > 2 in R&D?",
        "The pelvis ________ the spine.",
        "If p < 0.05, what is said of *Escherichia coli*?",
        "Who said \"leave me\" to the Queen's 'son'?",
        "Why are cookies baked on a sheet?",
        "1. Anaemia, chronic. 2. Swelling of the left leg.",
        "Planet | Mass | Period\nEarth | 1 | 1\nMars | 0.1 | 1.9",
        "Read the label, then add 2 cups of milk - cold - to the bowl.",
        "I have guests; please write a recipe for apple pie.",
        "What does a recipe for bread need: yeast, or baking soda?",
        "Allow cookies to cool on the baking sheet for 5 minutes.",
        "Set the cookies on a wire rack; use a spatula to move the cookies.",
        "Tap on the counter to settle the dough. Register for the exam early.",
        "Copyright law protects books. Would you like to post a letter.",
        "Grease a 9'' x 13'' pan; the primer runs 5''-ATG and 3''-TAC.",
        "This is a recipe for bread. I made too much rice; what can I cook with it?",
        "The answer to a riddle: what has keys? Title IX of 1972: who is protected?",
        "If x<y and y>z, which is the greatest?",
        "Brown sugar - White sugar - Butter",
    ],
)
def test_what_people_write_is_no_residue(text: str) -> None:
    """Signs of mathematics, blanks to fill, lists and tables stay."""
    assert residue_in(text, "en") == ""


def test_long_texts_may_have_addresses_and_tables_but_no_rests_of_their_page() -> None:
    """A text to be summarized is looked at for its page alone."""
    assert residue_of_page_in("Write to leaf@plants.example, or **ask**.\nLeaf | Root\n1 | 2", "en") == ""
    assert residue_of_page_in("Leaves are green.\nFollow us on the web for more", "en") != ""
    assert residue_of_page_in("Leaves are<br/>green.", "de") != ""


def test_options_that_say_nothing_are_placeholders() -> None:
    """All of their words are of the task; "True" and "Both answers are right" say something."""
    for option in ("Wrong answer 2", "Option B", "[another option]", "Distractor", "(false)", "<choice>"):
        assert is_placeholder(option), option
    for option in ("[0, 1]", "{1, 2, 3}", "[H+]", "(30/200) / (30/400)", "<p>"):
        assert not is_placeholder(option), option
    for option in ("True", "False", "Both answers are right", "47,XXX", "Wrong side of the road", "None of the above"):
        assert not is_placeholder(option), option


def test_names_in_a_row_are_no_summary() -> None:
    """A list of points is one."""
    assert not is_list_of_links("Hb 12\nNa 140\nK 4\nCl 100\nWhat is the diagnosis?")
    assert is_list_of_links("Start · News · Sport · Weather · Imprint")
    assert not is_list_of_links(
        "- The town closes a street to cars.\n- A trial runs for a year.\n- Buses may pass.\n- Some object."
    )
