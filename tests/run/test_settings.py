"""Tests of the settings of a run: declared once, the same everywhere, and given back by run.yaml and card."""

from __future__ import annotations

import ast
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import load_dataset, load_dataset_builder
from typer.testing import CliRunner

from craft_hf.base.errors import InputError
from craft_hf.base.models import embedder_weights
from craft_hf.cli.main import app
from craft_hf.generation.prompt import FEW_SHOTS_IN_PROMPT
from craft_hf.quality.registry import checks_for
from craft_hf.run.craft import CraftConfig
from craft_hf.run.presets import PAPER
from craft_hf.run.resolution import TOLD_BY_OTHERS, open_generator, resolve
from craft_hf.run.run_yaml import read_run_yaml, settings_from
from craft_hf.run.runs import ensure_run
from craft_hf.run.settings import DEFAULTS, PER_PROMPT, SETTINGS, RunSettings, settings_table
from craft_hf.tasks.task import FOLDER, load_task
from tests import ROOT
from tests.openai_server import serving
from tests.run.test_pipeline_quality import JudgingServer
from tests.writer_server import WriterServer


@pytest.fixture(scope="module")
def judge() -> Iterator[WriterServer]:
    """A second server, which agrees with samples whose answer is A."""
    with serving(JudgingServer()) as fake:
        assert isinstance(fake, JudgingServer)
        yield fake


@pytest.fixture
def others(
    tmp_path: Path, home: Path, server: WriterServer, judge: WriterServer, small_index: str
) -> dict[str, object]:
    """For every setting a value that is not its default."""
    task = tmp_path / "my task"
    shutil.copytree(FOLDER / "bioqa", task)
    (task / "task.yaml").write_text((task / "task.yaml").read_text().replace("name: bioqa", "name: my-task"))
    lines = (FOLDER / "bioqa" / "few_shots.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "shots.jsonl").write_text("".join(lines[:8]))
    (tmp_path / "exam.jsonl").write_text(
        json.dumps({"question": "Which of these eight words is a question of an exam?"})
    )
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "model.safetensors").write_text("weights")
    earlier = ensure_run(resolve(RunSettings("bioqa", size="XS")))
    return {
        "task": str(task),
        "few_shots": str(tmp_path / "shots.jsonl"),
        "index": small_index,
        "embedding": embedder_weights().location,
        "generator": server.url,
        "generator_model": "served",
        "engine_command": "serve {model} {port} --quantization fp8",
        "engine_arguments": "--quantization fp8",
        "engine_python": str(tmp_path / "python"),
        "engine_timeout_s": 60.0,
        "tensor_parallel": 2,
        "trust_remote_code": True,
        "num_samples": 2,
        "size": "S",
        "seed": 7,
        "temperature": 0.25,
        "top_p": 0.5,
        "top_k": 5,
        "max_new_tokens": 333,
        "query": ["text", "prompt"],
        "query_form": "whole",
        "retrieval": "random",
        "min_similarity": -0.5,
        "sources": ["*"],
        "licenses": ["*", "CC*"],
        "most_per_source": 50.0,
        "prefix_groups": 3,
        "samples_per_document": 2,
        "keep_reasoning": True,
        "prompts_per_sample": 4,
        "duplicate_threshold": 99.0,
        "duplicates_by": "json",
        "skip_checks": ["semantic", "language"],
        "test_sets": [str(tmp_path / "exam.jsonl")],
        "earlier": [str(earlier)],
        "judge": judge.url,
        "judge_model": "served",
        "judge_draws": 2,
        "review": str(tmp_path / "r.sqlite"),
        "max_budget": 50_000.0,
        "price_in": 0.5,
        "price_out": 2.5,
        "batch_size": 3,
        "device": "cpu",
        "concurrency": 2,
        "timeout_s": 30.0,
        "max_retries": 1,
        "max_failed": 0.5,
    }


ENGINE = [name for name, setting in SETTINGS.items() if setting.needs_engine]
"""Settings of an engine that a run starts."""


