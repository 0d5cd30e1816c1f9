"""Tasks as data: shipped tasks are sound, own tasks load, broken ones say what is wrong."""

from __future__ import annotations

import json
import shutil
import unicodedata
from pathlib import Path

import pytest

from craft_hf.base.errors import InputError
from craft_hf.base.records import JSON
from craft_hf.generation.generator import Sampling
from craft_hf.tasks.columns import COLUMNS
from craft_hf.tasks.task import FOLDER, NAMES, load_task
from tests.own_task import write_task


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A copy of the bioqa task as a user's own folder."""
    shutil.copytree(FOLDER / "bioqa", tmp_path / "own")
    return tmp_path / "own"


def edit(folder: Path, line: int, change: dict[str, object]) -> None:
    """Change fields of one line of a few-shot file."""
    lines = (folder / "few_shots.jsonl").read_text().splitlines()
    lines[line - 1] = json.dumps({**json.loads(lines[line - 1]), **change})
    (folder / "few_shots.jsonl").write_text("\n".join(lines))


def test_the_six_tasks_are_shipped() -> None:
    """The paper's five tasks and terms are there, with the paper's 32 few-shots each, each with source and licence."""
    assert NAMES == ("bioqa", "csqa", "medqa", "recipegen", "summarization", "terms")
    for name in NAMES:
        shots = load_task(name).few_shots
        assert len(shots) == 32
        assert all(s.source and s.license for s in shots)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_tasks_render_prompt_and_completion(name: str) -> None:
    """Each few-shot gives a non-empty fine-tuning example, and the query holds text, prompt and completion."""
    task = load_task(name)
    for shot in task.few_shots:
        prompt, completion = task.prompt(shot.sample), task.completion(shot.sample)
        assert prompt
        assert completion
        assert task.query_parts(shot) == [shot.text, prompt, completion]
    assert Sampling(max_new_tokens=task.max_new_tokens).max_new_tokens in (100, 256, 512, 1280, 1536)


def test_own_task_folder_loads(own: Path) -> None:
    """A folder of the same shape is a task; its fingerprint follows its content, not its path."""
    task = load_task(str(own))
    assert task.fingerprint == load_task("bioqa").fingerprint
    edit(own, 3, {"text": "Another text."})
    assert load_task(str(own)).fingerprint != task.fingerprint


