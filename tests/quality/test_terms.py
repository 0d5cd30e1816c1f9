"""The rules of the task terms: what a definition is, whoever writes it."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from craft_hf.base.models import generator_weights
from craft_hf.generation.local.constrained_decoding import JsonConstraint
from craft_hf.quality.schema import AnswerReader
from craft_hf.quality.wellformed import broken_rule
from craft_hf.tasks.task import load_task
from tests.quality_samples import answer

TERMS = load_task("terms")
READER = AnswerReader(TERMS.schema)

DEFINITIONS = (
    "A fracture is a break in a bone.",
    "Diuretics are drugs that make the kidneys give off more water.",
    "Entropy, also called disorder, is a measure of how many states a system can be in.",
    "Ribonucleic acid (RNA) is a chain of nucleotides that carries instructions from DNA.",
    "Neutrality is the pH of 7.0, at which a solution is neither acid nor base.",
    "A baker's dozen is a set of 13, one more than a plain dozen.",
    "A crème brûlée is a custard under a crust of burnt sugar – eaten cold.",
    "Catharsis means the cleansing of feelings by watching a tragedy.",
    "Force majeure refers to an event that nobody could foresee or prevent.",
    "2,4-D is a weedkiller that acts like a plant's own growth hormone.",
    "Antibiotics are specialised substances that are used against bacteria.",
)
OTHERS = (
    ("It is a break in a bone, mostly of the leg.", "does not begin with the term"),
    ("In many people, fever is a sign of infection.", "does not begin with the term"),
    ("A fracture is a break in this kind of bone.", "needs the text around it"),
    ("Fractures are often treated with a cast for weeks.", "does not say what something is"),
    ("Bacteria are found in the soil and in the sea.", "does not say what something is"),
    ("Platelets are produced in the marrow of the bones.", "does not say what something is"),
    ("Asthma is the most common illness of small children.", "does not say what something is"),
    ("The lungs of small children are also a measure of the air.", "does not say what something is"),
    ("A callus is a special form of callus on the hand.", "explains the term by itself"),
)
LATE = "Children who live near large roads in the city are a group that falls ill more often."


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_definitions_of_many_kinds_are_kept(definition: str) -> None:
    """Names, numbers, apostrophes, foreign letters, apposition: the schema and the rules take them."""
    sample, problem = READER.read(answer({"definition": definition, "term": "baker's dozen (13)"}))
    assert problem == ""
    assert broken_rule(TERMS, sample) == ""


@pytest.mark.parametrize(("sentence", "reason"), OTHERS)
def test_sentences_that_define_nothing_are_dropped(sentence: str, reason: str) -> None:
    """Each has its reason, though the schema takes it."""
    sample, problem = READER.read(answer({"definition": sentence, "term": "term"}))
    assert problem == ""
    assert broken_rule(TERMS, sample) == f"definition: {reason}"


@pytest.mark.parametrize(
    ("term", "reason"),
    [
        ("the cornea", "begins with an article or a pronoun"),
        ("their life in the deep sea", "begins with an article or a pronoun"),
        ("life cycle of the club mushrooms", "is no term, but a phrase"),
        ("habeas corpus", None),
        ("pH", None),
    ],
)
def test_a_term_is_a_name(term: str, reason: str | None) -> None:
    """Without article, and of a few words."""
    found = broken_rule(TERMS, {"definition": DEFINITIONS[0], "term": term})
    assert found == (f"term: {reason}" if reason else "")


@pytest.mark.parametrize("definition", ["A fracture is a break. It hurts.", "Does it hurt?", "Bones break.", LATE])
def test_the_schema_asks_for_one_sentence_that_says_what_something_is(definition: str) -> None:
    """Two sentences, a question, and a sentence in which "is" is missing or late are refused."""
    _, problem = READER.read(answer({"definition": definition, "term": "fracture"}))
    assert problem == "definition: against the schema (pattern)"


@pytest.mark.weights
def test_constrained_decoding_takes_the_schema() -> None:
    """The grammar lets every definition through, token by token, and no second sentence."""
    tokenizer = AutoTokenizer.from_pretrained(generator_weights().location)
    constraint = JsonConstraint(tokenizer, len(tokenizer), TERMS.schema)
    for shot in (*(dict(s.sample) for s in TERMS.few_shots), *({"definition": d, "term": "T"} for d in DEFINITIONS)):
        state = constraint.start(1)
        *_, done = (state.accept([token])[0] for token in tokenizer.encode(answer(shot).text))
        assert done, shot
    state = constraint.start(1)
    for token in tokenizer.encode('{"definition": "A fracture is a break.'):
        assert not state.accept([token])[0]
