"""Tokens per second of a recipe against plain `trl sft`, on the same rows, the same model, the same batch and adapter.

    .venv/bin/python tests/benchmarks/bench_recipe.py [--model embedded] [--rows 64] [--repeats 2]
    .venv/bin/python tests/benchmarks/bench_recipe.py --model 1b --rows 2000                  # random weights, on a GPU
    .venv/bin/python tests/benchmarks/bench_recipe.py --model tiny --rows 24 --repeats 1      # seconds

Both train one epoch with the recipe's LoRA, precision and length. Each runs in a process of its own and they take
turns; the time is the trainer's own `train_runtime`, without loading and saving, and the best of the repeats counts.
The tokens are those of the rows with their chat template, without padding. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import datasets
import torch
from bench_generate import SHAPES, random_model
from transformers import AutoTokenizer

from craft_hf.base.models import generator_weights
from craft_hf.base.templates import chat_template
from craft_hf.dataset.training_rows import conversations
from craft_hf.tasks.task import load_task
from craft_hf.training.finetune import parse_recipe_arguments

ROOT = Path(__file__).parents[2]
MAX_LENGTH = 512


def runtime_s(command: list[str]) -> float:
    """Run a training and return the seconds that its trainer says it took."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.findall(r"'train_runtime': '?([\d.e+]+)", done.stdout + done.stderr)
    if done.returncode or not found:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return float(found[-1])


def main() -> None:
    """Measure both in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shapes = ", ".join(SHAPES)
    parser.add_argument("--model", default="embedded", help=f'"embedded", a Hub id, a folder, or random: {shapes}')
    parser.add_argument("--rows", type=int, default=64, help="rows of the one epoch, few-shots of bioqa over and over")
    parser.add_argument("--repeats", type=int, default=2, help="how often each is run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.model in SHAPES:
            base = random_model(arguments.model, str(folder / "random"))
        else:
            base = generator_weights(arguments.model).location
        task = load_task("bioqa")
        samples = [dict(task.few_shots[i % len(task.few_shots)].sample) for i in range(arguments.rows)]
        datasets.Dataset.from_list(samples).save_to_disk(str(folder / "rows"))
        tokenizer = AutoTokenizer.from_pretrained(base)
        tokenizer.chat_template = tokenizer.chat_template or chat_template()
        examples, _ = conversations(datasets.Dataset.from_list(samples), task, tokenizer, MAX_LENGTH)
        (folder / "plain").mkdir()
        examples.to_json(folder / "plain" / "train.jsonl")
        chats = [row["prompt"] + row["completion"] for row in examples]
        tokens = sum(len(tokenizer.apply_chat_template(chat, return_dict=True)["input_ids"]) for chat in chats)
        _, config, model = parse_recipe_arguments(
            "bioqa", {"max_length": MAX_LENGTH, "output_dir": str(folder / "unused")}, []
        )
        common = ["--num_train_epochs", "1", "--logging_steps", "1000000", "--save_strategy", "no"]
        common += ["--max_length", str(MAX_LENGTH), "--report_to", "none"]
        recipe = [sys.executable, str(ROOT / "recipes" / "bioqa.py"), "--dataset", str(folder / "rows"), *common]
        recipe += ["--model_name_or_path", base, "--output_dir", str(folder / "recipe")]
        same = {
            "model_name_or_path": base, "dataset_name": folder / "plain", "output_dir": folder / "trl",
            "use_peft": "true", "lora_r": model.lora_r, "lora_alpha": model.lora_alpha,
            "lora_dropout": model.lora_dropout, "lora_target_modules": "all-linear",
            "per_device_train_batch_size": config.per_device_train_batch_size,
            "gradient_accumulation_steps": config.gradient_accumulation_steps, "learning_rate": config.learning_rate,
            "weight_decay": config.weight_decay, "warmup_steps": config.warmup_steps, "seed": config.seed,
            "completion_only_loss": "true", "dtype": "bfloat16" if config.bf16 else "float32", "bf16": config.bf16,
            "use_cpu": config.use_cpu, "gradient_checkpointing": config.gradient_checkpointing,
        }  # fmt: skip
        plain = [str(Path(sys.executable).with_name("trl")), "sft", *common]
        plain += [str(part) for key, value in same.items() for part in (f"--{key}", value)]
        times: dict[str, list[float]] = {"recipe": [], "trl sft": []}
        for number in range(arguments.repeats):
            for way, command in (("recipe", recipe), ("trl sft", plain)):
                times[way].append(runtime_s(command))
                print(f"{number + 1} of {arguments.repeats}  {way:<8} {times[way][-1]:.2f} s", flush=True)
    rates = {way: tokens / min(seconds) for way, seconds in times.items()}
    for way, rate in rates.items():
        print(f"{way:<8} {rate:>10,.1f} tokens/s")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    result = {
        "model": arguments.model, "device": device, "rows": len(examples), "tokens": tokens,
        "recipe": round(rates["recipe"], 1), "trl_sft": round(rates["trl sft"], 1),
        "ratio": round(rates["recipe"] / rates["trl sft"], 3), "seconds": times,
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()
