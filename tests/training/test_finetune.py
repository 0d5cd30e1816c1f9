"""Fine-tuning: configuration, rows, a whole run on a tiny model, and the recipes on real weights."""

from __future__ import annotations

import contextlib
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import datasets
import pytest
import torch
import trl
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from huggingface_hub import ModelCard
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from craft_hf.base.errors import CraftError, InputError
from craft_hf.base.models import generator_weights
from craft_hf.base.templates import chat_template
from craft_hf.dataset.training_rows import DataArguments, RowCounts, conversations, load_rows
from craft_hf.tasks.task import NAMES, Task, load_task
from craft_hf.training.adapter import adapter_license
from craft_hf.training.finetune import (
    CraftTrainingConfig,
    _Trainer,
    finetune,
    licenses_of,
    parse_recipe_arguments,
    run_recipe,
)
from tests import ROOT
from tests.publishable_folders import write_run
from tests.tiny_model import save_tiny_model

RECIPES = [ROOT / "recipes" / f"{name}.py" for name in NAMES]
ROWS = 24


@pytest.fixture(scope="module")
def task() -> Task:
    """The task whose few-shots make the datasets here."""
    return load_task("bioqa")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a random model without a chat template, like most base models."""
    folder = save_tiny_model(tmp_path_factory.mktemp("models") / "tiny-base")
    (folder / "chat_template.jinja").unlink()
    return str(folder)


@pytest.fixture(scope="module")
def dataset(task: Task, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a small dataset of few-shot samples, a third of which are marked as few-shots."""
    shots = [dict(task.few_shots[i % len(task.few_shots)].sample) for i in range(ROWS)]
    rows = [{**shot, "is_few_shot": i < 8, "source": "a book"} for i, shot in enumerate(shots)]
    folder = str(tmp_path_factory.mktemp("data") / "rows")
    datasets.Dataset.from_list(rows).save_to_disk(folder)
    return folder


