"""The shipped tasks at real engines: what becomes of each prompt, and whether answers follow the schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from craft_hf.base.records import CUT, Answer
from craft_hf.dataset.folder import DatasetFolder
from craft_hf.dataset.rows import is_few_shot
from craft_hf.run.resolution import resolve
from craft_hf.run.runs import ensure_run
from craft_hf.run.settings import RunSettings
from craft_hf.tasks.answers import AnswerReader
from craft_hf.tasks.task import load_task
from tests.engines.engine import Engine
from tests.engines.figures import Figure, Figures

pytestmark = pytest.mark.engine

PROMPTS = 20

QUESTIONS = {"bioqa": 160, "medqa": 160, "csqa": 96}
"""Most new tokens of an answer for each task whose answers are mostly shorter than that."""

LIMITS = {**QUESTIONS, "recipegen": 256, "summarization": 256}
"""The same for all tasks, so that a CPU is done in minutes: recipes and summaries are cut, and must become rejects."""


@pytest.mark.parametrize("task", LIMITS)
def test_every_prompt_becomes_a_row_or_a_reject(engine: Engine, task: str, home: Path, figures: Figures) -> None:
    """No prompt is lost, no request fails, and an answer that ended by itself is valid under the schema it was held to.

    How many samples the checks keep is only measured: the model is a small one.
    """
    settings = RunSettings(
        task,
        generator=engine.url,
        num_samples=PROMPTS,
        prompts_per_sample=1,
        max_new_tokens=LIMITS[task],
        prefix_groups=1,
        concurrency=2,
        timeout_s=600,
    )
    folder = DatasetFolder(ensure_run(resolve(settings)))
    rows, rejects = [row for row in folder.rows if not is_few_shot(row)], list(folder.rejects)
    usage = json.loads((folder.path / "report.json").read_text())["usage"]
    lines = [json.loads(line) for file in (home / "journal").rglob("*.jsonl") for line in file.open()]
    answers = [Answer(**{name: value for name, value in line.items() if name != "key"}) for line in lines]
    reader = AnswerReader(load_task(task).schema)
    finished = [answer for answer in answers if answer.finish_reason != CUT]
    problems = [(problem, answer.text) for answer in finished if (problem := reader.read(answer).problem)]
    figures.add(
        Figure(
            task,
            engine.name,
            len(answers),
            len(finished),
            len(finished) - len(problems),
            len(rows),
            ",".join(usage["left_out"]),
            usage["cut_prompts"],
            round(usage["cached_tokens"] / usage["prompt_tokens"], 2),
            round(usage["seconds_generating"]),
        )
    )
    assert len(answers) == len({line["key"] for line in lines}) == usage["answers_generated"] == PROMPTS
    assert len(rows) + len(rejects) == PROMPTS
    assert len({row["document_id"] for row in [*rows, *rejects]}) == PROMPTS
    assert all(reject["check"] and reject["reason"] for reject in rejects)
    assert not usage["failed"]
    assert not usage["left_out"], "each engine takes all parameters"
    assert not usage["cut_prompts"]
    assert not problems
    assert {answer.finish_reason for answer in answers} <= {CUT, "stop"}
    assert finished or task not in QUESTIONS
