"""The adapter folder that may be published: bf16 weights, tokenizer, loss curve and model card."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import ModelCard, ModelCardData

from craft_hf.base import EMBEDDED, HUB_EXCEPTIONS, JSON, Weights, __version__, render
from craft_hf.dataset import (
    CombinedLicense,
    DataArguments,
    RowCounts,
    combined_license,
    limits_of,
    spdx_expression,
)
from craft_hf.tasks import Task

if TYPE_CHECKING:
    from peft import LoraConfig
    from trl import ModelConfig, SFTConfig

EMBEDDED_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
_VERSIONS = ("accelerate", "datasets", "peft", "torch", "transformers", "trl")
_PUBLIC_FILES = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "chat_template.jinja",
    "tokenizer*",
    "special_tokens_map*",
)


@dataclass(frozen=True)
class TrainingSummary:
    """What the model card reports of a training run.

    `base` are the base model's weights, and `base_name` is the name that they were requested by. `settings` are the
    hyperparameters used, by label. `max_length` is in tokens. `log` is the trainer's log, one mapping per logged step.
    `licenses` are those of the rows, in their sources' words.
    """

    task: Task
    data: DataArguments
    base: Weights
    base_name: str
    rows: RowCounts
    settings: Mapping[str, JSON]
    max_length: int | None
    completion_only: bool
    log: Sequence[Mapping[str, float]]
    licenses: Sequence[str] = ()

    @property
    def loss(self) -> list[tuple[float, float]]:
        """Step and loss (nats per token) of every logged step, in order."""
        return [(entry["step"], entry["loss"]) for entry in self.log if "loss" in entry]

    @property
    def hub_id(self) -> str:
        """The base model's id on the Hub, or "" for a model from a local folder."""
        if self.base_name == EMBEDDED:
            return EMBEDDED_HUB_ID
        return "" if Path(self.base.location).is_dir() else self.base.location


def adapter_license(base: str, rows: Sequence[str]) -> CombinedLicense:
    """Return the licence of an adapter: what its base model's and its rows' licences allow together.

    Args:
        base: the base model's licence as its card has it; "" where that is not known. One that is none of the SPDX
            list, such as a licence of the model's maker, goes with everything that is made of the model.
        rows: licences of the rows.
    """
    of_rows = combined_license(rows)
    if not base:
        return CombinedLicense("", f"The base model's licence is not known here. Of the rows: {of_rows.why}")
    if not spdx_expression(base):
        return CombinedLicense(base, f"The base model's licence, {base}, goes with all that is made of it.")
    if of_rows.id == "cc0-1.0":
        return CombinedLicense(combined_license([base]).id, f"The base model's, for the rows ask for nothing: {base}.")
    found = combined_license([base, *rows])
    why = f"The base model is under {base}. Of the rows: {of_rows.why}"
    return CombinedLicense(found.id, why, found.refusal)


def _base_license(training: TrainingSummary) -> str:
    """Return the base model's licence as its card on the Hub has it; "" without one, or without the Hub."""
    if training.base_name == EMBEDDED:
        return "apache-2.0"
    with contextlib.suppress(*HUB_EXCEPTIONS, OSError, ValueError):
        if training.hub_id:
            return str(ModelCard.load(training.hub_id).data.license or "")
    return ""


def make_publishable(saved: Path, training: TrainingSummary) -> None:
    """Turn what the trainer saved into a publishable folder: bf16 weights, training log, loss curve and card.

    Args:
        saved: folder that `save_model` wrote, with fp32 weights and files that must not be published.
        training: what the card reports.
    """
    remove_private_data(saved, training.hub_id or training.base.name)
    state = {"log_history": [dict(entry) for entry in training.log], "global_step": training.log[-1]["step"]}
    (saved / "trainer_state.json").write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
    if training.loss:
        (saved / "assets").mkdir()
        plot_loss(training.loss, saved / "assets" / "loss.png")
    (saved / "README.md").write_text(model_card(training), encoding="utf-8")