def test_unknown_task_suggests_the_nearest_names() -> None:
    """A misspelt name is answered with the nearest ones and the list."""
    with pytest.raises(InputError, match=r"no task 'bioqq'\. Did you mean bioqa.*folder"):
        load_task("bioqq")
    with pytest.raises(InputError, match=r"holds no task\.yaml"):
        load_task(str(FOLDER))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: bioqa", "name: [bioqa", "not valid YAML"),
        ("name: bioqa", "name: bio qa!", "letters, digits"),
        ("metric: accuracy", "metric: luck", "expected one of accuracy, win_rate"),
        ("metric: accuracy", "metrik: accuracy", "unknown key 'metrik'"),
        ("max_new_tokens: 512", "max_new_tokens: 0", "above 0"),
        ("max_new_tokens: 512", "", "missing max_new_tokens"),
        ("{question: 16}", "{title: 16}", "field 'title' is not in the schema"),
        ("type: object", "type: objekt", "not a valid JSON Schema"),
        ("type: object", "type: array", "must have type: object"),
        ('"{{ answer }}"', '"{{ answer"', "is a broken template"),
        ("metric: accuracy", "query: [title]", "query is .*expected one or more of text"),
        ("metric: accuracy", "query: 5", "query is 5, expected a text or a list"),
        ("{question: 16}", "16", "16 stands where a mapping is expected"),
        ("{question: 16}", "{question: many}", "'many' stands where a whole number is expected"),
        ('"{{ answer }}"', '"{{ anser }}"', "a template does not fit few-shot bioqa-01"),
        (
            "metric: accuracy",
            "instruction_of: '2'",
            "bioqa-01: instruction_of gives '2', expected a number",
        ),
        ("metric: accuracy", "instruction_of: '{{ 1'", "is a broken template"),
        ("metric: accuracy", "instruction_of: 1", "instruction_of: 1 stands where a text is expected"),
        ("metric: accuracy", "metric: 5", "metric: 5 stands where a text is expected"),
        ("{question: 16}", "{question: true}", "min_chars: True stands where a whole number is expected"),
        ("{question: 0.3, answer: 0.5}", "{question: true}", "grounded: True stands where a number is expected"),
        ("max_new_tokens: 512", "max_new_tokens: true", "max_new_tokens: True stands where a whole number"),
        ("{question: 16}", "{5: 16}", "min_chars: 5 stands where the name of a field is expected"),
        ("enum: [A, B, C, D]", "enum: [2020-01-01]", "schema is no JSON: .*date is not JSON serializable; quote"),
        ("enum: [A, B, C, D]", "enum: [.nan]", "schema is no JSON"),
        ("question: {type: string, maxLength: 600}", "5: {type: string}", "schema is no JSON: a name"),
        ("[question, options, answer]", "[question]", "'options' must be listed under required"),
        ("metric: accuracy", "metric: 2024-13-45", r"line \d+: not valid YAML .*put it in quotes"),
        ("metric: accuracy", "metrik: accuracy\n5: accuracy", "unknown key 'metrik'"),
        ("metric: accuracy", "metric: accuracy\n5: accuracy", "unknown key 5"),
        ("metric: accuracy", "metric: accuracy\nmetric: win_rate", r"line \d+: .*'metric' stands in line \d+ as well"),
        ("metric: accuracy", "metric: luck", r"task\.yaml, line \d+: metric is 'luck'"),
        (
            "is a statement that asks nothing: '",
            "is a statement that asks nothing: 'a{99999999999}",
            "no regular expression",
        ),
        ('"{{ answer }}"', '"{{ answer + 1 }}"', "does not fit few-shot bioqa-01: TypeError"),
        ('"{{ answer }}"', '"{{ (answer | length) / 0 }}"', "does not fit few-shot bioqa-01: ZeroDivisionError"),
        ('"{{ answer }}"', '"{{ answer | backwards }}"', "is a broken template: No filter named 'backwards'"),
        ("metric: accuracy", "instruction_of: '{{ 1 / 0 }}'", "does not fit few-shot bioqa-01: ZeroDivisionError"),
        (
            "{type: string, maxLength: 600}",
            "{type: string, $ref: '#/$defs/nope'}",
            "schema refers to '#/[$]defs/nope', which it does not hold; write it under",
        ),
        (
            "{type: string, maxLength: 600}",
            "{type: string, $ref: 'https://example.org/text.json'}",
            "refers to 'https://example.org/text.json', which it does not hold",
        ),
        ("{type: string, maxLength: 600}", "{type: string, allOf: [{$dynamicRef: '#nope'}]}", "refers to '#nope'"),
    ],
)
def test_broken_task_yaml_says_what_is_wrong(own: Path, old: str, new: str, message: str) -> None:
    """Each mistake in task.yaml is named, with the file."""
    text = (own / "task.yaml").read_text()
    assert old in text
    (own / "task.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as e:
        load_task(str(own))
    assert "task.yaml" in str(e.value)


def test_a_schema_that_refers_to_itself_without_end_is_told(tmp_path: Path) -> None:
    """No sample can be checked by it."""
    fields = {"a": {"type": "string", "$ref": "#/properties/a"}}
    with pytest.raises(InputError, match=r"line 1: a \$ref of the schema leads back to itself without end"):
        load_task(write_task(tmp_path / "task", fields, [("Text.", {"a": "x"})] * 3))


def test_few_shot_against_the_schema_names_line_and_field(own: Path) -> None:
    """A sample that violates the schema is refused with its line and field."""
    sample = json.loads((own / "few_shots.jsonl").read_text().splitlines()[1])["sample"]
    edit(own, 2, {"sample": {**sample, "answer": "E"}})
    with pytest.raises(InputError, match=r"line 2, field answer: 'E' is not one of"):
        load_task(str(own))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "line 1: not valid JSON"),
        ("[1]", "line 1: holds list"),
        ('{"text": "a"}', "line 1, field sample"),
        ('{"text": 1, "sample": {}}', "line 1, field text"),
        ('{"text": "a", "sample": {}, "lisence": ""}', "unknown field 'lisence'"),
        ('{"Text": "a", "Instruction": "b"}', "field Output"),
        ("", "holds 0 few-shots, expected at least 3"),
    ],
)
def test_broken_few_shots_say_what_is_wrong(own: Path, content: str, message: str) -> None:
    """Each mistake in a few-shot file is named, with the line."""
    (own / "few_shots.jsonl").write_text(content)
    with pytest.raises(InputError, match=message):
        load_task(str(own))


