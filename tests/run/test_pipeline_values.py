"""Values on their whole way: optional fields, numbers that are none, line separators, and options of any style."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
from transformers import AutoTokenizer

import craft_hf  # noqa: F401  (makes load_dataset("craft") work)
from craft_hf.base.models import generator_weights
from craft_hf.base.records import JSON
from craft_hf.base.templates import chat_template
from craft_hf.dataset.training_rows import DataArguments, conversations, load_rows
from craft_hf.review.decisions import EDIT, REJECT
from craft_hf.review.samples import ReviewSample
from craft_hf.review.source import import_decisions, open_review_store
from craft_hf.review.store import ReviewStore
from craft_hf.run.resolution import resolve
from craft_hf.run.runs import ensure_run, read_rows
from craft_hf.run.settings import RunSettings
from craft_hf.tasks.multiple_choice import options_of
from craft_hf.tasks.task import load_task
from tests.openai_server import FakeServer, Reply, ok, serving
from tests.own_task import write_task
from tests.reviewing import decide

pytestmark = pytest.mark.weights

Write = Callable[[int, list[str]], str]
"""The text of an answer, by the number of the request and the words of the document."""

TEXT = {"type": "string"}
SHOTS = [f"At the harbour of {name} stand a pier, a crane and a market hall." for name in ("Olvik", "Marn", "Sund")]
CHECKS = ("repetitive", "language", "copied", "contaminated", "grounded", "semantic")


class AnswerServer(FakeServer):
    """Answers by a function, where a test says what a model writes."""

    def __init__(self) -> None:
        super().__init__(models=("writer-1",))
        self.write: Write = lambda *_: "{}"

    def reply_to(self, body: dict[str, Any]) -> Reply:
        """The reply to a chat request."""
        with self.lock:
            self.requests.append(body)
            number = len(self.requests) - 1
        asked = [m["content"] for m in body["messages"] if "Text:\n" in m["content"]][-1]
        words = [w for w in asked.split("Text:\n", 1)[1].replace(".", " ").split() if w.isalpha() and len(w) > 4]
        return ok(self.write(number, words))


@pytest.fixture
def answering() -> Iterator[AnswerServer]:
    """A server on loopback."""
    with serving(AnswerServer()) as fake:
        assert isinstance(fake, AnswerServer)
        yield fake


def headlines(folder: Path) -> str:
    """A task with a headline and, for those that have one, a note and a price."""
    samples = [
        {"headline": "Pier of Olvik", "note": "Oak.", "price": 2.5},
        {"headline": "Cranes"},
        {"headline": "Hall"},
    ]
    fields = {"headline": TEXT, "note": TEXT, "price": {"type": "number"}}
    templates = {"prompt_template": "Write a headline.", "completion_template": "{{ headline }}\n{{ note }}"}
    return write_task(folder, fields, list(zip(SHOTS, samples, strict=True)), required=["headline"], **templates)


def settings(task: str, server: AnswerServer, samples: int, **more: Any) -> RunSettings:
    """Settings of a run without the checks that have nothing to do with values."""
    return RunSettings(task, generator=server.url, num_samples=samples, skip_checks=",".join(CHECKS), **more)


def run(task: str, server: AnswerServer, samples: int, **more: Any) -> tuple[Path, list[Mapping[str, JSON]]]:
    """Do a run; returns its folder, and the generated rows."""
    folder = ensure_run(resolve(settings(task, server, samples, **more)))
    return folder, [row for row in read_rows(folder, 0, 1) if not row["is_few_shot"]]


def reviewed(reviews: ReviewStore) -> Sequence[ReviewSample]:
    """The samples of a review."""
    return list(reviews.samples())


def test_decisions_about_rows_without_an_optional_field_are_found_again(
    home: Path, answering: AnswerServer, tmp_path: Path
) -> None:
    """The null of a dataset's row is no value: the row can be edited, and what was rejected does not come again."""
    task = headlines(tmp_path / "task")
    answering.write = lambda _, words: json.dumps({"price": 2, "headline": " ".join(words[:7])})
    _, rows = run(task, answering, 3)
    datasets.Dataset.from_list([dict(row) for row in rows]).save_to_disk(tmp_path / "saved")
    reviews, loaded = open_review_store(str(tmp_path / "saved"), tmp_path / "r.sqlite", task)
    found = reviewed(reviews)
    assert [list(sample.fields) for sample in found] == [["headline", "price"]] * 3
    edit = {**found[0].fields, "headline": "Another Headline", "note": None}
    line = {"sample_id": found[0].id, "reviewer": "ann", "verdict": EDIT, "fields": edit, "key": "k"}
    decisions = tmp_path / "d.jsonl"
    decisions.write_text(json.dumps({"reason": "", "note": "", "at": "", "undoes": "", **line}) + "\n")
    assert import_decisions(reviews, decisions, loaded) == 1
    for sample in found[1:]:
        decide(reviews, sample, REJECT, "ann", reason="other")
    _, again = run(task, answering, 3, review=str(tmp_path / "r.sqlite"))
    assert again[0]["headline"] == "Another Headline"
    assert {row["document_id"] for row in again} & {row["document_id"] for row in rows} == {rows[0]["document_id"]}
    reviews.close()