def remove_private_data(saved: Path, base: str) -> None:
    """Delete all files that must not be published, replace local paths, and store the weights in bf16.

    Args:
        saved: folder that `save_model` wrote; changed in place.
        base: public name of the base model, which replaces its local path.
    """
    import torch
    from safetensors.torch import load_file, save_file

    for path in saved.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif not any(path.match(pattern) for pattern in _PUBLIC_FILES):
            path.unlink()
    weights = load_file(saved / "adapter_model.safetensors")  # PEFT trains in fp32 even on a bf16 base: twice the size
    save_file(
        {name: tensor.to(torch.bfloat16) for name, tensor in weights.items()},
        saved / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    _edit(saved / "adapter_config.json", {"base_model_name_or_path": base})
    if (saved / "tokenizer_config.json").is_file():
        _edit(saved / "tokenizer_config.json", {"name_or_path": base})


def model_card(training: TrainingSummary) -> str:
    """Render the model card of an adapter: YAML front matter for the Hub, and Markdown."""
    task, hub_id = training.task, training.hub_id
    on_hub = [training.data.dataset] if training.data.dataset and not Path(training.data.dataset).is_dir() else None
    license = adapter_license(_base_license(training), training.licenses)
    metadata = ModelCardData(
        license=license.id or None,
        license_name="see-card" if license.id == "other" else None,
        base_model_relation="adapter" if hub_id else None,
        language=task.language,
        library_name="peft",
        pipeline_tag="text-generation",
        base_model=hub_id or None,
        datasets=on_hub,
        tags=["craft", "lora", "sft", "trl", task.name],
    )
    example = min((task.prompt(shot.sample) for shot in task.few_shots), key=len)
    return render(
        "model_card.md.j2",
        metadata=metadata.to_yaml(),
        task=task,
        limits=limits_of(task.name),
        license=license,
        base={
            "name": training.base.name,
            "revision": training.base.revision,
            "hub_id": hub_id,
            "embedded": training.base_name == EMBEDDED,
        },
        dataset=f"[{on_hub[0]}](https://huggingface.co/datasets/{on_hub[0]})"
        if on_hub
        else "a dataset from a local folder"
        if training.data.dataset
        else 'the dataset that craft_hf generates for it (`load_dataset("craft", ...)`)',
        example=example,
        rows=training.rows,
        settings=training.settings,
        max_length=training.max_length,
        completion_only=training.completion_only,
        loss=[value for _, value in training.loss],
        versions={"craft_hf": __version__, **{name: version(name) for name in _VERSIONS}},
    )


def describe_hyperparameters(
    config: SFTConfig, model: ModelConfig, lora: LoraConfig, steps: int, trainable: str
) -> Mapping[str, JSON]:
    """Return the hyperparameters used, by label, for the model card; none of them contains a local path."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    precision = f"weights {model.dtype}, " + ("bf16" if config.bf16 else "fp16" if config.fp16 else "no") + " autocast"
    modules = model.lora_target_modules  # not those of `lora`, which PEFT has replaced by module names
    layers = (
        "every linear layer"
        if modules == "all-linear"
        else ", ".join([modules] if isinstance(modules, str) else modules)
    )
    return {
        "adapter": f"LoRA on {layers}, r {lora.r}, alpha {lora.lora_alpha}, dropout {lora.lora_dropout}",
        "trainable parameters": trainable,
        "optimizer": f"{config.optim.value}, learning rate {config.learning_rate:g}, "
        f"weight decay {config.weight_decay:g}",
        "schedule": f"{config.lr_scheduler_type.value}, warm-up {config.warmup_steps:g}"
        + (" of all steps" if config.warmup_steps < 1 else " steps"),
        "epochs": f"{config.num_train_epochs:g}" if config.max_steps < 1 else "by steps",
        "optimizer steps": steps,
        "global batch": f"{config.global_batch_size} rows = {processes} processes x "
        f"{config.per_device_train_batch_size} rows x {config.gradient_accumulation_steps} accumulated",
        "max length": f"{config.max_length} tokens" if config.max_length else "no limit",
        "loss on": "completion" if config.completion_only_loss is not False else "prompt and completion",
        "packing": config.packing,
        "precision": precision
        + (", base in 4 bit" if model.load_in_4bit else ", base in 8 bit" if model.load_in_8bit else ""),
        "few-shots only": config.few_shots_only,
        "seed": config.seed,
    }


def plot_loss(loss: Sequence[tuple[float, float]], path: Path) -> None:
    """Plot the loss (nats per token) over optimizer steps as a PNG.

    Args:
        loss: step and loss of every logged step.
        path: the file to write.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(*zip(*loss, strict=True), marker="." if len(loss) < 50 else "", color="black", linewidth=1)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("training loss (nats per token)")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150, metadata={"Software": None})


def _edit(path: Path, changes: Mapping[str, JSON]) -> None:
    """Overwrite those of the keys that a JSON file already has."""
    data = json.loads(path.read_text(encoding="utf-8"))
    data.update({k: v for k, v in changes.items() if k in data})
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
