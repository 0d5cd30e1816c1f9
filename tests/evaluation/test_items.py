"""Reading reference files: accepted row formats, and errors that name the row."""

from __future__ import annotations

import gzip
import json
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

from craft_hf.base.errors import InputError
from craft_hf.base.records import JSON
from craft_hf.evaluation.items import SUMMARY_INSTRUCTION, Item, read_items
from craft_hf.tasks.task import NAMES, load_task

BIOQA, RECIPES, SUMMARIES = load_task("bioqa"), load_task("recipegen"), load_task("summarization")
ROW = {"question": "Which organ pumps blood?", "options": ["the heart", "the liver", "a lung"], "answer_index": 0}


def write(path: Path, *rows: object) -> Path:
    """Write a JSONL file, gzipped if the name says so."""
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_read_items_accepts_the_answer_as_index_or_letter(tmp_path: Path, name: str) -> None:
    """Index and letter give the same item, and options with letters the same as those without."""
    lettered = {**ROW, "options": ["A. the heart", "B. the liver", "C. a lung"], "answer": "A", "id": "heart"}
    del lettered["answer_index"]
    prompt = "Which organ pumps blood?\nA. the heart\nB. the liver\nC. a lung"
    options = ("the heart", "the liver", "a lung")
    assert read_items(write(tmp_path / name, ROW, "", lettered), BIOQA) == [
        Item(f"{name}, line 1", prompt, "A", "Which organ pumps blood?", options, 0, ("A", "B", "C")),
        Item("heart", prompt, "A", "Which organ pumps blood?", options, 0, ("A", "B", "C")),
    ]


def test_read_items_keeps_options_that_only_look_lettered(tmp_path: Path) -> None:
    """Letters are removed only if every option has the one of its position."""
    row = {**ROW, "options": ["A. thaliana", "E. coli", "C. elegans"]}
    [item] = read_items(write(tmp_path / "a.jsonl", row), BIOQA)
    assert item.options == ("A. thaliana", "E. coli", "C. elegans")


@pytest.mark.parametrize(
    ("options", "read"),
    [
        (["1. Mai", "2. Mai", "3. Mai", "4. Mai"], ("1. Mai", "2. Mai", "3. Mai", "4. Mai")),
        (["1. Januar 1900", "2. Mai 1910"], ("1. Januar 1900", "2. Mai 1910")),
        (["C. elegans", "A. baumannii", "B. subtilis"], ("C. elegans", "A. baumannii", "B. subtilis")),
        (["A. the heart", "B. the liver"], ("the heart", "the liver")),
    ],
)
def test_read_items_takes_a_whole_option_as_text(tmp_path: Path, options: list[str], read: tuple[str, ...]) -> None:
    """Where an answer repeats an option, only labels as the task itself has them are cut off."""
    row = {"question": "Which?", "options": options, "answer": options[1]}
    [item] = read_items(write(tmp_path / "a.jsonl", row), BIOQA)
    assert (item.options, item.answer, item.reference) == (read, 1, "B")


@pytest.mark.parametrize("name", NAMES)
def test_read_items_renders_dataset_rows_as_training_does(tmp_path: Path, name: str) -> None:
    """Prompt and reference of a dataset row are rendered by the task's templates."""
    task = load_task(name)
    rows = [dict(shot.sample) for shot in task.few_shots]
    items = read_items(write(tmp_path / "a.jsonl", *rows), task)
    assert [item.prompt for item in items] == [task.prompt(row) for row in rows]
    assert [item.reference for item in items] == [task.completion(row) for row in rows]


def test_read_items_accepts_short_forms_of_recipes_and_summaries(tmp_path: Path) -> None:
    """A whole answer as `output`; a document with its summary, with or without an instruction."""
    recipe = {"id": "r", "instruction": "Make tea.", "output": " Boil water. \n"}
    assert read_items(write(tmp_path / "r.jsonl", recipe), RECIPES) == [Item("r", "Make tea.", "Boil water.")]
    pair = {"id": "a", "document": "Long.", "summary": "Short."}
    assert read_items(write(tmp_path / "s.jsonl", pair, {**pair, "id": "b", "query": "Say it."}), SUMMARIES) == [
        Item("a", f"{SUMMARY_INSTRUCTION}\n\nLong.", "Short."),
        Item("b", "Say it.\n\nLong.", "Short."),
    ]


