"""What the tests publish: a run's folder without a run, and an adapter of a tiny model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from craft_hf.base.records import JSON
from craft_hf.dataset.folder import DatasetFolder
from craft_hf.dataset.funnel import Stage
from craft_hf.dataset.report import make_report
from craft_hf.dataset.rows import derived_columns, few_shot_rows, task_features
from craft_hf.tasks.task import Task, load_task

LINEAGE: Mapping[str, JSON] = {
    "source": "openstax", "title": "Cells", "license": "CC BY 4.0", "similarity": 0.5, "retrieved_by": ["average"],
    "prompt_few_shots": ["bioqa-01"], "prompt_hash": "ab12", "generator": "SmolLM2-135M-Instruct@1",
    "finish_reason": "stop", "checks": [{"check": "schema", "score": None, "partner": "", "remark": ""}],
}  # fmt: skip


@cache
def _bioqa() -> Task:
    return load_task("bioqa")


def made_row(number: int, **changes: JSON) -> dict[str, JSON]:
    """A generated row of bioqa."""
    fields: dict[str, JSON] = {
        "question": f"Which organelle is number {number} of the cell?",
        "options": ["A. This one", "B. That one", "C. Another one", "D. None of them"],
        "answer": "ABCD"[number % 4],
    }
    row = {
        **fields, "prompt": [], "completion": [], "sample_id": "", "license_spdx": "", "is_few_shot": False,
        "document_id": f"openstax-{number}",
        "document": f"Organelle {number} digests what the cell has swallowed.",
        "url": f"https://openstax.org/books/{number}", **LINEAGE, **changes,
    }  # fmt: skip
    return row | derived_columns(_bioqa(), row)


def write_run(folder: Path, generated: int, task: Task | None = None, **changes: JSON) -> Path:
    """Write what a run writes: few-shots and so many rows (the first one changed), a reject, report and card."""
    task = task or load_task("bioqa")
    rows = [*few_shot_rows(task), *(made_row(i, **(changes if i == 0 else {})) for i in range(generated))]
    rejects: list[dict[str, JSON]] = [
        {
            "document_id": "d", "check": "schema", "reason": "no JSON", "score": None, "partner": "", "answer": "{",
            "finish_reason": "stop", "sample": "", "similarity": 0.1, "document": "A text.", "source": "openstax",
            "title": "Cells", "url": "https://openstax.org/books/0", "license": "CC BY 4.0", "author": "",
        }
    ]  # fmt: skip
    funnel = [Stage("prompted", "prompted", generated + 1), Stage("kept", "kept", generated)]
    report = make_report(
        task, config_id="bioqa-0123", created="2026-11-23T10:00:00+00:00", identity={"task": "f00", "seed": 0},
        index={"documents": 499, "embedding_model": "all-MiniLM-L6-v2", "corpora": []},
        funnel=funnel, usage={}, rows=rows, rejects=rejects, notes=[],
        versions={"craft_hf": "0.1.0"},
    )  # fmt: skip
    made = DatasetFolder(folder)
    made.write_data(rows, task_features(task), rejects)
    made.write_report(report, rows, rejects)
    made.write_card(report, rows)
    return folder


def write_adapter(folder: Path) -> Path:
    """Write an adapter folder as a recipe does, beside the base model that it is for; return the adapter's."""
    from peft import LoraConfig, get_peft_model

    model = tiny_base()
    adapter = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear"))
    adapter.save_pretrained(folder / "adapter")
    config = folder / "adapter" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "base_model_name_or_path": "ann/tiny"}))
    (folder / "adapter" / "README.md").write_text('---\nlibrary_name: peft\n---\n\nadapter = "this/repository"\n')
    (folder / "adapter" / "trainer_state.json").write_text('{"log_history": []}\n')
    (folder / "adapter" / "assets").mkdir()
    (folder / "adapter" / "assets" / "loss.png").write_bytes(b"\x89PNG")
    return folder / "adapter"


def tiny_base():  # type: ignore[no-untyped-def]  # transformers has no types
    """A random model, always the same."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=40, num_key_value_heads=2, **sizes))