@pytest.fixture(scope="module")
def run(tiny: str, dataset: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a complete training run of the tiny model."""
    out = tmp_path_factory.mktemp("out") / "run"
    train(tiny, dataset, out, "--num_train_epochs", "4", "--learning_rate", "1e-2")
    return out


def train(model: str, dataset: str, out: Path, *more: str) -> Path:
    """Run a recipe in this process."""
    given = ["--model_name_or_path", model, "--dataset", dataset, "--output_dir", str(out), "--use_cpu"]
    return run_recipe("bioqa", {"max_length": 512, "lora_dropout": 0.0}, [*given, *more])


def losses(folder: Path) -> list[float]:
    """The logged losses of an adapter."""
    log = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in log if "loss" in entry]


def check_published(folder: Path, places: Sequence[str]) -> None:
    """Raise unless the folder has exactly the public files, and none of them contains a local path."""
    names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    expected = {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "assets/loss.png",
        "trainer_state.json",
    }
    assert names == expected | {"chat_template.jinja", "tokenizer.json", "tokenizer_config.json"}
    assert {t.dtype for t in load_file(folder / "adapter_model.safetensors").values()} == {torch.bfloat16}
    assert not any("lm_head" in name for name in load_file(folder / "adapter_model.safetensors"))
    for name in names - {"adapter_model.safetensors", "assets/loss.png"}:
        text = (folder / name).read_text(encoding="utf-8")
        assert not [place for place in (*places, str(Path.home())) if place in text], name
        assert name == "tokenizer.json" or not re.search(rf"\b{re.escape(os.uname().nodename)}\b", text), name


def logits(base: str, adapter: Path) -> torch.Tensor:
    """Return the logits of an adapter for one text, with adapter weights rounded to bf16."""
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), str(adapter))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.copy_(weight.bfloat16().to(weight.dtype))
        out: torch.Tensor = model.eval()(torch.arange(100, 140).unsqueeze(0)).logits
    return out


@pytest.mark.parametrize("world", [1, 2, 4, 8, 16])
def test_config_keeps_global_batch_on_any_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: int
) -> None:
    """Batch per device, accumulation steps and processes always multiply to 16."""
    monkeypatch.setattr("craft_hf.training.finetune.trl.SFTConfig.__post_init__", lambda self: None)
    monkeypatch.setattr("craft_hf.training.finetune.trl.SFTConfig.n_gpu", 0)
    monkeypatch.setenv("WORLD_SIZE", str(world))
    config = CraftTrainingConfig(str(tmp_path))
    assert config.per_device_train_batch_size * config.gradient_accumulation_steps * world == 16
    assert config.per_device_train_batch_size == min(4, 16 // world)


def test_config_has_the_papers_values(tmp_path: Path) -> None:
    """The defaults are CRAFT's; for few-shots alone, two rows per step."""
    config = CraftTrainingConfig(str(tmp_path), use_cpu=True)
    assert (config.learning_rate, config.weight_decay, config.warmup_steps, config.num_train_epochs) == (
        1e-4,
        0.05,
        0.1,
        3,
    )
    assert (config.per_device_train_batch_size, config.gradient_accumulation_steps, config.seed) == (4, 4, 1234)
    few = CraftTrainingConfig(str(tmp_path), use_cpu=True, few_shots_only=True)
    assert (few.per_device_train_batch_size, few.gradient_accumulation_steps) == (2, 1)
    _, _, model = parse_recipe_arguments("bioqa", {}, [])
    assert (model.lora_r, model.lora_alpha, model.lora_dropout, model.lora_target_modules) == (
        64,
        64,
        0.1,
        "all-linear",
    )


def test_config_refuses_what_would_change_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An indivisible global batch, contradicting accumulation steps, and pushing checkpoints are errors."""
    with pytest.raises(
        InputError, match="gradient_accumulation_steps is 3, but a global batch of 16 on 1 processes needs 4"
    ):
        CraftTrainingConfig(str(tmp_path), gradient_accumulation_steps=3)
    with pytest.raises(InputError, match="craft-hf publish"):
        CraftTrainingConfig(str(tmp_path), push_to_hub=True)
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(InputError, match="16 rows cannot be split among 3 processes"):
        CraftTrainingConfig(str(tmp_path))
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InputError, match="2 rows cannot be split among 4 processes"):
        CraftTrainingConfig(str(tmp_path), few_shots_only=True)


def test_parse_recipe_arguments_prefers_command_line_to_file_to_recipe(tmp_path: Path) -> None:
    """The command line overrides the file, the file overrides the recipe, and both spellings of --config work."""
    file = tmp_path / "c.yaml"
    file.write_text("max_length: 200\nlora_r: 8\nlearning_rate: 2e-4\n")
    for spelling in (["--config", str(file)], [f"--config={file}"]):
        data, config, model = parse_recipe_arguments(
            "bioqa", {"max_length": 100, "seed": 5}, [*spelling, "--lora_r", "4"]
        )
        assert (config.max_length, config.seed, config.learning_rate, model.lora_r) == (200, 5, 2e-4, 4)
    assert (data.task, config.output_dir) == ("bioqa", "finetuned/bioqa")


def test_parse_recipe_arguments_refuses_unknown_arguments(tmp_path: Path) -> None:
    """On the command line, in the file and in a recipe; the error suggests the nearest name."""
    with pytest.raises(InputError, match=r"unknown argument --learning_rat\. Did you mean --learning_rate"):
        parse_recipe_arguments("bioqa", {}, ["--learning_rat", "1"])
    (tmp_path / "c.yaml").write_text("lora_rank: 8\n")
    with pytest.raises(InputError, match="unknown argument --lora_rank"):
        parse_recipe_arguments("bioqa", {}, ["--config", str(tmp_path / "c.yaml")])
    with pytest.raises(InputError, match="unknown argument --maxlength"):
        parse_recipe_arguments("bioqa", {"maxlength": 8}, [])


def test_load_rows_from_folder(task: Task, dataset: str, tmp_path: Path) -> None:
    """A saved dataset is loaded whole, or only its few-shots; of a DatasetDict the split train is used."""
    assert len(load_rows(DataArguments(dataset=dataset), task)) == ROWS
    assert len(load_rows(DataArguments(dataset=dataset), task, few_shots_only=True)) == 8
    rows = datasets.load_from_disk(dataset)
    datasets.DatasetDict(train=rows, test=rows.select([0])).save_to_disk(str(tmp_path / "both"))
    assert len(load_rows(DataArguments(dataset=str(tmp_path / "both")), task)) == ROWS
    datasets.DatasetDict(test=rows).save_to_disk(str(tmp_path / "test"))
    with pytest.raises(InputError, match="has the splits test; expected one named train"):
        load_rows(DataArguments(dataset=str(tmp_path / "test")), task)


def test_load_rows_of_a_generated_folder(task: Task, dataset: str, tmp_path: Path) -> None:
    """The folder that `craft-hf generate --out` writes, with Parquet files below data, can be loaded."""
    (tmp_path / "made" / "data").mkdir(parents=True)
    datasets.load_from_disk(dataset).to_parquet(tmp_path / "made" / "data" / "train-00000-of-00001.parquet")
    assert len(load_rows(DataArguments(dataset=str(tmp_path / "made")), task)) == ROWS


def test_load_rows_generates_without_a_dataset(task: Task, dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The arguments are passed to load_dataset("craft"); few-shots alone need no generation."""
    calls = []

    def load_dataset(*args: object, **kwargs: object) -> datasets.Dataset:
        calls.append((args, kwargs))
        return datasets.load_from_disk(dataset)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    load_rows(DataArguments(num_samples=5, generator="embedded", dataset_seed=3), task)
    load_rows(DataArguments(), task, few_shots_only=True)
    common = {"task": "bioqa", "split": "train"}
    assert calls == [
        (("craft",), {**common, "num_samples": 5, "generator": "embedded", "seed": 3}),
        (("craft",), {**common, "size": "XS"}),
    ]


def test_load_rows_errors(task: Task, dataset: str, tmp_path: Path) -> None:
    """A missing folder or dataset, missing columns, no rows, and contradicting arguments are errors."""
    with pytest.raises(InputError, match=r"is no folder that .*datasets\.save_to_disk wrote"):
        load_rows(DataArguments(dataset=str(tmp_path / "none")), task)
    with pytest.raises(InputError, match="neither a folder nor a dataset"):
        load_rows(DataArguments(dataset="no/such-dataset"), task)
    with pytest.raises(InputError, match="num_samples shape a dataset that is generated"):
        load_rows(DataArguments(dataset=dataset, num_samples=3), task)
    rows = datasets.load_from_disk(dataset)
    rows.remove_columns(["options", "is_few_shot"]).save_to_disk(str(tmp_path / "narrow"))
    with pytest.raises(InputError, match="lacks the columns options, is_few_shot of the task bioqa; it has question"):
        load_rows(DataArguments(dataset=str(tmp_path / "narrow")), task, few_shots_only=True)
    rows.filter(lambda row: not row["is_few_shot"]).save_to_disk(str(tmp_path / "generated"))
    with pytest.raises(InputError, match="no rows to train bioqa on among few-shots"):
        load_rows(DataArguments(dataset=str(tmp_path / "generated")), task, few_shots_only=True)


@pytest.mark.weights
def test_conversations_count_rows_that_are_too_long(task: Task, tiny: str) -> None:
    """A row whose prompt alone reaches max_length is dropped, a truncated answer is kept, and both are counted."""
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = chat_template()
    options = ["A. one", "B. two", "C. three", "D. four"]
    texts = ["Which is it?", "Which " * 200 + "is it?"]
    rows = datasets.Dataset.from_list([{"question": t, "options": options, "answer": "B"} for t in texts])
    examples, counts = conversations(rows, task, tokenizer, 100)
    assert counts == RowCounts(given=2, few_shots=None, dropped=1, truncated=0, used=1)
    assert examples[0] == {
        "prompt": [{"role": "user", "content": "Which is it?\nA. one\nB. two\nC. three\nD. four"}],
        "completion": [{"role": "assistant", "content": "B"}],
    }
    head = tokenizer.apply_chat_template(examples[0]["prompt"], add_generation_prompt=True, return_dict=True)[
        "input_ids"
    ]
    assert conversations(rows, task, tokenizer, len(head) + 1)[1].truncated == 1
    assert conversations(rows, task, tokenizer, 100, completion_only=False)[1] == RowCounts(2, None, 0, 1, 2)
    assert conversations(rows, task, tokenizer, None)[1].used == 2
    with pytest.raises(InputError, match="prompts of all 2 rows fill 10 tokens alone; raise --max_length"):
        conversations(rows, task, tokenizer, 10)


@pytest.mark.weights
@pytest.mark.parametrize("completion_only", [True, False])
def test_plain_trl_trains_on_rows_as_they_are(task: Task, tiny: str, tmp_path: Path, completion_only: bool) -> None:
    """Token by token and mask by mask as the recipe does, whatever else the rows hold."""
    rows = datasets.Dataset.from_parquet(str(write_run(tmp_path / "run", 3, task) / "data" / "*.parquet"))
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.chat_template = chat_template()
    examples, _ = conversations(rows, task, tokenizer, None, completion_only)
    trained = []
    for given in (rows, examples):
        config = trl.SFTConfig(
            str(tmp_path / "out"), completion_only_loss=completion_only, max_length=None, report_to=[], use_cpu=True,
            bf16=False,
        )  # fmt: skip
        trainer = trl.SFTTrainer(tiny, config, train_dataset=given, processing_class=tokenizer)
        trained.append([[row["input_ids"], row.get("completion_mask")] for row in trainer.train_dataset])
    assert len(trained[0]) == len(task.few_shots) + 3
    assert trained[0] == trained[1]


@pytest.mark.weights
def test_conversations_refuse_empty_fields(task: Task, tiny: str) -> None:
    """The error names a row without an answer, which would otherwise be trained as the text None."""
    row = {"question": "Which?", "options": ["A. one", "B. two"], "answer": None}
    with pytest.raises(InputError, match="row 1 of the dataset has no answer"):
        conversations(datasets.Dataset.from_list([row]), task, AutoTokenizer.from_pretrained(tiny), 100)


@pytest.mark.weights
def test_finetune_loss_falls(run: Path) -> None:
    """The tiny model learns the answers."""
    curve = losses(run / "adapter")
    assert len(curve) == 8
    assert curve[-1] < 0.5 * curve[0]


@pytest.mark.weights
def test_finetune_writes_no_local_paths(run: Path, tiny: str, dataset: str) -> None:
    """The adapter folder has bf16 weights, tokenizer, loss curve and card, and no local paths."""
    check_published(run / "adapter", [str(run), tiny, dataset, str(ROOT)])
    assert json.loads((run / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == "tiny-base"
    assert (run / "adapter" / "chat_template.jinja").read_text().strip() == chat_template().strip()
    assert not [path.name for path in run.iterdir() if path.name.startswith(".")]


@pytest.mark.weights
def test_finetune_adapter_reloads_with_equal_logits(run: Path, tiny: str) -> None:
    """The published weights are those of the last checkpoint, rounded to bf16, and differ from the base."""
    last = max(run.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    published = logits(tiny, run / "adapter")
    assert torch.equal(published, logits(tiny, last))
    bare = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)(torch.arange(100, 140).unsqueeze(0)).logits
    assert not torch.allclose(published, bare, atol=0.1)


@pytest.mark.weights
def test_finetune_card_reports_the_run(run: Path) -> None:
    """The front matter is valid for the Hub and omits a base model that is not there; the numbers are the run's own."""
    card = ModelCard.load(run / "adapter" / "README.md")
    data = card.data.to_dict()
    assert (data["library_name"], data["pipeline_tag"], data["tags"]) == (
        "peft", "text-generation", ["craft", "lora", "sft", "trl", "bioqa"],
    )  # fmt: skip
    assert "base_model" not in data
    assert "licence" not in data
    curve = losses(run / "adapter")
    assert f"went from {curve[0]:.4f}" in card.text
    assert f"to {curve[-1]:.4f} (last)" in card.text
    for line in (
        "| trained on | 24 |",
        "| optimizer steps | 8 |",
        "learning rate 0.01, weight decay 0.05",
        "| seed | 1234 |",
    ):
        assert line in card.text


@pytest.mark.weights
def test_finetune_writes_nothing_when_stopped_early(tiny: str, dataset: str, tmp_path: Path, run: Path) -> None:
    """A run that ends before its last step raises, and an adapter of an earlier run is left unchanged."""
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "README.md").write_text("from an earlier run")
    data, config, model = parse_recipe_arguments(
        "bioqa", {"max_length": 512}, ["--dataset", dataset, "--model_name_or_path", tiny]
    )
    config.output_dir, config.save_strategy, config.enable_jit_checkpoint = str(tmp_path), "no", False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "craft_hf.training.finetune._Trainer.train", lambda self, **_: setattr(self.state, "max_steps", 9)
        )
        with pytest.raises(CraftError, match=r"stopped at step 0 of 9; no adapter was written"):
            finetune(data, config, model)
    assert (tmp_path / "adapter" / "README.md").read_text() == "from an earlier run"


@pytest.mark.weights
def test_run_recipe_ends_with_a_message(dataset: str, tmp_path: Path, tiny: str) -> None:
    """An error of the user ends the process with a message and a non-zero exit code."""
    cases = {
        "there is no task 'bioqq'. Did you mean bioqa": ["--task", "bioqq"],
        "there is no model folder ./none": ["--model_name_or_path", "./none"],
        "'no/such' is neither a model folder nor a Hub model": ["--model_name_or_path", "no/such"],
        "do not set --use_peft to false": ["--use_peft", "false"],
        "there is no checkpoint in ": ["--resume_from_checkpoint", "true"],
        "there is no checkpoint /none": ["--resume_from_checkpoint", "/none"],
    }
    for message, arguments in cases.items():
        with pytest.raises(SystemExit, match=re.escape(message)):
            train(tiny, dataset, tmp_path, *arguments)
    with pytest.raises(SystemExit, match="pass --model_name_or_path embedded"):
        run_recipe("bioqa", {}, ["--dataset", dataset, "--use_cpu", "--output_dir", str(tmp_path)])
    assert not (tmp_path / "adapter").exists()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.stem)