def test_missing_few_shot_file_is_named(own: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(InputError, match=r"no few-shot file .*nowhere\.jsonl"):
        load_task(str(own), few_shots=str(own / "nowhere.jsonl"))


def test_few_shots_with_the_same_id_are_refused(own: Path) -> None:
    """Ids must be distinct, because rows name few-shots by them."""
    edit(own, 1, {"id": "x"})
    edit(own, 2, {"id": "x"})
    with pytest.raises(InputError, match="share an id"):
        load_task(str(own))


def authors_file(path: Path, rows: list[tuple[str, str, str]]) -> str:
    """Write a few-shot file in the format of the CRAFT authors."""
    lines = [json.dumps(dict(zip(("Text", "Instruction", "Output"), row, strict=True))) for row in rows]
    path.write_text("\n".join(lines))
    return str(path)


def test_authors_format_of_multiple_choice_is_read(tmp_path: Path) -> None:
    """Question and lettered options in one string, and "B." as the answer, become the sample's fields."""
    question = "Which one?\nA. First.\nB. Second one.\nC. Third.\nD. Fourth."
    path = authors_file(tmp_path / "f.jsonl", [(f"Text {i}", question, "B.") for i in range(3)])
    shot = load_task("bioqa", few_shots=path).few_shots[0]
    assert shot.text == "Text 0"
    assert shot.sample == {
        "question": "Which one?",
        "options": ["A. First.", "B. Second one.", "C. Third.", "D. Fourth."],
        "answer": "B",
    }
    yes_no = authors_file(tmp_path / "g.jsonl", [("Text", f"Is it {i}?\nA. Yes\nB. No", "A.") for i in range(3)])
    assert load_task("csqa", few_shots=yes_no).few_shots[2].sample["options"] == ["A. Yes", "B. No"]


def test_authors_format_of_recipes_is_read(tmp_path: Path) -> None:
    """Ingredients and steps are taken apart; a step's heading and its lines become one step."""
    output = "Ingredients:\n* 2 eggs\n* Salt\n\nSteps:\n1. Beat:\nBeat the eggs.\n* Add salt.\n\n2. Fry:\nFry them."
    path = authors_file(tmp_path / "f.jsonl", [("Text", "How do I make an omelette?", output)] * 3)
    shot = load_task("recipegen", few_shots=path).few_shots[0]
    assert shot.sample["ingredients"] == ["2 eggs", "Salt"]
    assert shot.sample["steps"] == ["Beat: Beat the eggs. Add salt.", "Fry: Fry them."]
    broken = authors_file(tmp_path / "g.jsonl", [("Text", "How do I make an omelette?", "Just do it.")] * 3)
    with pytest.raises(InputError, match="line 1, field Output: expected a line 'Ingredients:'"):
        load_task("recipegen", few_shots=broken)


def test_authors_format_of_summaries_is_read(tmp_path: Path) -> None:
    """The request and the text after it are taken apart; the output is the summary."""
    text = "A long text about something. " * 30
    path = authors_file(tmp_path / "f.jsonl", [(text, f"Write a TLDR.\n\n{text}", "A summary. " * 12)] * 3)
    shot = load_task("summarization", few_shots=path).few_shots[0]
    assert shot.sample["instruction"] == "Write a TLDR."
    assert shot.sample["long_but_clean_text"] == text.strip()
    assert shot.sample["summary"] == ("A summary. " * 12).strip()


def test_authors_format_for_a_task_of_two_fields(own: Path) -> None:
    """A task of two fields takes instruction and output as they are; one of other fields says how to write them."""
    fields = "{request: {type: string}, reply: {type: string}}"
    yaml = f"""
name: chat
instructions: Do it.
schema: {{type: object, required: [request, reply], properties: {fields}}}
prompt_template: "{{{{ request }}}}"
completion_template: "{{{{ reply }}}}"
max_new_tokens: 10
"""
    (own / "task.yaml").write_text(yaml)
    authors_file(own / "few_shots.jsonl", [("T", "Say hi.", "Hi.")] * 3)
    assert load_task(str(own)).few_shots[0].sample == {"request": "Say hi.", "reply": "Hi."}
    (own / "task.yaml").write_text(yaml.replace(fields, fields[:-1] + ", note: {type: string}}"))
    with pytest.raises(InputError, match="Write the line as text and sample instead"):
        load_task(str(own))


def test_odd_line_separators_and_encodings(own: Path) -> None:
    """A line separator inside a string ends no line; a file that is not UTF-8 is named."""
    lines = (own / "few_shots.jsonl").read_text().splitlines()
    first = {**json.loads(lines[0]), "text": "one\u2028two\u0085three"}
    (own / "few_shots.jsonl").write_text("\n".join([json.dumps(first, ensure_ascii=False), *lines[1:]]))
    assert load_task(str(own)).few_shots[0].text == first["text"]
    (own / "few_shots.jsonl").write_bytes(b'{"text": "\xe4"}')
    with pytest.raises(InputError, match="is not UTF-8 text"):
        load_task(str(own))


def test_order_of_fields_is_part_of_the_task(own: Path) -> None:
    """Fields in another order are another task, and samples are shown in the order of the schema."""
    before = load_task(str(own)).fingerprint
    line = json.loads((own / "few_shots.jsonl").read_text().splitlines()[0])
    edit(own, 1, {"sample": dict(reversed(line["sample"].items()))})
    assert load_task(str(own)).fingerprint == before
    assert list(load_task(str(own)).few_shots[0].sample) == ["question", "options", "answer"]
    text = (own / "task.yaml").read_text()
    answer = "    answer: {type: string, enum: [A, B, C, D]}\n"
    (own / "task.yaml").write_text(text.replace(answer, "").replace("  properties:\n", "  properties:\n" + answer))
    assert load_task(str(own)).fingerprint != before


@pytest.mark.parametrize("name", COLUMNS)
def test_a_field_named_like_a_column_of_every_row_is_refused(tmp_path: Path, name: str) -> None:
    """The field is named, and what to do."""
    shots: list[tuple[str, dict[str, JSON]]] = [(f"Text {n}.", {name: f"Value {n}"}) for n in range(3)]
    with pytest.raises(InputError, match=rf"field '{name}' has the name of a column .* rename it in schema"):
        load_task(write_task(tmp_path / "task", {name: {"type": "string"}}, shots))


def test_few_shots_get_their_one_form(tmp_path: Path) -> None:
    """Null for an optional field is no value; a template gets None for it, and shows nothing."""
    fields = {"headline": {"type": "string"}, "note": {"type": "string"}}
    samples: list[dict[str, JSON]] = [{"note": None, "headline": "Cafe\u0301"}, {"headline": "B"}, {"headline": "C"}]
    shots = [("Cafe\u0301.", sample) for sample in samples]
    template = "{{ headline }}{% if note is none %}, no note{% endif %}{{ note }}"
    task = load_task(write_task(tmp_path / "task", fields, shots, required=["headline"], completion_template=template))
    assert [shot.sample for shot in task.few_shots] == [{"headline": "Caf\u00e9"}, {"headline": "B"}, {"headline": "C"}]
    assert {shot.text for shot in task.few_shots} == {"Caf\u00e9."}
    assert task.completion(task.few_shots[1].sample) == "B, no note"
    assert task.completion({"headline": "B", "note": "D"}) == "BD"


def test_names_of_fields_may_be_decomposed(tmp_path: Path) -> None:
    """However a keyboard or a system writes a character, few-shots and task.yaml mean the same field."""
    whole, split = (unicodedata.normalize(form, "K\u00e4se") for form in ("NFC", "NFD"))
    folder = write_task(tmp_path / "task", {split: {"type": "string"}}, [("Text.", {split: "Brie"})] * 3)
    yaml = Path(folder) / "task.yaml"
    yaml.write_text(json.dumps(json.loads(yaml.read_text()), ensure_ascii=False), encoding="utf-8")
    task = load_task(folder)
    assert task.fields == (whole,)
    assert task.few_shots[0].sample == {whole: "Brie"}


@pytest.mark.parametrize(
    ("kind", "options", "answers", "message"),
    [
        ({"type": "string"}, ["a) pier", "b) crane"], ["a", "c", "a"],
         r"""line 2, field answer: 'c' is none .* the label of an option \("a" for "a\) pier"\), or its text"""),
        ({"type": "integer"}, ["pier", "crane"], [1, 1, 2], "line 3, field answer: 2 is none .* number from 0 to 1"),
        ({"type": "integer"}, ["pier", "crane"], [1, 1, 1], "not whether 0 or 1 is the first; write `minimum: 0`"),
        ({"type": "string"}, ["pier", "crane"], ["A", "quay", "B"], "'quay' .* its letter .A for the first"),
        ({"type": "string"}, [], ["A", "A", "A"], "expected options in options"),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_of_the_options_shows_the_form(
    tmp_path: Path, kind: dict[str, JSON], options: list[JSON], answers: list[JSON], message: str
) -> None:
    """The line, the answer, and how options and answers are written."""
    fields = {"question": {"type": "string"}, "options": {"type": "array", "items": {"type": "string"}}, "answer": kind}
    shots = [("Text.", {"question": "Q?", "options": options, "answer": answer}) for answer in answers]
    with pytest.raises(InputError, match=message):
        load_task(write_task(tmp_path / "task", fields, shots, options_field="options", answer_field="answer"))


@pytest.mark.parametrize(
    ("text", "message"),
    [('{"text": "a", "sample": {"question": NaN}}', "NaN is no number"),
     ('{"text": "a", "sample": {"question": 1e999}}', "1e999"),
     ('{"text": "a", "sample": {"question": "\\ud800"}}', "half a character"),
     ('{"text": "\\ud800", "sample": {"question": "a"}}', "half a character"),
     ('{"id": "\\ud800", "text": "a", "sample": {"question": "a"}}', "half a character"),
     ('{"text": "a", "sample": {"question": "a"}, "source": "\\ud800"}', "half a character"),
     ('{"Text": "a\\ud800", "Instruction": "a", "Output": "a"}', "half a character")],
)  # fmt: skip
def test_few_shots_with_values_that_no_row_can_hold_are_refused(own: Path, text: str, message: str) -> None:
    """The line is named, and what is wrong with the value."""
    (own / "few_shots.jsonl").write_text(text)
    with pytest.raises(InputError, match=f"line 1.*{message}"):
        load_task(str(own))


def test_questions_of_the_authors_may_have_any_labels(own: Path, tmp_path: Path) -> None:
    """Options are split where their labels are, whatever their style, and the answer is the label alone."""
    fields = {
        "question": {"type": "string"},
        "options": {"type": "array", "items": {"type": "string"}},
        "answer": {"type": "string"},
    }
    shots = [("Text.", {"question": "Q?", "options": ["a) one", "b) two"], "answer": "b"})] * 3
    task = write_task(tmp_path / "task", fields, shots, options_field="options", answer_field="answer")
    line = {"Text": "T", "Instruction": "Which of 1. and 2. is it?\na) one\nb) two", "Output": "b, for it is two"}
    (tmp_path / "authors.jsonl").write_text((json.dumps(line) + "\n") * 3)
    shot = load_task(task, str(tmp_path / "authors.jsonl")).few_shots[0]
    assert shot.sample == {"question": "Which of 1. and 2. is it?", "options": ["a) one", "b) two"], "answer": "b"}
