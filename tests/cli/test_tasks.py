"""The command `craft-hf tasks`: list, show, check, and the folder that `new` writes."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from craft_hf.base.embedder import Embedder
from craft_hf.base.errors import InputError
from craft_hf.cli.main import app
from craft_hf.cli.tasks import TEMPLATE, warnings, write_template
from craft_hf.quality.few_shots import check_few_shots
from craft_hf.tasks.task import NAMES, TASK_KEYS, Task, load_task

BIOQA = load_task("bioqa")


def tasks(*arguments: str | Path) -> Result:
    """Run `craft-hf tasks` in this process."""
    return CliRunner().invoke(app, ["tasks", *map(str, arguments)])


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The folder of a new task."""
    write_template(tmp_path / "own-task")
    return tmp_path / "own-task"


def change(folder: Path, line: int, **changes: object) -> None:
    """Change fields of a few-shot, or of its sample where it has them."""
    path = folder / "few_shots.jsonl"
    rows = [json.loads(row) for row in path.read_text().splitlines()]
    for name, value in changes.items():
        (rows[line]["sample"] if name in rows[line]["sample"] else rows[line])[name] = value
    path.write_text("\n".join(map(json.dumps, rows)))


def test_list_has_the_shipped_tasks_and_own_folders(own: Path) -> None:
    """One line a task: name, number of few-shots, metric, description."""
    lines = tasks("list", own).output.splitlines()
    assert [line.split()[0] for line in lines] == [*NAMES, "own-task"]
    assert re.fullmatch(r"bioqa +32 few-shots  accuracy  Multiple-choice questions on biology, .*", lines[0])
    assert re.fullmatch(r"own-task +3 few-shots  win_rate  Questions on how things are made, .*", lines[-1])


def test_show_tells_what_a_task_is() -> None:
    """Instruction, fields, rules, checks and few-shots stand there; --json has everything that was loaded."""
    output = tasks("show", "csqa").output
    task = load_task("csqa")
    for text in (*task.instructions, 'answer: {"type": "string", "enum": ["A", "B"]}', 'ends: {"question": "?."}'):
        assert text.strip() in output
    skippable = re.findall(r"^  ([* ]) (\S+) ", output[output.index("checks, in order") :], re.MULTILINE)
    assert ("*", "grounded") in skippable
    assert (" ", "schema") in skippable
    assert re.findall(r"^  (csqa-\d\d) \(written for craft_hf; CC0 1.0\)$", output, re.MULTILINE) == [
        shot.id for shot in task.few_shots
    ]
    found = json.loads(tasks("show", "csqa", "--json").output)
    assert found.keys() == {f.name for f in fields(Task)}
    assert found["few_shots"][31]["sample"] == task.few_shots[31].sample


def test_template_explains_every_key() -> None:
    """Each key of a task stands in the template, used or behind a "#", with a comment in a line before it."""
    lines = (TEMPLATE / "task.yaml").read_text(encoding="utf-8").splitlines()
    for name in TASK_KEYS:
        [at] = [i for i, line in enumerate(lines) if re.match(rf"(# )?{name}: ?", line)]
        assert any(re.match(r"# (?!\w+: )", line) for line in lines[at - 2 : at]), name


@pytest.mark.weights
def test_new_writes_a_task_that_passes_its_own_check(tmp_path: Path) -> None:
    """The folder loads under its own name, every few-shot passes, and only their number is worth a warning."""
    folder = tmp_path / "deep" / "my-own_task"
    made = tasks("new", folder)
    assert made.exit_code == 0
    assert f"craft-hf tasks check {folder}" in made.output
    task = load_task(str(folder))
    assert (task.name, len(task.few_shots)) == ("my-own_task", 3)
    assert [shot.id for shot, verdict in check_few_shots(task, Embedder()) if verdict.keep] == [
        shot.id for shot in task.few_shots
    ]
    checked = tasks("check", folder)
    assert checked.exit_code == 0
    assert checked.stdout.splitlines() == [
        "warning: 3 few-shots are few; CRAFT uses 8 to 32. With more, samples vary more.",
        "my-own_task: 3 of 3 few-shots pass the checks",
    ]


def test_new_never_writes_over_anything(own: Path, tmp_path: Path) -> None:
    """What is there stays as it is; a name that no task can have is refused before anything is written."""
    before = (own / "task.yaml").read_text()
    (own / "few_shots.jsonl").unlink()
    (tmp_path / "file").write_text("mine")
    cases = {
        own: "exists already",
        tmp_path / "file": "exists already",
        tmp_path / "my task": "gives the task its name",
    }
    for path, message in {**cases, tmp_path / "bioqa": "and none of bioqa"}.items():
        result = tasks("new", path)
        assert isinstance(result.exception, InputError)
        assert message in str(result.exception)
    assert [p.name for p in own.iterdir()] == ["task.yaml"]
    assert (own / "task.yaml").read_text() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "own-task"]
    (tmp_path / "empty").mkdir()
    assert tasks("new", tmp_path / "empty").exit_code == 0


@pytest.mark.weights
def test_check_names_what_would_be_dropped(own: Path) -> None:
    """A few-shot that repeats another and one that its text does not say: check, reason, score, partner; exit 1."""
    rows = [json.loads(row) for row in (own / "few_shots.jsonl").read_text().splitlines()]
    change(own, 1, **rows[0]["sample"], text=rows[0]["text"])
    change(own, 2, answer="Volcanoes throw out molten rock, which cools down in the rain and the sea.", license="")
    result = tasks("check", own)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert re.fullmatch(r"own-task-02: \w+: .+, score [\d.]+, of own-task-01", lines[0])
    assert re.fullmatch(r"own-task-03: grounded: answer: the document does not say this, score [\d.]+, .*", lines[1])
    assert lines[3].startswith("warning: 1 few-shots (own-task-03) state no license")
    assert lines[-1] == "own-task: 1 of 3 few-shots pass the checks"


def test_check_says_what_does_not_load(own: Path) -> None:
    """A broken few-shot ends the check with its line and field."""
    change(own, 1, answer=5)
    assert re.search(r"few_shots\.jsonl, line 2, field answer: 5 is not of type", str(tasks("check", own).exception))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.weights
def test_shipped_tasks_have_nothing_to_warn_of(name: str) -> None:
    """Enough few-shots with source and licence, even answers, prompts that the embedded generator can read."""
    assert warnings(load_task(name)) == ()


@pytest.mark.weights
def test_uneven_answers_are_warned_of() -> None:
    """One letter too often, or one never; 3 of 8 are not too many."""

    def with_answers(letters: str) -> tuple[str, ...]:
        shots = [replace(s, sample={**s.sample, "answer": a}) for s, a in zip(BIOQA.few_shots, letters, strict=False)]
        return warnings(replace(BIOQA, few_shots=tuple(shots)))

    for letters, said in (("AAAABBCD", "A 4, B 2, C 1, D 1"), ("AAABBBCC", "A 3, B 3, C 2, D 0")):
        [warning] = with_answers(letters)
        assert f"answers are uneven ({said})" in warning
    assert with_answers("AAABBCCD") == ()


@pytest.mark.weights
def test_prompts_that_are_too_long_are_warned_of() -> None:
    """Few-shots that fill the context of the embedded generator are found before a run drops their prompts."""
    long = tuple(replace(shot, text=f"{shot.text} " * 6) for shot in BIOQA.few_shots)
    [warning] = warnings(replace(BIOQA, few_shots=long))
    assert re.search(r"has \d+,\d+ tokens, and an answer up to 512; the embedded generator takes 8,192", warning)
