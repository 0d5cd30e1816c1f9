"""Written answers: greedy decoding against plain `generate`, parsing of the format, ROUGE, similarity."""

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
from craft_hf.evaluation.completion_parser import CompletionParser
from craft_hf.evaluation.items import Item
from craft_hf.evaluation.model import EvaluatedModel
from craft_hf.evaluation.statistics import Scores
from craft_hf.evaluation.text_similarity import score_embedding_similarity, score_rouge
from craft_hf.evaluation.written import open_answer_journal, score_written, write_answers
from craft_hf.tasks.task import NAMES, load_task
from tests.tiny_model import save_tiny_model

BIOQA, RECIPES, SUMMARIES = load_task("bioqa"), load_task("recipegen"), load_task("summarization")
SUMMARY = "The text tells how a town in the hills found water again, after years of drought, by digging a new well."
TEA = "Ingredients:\n- 1 tea bag\n- 200 ml water\n\nSteps:\n1. Boil the water.\n2. Pour it over the tea bag."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> EvaluatedModel:
    """A random model, loaded."""
    return EvaluatedModel(str(save_tiny_model(tmp_path_factory.mktemp("tiny"))))


@pytest.mark.weights
def test_write_answers_equals_generation_one_by_one(model: EvaluatedModel) -> None:
    """Batching and padding do not affect answers; the finish reason is right, and the end token is removed."""
    items = [Item(str(n), "Say " + "more " * n, "x") for n in (0, 9, 2, 30)]
    likely = model.model.generate(  # a token that the model writes early for one of them becomes an end
        torch.tensor([model.tokenize(model.render_chat(items[2].prompt))]), max_new_tokens=3, do_sample=False
    )[0, -1]
    model.model.generation_config.eos_token_id = [model.tokenizer.eos_token_id, int(likely)]
    try:
        answers = write_answers(model, items, 6, batch_size=3)
        for item, answer in zip(items, answers, strict=True):
            ids = torch.tensor([model.tokenize(model.render_chat(item.prompt))])
            made = model.model.generate(ids, max_new_tokens=6, do_sample=False)[0, ids.shape[1] :].tolist()
            ended = made[-1] in model.model.generation_config.eos_token_id
            text = model.tokenizer.decode(made[: len(made) - ended], skip_special_tokens=True).strip()
            assert answer == Answer(text, "stop" if ended else "length", ids.shape[1], len(made) - ended)
    finally:
        model.model.generation_config.eos_token_id = model.tokenizer.eos_token_id
    assert {answer.finish_reason for answer in answers} == {"stop", "length"}


