"""Rows for fine-tuning, and their conversion to prompts and completions in chat format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from craft_hf.base import JSON, ControlTokens, InputError
from craft_hf.dataset.folder import DatasetFolder
from craft_hf.dataset.parquet import arrow_table
from craft_hf.dataset.rows import FEW_SHOT_COLUMN, is_few_shot
from craft_hf.tasks import Task

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase


@dataclass
class DataArguments:
    """What to train on: a task and its dataset, given or else generated as the other arguments say."""

    task: str = field(default="bioqa", metadata={"help": "a task's name, or the folder of your own"})
    dataset: str | None = field(
        default=None,
        metadata={"help": "folder of craft-hf generate or save_to_disk, or Hub id; by default one is generated"},
    )
    num_samples: int | None = field(default=None, metadata={"help": "rows to generate, few-shots not counted"})
    size: str | None = field(default=None, metadata={"help": "S, M, L or XL in place of num_samples"})
    index: str | None = field(default=None, metadata={"help": "folder of an index; the sample corpus by default"})
    generator: str | None = field(default=None, metadata={"help": "embedded, Hub id, folder, or URL of a server"})
    dataset_seed: int | None = field(default=None, metadata={"help": "seed of the generated dataset"})


@dataclass(frozen=True)
class RowCounts:
    """Numbers of rows: given = dropped + used; `used` includes truncated ones; few_shots is None if not marked."""

    given: int
    few_shots: int | None
    dropped: int
    truncated: int
    used: int


def load_rows(data: DataArguments, task: Task, few_shots_only: bool = False) -> Dataset:
    """Return the rows to train on: the task's fields (optional ones may be missing), mostly `is_few_shot` and lineage.

    Raises:
        InputError: there is no such dataset, it lacks a field of the task, or no row is left.
    """
    import datasets

    shape = {"num_samples": data.num_samples, "size": data.size, "index": data.index, "generator": data.generator}
    shape = {k: v for k, v in {**shape, "seed": data.dataset_seed}.items() if v is not None}
    if data.dataset is None:
        if few_shots_only and not {"size", "num_samples"} & set(shape):
            shape["size"] = "XS"
        rows = datasets.load_dataset("craft", task=data.task, split="train", **shape)  # craft_hf is imported: it knows
    elif shape:
        raise InputError(f"{', '.join(shape)} shape a dataset that is generated; leave them out beside --dataset.")
    elif (folder := DatasetFolder(Path(data.dataset).expanduser())).has_report:
        rows = datasets.Dataset.from_parquet([str(path) for path in folder.rows.files])
    elif Path(data.dataset).is_dir() or data.dataset.count("/") > 1 or data.dataset.startswith((".", "/", "~")):
        place = folder.path
        saved = (place / "state.json").is_file() or (place / "dataset_dict.json").is_file()
        try:
            rows = datasets.load_from_disk(place) if saved else datasets.load_dataset(str(place), split="train")
        except (OSError, ValueError) as e:
            raise InputError(
                f"{data.dataset} is no folder that `craft-hf generate --out` or datasets.save_to_disk wrote: {e}"
            ) from e
    else:
        try:
            rows = datasets.load_dataset(data.dataset, split="train")
        except (OSError, ValueError) as e:  # DatasetNotFoundError is a FileNotFoundError
            raise InputError(f"{data.dataset} is neither a folder nor a dataset that the Hub gives: {e}") from e
    if isinstance(rows, datasets.DatasetDict):
        if "train" not in rows:
            raise InputError(f"{data.dataset} has the splits {', '.join(rows)}; expected one named train.")
        rows = rows["train"]
    wanted = [*sorted(task.required), *([FEW_SHOT_COLUMN] if few_shots_only else [])]
    if missing := [name for name in wanted if name not in rows.column_names]:
        raise InputError(
            f"the dataset lacks the columns {', '.join(missing)} of the task {task.name}; it has "
            f"{', '.join(rows.column_names)}."
        )
    rows = rows.filter(is_few_shot) if few_shots_only else rows
    if not len(rows):
        raise InputError(f"the dataset has no rows to train {task.name} on" + " among few-shots." * few_shots_only)
    return rows


def conversations(
    rows: Dataset, task: Task, tokenizer: PreTrainedTokenizerBase, max_length: int | None, completion_only: bool = True
) -> tuple[Dataset, RowCounts]:
    """Convert rows to prompt and completion in chat format; rows whose answer would be cut off entirely are dropped.

    Control tokens of the tokenizer in a row's texts are broken up: they are what the row is about, and end no turn.

    Args:
        rows: columns of at least the task's required fields.
        task: how a row becomes prompt and completion.
        tokenizer: counts tokens with its chat template.
        max_length: tokens of an example after which it is cut; None for no limit.
        completion_only: whether the loss covers the completion alone, so that a row without one teaches nothing.

    Raises:
        InputError: a required field or the completion is empty in some row, it does not fit the task's templates, or
            no row is left.
    """
    import datasets
    import jinja2
    from datasets.fingerprint import generate_random_fingerprint

    count, control_tokens = Counter[str](), ControlTokens(tokenizer)

    def examples() -> Iterator[dict[str, JSON]]:
        for number, row in enumerate(rows, 1):
            sample = task.sample(row)
            if empty := [name for name in sorted(task.required) if sample.get(name) in (None, "", [])]:
                raise InputError(f"row {number} of the dataset has no {empty[0]}; leave the row out.")
            try:
                prompt, completion = task.conversation(sample)
            except jinja2.TemplateError as e:
                raise InputError(
                    f"row {number} of the dataset does not fit the templates of the task {task.name}: {e}; mend the "
                    "task, or leave the row out."
                ) from e
            if not completion[0]["content"]:
                raise InputError(f"row {number} of the dataset gives an empty completion; leave the row out.")
            prompt, completion = map(control_tokens.broken_up, (prompt, completion))
            head = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
            whole = tokenizer.apply_chat_template(prompt + completion, return_dict=True)["input_ids"]
            if completion_only and max_length and len(head) >= max_length:
                count["dropped"] += 1
                continue
            count["truncated"] += bool(max_length and len(whole) > max_length)
            yield {"prompt": prompt, "completion": completion}

    turns = [{"role": datasets.Value("string"), "content": datasets.Value("string")}]
    features = datasets.Features({"prompt": turns, "completion": turns})
    table = arrow_table(examples(), features.arrow_schema)
    used = datasets.Dataset(table, fingerprint=generate_random_fingerprint())  # else it pickles all rows for one
    if not len(used):
        raise InputError(
            f"the prompts of all {count['dropped']} rows fill {max_length} tokens alone; raise --max_length."
        )
    shots = sum(map(is_few_shot, rows)) if FEW_SHOT_COLUMN in rows.column_names else None
    return used, RowCounts(len(rows), shots, count["dropped"], count["truncated"], len(used))