def test_rows_without_an_optional_field_are_trained_on(home: Path, answering: AnswerServer, tmp_path: Path) -> None:
    """A template gets None for it, which shows as nothing; NaN, as pandas writes a missing number, is the same."""
    task = headlines(tmp_path / "task")
    answering.write = lambda _, words: json.dumps({"headline": " ".join(words[:7])})
    _, rows = run(task, answering, 2)
    values = [{**row, "price": float("nan")} for row in rows]
    datasets.Dataset.from_list(values).select_columns(["headline", "price"]).save_to_disk(tmp_path / "saved")
    loaded = load_task(task)
    tokenizer = AutoTokenizer.from_pretrained(generator_weights().location)
    tokenizer.chat_template = chat_template()
    table = load_rows(DataArguments(dataset=str(tmp_path / "saved")), loaded)
    examples, counts = conversations(table, loaded, tokenizer, 500)
    assert counts.used == 2
    assert [e["completion"][0]["content"] for e in examples] == [row["headline"] for row in rows]
    assert [loaded.sample(row) for row in table] == [{"headline": row["headline"]} for row in rows]


def test_numbers_that_json_does_not_have_are_asked_for_again_and_never_written(
    home: Path, answering: AnswerServer, tmp_path: Path
) -> None:
    """NaN, Infinity and 1e999 are no valid JSON: the model is told, and what stays so is a reject."""
    task = headlines(tmp_path / "task")
    names = ("NaN", "Infinity", "-Infinity", "1e999")

    def write(number: int, words: list[str]) -> str:
        price = "2.5" if number % 4 == 3 else names[number % 4]
        return f'{{"headline": "{" ".join(words[:7])}", "price": {price}}}'

    answering.write = write
    _, rows = run(task, answering, 1)
    assert [row["price"] for row in rows] == [2.5]
    told = [m["content"] for body in answering.requests for m in body["messages"] if "not usable" in m["content"]]
    assert any("NaN is no number in JSON" in text for text in told)
    answering.write = lambda number, words: write(number % 3, words).replace("Infinity", names[number % 4])
    folder, rows = run(task, answering, 2, seed=1)
    assert not rows
    text = (folder / "report.json").read_text()
    report = json.loads(text, parse_constant=pytest.fail)
    assert {drop["reason"] for drop in report["drops"]} == {"no valid JSON"}