@pytest.mark.weights
def test_write_answers_continues_where_it_stopped(
    model: EvaluatedModel, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers in the journal are not generated again, except under another limit of new tokens."""
    items = [Item(str(n), f"Say {n}.", "x") for n in range(4)]
    with open_answer_journal(model) as journal:
        first = write_answers(model, items[:3], 4, journal=journal)
    asked: list[int] = []
    generate = model.model.generate

    def counted(**given: torch.Tensor) -> torch.Tensor:
        asked.append(len(given["input_ids"]))
        made: torch.Tensor = generate(**given)
        return made

    monkeypatch.setattr(model.model, "generate", counted)
    with open_answer_journal(model) as journal:
        again = write_answers(model, items, 4, journal=journal)
        write_answers(model, items[:2], 5, journal=journal)
    assert again[:3] == first
    assert asked == [1, 2]


@pytest.mark.weights
def test_write_answers_refuses_a_prompt_that_leaves_no_room(model: EvaluatedModel) -> None:
    """The error names the prompt and its number of tokens."""
    with pytest.raises(
        InputError, match=r"long has \d+ tokens, which leaves no room for 100 new ones in the context of 2048"
    ):
        write_answers(model, [Item("long", "word " * 1990, "x")], 100)


@pytest.mark.parametrize("name", NAMES)
def test_parser_recovers_every_few_shot(name: str) -> None:
    """A rendered completion is parsed into the same fields, and follows the format."""
    task = load_task(name)
    parser = CompletionParser(task)
    for shot in task.few_shots:
        text = task.completion(shot.sample)
        fields = parser.parse(text)
        assert fields is not None
        assert {name: shot.sample[name] for name in fields} == fields
        assert parser.problem(text) == ""


RECIPE_PARSER = CompletionParser(RECIPES)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.from_regex(r"[a-z][a-z0-9 .:-]{0,30}[a-z]", fullmatch=True), min_size=2, max_size=9),
    st.lists(st.from_regex(r"[A-Z][a-z0-9 .:-]{0,30}[.]", fullmatch=True), min_size=2, max_size=9),
)
def test_parser_recovers_any_recipe(ingredients: list[str], steps: list[str]) -> None:
    """Entries may contain dashes, numbers and colons."""
    fields = {"ingredients": ingredients, "steps": steps}
    assert RECIPE_PARSER.parse(RECIPES.completion({"instruction": "", **fields})) == fields


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (TEA, ""),
        (TEA.replace("\n", "  \n") + "\n\n", ""),
        ("Sure! " + TEA, "does not match the completion template"),
        (TEA.replace("Steps", "Directions"), "does not match the completion template"),
        (TEA.replace("2. ", "- "), "does not match the completion template"),
        (TEA.replace("- 200 ml water\n", ""), "ingredients: violates the schema (minItems)"),
        (TEA + "\n3. " + "Wait. " * 200, "steps.2: violates the schema (maxLength)"),
        (TEA + "\n3. !!!!!", "steps: empty, or only repeats punctuation"),
        ("", "does not match the completion template"),
    ],
)
def test_parser_names_the_problem_of_a_recipe(text: str, problem: str) -> None:
    """Template, schema and rules are checked; trailing blanks are ignored."""
    assert RECIPE_PARSER.problem(text) == problem


def test_parser_checks_summaries_and_letters() -> None:
    """A summary has a minimum length and ends like a sentence; a letter must stand alone."""
    parser = CompletionParser(SUMMARIES)
    assert parser.problem(SUMMARY) == ""
    assert parser.problem(SUMMARY[:-1]) == "summary: does not end with . or ! or ?"
    assert parser.problem("Too short.") == "summary: under 101 characters"
    assert parser.problem("Long. " * 400) == "summary: violates the schema (maxLength)"
    assert [CompletionParser(BIOQA).problem(text) == "" for text in ("B", "B. fox", "E", "b")] == [
        True,
        False,
        False,
        False,
    ]


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
def test_parser_refuses_a_template_that_cannot_be_inverted(template: str) -> None:
    """A template that changes, omits or repeats values is an error."""
    with pytest.raises(InputError, match="cannot be parsed back"):
        CompletionParser(replace(RECIPES, completion_template=template))


def by_name(scores: list[Scores]) -> dict[str, Scores]:
    """Return scores by measure."""
    return {s.measure: s for s in scores}


def test_format_is_omitted_for_a_template_that_cannot_be_inverted(caplog: pytest.LogCaptureFixture) -> None:
    """The measure "format" is omitted, and a warning says why; the others are computed."""
    task = replace(RECIPES, completion_template="{{ steps | length }}")
    found = by_name(
        score_written(task, [Item("a", "", "x"), Item("b", "", "y")], [Answer("2", "stop"), Answer("3", "stop")])
    )
    assert set(found) == {"ended", "length"}
    assert "cannot be parsed back" in caplog.text


def test_score_written_covers_format_end_and_length() -> None:
    """One recipe in the format and one cut off; length is the ratio of all characters."""
    items = [Item("a", "Tea?", "x" * 100), Item("b", "Tea?", "x" * 300)]
    answers = [Answer(TEA, "stop"), Answer("Ingredients:", "length")]
    found = by_name(score_written(RECIPES, items, answers))
    assert found["format"].values == (1.0, 0.0)
    assert found["ended"].values == (1.0, 0.0)
    assert found["length"].value == pytest.approx((len(TEA) + 12) / 400)
    assert "valid_letter" not in found


def test_score_written_covers_leading_letters() -> None:
    """A valid letter is that of an option, alone or before punctuation; the first letter of a word is not."""
    texts = ["B", "A. fox", "(B) because", "C", "A fox", "Because", "", "D'accord", "A: it is"]
    items = [Item(str(n), "Which?", "B", "Which?", ("fox", "owl"), 1, ("A", "B")) for n in range(len(texts))]
    found = by_name(score_written(BIOQA, items, [Answer(text, "stop") for text in texts]))
    assert found["valid_letter"].values == (1, 1, 1, 0, 1, 0, 0, 0, 1)
    assert found["written_letter"].values == (1, 0, 1, 0, 0, 0, 0, 0, 0)
    assert found["written_letter"].chance == 0.5
    assert found["format"].values == (1, 0, 0, 1, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("labels", [("(A)", "(B)"), ("A.", "B."), ("a", "b")])
def test_score_written_covers_labels_of_any_style(labels: tuple[str, str]) -> None:
    """An answer with the label of an option is valid, whatever punctuation and case stand in either."""
    texts = [labels[1], f"{labels[1].strip('().')}, because", "B", "(b)", labels[0], "Because"]
    items = [Item(str(n), "Which?", labels[1], "Which?", ("fox", "owl"), 1, labels) for n in range(len(texts))]
    found = by_name(score_written(BIOQA, items, [Answer(text, "stop") for text in texts]))
    assert found["valid_letter"].values == (1, 1, 1, 1, 1, 0)
    assert found["written_letter"].values == (1, 1, 1, 1, 0, 0)


@pytest.mark.weights
def test_rouge_and_similarity_fall_from_1_for_the_human_answer() -> None:
    """The reference scores 1, five of its six words in another order as calculated by hand, and an empty answer 0."""
    human = "the cat sat on the mat"
    items = [Item(str(n), "Say it.", human) for n in range(4)]
    texts = [human, "on the mat sat a cat", "quantum chromodynamics", ""]
    answers = [Answer(text, "stop") for text in texts]
    found = by_name(score_rouge(items, answers))
    assert found["rouge1"].values == pytest.approx((1, 5 / 6, 0, 0))
    assert found["rouge2"].values == pytest.approx((1, 2 / 5, 0, 0))
    assert found["rougeL"].values == pytest.approx((1, 3 / 6, 0, 0))
    [cosines] = score_embedding_similarity(items, answers, Embedder())
    assert cosines.values[0] == pytest.approx(1, abs=1e-3)
    assert 1 > cosines.values[1] > 0.8 > 0.3 > cosines.values[2]
    assert cosines.values[3] == 0
    assert "all-MiniLM-L6-v2" in cosines.description