@pytest.fixture
def small_index(home: Path) -> str:
    """An index that is not the default: the sample corpus's, at another place."""
    from craft_hf.retrieval.documents import open_index

    copy = home / "my index"
    shutil.copytree(open_index(None).folder, copy)
    info = json.loads((copy / "index.json").read_text())
    (copy / "index.json").write_text(json.dumps({**info, "fingerprint": "0123456789abcdef"}))
    return str(copy)


@pytest.mark.weights
def test_every_setting_has_another_value_to_be_tried_with(others: dict[str, object]) -> None:
    """A new setting must be added to the fixture, so that the tests below cover it."""
    assert list(others) == list(SETTINGS)
    for name, value in others.items():
        stored = SETTINGS[name].checked(name, value)
        assert stored != DEFAULTS[name], name


def alone(name: str, others: dict[str, object]) -> dict[str, object]:
    """A small run in which one setting is not the default, with what that setting needs."""
    base = {"task": "bioqa", "generator": others["generator"], "num_samples": 2}
    if name == "size":
        base = {"task": "bioqa", "generator": others["generator"]}
    if name in ENGINE:
        engine = "engine" if name == "engine_command" else "vllm"
        base["generator"] = f"{engine}:{Path(str(others['task'])).with_name('model')}"
    needs = {
        "judge_model": ["judge"],
        "judge_draws": ["judge"],
        "price_in": ["max_budget"],
        "price_out": ["max_budget"],
    }
    return {**base, **{n: others[n] for n in [*needs.get(name, []), name]}}


@pytest.mark.parametrize("name", list(SETTINGS))
@pytest.mark.weights
def test_every_setting_decides_the_run_or_does_not_as_declared(name: str, others: dict[str, object]) -> None:
    """Another value is another run exactly if the declaration says that it decides rows."""
    changed = alone(name, others)
    without = {k: v for k, v in changed.items() if k != name}
    without.setdefault("task", "bioqa")
    if name == "num_samples":
        without["num_samples"] = 3
    if name == "generator":
        without["generator_model"], changed["generator_model"] = "a", "b"  # one server's name; else the real model
        without["generator"] = changed["generator"]
    if name == "generator_model":
        without["generator_model"] = "another"
    if name == "engine_command":
        without["engine_command"] = "serve {model} {port}"
    if name == "judge_model":
        without["judge_model"] = "another"
    one, other = (resolve(settings_from(values)).run_id for values in (without, changed))
    assert (one != other) is SETTINGS[name].decides_rows


