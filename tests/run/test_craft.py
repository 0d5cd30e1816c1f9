"""The builder: `load_dataset("craft", ...)` in all its ways, and what rebuilds and what does not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
from datasets import get_dataset_config_names, get_dataset_split_names, load_dataset, load_dataset_builder
from torch.utils.data import DataLoader

from craft_hf.base.errors import CraftError, GeneratorError, InputError
from craft_hf.run import plugin
from craft_hf.run.craft import CraftConfig
from craft_hf.tasks.task import FOLDER
from tests.writer_server import WriterServer

pytestmark = [pytest.mark.weights, pytest.mark.slow]


def load(server: WriterServer, **more: object) -> datasets.Dataset:
    """The bioqa dataset from the scripted server, six samples unless said otherwise."""
    arguments = {"task": "bioqa", "split": "train", "generator": server.url, "num_samples": 6, **more}
    return load_dataset("craft", **arguments)


def test_config_names_are_the_tasks(home: Path) -> None:
    """`get_dataset_config_names` and `get_dataset_split_names` know craft."""
    assert get_dataset_config_names("craft") == ["bioqa", "csqa", "medqa", "recipegen", "summarization", "terms"]
    assert get_dataset_split_names("craft", "bioqa") == ["train"]


def test_other_datasets_are_left_alone(tmp_path: Path) -> None:
    """Only the path "craft" is ours; registering twice changes nothing."""
    plugin.register()
    (tmp_path / "a.json").write_text('{"x": 1}\n')
    rows = load_dataset("json", data_files=str(tmp_path / "a.json"), split="train", cache_dir=str(tmp_path / "c"))
    assert rows[0] == {"x": 1}


def test_rows_carry_the_task_fields_and_their_lineage(home: Path, server: WriterServer) -> None:
    """Each generated row says where it came from, what found it, what asked for it and what answered."""
    rows = load(server)
    generated = rows.filter(lambda r: not r["is_few_shot"])
    assert (len(rows), len(generated)) == (38, 6)
    for row in generated:
        assert row["options"][0].startswith("A. ")
        assert row["document"] in server.documents
        assert row["source"]
        assert row["license"]
        assert row["url"]
        assert -1 <= row["similarity"] <= 1
        assert row["retrieved_by"]
        assert set(row["retrieved_by"]) <= {f"bioqa-{i:02d}" for i in range(1, 33)} | {"average"}
        assert len(row["prompt_few_shots"]) == 3
        assert len(row["prompt_hash"]) == 16
        assert row["generator"].startswith("writer-1")
        assert row["finish_reason"] == "stop"
    few_shots = rows.filter(lambda r: r["is_few_shot"])
    assert few_shots["document_id"][0] == "bioqa-01"
    assert few_shots["similarity"] == [None] * 32


def test_task_as_second_argument_is_the_same_dataset(home: Path, server: WriterServer) -> None:
    """`load_dataset("craft", "bioqa")` and `task="bioqa"` share one cache and one run."""
    first = load(server)
    calls = len(server.requests)
    second = load_dataset("craft", "bioqa", split="train", generator=server.url, num_samples=6)
    assert second.to_list() == first.to_list()
    assert len(server.requests) == calls


def test_second_call_comes_from_the_cache_and_default_values_change_nothing(home: Path, server: WriterServer) -> None:
    """Written-out defaults and another concurrency are the same dataset; no request is made."""
    first = load(server)
    calls = len(server.requests)
    again = load(server, seed=0, duplicate_threshold=85, concurrency=2, batch_size=3, generator_model="writer-1")
    assert again.cache_files == first.cache_files
    assert len(server.requests) == calls


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"temperature": 0.5}, {"duplicate_threshold": 90.0}, {"num_samples": 5}]
)
def test_a_change_of_what_decides_the_rows_is_another_dataset(
    home: Path, server: WriterServer, change: dict[str, object]
) -> None:
    """Seed, sampling, thresholds and size are part of the identity."""
    assert load(server).cache_files != load(server, **change).cache_files


def test_a_changed_few_shot_or_task_rebuilds(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """The content of the task folder counts, not its path."""
    own = tmp_path / "own"
    shutil.copytree(FOLDER / "bioqa", own)
    first = load(server, task=str(own))
    calls = len(server.requests)
    load(server, task=str(own))
    assert len(server.requests) == calls
    text = (own / "task.yaml").read_text().replace("Read the text and", "Read the text carefully and")
    (own / "task.yaml").write_text(text)
    second = load(server, task=str(own))
    assert second.cache_files != first.cache_files
    assert len(server.requests) > calls


def test_few_shots_in_the_authors_format_run(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """A file with Text, Instruction and Output takes the place of the task's few-shots, in prompts and in rows."""
    options = "A. In the root.\nB. In the leaf.\nC. In the bark.\nD. In the seed."
    lines = [
        {
            "Text": f"Plant {n} stores {w} somewhere.",
            "Instruction": f"Where is {w} of plant {n}?\n{options}",
            "Output": "B.",
        }
        for n, w in enumerate(("starch", "water", "resin", "sugar"))
    ]
    (tmp_path / "authors.jsonl").write_text("\n".join(map(json.dumps, lines)))
    rows = load(server, few_shots=str(tmp_path / "authors.jsonl"), num_samples=3)
    assert sum(r["is_few_shot"] for r in rows) == 4
    assert rows.filter(lambda r: r["is_few_shot"])[0]["options"][1] == "B. In the leaf."
    first = server.requests[0]["messages"]
    assert first[0]["content"].endswith(" somewhere.")
    assert json.loads(first[1]["content"])["answer"] == "B"