def test_recipe_has_valid_defaults(recipe: Path) -> None:
    """Each recipe is named after its task, shows its command, and sets only existing arguments."""
    module = runpy.run_path(str(recipe))
    data, config, _ = parse_recipe_arguments(recipe.stem, module["DEFAULTS"], ["--use_cpu"])
    assert data.task == recipe.stem
    assert config.max_length == module["DEFAULTS"]["max_length"]
    assert f"accelerate launch recipes/{recipe.stem}.py" in module["__doc__"]


@pytest.mark.parametrize("file", sorted((ROOT / "recipes" / "accelerate").glob("*.yaml")), ids=lambda p: p.stem)
def test_accelerate_config_does_not_set_the_batch(file: Path) -> None:
    """Accelerate can read each file, and none sets the accumulation steps that the recipes derive."""
    assert load_config_from_file(str(file)).num_processes == 8
    text = json.dumps(yaml.safe_load(file.read_text()))
    assert "gradient_accumulation_steps" not in text


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.weights
def test_recipe_stops_on_sigterm_and_resumes(tiny: str, dataset: str, tmp_path: Path) -> None:
    """SIGTERM writes a checkpoint and no adapter; the same command with resume continues from that step."""
    command = [sys.executable, str(ROOT / "recipes" / "bioqa.py"), "--model_name_or_path", tiny, "--dataset", dataset]
    command += ["--output_dir", str(tmp_path), "--use_cpu", "--logging_steps", "1", "--save_strategy", "no"]
    with subprocess.Popen(
        [*command, "--max_steps", "100000"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as p:
        assert p.stdout is not None
        for line in p.stdout:
            if "'loss'" in line:
                break
        p.send_signal(signal.SIGTERM)
        rest = p.stdout.read()
    assert p.returncode == 1, rest
    assert re.search(r"error: training stopped at step \d+ of 100000", rest)
    assert not (tmp_path / "adapter").exists()
    done = int(next(tmp_path.glob("checkpoint-*")).name.split("-")[1])
    train(
        tiny,
        dataset,
        tmp_path,
        "--max_steps",
        str(done + 2),
        "--resume_from_checkpoint",
        "true",
        "--save_strategy",
        "no",
    )
    state = json.loads((tmp_path / "adapter" / "trainer_state.json").read_text())
    assert state["global_step"] == done + 2


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_recipe_trains_the_embedded_model(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`accelerate launch recipes/NAME.py` on real weights: loss falls, the adapter reloads, the card's code runs.

    Two passes over the few-shots, which take minutes where the texts are longer.
    """
    accelerate = Path(sys.executable).with_name("accelerate")
    command = [str(accelerate), "launch", str(ROOT / "recipes" / f"{name}.py"), "--model_name_or_path", "embedded"]
    command += ["--few_shots_only", "--output_dir", str(tmp_path), "--global_batch_size", "4", "--logging_steps", "1"]
    started = time.monotonic()
    subprocess.run([*command, "--num_train_epochs", "2", "--learning_rate", "5e-4"], check=True, timeout=1800)
    took = time.monotonic() - started
    adapter, base = tmp_path / "adapter", generator_weights().location
    check_published(adapter, [str(tmp_path), base, str(ROOT)])
    first, second = (sum(part) / 8 for part in (losses(adapter)[:8], losses(adapter)[8:]))
    with capsys.disabled():
        print(f"\n{name}: mean loss {first:.3f} in the first pass, {second:.3f} in the second; {took:.0f} s")
    assert second < first
    assert torch.equal(logits(base, adapter), logits(base, tmp_path / "checkpoint-16"))
    card = ModelCard.load(adapter / "README.md")
    assert card.data.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct"
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    [code] = re.findall(r"```python\n(.*?)```", card.text, re.DOTALL)
    with contextlib.chdir(tmp_path):
        exec(compile(code.replace("this/repository", str(adapter)), "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()


def checkpoint_weights(out: Path, step: int) -> dict[str, torch.Tensor]:
    """Return the full-precision adapter weights in the checkpoint of a step."""
    weights: dict[str, torch.Tensor] = load_file(out / f"checkpoint-{step}" / "adapter_model.safetensors")
    return weights


@pytest.mark.weights
def test_resume_after_sigterm_is_bit_exact(
    tiny: str, dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a SIGTERM between the two batches of step 2, the resumed run ends with the same weights, with dropout."""
    monkeypatch.setattr("transformers.trainer_jit_checkpoint.CheckpointManager.__init__.__defaults__", (0,))
    more = ["--max_steps", "4", "--learning_rate", "1e-2", "--logging_steps", "1", "--lora_dropout", "0.1"]
    more += ["--global_batch_size", "2", "--per_device_train_batch_size", "1"]
    train(tiny, dataset, tmp_path / "whole", *more, "--save_steps", "4", "--save_strategy", "steps")
    training_step, seen = _Trainer.training_step, []

    def stopping(self: _Trainer, *args: object, **kwargs: object) -> torch.Tensor:
        loss: torch.Tensor = training_step(self, *args, **kwargs)
        seen.append(loss)
        if len(seen) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)  # another thread requests the checkpoint
        return loss

    with monkeypatch.context() as patch:
        patch.setattr("craft_hf.training.finetune._Trainer.training_step", stopping)
        with pytest.raises(SystemExit, match=r"training stopped at step \d of 4"):
            train(tiny, dataset, tmp_path / "stopped", *more, "--save_strategy", "no")
    assert not (tmp_path / "stopped" / "adapter").exists()
    train(tiny, dataset, tmp_path / "stopped", *more, "--save_steps", "4", "--save_strategy", "steps",
          "--resume_from_checkpoint", "true")  # fmt: skip
    whole, resumed = (checkpoint_weights(tmp_path / name, 4) for name in ("whole", "stopped"))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert losses(tmp_path / "whole" / "adapter")[2:] == losses(tmp_path / "stopped" / "adapter")[-2:]
    assert any(weight.abs().max() > 0 for name, weight in whole.items() if "lora_B" in name)


@pytest.mark.long
def test_two_processes_train_as_one(tiny: str, dataset: str, tmp_path: Path) -> None:
    """One process and two that split each batch reach the same losses and weights."""
    more = ["--max_steps", "4", "--learning_rate", "1e-2", "--logging_steps", "1", "--max_length", "512"]
    more += ["--global_batch_size", "4", "--per_device_train_batch_size", "2"]
    more += ["--save_strategy", "steps", "--save_steps", "4"]
    train(tiny, dataset, tmp_path / "one", *more)
    accelerate = Path(sys.executable).with_name("accelerate")
    command = [str(accelerate), "launch", "--multi_gpu", "--num_processes", "2"]
    command += ["--main_process_port", "0", str(ROOT / "recipes" / "bioqa.py"), "--use_cpu", "--dataset", dataset]
    command += ["--model_name_or_path", tiny, "--output_dir", str(tmp_path / "two"), "--lora_dropout", "0.0", *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    arguments = torch.load(tmp_path / "two" / "checkpoint-4" / "training_args.bin", weights_only=False)
    assert (arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps) == (2, 1)
    assert losses(tmp_path / "two" / "adapter") == pytest.approx(losses(tmp_path / "one" / "adapter"), rel=1e-4)
    one, two = (checkpoint_weights(tmp_path / name, 4) for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=0, atol=1e-4)


@pytest.mark.weights
def test_tensorboard_gets_the_losses(tiny: str, dataset: str, tmp_path: Path) -> None:
    """`--report_to tensorboard` writes event files with the losses into the output folder, not the adapter's."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    more = ["--max_steps", "2", "--logging_steps", "1", "--save_strategy", "no", "--global_batch_size", "2"]
    train(tiny, dataset, tmp_path, *more, "--report_to", "tensorboard")
    [events] = tmp_path.rglob("events.out.tfevents.*")
    assert not events.is_relative_to(tmp_path / "adapter")
    read = EventAccumulator(str(events)).Reload()
    assert [event.value for event in read.Scalars("train/loss")] == pytest.approx(losses(tmp_path / "adapter"))


@pytest.mark.weights
def test_a_run_that_logs_no_loss_completes(tiny: str, dataset: str, tmp_path: Path) -> None:
    """Without a logged loss the adapter is still written, and the card says that no loss is known."""
    more = ["--max_steps", "1", "--logging_strategy", "no", "--save_strategy", "no", "--global_batch_size", "2"]
    adapter = train(tiny, dataset, tmp_path, *more)
    assert "no loss is known" in (adapter / "README.md").read_text()
    assert not (adapter / "assets").exists()


@pytest.mark.weights
def test_qlora_arguments_give_the_quantization(tiny: str, dataset: str, tmp_path: Path) -> None:
    """`--load_in_4bit` means NF4 with the requested precision; without bitsandbytes the error names the extra."""
    arguments = ["--load_in_4bit", "--bnb_4bit_quant_storage", "bfloat16", "--dtype", "bfloat16", "--use_cpu"]
    _, _, model = parse_recipe_arguments("bioqa", {}, arguments)
    found = trl.get_quantization_config(model)
    assert (found.load_in_4bit, found.bnb_4bit_quant_type) == (True, "nf4")
    assert (found.bnb_4bit_compute_dtype, found.bnb_4bit_quant_storage) == (torch.bfloat16, torch.bfloat16)
    assert trl.get_quantization_config(parse_recipe_arguments("bioqa", {}, ["--use_cpu"])[2]) is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "bitsandbytes", None)
        with pytest.raises(SystemExit, match=r'bitsandbytes is not installed; run: pip install "craft_hf\[qlora\]"'):
            train(tiny, dataset, tmp_path, "--load_in_4bit")


@pytest.mark.weights
def test_qlora_trains(tiny: str, dataset: str, tmp_path: Path) -> None:
    """Two steps on a base model in 4 bit, on a GPU if there is one: the adapter changes, and the card reports it."""
    given = ["--model_name_or_path", tiny, "--dataset", dataset, "--output_dir", str(tmp_path), "--max_steps", "2"]
    given += ["--global_batch_size", "2", "--save_strategy", "steps", "--save_steps", "2"]
    run_recipe("bioqa", {"max_length": 512}, [*given, "--load_in_4bit", "--learning_rate", "1e-2"])
    weights = checkpoint_weights(tmp_path, 2)
    assert any(weight.abs().max() > 0 for name, weight in weights.items() if "lora_B" in name)
    assert "base in 4 bit" in (tmp_path / "adapter" / "README.md").read_text()


@pytest.mark.parametrize(
    ("base", "rows", "expected", "said"),
    [
        ("apache-2.0", ["CC0 1.0"], "apache-2.0", "ask for nothing: apache-2.0."),
        ("apache-2.0", ["Apache-2.0"], "apache-2.0", "All texts are under Apache-2.0."),
        ("apache-2.0", ["CC BY 4.0"], "other", "The base model is under apache-2.0. Of the rows: The strictest"),
        ("cc-by-4.0", ["CC BY-SA 4.0", "CC0 1.0"], "cc-by-sa-4.0", "The strictest"),
        ("cc-by-nc-4.0", ["CC BY-SA 4.0"], "other", "under cc-by-nc-4.0. Of the rows: The strictest"),
        ("llama3.1", ["CC BY 4.0"], "llama3.1", "goes with all that is made of it"),
        ("apache-2.0", [""], "other", "Not every source states a licence"),
        ("", ["CC BY 4.0"], "", "licence is not known here"),
    ],
)
def test_an_adapter_has_the_licences_of_its_base_and_its_rows(
    base: str, rows: list[str], expected: str, said: str
) -> None:
    """What neither allows, the adapter does not either; what is not known is not guessed."""
    found = adapter_license(base, rows)
    assert found.id == expected
    assert said in found.why


def test_licences_of_rows() -> None:
    """Each once; rows without that column state none."""
    assert licenses_of(datasets.Dataset.from_list([{"license": "MIT"}, {"license": None}, {"license": "MIT"}])) == [
        "", "MIT",
    ]  # fmt: skip
    assert licenses_of(datasets.Dataset.from_list([{"question": "x"}])) == [""]
