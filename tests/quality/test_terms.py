"""The rules of the task terms: what a definition is, whoever writes it."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from craft_hf.base.models import generator_weights
from craft_hf.base.records import Document
from craft_hf.generation.local.constrained_decoding import JsonConstraint
from craft_hf.quality.check import CheckContext
from craft_hf.quality.registry import checks_for
from craft_hf.quality.wellformed import broken_rule
from craft_hf.tasks.answers import AnswerReader
from craft_hf.tasks.task import load_task
from tests.quality_samples import answer, sample
from tests.vectors import HashEmbedder

TERMS = load_task("terms")
READER = AnswerReader(TERMS.schema)
[CHECK] = [check for check in checks_for(TERMS) if check.name == "definition"]

DEFINITIONS = (
    ("fracture", "A fracture is a break in a bone."),
    ("diuretics", "Diuretics are drugs that make the kidneys give off more water."),
    ("entropy", "Entropy or disorder is a measure of how many states a system can be in."),
    ("RNA", "Ribonucleic acid (RNA) is a chain of nucleotides that carries instructions from DNA."),
    ("neutrality", "Neutrality is the pH of 7.0, at which a solution is neither acid nor base."),
    ("baker's dozen", "A baker's dozen is a set of 13, one more than a plain dozen."),
    ("crème brûlée", "A crème brûlée is a custard under a crust of burnt sugar – eaten cold."),
    ("catharsis", "Catharsis means the cleansing of feelings by watching a tragedy."),
    ("force majeure", "Force majeure refers to an event that nobody could foresee or prevent."),
    ("p53", "p53 is a protein that stops damaged cells from dividing."),
    ("antibiotic", "Antibiotics are specialised substances that are used against bacteria."),
    ("infectious disease", "An infectious disease is any disease that passes from one living being to another."),
)
OTHERS = (
    ("fracture", "It is a break in a bone, mostly of the leg.", "does not begin with the term"),
    ("fever", "In many people fever is a sign of infection.", "does not begin with the term"),
    ("fracture", "A fracture is a break in this kind of bone.", "definition: needs the text around it"),
    ("fractures", "Fractures are often treated with a cast for weeks.", "does not say what it is"),
    ("bacteria", "Bacteria are found in the soil and in the sea.", "does not say what it is"),
    ("platelets", "Platelets are produced in the marrow of the bones.", "does not say what it is"),
    ("asthma", "Asthma is the most common illness of small children.", "does not say what it is"),
    ("drug", "A drug is known that is a danger in itself.", "does not say what it is"),
    ("lungs", "Lungs are also a measure of the quality of the air.", "does not say what it is"),
    ("asteroid", "The discovery of an asteroid is a new one for astronomers.", "the sentence is about something else"),
    (
        "Maya",
        "The Mayans were once Maya are a people.",
        "the sentence is about something else",
    ),
    ("valve prolapse", "What causes valve prolapse is a topic of debate.", "does not begin with the term"),
    ("cutaneous", "Cutaneous aspergillosis is an infection of the skin.", "the sentence is about something else"),
    (
        "new drugs",
        "New drugs provide the new drugs are a cure.",
        "the sentence is about something else",
    ),
    ("prototypes", "Concepts and prototypes is a technique of the brain.", "the sentence is about something else"),
    ("act", "An act (Publ refers to a law of the parliament.", "breaks off"),
    ("callus", "A callus is a special form of callus on the hand.", "explains the term by itself"),
    ("plant cutting", "Plant cuttings are plants that were made by cutting.", "explains the term by itself"),
    (
        "throat",
        "The thorax is the part between the neck and the belly.",
        "the sentence is about something else",
    ),
)
LATE = "Children who live near large roads in the city are a group that falls ill more often."


def reason(term: str, definition: str) -> str:
    """Why a sample is dropped by a rule of the task or its own check, "" if it is kept."""
    read = READER.read(answer({"definition": definition, "term": term}))
    fields, problem = read.fields, read.problem
    assert problem == ""
    return (
        broken_rule(TERMS, fields)
        or CHECK(CheckContext(TERMS, HashEmbedder())).check(sample(fields, Document("d", definition))).reason
    )


@pytest.mark.parametrize(("term", "definition"), DEFINITIONS)
def test_definitions_of_many_kinds_are_kept(term: str, definition: str) -> None:
    """Names, numbers, apostrophes, foreign letters, apposition: schema, rules and check take them."""
    assert reason(term, definition) == ""


@pytest.mark.parametrize(("term", "sentence", "expected"), OTHERS)
def test_sentences_that_do_not_define_the_term_are_dropped(term: str, sentence: str, expected: str) -> None:
    """Each has its reason, though the schema takes it."""
    assert reason(term, sentence) == expected


@pytest.mark.parametrize(
    ("definition", "breaks_off"),
    [
        ("Dengue is a fever that is carried by A.", True),
        ("Tuh'u is a stew of lamb from Babylon, ca.", True),
        ("Scurvy is a disease that comes from a lack of vitamin C.", False),
        ("Dengue is a fever that is carried by A mosquitoes.", False),
    ],
)
def test_an_abbreviation_is_no_end_of_a_sentence(definition: str, breaks_off: bool) -> None:
    """A full stop after which the document goes on in small letters or digits ends no sentence."""
    text = "It is carried by A. aegypti. Tablets from ca. 1750 BCE tell of it. People lacked vitamin C. They fell ill."
    fields = {"definition": definition, "term": definition.split()[0]}
    assert (
        CHECK(CheckContext(TERMS, HashEmbedder())).check(sample(fields, Document("d", text))).reason == "breaks off"
    ) == breaks_off


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("A tide is a rise of the sea. It is drawn by the Moon.", 1.0),
        ("The sea rises and falls twice a day. This tide comes from the pull of the Moon.", 0.8),
        ("Tides are high. They come with the Moon. Bread rises. People eat. Drawn water stands by the sea.", 0.4),
        ("", 0.0),
    ],
)
def test_a_document_defines_a_term_in_one_place(text: str, share: float) -> None:
    """The words must stand in two sentences in a row, not over the whole of the document."""
    fields = {"definition": "A tide is a rise of the sea, drawn by the Moon.", "term": "tide"}
    verdict = CHECK(CheckContext(TERMS, HashEmbedder())).check(sample(fields, Document("d", text)))
    assert (verdict.keep, verdict.score) == (share >= 0.6, share)


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("the cornea", "begins with an article or a pronoun"),
        ("their life in the deep sea", "begins with an article or a pronoun"),
        ("life cycle of the club mushrooms", "is more than a term"),
        ("habeas corpus", ""),
        ("pH", ""),
    ],
)
def test_a_term_is_a_name(term: str, expected: str) -> None:
    """Without article, and of a few words."""
    found = broken_rule(TERMS, {"definition": "A fracture is a break in a bone.", "term": term})
    assert found == (f"term: {expected}" if expected else "")


@pytest.mark.parametrize("definition", ["A fracture is a break. It hurts.", "Does it hurt?", "Bones break.", LATE])
def test_the_schema_asks_for_one_sentence_that_says_what_something_is(definition: str) -> None:
    """Two sentences, a question, and a sentence in which "is" is missing or late are refused."""
    problem = READER.read(answer({"definition": definition, "term": "fracture"})).problem
    assert problem == "definition: against the schema (pattern)"


@pytest.mark.weights
def test_constrained_decoding_takes_the_schema() -> None:
    """The grammar lets every definition through, token by token, and no second sentence."""
    tokenizer = AutoTokenizer.from_pretrained(generator_weights().location)
    constraint = JsonConstraint(tokenizer, len(tokenizer), TERMS.schema)
    for shot in (*(dict(s.sample) for s in TERMS.few_shots), *({"definition": d, "term": t} for t, d in DEFINITIONS)):
        state = constraint.start(1)
        *_, done = (state.accept([token])[0] for token in tokenizer.encode(answer(shot).text))
        assert done, shot
    state = constraint.start(1)
    for token in tokenizer.encode('{"definition": "A fracture is a break.'):
        assert not state.accept([token])[0]