def test_read_items_samples_the_same_rows_for_a_seed(tmp_path: Path) -> None:
    """A limit samples without replacement, by the seed; one above the number of rows takes all."""
    path = write(tmp_path / "a.jsonl", *[{**ROW, "id": str(i)} for i in range(20)])
    drawn = read_items(path, BIOQA, 6)
    assert len({item.id for item in drawn}) == 6
    assert drawn == read_items(path, BIOQA, 6)
    assert drawn != read_items(path, BIOQA, 6, seed=1)
    assert len(read_items(path, BIOQA, 100)) == 20


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "line 2: not valid JSON"),
        ("[]", "line 2: holds list"),
        ({**ROW, "seconds": float("nan")}, "line 2: not valid JSON .*NaN is no number"),
        (json.dumps(ROW)[:-1] + ', "seconds": 1e999}', "line 2: not valid JSON .*1e999 is no number"),
        ({**ROW, "question": "Wh\ud800y?"}, "line 2: holds half a character"),
        (
            {"question": "a", "options": ["b", "c"]},
            "line 2: has the fields question, options; answer_index or answer is missing",
        ),
        ({"options": ["b", "c"], "answer": "A"}, "line 2: has the fields options, answer; question missing"),
        ({**ROW, "question": " "}, "line 2, field question: is ' '"),
        ({**ROW, "options": "abc"}, "line 2, field options: is 'abc'"),
        ({**ROW, "options": ["one"]}, "line 2, field options: has 1 options, expected 2 to 26"),
        ({**ROW, "options": ["one", ""]}, "line 2, field options"),
        ({**ROW, "answer_index": 3}, "line 2, field answer_index: is 3, expected 0 to 2"),
        ({**ROW, "answer_index": -1}, "line 2, field answer_index: is -1"),
        ({**ROW, "answer_index": True}, "line 2, field answer_index: is True"),
        (
            {"question": "a", "options": ["b", "c"], "answer": "C"},
            "line 2, field answer: is 'C', expected the text of an option, its letter",
        ),
        ({"question": "a", "options": ["b", "c"], "answer": ["A"]}, r"line 2, field answer: is \['A'\]"),
        ({**ROW, "id": "same"}, "some rows have the same id"),
    ],
)
def test_read_items_names_the_invalid_line(tmp_path: Path, row: object, message: str) -> None:
    """The error names the line, the field and its value."""
    with pytest.raises(InputError, match=message):
        read_items(write(tmp_path / "a.jsonl", {**ROW, "id": "same"}, row), BIOQA)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"output": "Boil."},
            "line 1, field instruction: is None; a row of the task recipegen needs instruction, output",
        ),
        (
            {"instruction": "Tea"},
            "field ingredients: is None; a row of the task recipegen needs instruction, ingredients, steps",
        ),
        ({"instruction": "Tea", "output": ["a"]}, r"field output: is \['a'\]"),
        ({"instruction": " ", "output": "Boil."}, "field instruction: is ' '"),
    ],
)
def test_read_items_names_the_missing_fields_of_a_written_task(tmp_path: Path, row: object, message: str) -> None:
    """The error names the field, its value, and all fields that such a row needs."""
    with pytest.raises(InputError, match=message):
        read_items(write(tmp_path / "a.jsonl", row), RECIPES)


def test_read_items_takes_0_and_false_for_values(tmp_path: Path) -> None:
    """A required number or truth value is there whatever it is; an empty list is not."""
    properties = {"claim": {"type": "string"}, "year": {"type": "integer"}, "holds": {"type": "boolean"}}
    schema: dict[str, JSON] = {"type": "object", "required": list(properties), "properties": properties}
    task = replace(
        RECIPES, schema=schema, prompt_template="{{ claim }} ({{ year }})", completion_template="{{ holds }}"
    )
    path = write(tmp_path / "a.jsonl", {"id": "a", "claim": "Rome stood.", "year": 0, "holds": False})
    assert read_items(path, task) == [Item("a", "Rome stood. (0)", "False")]
    with pytest.raises(InputError, match=r"field year: is \[\]"):
        read_items(write(tmp_path / "b.jsonl", {"claim": "Rome stood.", "year": [], "holds": True}), task)
    dated: dict[str, JSON] = {**BIOQA.schema, "required": [*BIOQA.required, "year"]}
    dated["properties"] = {**BIOQA.schema["properties"], "year": {"type": "integer"}}  # type: ignore[dict-item]
    task = replace(BIOQA, schema=dated, prompt_template="{{ year }}: {{ question }}")
    assert read_items(write(tmp_path / "c.jsonl", {**ROW, "year": 0}), task)[0].prompt == f"0: {ROW['question']}"


def test_read_items_gives_rows_their_one_form(tmp_path: Path) -> None:
    """Composed and decomposed characters are the same, in values and in names of fields."""
    whole, split = (unicodedata.normalize(form, "K\u00e4se") for form in ("NFC", "NFD"))
    schema: dict[str, JSON] = {
        "type": "object", "required": [whole, "note"],
        "properties": {whole: {"type": "string"}, "note": {"type": "string"}},
    }  # fmt: skip
    task = replace(RECIPES, schema=schema, prompt_template=f"{{{{ {whole} }}}}", completion_template="{{ note }}")
    [item] = read_items(write(tmp_path / "a.jsonl", {"id": "a", split: f"{split}?", "note": split}), task)
    assert item == Item("a", f"{whole}?", whole)
    [item] = read_items(write(tmp_path / "b.jsonl", {"id": "b", split: "What?", "output": split}), task)
    assert item == Item("b", "What?", whole)


def test_read_items_missing_empty_or_broken_file(tmp_path: Path) -> None:
    """Each error says what is wrong with the file or with the limit."""
    with pytest.raises(InputError, match=r"the file .*none\.jsonl does not exist"):
        read_items(tmp_path / "none.jsonl", BIOQA)
    with pytest.raises(InputError, match="has no rows"):
        read_items(write(tmp_path / "empty.jsonl", ""), BIOQA)
    (tmp_path / "plain.jsonl.gz").write_text(json.dumps(ROW))
    with pytest.raises(InputError, match="gzip file is broken"):
        read_items(tmp_path / "plain.jsonl.gz", BIOQA)
    with pytest.raises(InputError, match="limit is 0"):
        read_items(write(tmp_path / "a.jsonl", ROW), BIOQA, 0)
