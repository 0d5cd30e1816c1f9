"""What a model writes: greedy answers against plain generation, the format read back, ROUGE, similarity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from craft_hf.base.embedder import Embedder
from craft_hf.base.errors import InputError
from craft_hf.base.records import Answer
from craft_hf.evaluate.alike import rouge, similarity
from craft_hf.evaluate.form import Form
from craft_hf.evaluate.items import Item
from craft_hf.evaluate.model import Student
from craft_hf.evaluate.statistics import Scores
from craft_hf.evaluate.written import form, open_written, write
from craft_hf.tasks.task import NAMES, load_task
from tests.tiny_model import save_tiny_model

BIOQA, RECIPES, SUMMARIES = load_task("bioqa"), load_task("recipegen"), load_task("summarization")
SUMMARY = "The text tells how a town in the hills found water again, after years of drought, by digging a new well."
TEA = "Ingredients:\n- 1 tea bag\n- 200 ml water\n\nSteps:\n1. Boil the water.\n2. Pour it over the tea bag."


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Student:
    """A random model, loaded."""
    return Student(str(save_tiny_model(tmp_path_factory.mktemp("tiny"))))


def test_write_equals_generation_one_by_one(student: Student) -> None:
    """Batches and padding change nothing; a cut answer says so, one that ends is without its end."""
    items = [Item(str(n), "Say " + "more " * n, "x") for n in (0, 9, 2, 30)]
    likely = student.model.generate(  # a token that the model writes early for one of them becomes an end
        torch.tensor([student.tokens(student.head(items[2].prompt))]), max_new_tokens=3, do_sample=False
    )[0, -1]
    student.model.generation_config.eos_token_id = [student.tokenizer.eos_token_id, int(likely)]
    try:
        answers = write(student, items, 6, batch_size=3, progress=False)
        for item, answer in zip(items, answers, strict=True):
            ids = torch.tensor([student.tokens(student.head(item.prompt))])
            made = student.model.generate(ids, max_new_tokens=6, do_sample=False)[0, ids.shape[1] :].tolist()
            ended = made[-1] in student.model.generation_config.eos_token_id
            text = student.tokenizer.decode(made[: len(made) - ended], skip_special_tokens=True).strip()
            assert answer == Answer(text, "stop" if ended else "length", ids.shape[1], len(made) - ended)
    finally:
        student.model.generation_config.eos_token_id = student.tokenizer.eos_token_id
    assert {answer.finish_reason for answer in answers} == {"stop", "length"}


def test_write_goes_on_where_it_was_stopped(student: Student, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the journal is not written again; another limit of tokens is another answer."""
    items = [Item(str(n), f"Say {n}.", "x") for n in range(4)]
    with open_written(student) as journal:
        first = write(student, items[:3], 4, journal=journal, progress=False)
    asked: list[int] = []
    generate = student.model.generate

    def counted(**given: torch.Tensor) -> torch.Tensor:
        asked.append(len(given["input_ids"]))
        made: torch.Tensor = generate(**given)
        return made

    monkeypatch.setattr(student.model, "generate", counted)
    with open_written(student) as journal:
        again = write(student, items, 4, journal=journal, progress=False)
        write(student, items[:2], 5, journal=journal, progress=False)
    assert again[:3] == first
    assert asked == [1, 2]


def test_write_refuses_what_the_model_cannot_read(student: Student) -> None:
    """A prompt that leaves no room is named with its tokens."""
    with pytest.raises(InputError, match=r"long has \d+ tokens, which leaves .* of 2048 no room for 100 new ones"):
        write(student, [Item("long", "word " * 1990, "x")], 100, progress=False)


@pytest.mark.parametrize("name", NAMES)
def test_form_reads_every_few_shot_back(name: str) -> None:
    """What the completion template wrote is read back to the same fields, and is in the format."""
    task = load_task(name)
    read = Form(task)
    for shot in task.few_shots:
        text = task.completion(shot.sample)
        fields = read.read(text)
        assert fields is not None
        assert {name: shot.sample[name] for name in fields} == fields
        assert read.problem(text) == ""


READ_RECIPES = Form(RECIPES)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.from_regex(r"[a-z][a-z0-9 .:-]{0,30}[a-z]", fullmatch=True), min_size=2, max_size=9),
    st.lists(st.from_regex(r"[A-Z][a-z0-9 .:-]{0,30}[.]", fullmatch=True), min_size=2, max_size=9),
)
def test_form_reads_any_recipe_back(ingredients: list[str], steps: list[str]) -> None:
    """Also entries with dashes, numbers and colons in them."""
    fields = {"ingredients": ingredients, "steps": steps}
    assert READ_RECIPES.read(RECIPES.completion({"instruction": "", **fields})) == fields


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (TEA, ""),
        (TEA.replace("\n", "  \n") + "\n\n", ""),
        ("Sure! " + TEA, "not as the completion template writes it"),
        (TEA.replace("Steps", "Directions"), "not as the completion template writes it"),
        (TEA.replace("2. ", "- "), "not as the completion template writes it"),
        (TEA.replace("- 200 ml water\n", ""), "ingredients: against the schema (minItems)"),
        (TEA + "\n3. " + "Wait. " * 200, "steps.2: against the schema (maxLength)"),
        (TEA + "\n3. !!!!!", "steps: empty, or only repeats punctuation"),
        ("", "not as the completion template writes it"),
    ],
)
def test_form_says_what_is_wrong_with_a_recipe(text: str, problem: str) -> None:
    """The template, the schema and the rules each have their say; blanks at the end of a line do not count."""
    assert READ_RECIPES.problem(text) == problem


