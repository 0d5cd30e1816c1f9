"""Results of several models: the table, the JSON file, reading it back, and the command."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from craft_hf.base.errors import CraftError, InputError
from craft_hf.cli.main import app
from craft_hf.evaluation.items import read_items
from craft_hf.evaluation.measures import evaluate, measures_for
from craft_hf.evaluation.model import EvaluatedModel
from craft_hf.evaluation.results import Results, differences, read_results, to_json, to_markdown
from craft_hf.evaluation.statistics import Scores, summarize
from craft_hf.tasks.task import load_task
from tests.evaluation.test_items import ROW, write
from tests.tiny_model import save_tiny_model

BIOQA, RECIPES = load_task("bioqa"), load_task("recipegen")
LETTERS = summarize("letter", "right", ["a", "b", "c", "d"], [1.0, 0.0, 1.0, 0.0], chance=0.25)
BITS = summarize("bits", "bits | cost", ["a", "b"], [1.5, 2.5], weights=[1, 3], higher_is_better=False)
NUMBER = re.compile(r"\d+\.\d+")
LENGTHLESS = Scores("equal", "a figure of all", 0.5, 0.4, 0.6, "bootstrap", 4)
PLAIN = Results("plain", "bioqa", "q.jsonl", "1234", {"model": "m"}, (LETTERS, BITS, LENGTHLESS), {"a": "B"})
BETTER = replace(
    PLAIN, name="better", scores=(summarize("letter", "right", LETTERS.ids, [1.0] * 4, chance=0.25), BITS, LENGTHLESS)
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a random model."""
    return str(save_tiny_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def adapter(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a random adapter for it."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(tiny)
    folder = str(tmp_path_factory.mktemp("adapter"))
    get_peft_model(model, LoraConfig(target_modules="all-linear", init_lora_weights=False)).save_pretrained(folder)
    return folder


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """A file of eight questions."""
    rows = [{**ROW, "question": f"Which is {n}?", "answer_index": n % 3} for n in range(8)]
    return write(tmp_path / "questions.jsonl", *rows)


def test_markdown_has_a_row_for_each_measure_and_each_difference() -> None:
    """The table has value, interval, chance and description, and is followed by the differences with p-values."""
    assert to_markdown([BETTER], against=PLAIN).splitlines() == [
        "| model | measure | n | value | 95% interval | chance | description |",
        "|---|---|---|---|---|---|---|",
        "| better | letter | 4 | 1.000 | 0.510 to 1.000 | 0.250 | right |",
        "| better | bits | 2 | 2.250 | 1.500 to 2.500 |  | bits \\| cost |",
        "| better | equal | 4 | 0.500 | 0.400 to 0.600 |  | a figure of all |",
        "| plain | letter | 4 | 0.500 | 0.150 to 0.850 | 0.250 | right |",
        "| plain | bits | 2 | 2.250 | 1.500 to 2.500 |  | bits \\| cost |",
        "| plain | equal | 4 | 0.500 | 0.400 to 0.600 |  | a figure of all |",
        "",
        "Difference to plain, on the same items:",
        "",
        "| model | measure | n | difference | 95% interval | p | McNemar p |",
        "|---|---|---|---|---|---|---|",
        "| better | letter | 4 | +0.500 | +0.000 to +1.000 | 0.122 | 0.500 |",
        "| better | bits | 2 | +0.000 | +0.000 to +0.000 | 1.000 |  |",
    ]
    assert "Difference" not in to_markdown([PLAIN])


def test_results_can_be_read_back_from_json(tmp_path: Path) -> None:
    """The file has per-item values, outputs and differences; a file of another format is refused."""
    path = tmp_path / "results.json"
    path.write_text(to_json([BETTER], against=PLAIN))
    assert read_results(path) == [BETTER, PLAIN]
    found = json.loads(path.read_text())
    assert found["against"] == "plain"
    assert [d["measure"] for d in found["differences"]] == ["letter", "bits"]
    for text in ("{", "[]", '{"models": [{}]}', '{"models": [{"scores": [{"ids": [], "values": [], "weights": []}]}]}'):
        path.write_text(text)
        with pytest.raises(InputError, match="cannot be read as results"):
            read_results(path)


def test_only_results_on_the_same_items_are_compared() -> None:
    """Another task, other items, or a missing measure is an error."""
    for other in (replace(PLAIN, task="medqa"), replace(PLAIN, items_hash="5678")):
        with pytest.raises(InputError, match="compare models on the same task and rows"):
            differences(BETTER, other)
    assert PLAIN.score("letter") == LETTERS
    with pytest.raises(
        InputError, match="the results of plain have no measure rouge; expected one of letter, bits, equal"
    ):
        PLAIN.score("rouge")


def test_measures_for_a_task_suit_it() -> None:
    """Unknown or unsuitable names are refused, and so is a judge without answers to compare."""
    assert measures_for(BIOQA) == ("letter", "option_text")
    assert measures_for(RECIPES) == ("bits_per_byte", "written")
    assert measures_for(BIOQA, ["written", "letter", "letter"]) == ("written", "letter")
    for task, names, judge, message in (
        (
            BIOQA,
            ["lettre"],
            False,
            "bioqa has no measure 'lettre'; expected one or more of letter, option_text, bits_per_byte",
        ),
        (RECIPES, ["letter"], False, "recipegen has no measure 'letter'"),
        (RECIPES, [], False, "no measure ''"),
        (RECIPES, ["bits_per_byte"], True, "a judge needs written answers to compare"),
        (BIOQA, None, True, "a judge needs written answers to compare"),
    ):
        with pytest.raises(InputError, match=message):
            measures_for(task, names, judge)


@pytest.mark.weights
def test_evaluate_scores_a_written_task(tiny: str, home: Path, tmp_path: Path) -> None:
    """Every measure of written answers has a value for each item, and the answers are in the results."""
    rows = [{"id": name, "instruction": f"Make {name}.", "output": "Boil water."} for name in ("tea", "rice", "eggs")]
    items = read_items(write(tmp_path / "r.jsonl", *rows), RECIPES)
    found = evaluate(EvaluatedModel(tiny), RECIPES, items, max_new_tokens=4)
    assert [s.measure for s in found.scores] == [
        "bits_per_byte", "format", "ended", "length", "rouge1", "rouge2", "rougeL", "embedding_similarity"
    ]  # fmt: skip
    assert all(s.ids == ("tea", "rice", "eggs") and len(s.values) == 3 for s in found.scores)
    assert list(found.outputs) == ["tea", "rice", "eggs"]
    with pytest.raises(InputError, match="batch_size is 0"):
        evaluate(EvaluatedModel(tiny), RECIPES, items, batch_size=0)


def run(*arguments: str) -> str:
    """Return what the command prints."""
    result = CliRunner().invoke(app, ["evaluate", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.weights
def test_the_command_compares_an_adapter_with_its_model(
    tiny: str, adapter: str, questions: Path, tmp_path: Path
) -> None:
    """The table is the same whether the base model is evaluated now or was evaluated before."""
    ours = [tiny, "--task", "bioqa", "--data", str(questions), "--adapter", adapter]
    table = run(*ours, "--against", tiny, "--out", str(tmp_path / "both.json"))
    assert f"Difference to {tiny}, on the same items:" in table.replace("\\", "")
    assert table.count("| letter |") == 3
    assert [result.name for result in read_results(tmp_path / "both.json")] == [adapter, tiny]
    run(tiny, "--task", "bioqa", "--data", str(questions), "--out", str(tmp_path / "plain.json"))
    again = run(*ours, "--against", str(tmp_path / "plain.json"))
    assert NUMBER.sub("", again) == NUMBER.sub("", table)
    assert list(map(float, NUMBER.findall(again))) == pytest.approx(list(map(float, NUMBER.findall(table))), abs=0.01)
    found = json.loads(run(*ours, "--against", adapter, "--measures", "letter", "--json"))
    assert [d["value"] for d in found["differences"]] == [0.0, 0.0]


@pytest.mark.weights
def test_the_command_compares_several_adapters_with_the_first(tiny: str, adapter: str, questions: Path) -> None:
    """Without --against the others are compared with the first."""
    second = [*("--adapter", adapter), *("--adapter", adapter)]
    table = run(tiny, "--task", "bioqa", "--data", str(questions), *second, "--measures", "letter")
    assert table.count("| letter |") == 3
    assert "+0.000 to +0.000" in table


@pytest.mark.weights
def test_the_command_refuses_bad_arguments_early(tiny: str, questions: Path, tmp_path: Path) -> None:
    """A missing folder, a wrong measure or task, or a file of another format is refused before any model is loaded."""
    for more in (
        ["--out", str(tmp_path / "nowhere" / "r.json")],
        ["--measures", "rouge"],
        ["--judge", "embedded"],
        ["--against", str(questions)],
        ["--against", str(tmp_path / "no.json")],
    ):
        command = ["evaluate", tiny, "--task", "bioqa", "--data", str(questions), *more]
        assert isinstance(CliRunner().invoke(app, command).exception, CraftError)
    assert CliRunner().invoke(app, ["evaluate", tiny, "--data", str(questions)]).exit_code == 2