def call_on_the_card(folder: Path) -> dict[str, object]:
    """The arguments of the card's `load_dataset` call."""
    card = (folder / "README.md").read_text()
    call = re.search(r"^load_dataset\((\"craft\".*)\)$", card[card.index("## To repeat it") :], re.MULTILINE)
    assert call is not None
    parsed = ast.parse(f"f({call[1]})", mode="eval").body
    assert isinstance(parsed, ast.Call)
    return {str(k.arg): ast.literal_eval(k.value) for k in parsed.keywords}


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in ENGINE])  # see test_engine_run.py
@pytest.mark.long
def test_run_yaml_and_card_ask_for_the_same_run(
    name: str, others: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run's folder holds what gives the same run id from any other folder, whichever setting was changed."""
    values = alone(name, others)
    if name == "size":
        values["size"] = "XS"
    monkeypatch.chdir(tmp_path)
    near = {k: v.replace(f"{tmp_path}/", "") if isinstance(v, str) else v for k, v in values.items()}  # relative
    run = resolve(settings_from(near))
    folder = ensure_run(run)
    away = tmp_path / "elsewhere"
    away.mkdir()
    monkeypatch.chdir(away)
    again = settings_from({}, folder / "run.yaml")
    if name != "size":  # that run was done before, with the default generator
        assert again.changed() == run.settings.changed()
    assert resolve(again).run_id == run.run_id
    call = call_on_the_card(folder)
    assert load_dataset_builder("craft", **call).config.run.run_id == run.run_id
    assert name in call or not (SETTINGS[name].decides_rows or SETTINGS[name].place)


JUDGED = ("size", "judge", "judge_model", "judge_draws")


@pytest.mark.parametrize("judged", [False, True])
@pytest.mark.weights
def test_run_yaml_and_card_hold_all_settings_at_once(others: dict[str, object], tmp_path: Path, judged: bool) -> None:
    """The command with --config gives the same rows without a request, and the card's call finds the same run."""
    others["size"] = "XS"
    names = ["task", "generator", *JUDGED] if judged else [name for name in others if name not in [*JUDGED, *ENGINE]]
    run = resolve(settings_from({name: others[name] for name in names}))
    folder = ensure_run(run)
    done = CliRunner().invoke(
        app, ["generate", "--config", str(folder / "run.yaml"), "--out", str(tmp_path / "again"), "--show", "0"]
    )
    assert done.exit_code == 0, done.output
    first, again = (json.loads((f / "report.json").read_text())["config_id"] for f in (folder, tmp_path / "again"))
    assert first == again == run.run_id
    assert load_dataset_builder("craft", **call_on_the_card(tmp_path / "again")).config.run.run_id == run.run_id


def test_what_is_told_by_others_is_a_setting_that_decides_rows() -> None:
    """Nothing is left out of the identity but what another entry tells."""
    assert all(SETTINGS[name].decides_rows for name in TOLD_BY_OTHERS)
    assert all(SETTINGS[name].decides_rows for name in TOLD_BY_OTHERS.values())


def test_builder_and_commands_take_every_setting() -> None:
    """Arguments of load_dataset and options of the commands are those of the declaration."""
    assert set(SETTINGS) < set(CraftConfig.__dataclass_fields__)
    for command in ("generate", "estimate", "retrieve"):
        shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
        for name, setting in SETTINGS.items():
            option = "TASK" if name == "task" else f"--{name.replace('_', '-')} "
            assert (option in shown) is (command in setting.commands), (command, name)
        assert "--preset" in shown
        assert "--config" in shown


def test_the_docs_have_the_table_of_settings() -> None:
    """docs/settings.md is up to date: print craft_hf.run.settings_table() and put it there."""
    assert settings_table() in (ROOT / "docs" / "settings.md").read_text()


def test_given_goes_before_file_before_preset_before_default(tmp_path: Path) -> None:
    """The order of the layers, also for size and num_samples, of which one takes the other's place."""
    file = tmp_path / "run.yaml"
    file.write_text("task: csqa\npreset: paper\ntemperature: 0.3\nsize: M\nseed: 5\n")
    settings = settings_from({"seed": 6, "num_samples": 9}, file)
    assert (settings.task, settings.seed, settings.temperature) == ("csqa", 6, 0.3)
    assert (settings.num_samples, settings.size) == (9, None)
    assert (settings.prompts_per_sample, settings.top_k) == (2, 40)


def test_preset_paper_holds_the_papers_values() -> None:
    """Each value of arXiv 2409.02098, section 3, and of the authors' code."""
    tokens = {"bioqa": 1536, "medqa": 256, "csqa": 256, "recipegen": 1280, "summarization": 1536}
    for task, limit in tokens.items():
        settings = settings_from({"task": task, "preset": "paper"})
        sampling = settings.sampling(load_task(task))
        assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.7, 0.9, 40)
        assert sampling.max_new_tokens == limit
        assert settings.prefix_groups == PER_PROMPT
        assert settings.prompts_per_sample == 2
        assert settings.duplicate_threshold == 85
        assert settings.query == ("text", "prompt", "completion")
        assert (settings.retrieval, settings.min_similarity) == ("mixed", -1)
        own = {"recipe"} if settings.task == "recipegen" else set()
        built_in = {"repetitive", "language", "copied", "contaminated", "grounded", "semantic"}
        assert set(settings.skipped) == built_in | own
    assert FEW_SHOTS_IN_PROMPT == 3
    assert settings_from({"task": "bioqa", "preset": "paper", "top_k": 3}).top_k == 3


