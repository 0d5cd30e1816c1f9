"""The lm-eval tasks: their YAML files, and the prompts made from rows in the format of the public datasets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml
from datasets import Dataset, Image, load_dataset

from craft_hf.evaluation.benchmarks import FOLDER
from craft_hf.evaluation.benchmarks import documents as rows_of
from craft_hf.evaluation.items import read_items
from craft_hf.tasks.task import load_task

NAMES = sorted(path.stem for path in FOLDER.glob("craft_*.yaml"))


class Loader(yaml.SafeLoader):
    """Loads `!function module.name` as a string, as lm-eval does before it imports the function."""


Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))  # type: ignore[no-untyped-call]


def read(name: str) -> dict[str, Any]:
    """Return a task's settings, with those of the file that it includes."""
    settings = yaml.load((FOLDER / f"{name}.yaml").read_text(), Loader)
    return {**(read(settings["include"].removesuffix(".yaml")) if "include" in settings else {}), **settings}


@pytest.mark.parametrize("name", NAMES)
def test_every_task_file_is_consistent(name: str) -> None:
    """A task has the name of its file and an existing `process_docs` function; a group lists existing tasks."""
    settings = read(name)
    if "group" in settings:
        assert settings["group"] == name
        assert set(settings["task"]) <= set(NAMES)
    else:
        assert settings["task"] == name
        module, _, function = settings["process_docs"].rpartition(".")
        assert module == rows_of.__name__
        assert callable(getattr(rows_of, function))
        assert {"test_split", "validation_split"} & set(settings)


def test_all_benchmarks_are_in_the_papers_group() -> None:
    """The paper's group contains every task file."""
    named = {*read("craft_paper")["task"], *read("craft_mmlu")["task"], "craft_paper"}
    assert named == set(NAMES)


def rendered(docs: Dataset) -> list[tuple[str, list[str], int]]:
    """Return prompt, choices and target of each row, as lm-eval renders them by `_letters.yaml`."""
    settings = read("_letters")
    assert settings["target_delimiter"] == ""
    text = jinja2.Environment().from_string(settings["doc_to_text"])
    return [(text.render(**doc), doc[settings["doc_to_choice"]], doc[settings["doc_to_target"]]) for doc in docs]


def test_scienceqa_keeps_biology_without_images(tmp_path: Path) -> None:
    """Rows in the format of derek-thomas/ScienceQA: other topics and questions with an image are dropped."""
    row = {
        "image": None,
        "question": "Which is an animal? ",
        "choices": ["a fox", "a fern"],
        "answer": 0,
        "hint": "",
        "task": "closed choice",
        "grade": "grade2",
        "subject": "natural science",
        "topic": "biology",
        "category": "Classification",
        "skill": "Identify plants and animals",
        "lecture": "",
        "solution": "",
    }
    seen = {**row, "question": "Which is in the picture?", "image": {"bytes": b"no picture", "path": None}}
    rows = Dataset.from_list([row, seen, {**row, "topic": "physics"}, {**row, "choices": ["a", "b", "c"], "answer": 2}])
    expected = [
        ("Which is an animal?\nA. a fox\nB. a fern", ["A", "B"], 0),
        ("Which is an animal?\nA. a\nB. b\nC. c", ["A", "B", "C"], 2),
    ]
    assert rendered(rows_of.scienceqa_biology(rows.cast_column("image", Image()))) == expected
    path = tmp_path / "scienceqa.jsonl"
    lines = [{**r, "image": r["image"] and "picture.png"} for r in (row, seen)]  # type: ignore[index]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    local = load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path))
    assert rendered(rows_of.scienceqa_biology(local)) == expected[:1]


def test_the_other_benchmarks_use_the_prompts_of_their_tasks() -> None:
    """Rows in the format of openlifescienceai/medmcqa, tasksource/commonsense_qa_2.0 and cais/mmlu."""
    medmcqa = {"id": "1", "question": "Which?", "opa": "w", "opb": "x", "opc": "y", "opd": "z", "cop": 3, "exp": None}
    assert rendered(rows_of.medmcqa(Dataset.from_list([medmcqa]))) == [
        ("Which?\nA. w\nB. x\nC. y\nD. z", ["A", "B", "C", "D"], 3)
    ]
    csqa = [{"id": "1", "question": "One is less than two.", "answer": a, "confidence": 0.9} for a in ("yes", "no")]
    assert rendered(rows_of.commonsense_qa_2(Dataset.from_list(csqa))) == [
        ("One is less than two.\nA. Yes\nB. No", ["A", "B"], 0),
        ("One is less than two.\nA. Yes\nB. No", ["A", "B"], 1),
    ]
    mmlu = {"question": "Which?", "subject": "anatomy", "choices": ["w", "x", "y", "z"], "answer": 1}
    assert rendered(rows_of.mmlu(Dataset.from_list([mmlu]))) == [
        ("Which?\nA. w\nB. x\nC. y\nD. z", ["A", "B", "C", "D"], 1)
    ]


def test_lm_eval_gets_the_prompts_of_craft_hf_evaluate(tmp_path: Path) -> None:
    """A reference file gives the same prompts, letters and answers in both."""
    row = {"question": "Which organ pumps blood?", "options": ["the heart", "the liver", "a lung"], "answer_index": 1}
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row))
    [item] = read_items(path, load_task("bioqa"))
    assert rendered(rows_of.reference_rows(Dataset.from_list([row]))) == [(item.prompt, ["A", "B", "C"], item.answer)]