def test_more_samples_later_pay_only_for_the_new_ones(home: Path, server: WriterServer) -> None:
    """A larger run begins with the same rows, and no prompt is sent twice."""
    small = load(server, num_samples=4).to_list()
    large = load(server, num_samples=12).to_list()
    assert large[: len(small)] == small
    assert len(server.documents) == len(set(server.documents))


def test_force_redownload_asks_the_model_again(home: Path, server: WriterServer) -> None:
    """A forced build pays again; rebuilding from the journal does not."""
    load(server)
    calls = len(server.requests)
    load(server, download_mode="force_redownload")
    assert len(server.requests) == 2 * calls
    shutil.rmtree(home / "runs")
    shutil.rmtree(datasets.config.HF_DATASETS_CACHE)
    load(server)
    assert len(server.requests) == 2 * calls


def test_processes_and_streaming_give_the_same_rows_and_pay_once(home: Path, server: WriterServer) -> None:
    """`num_proc=2`, `streaming=True` and a DataLoader with two workers read one run."""
    rows = load(server, num_proc=2).to_list()
    calls = len(server.requests)
    assert list(load(server, streaming=True)) == rows
    loader = DataLoader(load(server, streaming=True), batch_size=None, num_workers=2)
    assert sorted(r["document_id"] for r in loader) == sorted(r["document_id"] for r in rows)
    assert len(server.requests) == calls


def test_streaming_alone_does_the_run(home: Path, server: WriterServer) -> None:
    """Without a built dataset, the first streamed row starts the run."""
    stream = load(server, streaming=True, num_samples=2)
    assert not server.requests
    assert sum(not r["is_few_shot"] for r in stream) == 2


def test_rejects_and_kept_rows_account_for_every_document(home: Path, server: WriterServer) -> None:
    """Every document that was prompted is a kept row or a reject with a reason; the report counts them so."""
    server.bad_every = 3
    rows = load(server)
    folder = load_dataset_builder("craft", task="bioqa", generator=server.url, num_samples=6).config.run.folder
    asked = set(server.documents)
    rejected = load_dataset("parquet", data_files=str(folder / "rejected" / "*.parquet"), split="train").to_list()
    kept = [r for r in rows if not r["is_few_shot"]]
    prompted = [r for r in rejected if r["check"] != "leakage"]
    assert len(asked) == len(kept) + len(prompted)
    assert {r["reason"] for r in prompted} >= {"no valid JSON"}
    assert all(r["check"] and r["reason"] for r in rejected)
    report = json.loads((folder / "report.json").read_text())
    funnel = {stage["stage"]: stage["count"] for stage in report["funnel"]}
    assert funnel["prompted"] == len(asked)
    assert funnel["kept"] == len(kept) == 6
    assert (folder / "README.md").read_text().startswith("---\n")