def test_docs_name_every_value_of_the_preset() -> None:
    """docs/paper.md says each setting that the preset sets."""
    page = (ROOT / "docs" / "paper.md").read_text()
    assert all(f"{name}:" in page for name in PAPER.values)


def test_unknown_preset_is_named() -> None:
    """The presets that there are stand in the message."""
    with pytest.raises(InputError, match=r"there is no preset 'papre'. Did you mean 'paper'"):
        settings_from({"task": "bioqa", "preset": "papre"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "task: bioqa\ntemprature: 0.5\n",
            r"run.yaml, line 2: there is no setting 'temprature'. Did you mean temperature",
        ),
        ("task: bioqa\n\nnum-samples: 5\n", r"line 3: there is no setting 'num-samples'. Did you mean num_samples"),
        ("task: bioqa\ntemperature: hot\n", r"line 2: temperature is 'hot', expected a number from 0 to 5"),
        ("task: bioqa\nseed: [1]\n", r"line 2: seed is \[1\], expected a whole number"),
        ("task: bioqa\nskip_checks: {a: 1}\n", r"line 2: skip_checks is a dict, expected a text, or a list of texts"),
        ("task: bioqa\nretrieval: best\n", r"line 2: retrieval is 'best', expected one of mixed, random"),
        ("task: bioqa\nseed: 1\nseed: 2\n", r"line 3: seed stands in line 2 as well"),
        ("task: 7\n", r"line 1: task is 7 \(a int\), expected a text"),
        ("task: bioqa\nindex: 2024-13-45\n", r"line 2: the value of index is not valid YAML; put it in quotes"),
        ("task: bioqa\nseed: 0x_\n", r"line 2: the value of seed is not valid YAML"),
        (f"task: bioqa\nseed: {'9' * 5000}\n", r"line 2: the value of seed is not valid YAML"),
        (f"task: bioqa\nseed: {'9' * 400}\n", r"line 2: seed is 9+, expected a whole number from 0 to 4,294,967,295"),
        (f"task: bioqa\ntemperature: {'9' * 400}\n", r"line 2: temperature is 9+, expected a number from 0 to 5"),
        ("task: bioqa\nindex: a\fb\n", r"run.yaml, line 2: not valid YAML \(special characters"),
        (f"task: bioqa\nskip_checks: {'[' * 2000}\n", r"run.yaml: nested too deeply"),
        ("task: my-task\n", r"line 1: the task my-task is gone"),
        (
            "task: bioqa\ngenerator_model: mistral\n",
            r"generator_model is 'mistral', which does nothing without the URL",
        ),
        ("task: bioqa\n? [a]\n: 1\n", r"line 2: the key is no text"),
        ("preset: papers\n", r"line 1: there is no preset 'papers'"),
        ("- bioqa\n", r"run.yaml holds no settings"),
        ("task: [bioqa\n", r"run.yaml, line 2: not valid YAML"),
        ("task: /no/such/task\n", r"line 1: the task /no/such/task is gone"),
    ],
)
def test_a_bad_run_yaml_is_told_with_line_and_value(tmp_path: Path, text: str, message: str) -> None:
    """Unknown keys come with the nearest names, wrong values with what was expected."""
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        settings_from({}, file)


def test_a_task_given_by_hand_takes_the_place_of_one_that_is_gone(tmp_path: Path) -> None:
    """The message's advice works."""
    file = tmp_path / "run.yaml"
    file.write_text("task: /no/such/task\nseed: 3\n")
    assert settings_from({"task": "csqa"}, file).seed == 3


def test_an_empty_run_yaml_and_null_are_not_given(tmp_path: Path) -> None:
    """Null stands for the default, as None does."""
    file = tmp_path / "run.yaml"
    file.write_text("seed: null\n")
    assert read_run_yaml(file)[0] == {}
    file.write_text("")
    assert settings_from({"task": "bioqa", "seed": None}, file) == RunSettings("bioqa")