def test_line_separators_in_texts_end_no_line(home: Path, answering: AnswerServer, tmp_path: Path) -> None:
    """U+2028 in a row and U+0085 in a note go through export and import."""
    from typer.testing import CliRunner

    from craft_hf.cli.main import app

    task = headlines(tmp_path / "task")
    answering.write = lambda _, words: json.dumps({"headline": "\u2028".join(words[:7])}, ensure_ascii=False)
    _, rows = run(task, answering, 2)
    assert all("\u2028" in str(row["headline"]) for row in rows)
    datasets.Dataset.from_list([dict(row) for row in rows]).save_to_disk(tmp_path / "saved")
    reviews, loaded = open_review_store(str(tmp_path / "saved"), tmp_path / "r.sqlite", task)
    first, second = reviewed(reviews)
    decide(reviews, first, EDIT, "ann", fields={**first.fields, "note": "a\u2028b"})
    decide(reviews, second, REJECT, "ann", note="seen\u0085twice")
    exported = CliRunner().invoke(app, ["reviews", "export", str(reviews.path)])
    (tmp_path / "d.jsonl").write_text(exported.stdout, encoding="utf-8", newline="\n")
    other, _ = open_review_store(str(tmp_path / "saved"), tmp_path / "other.sqlite", task)
    assert import_decisions(other, tmp_path / "d.jsonl", loaded) == 2
    assert [replace(d, at="") for d in other.current_decisions()] == [
        replace(d, at="") for d in reviews.current_decisions()
    ]


@pytest.mark.parametrize(
    ("kind", "style", "answers"),
    [
        (TEXT, "{letter}) {text}", ["a", "b", "c"]),
        (TEXT, "({number}) {text}", ["(1)", "(2)", "(3)"]),
        ({"type": "integer"}, "{text}", [0, 1, 2]),
        ({"type": "integer", "minimum": 1}, "{text}", [1, 2, 3]),
        (TEXT, "{text}", None),
    ],
)
def test_options_and_answers_of_any_style_make_rows(
    home: Path,
    answering: AnswerServer,
    tmp_path: Path,
    kind: Mapping[str, JSON],
    style: str,
    answers: list[JSON] | None,
) -> None:
    """Few-shots load, samples are kept and shuffled, and a row is written as the few-shots are."""

    def sample(question: str, texts: Sequence[str], right: int) -> dict[str, JSON]:
        marks = zip("abc", "123", texts, strict=True)
        options = [style.format(letter=letter, number=number, text=text) for letter, number, text in marks]
        return {"question": question, "options": options, "answer": answers[right] if answers else texts[right]}

    fields = {"question": TEXT, "options": {"type": "array", "items": TEXT}, "answer": kind}
    shots = [
        (text, sample(f"What stands at number {n}?", ["pier", "crane", "hall"], 0)) for n, text in enumerate(SHOTS)
    ]
    task = write_task(tmp_path / "task", fields, shots, options_field="options", answer_field="answer")
    right: dict[str, str] = {}

    def write(_: int, words: list[str]) -> str:
        texts = sorted(dict.fromkeys(w.lower() for w in words), key=len)[-3:]
        question = f"Which of these is it: {' '.join(words[:9])}?"
        right[question] = texts[0]
        return json.dumps(sample(question, texts, 0))

    answering.write = write
    folder, rows = run(task, answering, 6)
    assert len(rows) == 6
    choices = load_task(task).multiple_choice
    assert choices
    for row in rows:
        found = choices.read(row)
        assert found.right_text == right[str(row["question"])]
        assert row == {**row, **sample(str(row["question"]), found.texts, found.right or 0)}
    assert Counter(choices.read(row).right for row in rows) == {0: 2, 1: 2, 2: 2}
    report = json.loads((folder / "report.json").read_text())
    assert sorted(report["answers"].values()) == [2, 2, 2]
    assert report["balance"]["before"] == {choices.name_of(shots[0][1]): 6}
    assert options_of(rows[0]["options"]).labels == options_of(shots[0][1]["options"]).labels