def test_a_run_folder_loads_without_craft_hf(home: Path, server: WriterServer, tmp_path: Path) -> None:
    """The folder is a dataset repository: rows and rejects load in a process that never imports craft_hf."""
    server.bad_every = 2
    rows = load(server)
    folder = load_dataset_builder("craft", task="bioqa", generator=server.url, num_samples=6).config.run.folder
    code = (
        "import sys, datasets\n"
        f"d = datasets.load_dataset({str(folder)!r}, split='train', cache_dir={str(tmp_path / 'c')!r})\n"
        f"r = datasets.load_dataset({str(folder)!r}, 'rejected', cache_dir={str(tmp_path / 'c')!r})\n"
        "assert 'craft_hf' not in sys.modules\n"
        "print(len(d), r['train'].column_names[1])\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert out.stdout.split() == [str(len(rows)), "check"], out.stderr


def test_few_shots_alone_need_no_generator(home: Path) -> None:
    """Size XS is the few-shots: nothing is retrieved, nothing is asked."""
    rows = load_dataset("craft", task="csqa", size="XS", split="train")
    assert rows["is_few_shot"] == [True] * 32


def test_sizes_count_the_few_shots_as_the_paper_does(home: Path) -> None:
    """S is 100 rows in all."""
    run = CraftConfig(name="bioqa", task="bioqa", size="S").run
    assert run.settings.rows_wanted(run.task) == 68


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 0}, "num_samples is 0, expected a whole number of at least 1"),
        ({"num_samples": -3}, "num_samples is -3"),
        ({"size": "XXL"}, "size is 'XXL', expected one of XS, S, M, L, XL"),
        ({"size": "S", "num_samples": 3}, "both given"),
        ({"temperature": -1}, "temperature is -1"),
        ({"top_p": 0}, "top_p is 0"),
        ({"temperature": "hot"}, "temperature is 'hot', expected a number"),
        ({"seed": 1.5}, "seed is 1.5, expected a whole number"),
        ({"generator": "embeded"}, "'embeded' is neither a model folder nor"),
        ({"duplicate_threshold": 101}, "duplicate_threshold is 101"),
        ({"task": "bioga"}, "Did you mean bioqa"),
        ({"generator": "ftp://host/v1"}, "ftp"),
        ({"index": "no/such/index"}, "no/such/index"),
    ],
)
def test_bad_arguments_say_what_was_expected(home: Path, arguments: dict[str, object], message: str) -> None:
    """Each bad value is named with what was expected."""
    with pytest.raises(InputError, match=message):
        load_dataset("craft", **{"task": "bioqa", **arguments})


def test_two_tasks_or_none_are_refused(home: Path) -> None:
    """A name and another task contradict; without a task, the tasks are listed."""
    with pytest.raises(InputError, match="two tasks were given"):
        load_dataset("craft", "bioqa", task="csqa")
    with pytest.raises(InputError, match="which task"):
        load_dataset("craft", num_samples=3)
    with pytest.raises(ValueError, match="Please pick one"):
        load_dataset("craft")


def test_no_secret_gets_into_a_message(home: Path) -> None:
    """A URL with a password is refused without showing it, also when another argument is unknown."""
    for more in ({}, {"no_such_argument": 1}):
        with pytest.raises((ValueError, TypeError)) as e:
            load_dataset("craft", task="bioqa", generator="http://user:canary-secret@localhost:1/v1", **more)
        assert "canary-secret" not in str(e.value)


def test_an_unreachable_server_leaves_nothing_half_written(home: Path) -> None:
    """A failed run raises its own error, and leaves neither a run folder nor a dataset."""
    with pytest.raises(GeneratorError, match=r"127\.0\.0\.1:9"):
        load_dataset("craft", task="bioqa", generator="http://127.0.0.1:9", generator_model="m", num_samples=2)
    assert not list((home / "runs").glob("bioqa-*/report.json"))
    assert not list(Path(datasets.config.HF_DATASETS_CACHE).rglob("*.arrow"))


def test_custom_features_are_refused(home: Path) -> None:
    """The columns follow from the task."""
    with pytest.raises(CraftError, match="features= is not supported"):
        load_dataset("craft", task="bioqa", features=datasets.Features({"x": datasets.Value("string")}))