@pytest.mark.parametrize(
    "secret",
    ["https://host/canary-key-1/v1", "https://u:canary@host/v1", "http//u:canary@host/v1", "https://host/v1?key=canary",
     f"https://host/hf_{'canary' * 6}/v1"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["generator", "judge"])
def test_no_key_is_taken(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, secret: str) -> None:
    """Settings are written down, so an address with a key or password is refused, and no message shows it."""
    monkeypatch.setenv("CRAFT_HF_API_KEY", "canary-key-1")
    file = tmp_path / "run.yaml"
    file.write_text(f"task: bioqa\n{name}: {secret}\n")
    for given, config in (({"task": "bioqa", name: secret}, None), ({}, file)):
        with pytest.raises(InputError, match=f"{name} holds .* set CRAFT_HF_API_KEY") as e:
            settings_from(given, config)
        assert "canary" not in str(e.value)
    file.write_text(f"task: bioqa\n{name}: {secret}: x\n- y\n")  # broken YAML
    with pytest.raises(InputError) as e:
        settings_from({}, file)
    assert "canary" not in str(e.value)
    with pytest.raises(InputError, match="is a dict") as e:
        settings_from({"task": "bioqa", name: {"url": secret}})
    assert "canary" not in str(e.value)


@pytest.mark.parametrize("secret", ["https://me:canary@host/x", "me:canary@host/x", "https://host/x?api_key=canary"])
@pytest.mark.parametrize("name", [name for name, setting in SETTINGS.items() if setting.place])
def test_no_place_holds_a_secret(name: str, secret: str) -> None:
    """What names a file, index or model is written into run.yaml, report and card, whether it is opened or not."""
    with pytest.raises(InputError, match=f"{name} holds a (user|query)") as e:
        RunSettings(**{"task": "bioqa", name: f"x,{secret}"})  # type: ignore[arg-type]
    assert "canary" not in str(e.value)


def test_a_folder_may_have_an_at_in_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Homes of machines in a domain have names such as me@corp."""
    folder = tmp_path / "me@corp" / "model"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder.parent)
    settings = RunSettings("bioqa", generator="./model", judge="./model", index="user/name@main")
    assert replace(settings, seed=1).generator == str(folder)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"generator_model": "mistral"},
            "generator_model is 'mistral', which does nothing without the URL of a server",
        ),
        ({"judge_model": "gpt"}, "judge_model is 'gpt', .* as judge; give both"),
        ({"judge_model": "gpt", "judge": "generator"}, "judge_model is 'gpt', .* as judge; give both"),
        ({"tensor_parallel": 2}, "tensor_parallel is 2, which does nothing without an engine as generator"),
        ({"engine_python": "/a", "generator": "http://a/v1"}, "engine_python is '/a', .* such as vllm:MODEL"),
        ({"judge_draws": 3}, "judge_draws is 3, which does nothing without judge"),
        ({"test_sets": "a.jsonl", "preset": "paper"}, "test_sets is .* give skip_checks without 'contaminated'"),
        ({"test_sets": "a.jsonl", "skip_checks": "contaminated"}, "test_sets is .* while the check 'contaminated' is"),
    ],
)
def test_a_setting_that_does_nothing_is_refused(given: dict[str, object], message: str) -> None:
    """It would be taken for done otherwise: a dataset of another model, a test set that was not looked at."""
    with pytest.raises(InputError, match=message):
        settings_from({"task": "bioqa", **given})


def test_settings_need_what_there_is() -> None:
    """The check that reads a setting is one that can be skipped."""
    names = {check.name for check in checks_for(load_task("bioqa")) if check.optional}
    assert {setting.needs_check for setting in SETTINGS.values()} - {""} <= names
    assert {setting.needs for setting in SETTINGS.values()} - {""} <= set(SETTINGS)


def test_another_model_takes_the_name_on_the_servers_with_it(tmp_path: Path) -> None:
    """From a server to a laptop is one flag; from one server to another, the name stays."""
    file = tmp_path / "run.yaml"
    file.write_text("task: bioqa\ngenerator: http://a/v1\ngenerator_model: mistral\n")
    assert settings_from({"generator": "embedded"}, file) == RunSettings("bioqa")
    assert settings_from({"generator": "http://b/v1"}, file).generator_model == "mistral"
    file.write_text("task: bioqa\ngenerator: vllm:a/b\ntensor_parallel: 2\nengine_python: /a\n")
    assert settings_from({"generator": "embedded"}, file) == RunSettings("bioqa")
    assert settings_from({"generator": "vllm:b/c"}, file).tensor_parallel == 2


def test_the_model_of_an_engine_is_a_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder or file is found again from elsewhere; a Hub id and "embedded" stay what they are."""
    (tmp_path / "small").mkdir()
    (tmp_path / "embedded").mkdir()
    monkeypatch.chdir(tmp_path)
    assert RunSettings("bioqa", generator="vllm:small").generator == f"vllm:{tmp_path}/small"
    assert RunSettings("bioqa", generator="llamacpp:./no.gguf").generator == f"llamacpp:{tmp_path}/no.gguf"
    for name in ("vllm:user/small", "vllm:embedded"):
        assert RunSettings("bioqa", generator=name).generator == name


@pytest.mark.weights
def test_two_engines_are_refused(tmp_path: Path, home: Path) -> None:
    """Both would want the same GPUs; the same one twice is one."""
    gguf = tmp_path / "a.gguf"
    gguf.write_bytes(b"GGUF" + bytes(28))
    given = {"task": "bioqa", "generator": f"llamacpp:{gguf}"}
    with pytest.raises(InputError, match="two engines would want the same GPUs"):
        resolve(settings_from({**given, "judge": "vllm:user/name"}))
    run = resolve(settings_from({**given, "judge": f"llamacpp:{gguf}"}))
    assert run.judge is run.generator


def test_a_dummy_key_is_no_reason_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers of one's own take any key; a word of it in an address or a path is none."""
    monkeypatch.setenv("OPENAI_API_KEY", "local")
    settings = RunSettings("bioqa", generator="http://localhost:8000/v1", index="/usr/local")
    assert settings.changed() == {"task": "bioqa", "generator": "http://localhost:8000/v1", "index": "/usr/local"}


@pytest.mark.parametrize(
    "name", [name for name, setting in SETTINGS.items() if setting.kind == "text" or setting.choices]
)
def test_empty_is_not_a_value(name: str) -> None:
    """An empty text, or an empty choice, is refused with what is expected."""
    with pytest.raises(InputError, match=f"{name} is empty, expected"):
        RunSettings(**{"task": "bioqa", name: ""})  # type: ignore[arg-type]


def test_the_same_value_in_other_words_is_the_same_run(home: Path) -> None:
    """Twice the same check, and minus zero."""
    assert RunSettings("bioqa", skip_checks="semantic,semantic") == RunSettings("bioqa", skip_checks=["semantic"])
    assert repr(RunSettings("bioqa", min_similarity=-0.0)) == repr(RunSettings("bioqa", min_similarity=0))


def test_paths_of_a_run_yaml_are_taken_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that does not exist yet, too; the folder of a dataset stands for its run.yaml."""
    (tmp_path / "run.yaml").write_text("task: bioqa\nfew_shots: shots.jsonl\nreview: people.sqlite\n")
    monkeypatch.chdir("/")
    for config in (tmp_path / "run.yaml", tmp_path):
        settings = settings_from({}, config)
        assert (settings.few_shots, settings.review) == (
            str(tmp_path / "shots.jsonl"),
            str(tmp_path / "people.sqlite"),
        )


def test_unknown_arguments_of_load_dataset_come_with_the_nearest(home: Path) -> None:
    """As unknown keys of a run.yaml do."""
    with pytest.raises(InputError, match=r"there is no setting 'temprature'. Did you mean temperature"):
        load_dataset("craft", task="bioqa", temprature=0.5)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("generator", "localhost:8000", "nor a Hub id such as user/name. Did you mean the URL"),
        ("generator", ",", "neither a model folder nor a Hub id"),
        ("device", "gpu", "device is 'gpu', expected a torch device such as cpu, cuda"),
        ("device", "cuda:99", "device is 'cuda:99', but torch sees . cuda devices here; leave it out"),
    ],
)
def test_what_is_no_model_and_no_device_is_told(home: Path, name: str, value: str, message: str) -> None:
    """In one line, before anything is asked."""
    settings = settings_from({"task": "bioqa", name: value})
    with pytest.raises(InputError, match=message):
        dict(open_generator(settings.generator, None, settings).identity)


def test_lists_are_taken_where_texts_with_commas_are() -> None:
    """Both give the same settings."""
    listed = RunSettings("bioqa", skip_checks=["semantic", "language"], test_sets=["a/b::test"], earlier=[])
    texts = RunSettings("bioqa", skip_checks="semantic, language", test_sets="a/b::test", earlier="")
    assert listed == texts
    urls = RunSettings("bioqa", generator=["http://a:1", "http://b:1"])  # type: ignore[arg-type]
    assert urls.generator == "http://a:1,http://b:1"


@pytest.mark.weights
def test_lists_are_taken_by_load_dataset(home: Path, server: WriterServer) -> None:
    """skip_checks as a list is the same dataset as as a text."""
    asked = {"task": "bioqa", "generator": server.url, "num_samples": 2}
    ids = {
        load_dataset_builder("craft", **asked, skip_checks=value).config.run.run_id  # type: ignore[arg-type]
        for value in (["semantic", "copied"], "copied,semantic", ("semantic", "copied"))
    }
    assert len(ids) == 1


@pytest.mark.parametrize(
    "argument",
    [
        {"revision": "v9"}, {"data_dir": "no/folder"}, {"data_files": "no-file.jsonl"}, {"version": "1.0.0"},
        {"description": "mine"}, {"storage_options": {"a": 1}}, {"token": "secret"},
    ],
)  # fmt: skip
def test_arguments_that_do_nothing_are_refused(home: Path, argument: dict[str, Any]) -> None:
    """load_dataset takes them for every dataset; here they would change nothing."""
    with pytest.raises(InputError, match=rf"{[*argument][-1]}= does nothing for load_dataset\(\"craft\"\)"):
        load_dataset("craft", task="bioqa", size="XS", **argument)
    with pytest.raises(InputError, match="= does nothing"):
        load_dataset("craft", "bioqa", size="XS", **argument)


@pytest.mark.weights
def test_a_stream_does_not_begin_anew(home: Path) -> None:
    """It would give the old rows; the message says how to have new ones."""
    with pytest.raises(InputError, match=r"download_mode= does nothing .*load it once without streaming=True"):
        load_dataset("craft", task="bioqa", size="XS", streaming=True, download_mode="force_redownload")
    load_dataset("craft", task="bioqa", size="XS", download_mode="force_redownload")


def test_unknown_checks_cannot_be_skipped(home: Path) -> None:
    """The checks that there are stand in the message."""
    with pytest.raises(InputError, match="gramar"):
        resolve(RunSettings("bioqa", size="XS", skip_checks="gramar"))


@pytest.mark.weights
def test_few_shots_alone_are_the_same_whatever_would_have_been_generated(home: Path) -> None:
    """XS depends on nothing that only generation needs."""
    plain = RunSettings("bioqa", size="XS")
    assert resolve(plain).run_id == resolve(replace(plain, temperature=0.1, seed=9, skip_checks="semantic")).run_id


@pytest.mark.weights
def test_builder_config_is_pickled_without_the_run(home: Path) -> None:
    """Worker processes get the settings, and look the run up again."""
    import pickle

    config = CraftConfig(name="bioqa", task="bioqa", size="XS")
    again = pickle.loads(pickle.dumps(config))
    assert again.run.run_id == config.run.run_id
    assert isinstance(again, datasets.BuilderConfig)
