"""Standalone: a question leans on nothing that its reader does not have."""

from __future__ import annotations

import pytest

from craft_hf.quality.standalone import leans_on


@pytest.mark.parametrize(
    "question",
    [
        "What does the text say of the gas?",
        "What can be concluded from the given text on leaves?",
        "What does the narrator think of leaves?",
        "As noted in this essay, why are leaves green?",
        "According to this leaflet, which gas do plants take up?",
        "Which gas was measured in the present report?",
        "Which gas is named in the paragraph above?",
        "What do the researchers recommend for plants?",
        "Going by the data provided, which gas do plants take up?",
        "Which of the gases listed below do plants take up?",
        "Which drug suits this woman?",
        "What should the child described earlier be given?",
        "Why are leaves green, as shown in the diagram?",
        "Which gas, in light of the evidence presented, do plants take up?",
    ],
)
def test_a_question_that_leans_on_something_is_seen(question: str) -> None:
    """Whatever the noun of a text, its maker, a figure or a person, with a word that points at it."""
    assert leans_on(question)


@pytest.mark.parametrize(
    "question",
    [
        "Who is the author of Hamlet?",
        "What is the study of plants called?",
        "A study compared two fertilizers. In this study, one was used on even rows only. Which of them is a control?",
        "A 40-year-old man has a cough. Which drug is best for this patient?",
        "A patient has taken iron. What should this patient avoid?",
        "What passes through the passage of Drake?",
        "Which of these people is most likely to be short of vitamin D?",
        "Which cells carry information to the brain?",
        "In the case of fever, what should be drunk?",
        "Which book of the Bible comes first?",
        "What did the report of the Warren Commission conclude?",
        "Why do results of experiments vary?",
        "Which of the following is a table salt?",
        "In the paper industry, which wood is used?",
        "Does the reporter gene glow in the speech area of the brain?",
        "In the short story 'The Lottery', who is stoned?",
        "In an experiment, plants are kept in the dark. What happens to the plants in the experiment?",
    ],
)
def test_a_question_about_such_things_stands_alone(question: str) -> None:
    """Texts and people may be asked about, and what a question has brought up may be pointed at."""
    assert leans_on(question) == ""