def test_form_of_summaries_and_letters() -> None:
    """A summary has a least length and ends as a sentence does; a letter stands alone."""
    read = Form(SUMMARIES)
    assert read.problem(SUMMARY) == ""
    assert read.problem(SUMMARY[:-1]) == "summary: does not end with . or ! or ?"
    assert read.problem("Too short.") == "summary: under 101 characters"
    assert read.problem("Long. " * 400) == "summary: against the schema (maxLength)"
    assert [Form(BIOQA).problem(text) == "" for text in ("B", "B. fox", "E", "b")] == [True, False, False, False]


@pytest.mark.parametrize(
    "template",
    [
        "{{ steps | upper }}",
        "{{ steps[0] }}",
        "{{ instruction | upper }}",
        "{{ instruction }} {{ instruction }}",
        "{{ steps | length }}",
        "{{ steps[7] }}",
    ],
)
def test_form_refuses_a_template_that_it_cannot_read_back(template: str) -> None:
    """A template that changes, leaves out or repeats values cannot be turned round."""
    with pytest.raises(InputError, match="cannot be read back"):
        Form(replace(RECIPES, completion_template=template))


def by_name(scores: list[Scores]) -> dict[str, Scores]:
    """Scores by their measure."""
    return {s.measure: s for s in scores}


def test_form_of_an_unreadable_template_is_not_measured(caplog: pytest.LogCaptureFixture) -> None:
    """There is no share of answers in the format, and a warning says why; the rest is measured."""
    task = replace(RECIPES, completion_template="{{ steps | length }}")
    found = by_name(form(task, [Item("a", "", "x"), Item("b", "", "y")], [Answer("2", "stop"), Answer("3", "stop")]))
    assert set(found) == {"ended", "length"}
    assert "cannot be read back" in caplog.text


def test_form_measures_format_end_and_length() -> None:
    """Of recipes: one in the format, one cut; characters of all written for all of the human ones."""
    items = [Item("a", "Tea?", "x" * 100), Item("b", "Tea?", "x" * 300)]
    answers = [Answer(TEA, "stop"), Answer("Ingredients:", "length")]
    found = by_name(form(RECIPES, items, answers))
    assert found["format"].values == (1.0, 0.0)
    assert found["ended"].values == (1.0, 0.0)
    assert found["length"].value == pytest.approx((len(TEA) + 12) / 400)
    assert "valid_letter" not in found


def test_form_measures_letters_that_were_written() -> None:
    """A valid letter is one of an option of the question, alone or before a mark; a word is none."""
    texts = ["B", "A. fox", "(B) because", "C", "A fox", "Because", "", "D'accord", "A: it is"]
    items = [Item(str(n), "Which?", "B", "Which?", ("fox", "owl"), 1) for n in range(len(texts))]
    found = by_name(form(BIOQA, items, [Answer(text, "stop") for text in texts]))
    assert found["valid_letter"].values == (1, 1, 1, 0, 1, 0, 0, 0, 1)
    assert found["written_letter"].values == (1, 0, 1, 0, 0, 0, 0, 0, 0)
    assert found["written_letter"].chance == 0.5
    assert found["format"].values == (1, 0, 0, 1, 0, 0, 0, 0, 0)


def test_rouge_and_similarity_are_1_for_the_human_answer_and_fall() -> None:
    """The same words: 1; five of six words in another order: by hand; nothing alike: 0; an empty answer: 0."""
    human = "the cat sat on the mat"
    items = [Item(str(n), "Say it.", human) for n in range(4)]
    texts = [human, "on the mat sat a cat", "quantum chromodynamics", ""]
    answers = [Answer(text, "stop") for text in texts]
    found = by_name(rouge(items, answers))
    assert found["rouge1"].values == pytest.approx((1, 5 / 6, 0, 0))
    assert found["rouge2"].values == pytest.approx((1, 2 / 5, 0, 0))
    assert found["rougeL"].values == pytest.approx((1, 3 / 6, 0, 0))
    [alike] = similarity(items, answers, Embedder())
    assert alike.values[0] == pytest.approx(1, abs=1e-3)
    assert 1 > alike.values[1] > 0.8 > 0.3 > alike.values[2]
    assert alike.values[3] == 0
    assert "all-MiniLM-L6-v2" in alike.what
