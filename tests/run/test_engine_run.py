"""A run whose engine is started for it, from the settings to the folder; the engine is a stand-in."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest
from datasets import load_dataset_builder

from craft_hf.dataset.folder import DatasetFolder
from craft_hf.dataset.rows import is_few_shot
from craft_hf.run.cost import estimate
from craft_hf.run.resolution import resolve
from craft_hf.run.run_yaml import settings_from
from craft_hf.run.runs import ensure_run
from craft_hf.run.settings import RunSettings
from tests.generation.engine.conftest import SCRIPT, Lives, model
from tests.run.test_settings import call_on_the_card

__all__ = ["model"]


@pytest.fixture
def settings(model: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> RunSettings:
    """A run of the stand-in, without GPUs."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", os.defpath)
    fixed = [sys.executable, "-S", SCRIPT, "--model", "{model}", "--port", "{port}", "--api-key", "{key}"]
    command = shlex.join(map(str, [*fixed, "--record", tmp_path / "lives.jsonl"]))
    return RunSettings(
        "bioqa",
        generator=f"engine:{model}",
        engine_command=command,
        engine_arguments="--chat-template plain",
        engine_timeout_s=60,
        num_samples=4,
    )


@pytest.mark.weights
def test_a_run_starts_its_engine_and_keeps_no_secret(
    settings: RunSettings, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows, run.yaml and card as with a server; the log beside the folder; the key nowhere."""
    lives, run = Lives(tmp_path / "lives.jsonl"), resolve(settings)
    assert estimate(run, pilot=2).pilot_prompts == 2
    assert lives.nothing_left()
    folder = DatasetFolder(ensure_run(run))
    assert len([row for row in folder.rows if not is_few_shot(row)]) == 4
    assert len(lives.all) == 2
    assert lives.nothing_left()
    assert {row["generator"] for row in folder.rows if not is_few_shot(row)} == {
        f"my model@{run.generator.identity['revision']}"
    }
    keys = [life["variables"]["CRAFT_HF_ENGINE_KEY"].encode() for life in lives.all]
    written = {file: file.read_bytes() for file in home.rglob("*") if file.is_file() and "models" not in file.parts}
    assert any(file.parent == run.logs for file in written)
    assert not [file for file, content in written.items() for key in keys if key in content]

    assert load_dataset_builder("craft", **call_on_the_card(folder.path)).config.run.run_id == run.run_id
    again = settings_from({}, folder.path / "run.yaml")
    assert again == settings
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")  # another number of engines is the same run
    assert resolve(again).run_id == run.run_id
    (folder.path / "report.json").unlink()
    ensure_run(resolve(again))
    assert len(lives.all) == 2, "all answers are in the journal"
