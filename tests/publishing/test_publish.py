"""Publishing with the unmodified Hub clients: upload, loading back, faults at every request, and refusals."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from huggingface_hub import DatasetCard
from typer.testing import CliRunner

from craft_hf.base.errors import CraftError, HubError, InputError, StorageError
from craft_hf.cli.main import app
from craft_hf.dataset.folder import DatasetFolder
from craft_hf.dataset.personal_data import found_in
from craft_hf.dataset.rows import task_features
from craft_hf.publishing import push as publishing
from craft_hf.publishing.push import folder_kind, plan_publish, publish, write_repository
from craft_hf.publishing.secret_scan import check_secrets
from craft_hf.tasks.task import load_task
from tests.hub_client import Client, hub_client
from tests.hub_server import FAULTS, Fault, File, HubServer
from tests.publishable_folders import tiny_base, write_adapter, write_run
from tests.publishing.users import ANN, READER
from tests.tiny_model import save_tiny_model
from tests.vectors import given_index, whole_numbers


@pytest.fixture(scope="module")
def client(hub: HubServer, home: Path) -> Iterator[Client]:
    """A client in its own process, which has finished its imports."""
    with hub_client(hub.url, home) as running:
        with pytest.raises(CraftError):
            running.call(ANN, publish, home, "ann/nothing")
        yield running


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Datasets of two sizes, an adapter, and an index."""
    folder = tmp_path_factory.mktemp("folders")
    given_index(folder / "index", whole_numbers(np.random.default_rng(0), 20), 10)
    return {
        "small": write_run(folder / "small", 3),
        "large": write_run(folder / "large", 470),
        "adapter": write_adapter(folder),
        "index": folder / "index",
    }


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A repository of ann's for one test."""
    return "ann/" + re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:60]


@pytest.fixture(autouse=True)
def no_token_anywhere(hub: HubServer, home: Path) -> Iterator[None]:
    """After each test: no byte of a token in a cache of the client, nor in what the Hub holds."""
    yield
    kept = [path.read_bytes() for path in home.rglob("*") if path.is_file()]
    for repo in hub.repos.values():
        kept += [file.content for commit in repo.commits[-1:] for file in commit.files.values()]
    assert not any(b"canary" in content for content in kept)


def state(hub: HubServer, kind: str, repo_id: str) -> dict[str, str]:
    """Return the hash of each file in a repository, by path, except .gitattributes, which a new one has."""
    repo = hub.repos.get((kind, repo_id))
    files = repo.commits[-1].files if repo else {}
    return {p: hashlib.sha256(f.content).hexdigest() for p, f in files.items() if p != ".gitattributes"}


def load(repo_id: str, config: str | None = None) -> list[object]:
    """Load a dataset with an empty cache."""
    import tempfile

    import datasets

    with tempfile.TemporaryDirectory() as cache:
        rows: list[object] = datasets.load_dataset(repo_id, config, split="train", cache_dir=cache).to_list()
    return rows


def use_xet(hub: HubServer, storage: Path | None, folder: Path | None = None, repo_id: str = "") -> None:
    """Give the Hub an xet storage in a folder, and the xet hashes of the large files that will be uploaded."""
    import hf_xet

    hub.start_counting()
    hub.xet_folder, hub.xet_files = storage, {}
    if storage is None or folder is None:
        return
    storage.mkdir()
    write_repository(folder, storage.parent / "sent", repo_id)
    paths = [p for p in (storage.parent / "sent").rglob("*") if p.suffix in (".parquet", ".safetensors")]
    for path, known in zip(paths, hf_xet.hash_files([str(p) for p in paths]), strict=True):
        hub.xet_files[hashlib.sha256(path.read_bytes()).hexdigest()] = (known.hash, path.read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("xet", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_dataset_is_loaded_back_in_four_configurations(
    hub: HubServer, folders: dict[str, Path], name: str, tmp_path: Path, xet: bool
) -> None:
    """Few-shots, S, M and all rows, and the rejects, by plain LFS and by xet; the first rows are the same in all."""
    use_xet(hub, tmp_path / "cas" if xet else None, folders["large"], name)
    with hub_client(hub.url, tmp_path / "home", HF_HUB_DISABLE_XET="0" if xet else "1") as client:
        assert client.call(ANN, publish, folders["large"], name) == f"{hub.url}/datasets/{name}"
        rows = pyarrow.parquet.read_table(folders["large"] / "data").to_pylist()
        for config, size in ((None, 502), ("few-shots", 32), ("S", 100), ("M", 500)):
            assert client.call(ANN, load, name, config) == rows[:size]
        [reject] = client.call(ANN, load, name, "rejected")
        assert reject["reason"] == "no JSON"
        by_xet = hub.count("GET", "/xet-write-token/"), hub.count("GET", "/xet-read-token/")
        assert (min(by_xet) > 0) == (hub.count("PUT") == 0) == xet
    use_xet(hub, None)
    repo = hub.repos["dataset", name]
    assert (repo.private, len(repo.commits)) == (True, 2)
    card = DatasetCard(repo.commits[-1].files["README.md"].content.decode())
    assert [c["config_name"] for c in card.data.to_dict()["configs"]] == ["default", "few-shots", "S", "M", "rejected"]
    assert f'load_dataset("{name}"' in card.text


def peft_logits(repo_id: str) -> list[float]:
    """Logits of the tiny model with an adapter from the Hub."""
    import torch
    from peft import PeftModel

    model = PeftModel.from_pretrained(tiny_base(), repo_id).eval()
    with torch.no_grad():
        found: list[float] = model(torch.arange(10)[None]).logits.flatten().tolist()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("xet", [False, pytest.param(True, marks=pytest.mark.long)])
def test_an_adapter_is_loaded_back_by_peft(
    hub: HubServer, folders: dict[str, Path], name: str, tmp_path: Path, xet: bool
) -> None:
    """Of the training folder only the adapter is uploaded, and peft loads it with the same logits as locally."""
    shutil.copytree(folders["adapter"], tmp_path / "run" / "adapter")
    (tmp_path / "run" / "checkpoint-3").mkdir()
    (tmp_path / "run" / "training_args.bin").write_bytes(ANN.encode())
    use_xet(hub, tmp_path / "cas" if xet else None, folders["adapter"], name)
    with hub_client(hub.url, tmp_path / "home", HF_HUB_DISABLE_XET="0" if xet else "1") as client:
        assert client.call(ANN, publish, tmp_path / "run", name) == f"{hub.url}/{name}"
        assert client.call(ANN, peft_logits, name) == pytest.approx(peft_logits(str(folders["adapter"])), rel=1e-5)
    use_xet(hub, None)
    assert set(state(hub, "model", name)) == {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "assets/loss.png", "trainer_state.json"
    }  # fmt: skip
    assert name in hub.repos["model", name].commits[-1].files["README.md"].content.decode()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["small", "adapter", "index"])
def test_an_unchanged_folder_is_not_uploaded_again(
    hub: HubServer, client: Client, folders: dict[str, Path], name: str, kind: str
) -> None:
    """A second call uploads and commits nothing; dry runs report new, then same, and upload nothing."""
    hub.start_counting()
    plan = client.call(ANN, plan_publish, folders[kind], name)
    assert {what for _, _, what in plan} == {"new"}
    assert hub.count("POST") == hub.count("PUT") == 0
    client.call(ANN, publish, folders[kind], name)
    hub.start_counting()
    client.call(ANN, publish, folders[kind], name)
    assert hub.count("PUT") == hub.count("POST") == 0
    again = client.call(ANN, plan_publish, folders[kind], name)
    assert sorted(p for p, _, what in again if what == "same") == sorted(p for p, _, _ in plan)
    assert len(again) == len(plan)


def test_files_of_an_earlier_version_are_removed_from_the_repository(
    hub: HubServer, client: Client, folders: dict[str, Path], name: str
) -> None:
    """A smaller dataset replaces a larger one in a single commit, and its larger configurations are gone."""
    client.call(ANN, publish, folders["large"], name)
    plan = {path: what for path, _, what in client.call(ANN, plan_publish, folders["small"], name)}
    assert plan["M/train-00000-of-00001.parquet"] == "removed"
    assert plan["data/train-00000-of-00001.parquet"] == "changed"
    client.call(ANN, publish, folders["small"], name)
    assert not [path for path in state(hub, "dataset", name) if path.startswith(("S/", "M/"))]
    assert len(hub.repos["dataset", name].commits) == 3


def requests(hub: HubServer, client: Client, folder: Path, name: str) -> int:
    """Return the number of requests of an upload into a new repository without faults."""
    hub.start_counting()
    client.call(ANN, publish, folder, name)
    return len(hub.requests)


WAYS = [
    ("small", "lost", 4),
    *(pytest.param(what, kind, 1, marks=pytest.mark.long) for what in ("small", "adapter") for kind in FAULTS),
]
"""What is published, which fault occurs, and at which requests: 4 is every fourth."""


@pytest.mark.slow
@pytest.mark.parametrize(("what", "kind", "every"), WAYS)
def test_every_fault_at_every_request(
    hub: HubServer, client: Client, folders: dict[str, Path], name: str, what: str, kind: str,
    every: int, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A single fault is retried. After a lasting one the repository has all files or none; a second call completes it.

    Either way there is a single commit in the end. Prints how often each outcome occurred.
    """
    folder, repo_type = folders[what], "model" if what == "adapter" else "dataset"
    number = requests(hub, client, folder, f"{name}-clean")
    whole = state(hub, repo_type, f"{name}-clean")
    counts = {"went through": 0, "clear error, nothing there": 0, "clear error, all there": 0, "completed": 0}
    for at in range(1, number + 1, every):
        for repeat in (False, True):
            repo_id = f"{name}-{at}-{repeat}"
            hub.start_counting(Fault(at, kind, repeat))
            message = client.call(ANN, error_of_publishing, folder, repo_id)
            if not message:
                counts["went through"] += 1
            else:
                assert repeat, message
                assert f"cannot be published to {repo_id}: " in message
                assert "signature" not in message
                there = names(hub, repo_type, repo_id)
                assert there in (set(), set(whole))
                counts[f"clear error, {'all' if there else 'nothing'} there"] += 1
                hub.start_counting()
                client.call(ANN, publish, folder, repo_id)
                counts["completed"] += 1
            assert names(hub, repo_type, repo_id) == set(whole)
            assert len(hub.repos[repo_type, repo_id].commits) == 2
    with capsys.disabled():
        print(f"\n{what}, {kind}, {number} requests: " + ", ".join(f"{n} {said}" for said, n in counts.items()))
    assert counts["completed"] > 3


def error_of_publishing(folder: Path, repo_id: str) -> str:
    """Publish, and return the message of the HubError, or "" where there was none."""
    try:
        publish(folder, repo_id)
    except HubError as e:
        return str(e)
    return ""


def names(hub: HubServer, kind: str, repo_id: str) -> set[str]:
    """Return the paths of the files in a repository."""
    return set(state(hub, kind, repo_id))


@pytest.mark.parametrize(
    ("token", "repo_id", "private", "message"),
    [
        ("", "ann/new", True, "you are not logged in to the Hub; log in with `hf auth login`, or set HF_TOKEN"),
        ("hf_canaryWrong", "ann/new", True, "the Hub does not accept your token"),
        (READER, "ann/new", True, "the token of ann may only read; log in"),
        (ANN, "bob/new", True, r"your token may not do that \(.*rights to write to bob/new"),
        (ANN, "ann/open", True, "that repository is public, but a private one was asked for. Nothing was uploaded"),
        (ANN, "ann/closed", False, "that repository is private, but a public one was asked for. Nothing was uploaded"),
        (ANN, "ann/other", True, "holds 'train.csv', which is not part of it; give another name"),
        (ANN, "name", True, "not the name of a Hub repository; expected user/name"),
        (ANN, "ann/na me", True, "not the name of a Hub repository; expected user/name"),
    ],
)
def test_mistakes_are_reported_before_any_upload(
    hub: HubServer, client: Client, folders: dict[str, Path], token: str, repo_id: str, private: bool, message: str
) -> None:
    """Each is an InputError that names folder, repository and remedy."""
    for other, is_private in {"ann/open": False, "ann/closed": True}.items():
        hub.add_repo(other, private=is_private)
    hub.add_repo("ann/other").commit("rows", {"train.csv": File(b"rows", is_large=False)})
    hub.start_counting()
    with pytest.raises(InputError, match=message) as error:
        client.call(token, publish, folders["small"], repo_id, private=private)
    assert f"{folders['small']} cannot be published to {repo_id}: " in str(error.value)
    assert hub.count("PUT") == hub.count("POST", "/commit/") == hub.count("POST", "/preupload/") == 0


@pytest.mark.slow
def test_offline_is_reported(hub: HubServer, folders: dict[str, Path], home: Path) -> None:
    """HF_HUB_OFFLINE is an error before any request, and so is an address without a Hub."""
    with (
        hub_client(hub.url, home, HF_HUB_OFFLINE="1") as offline,
        pytest.raises(InputError, match="HF_HUB_OFFLINE is set"),
    ):
        offline.call(ANN, publish, folders["small"], "ann/offline")
    with hub_client("http://127.0.0.1:9", home) as nowhere, pytest.raises(HubError, match="Run it again later"):
        nowhere.call(ANN, publish, folders["small"], "ann/offline")


@pytest.mark.long
@pytest.mark.weights
def test_trl_trains_on_a_published_dataset_by_its_name(
    hub: HubServer, folders: dict[str, Path], name: str, tmp_path: Path, client: Client
) -> None:
    """The command of the card, with the chat template of the repository for a model that has none."""
    client.call(ANN, publish, folders["small"], name)
    model = save_tiny_model(tmp_path / "tiny")
    (model / "chat_template.jinja").unlink()
    (tmp_path / "chat_template.jinja").write_bytes(
        hub.repos["dataset", name].commits[-1].files["chat_template.jinja"].content
    )
    command = [
        Path(sys.executable).with_name("trl"), "sft", "--model_name_or_path", model, "--dataset_name", name,
        "--chat_template_path", tmp_path / "chat_template.jinja", "--use_peft", "--lora_target_modules", "all-linear",
        "--output_dir", tmp_path / "out", "--max_steps", "1", "--use_cpu", "--bf16", "false", "--report_to", "none",
    ]  # fmt: skip
    environment = {
        **os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": ANN, "HF_HUB_OFFLINE": "0",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0", "NO_PROXY": "*", "ACCELERATE_USE_CPU": "true",
    }  # fmt: skip
    done = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()


def test_licences_of_rejected_documents_count_too(tmp_path: Path) -> None:
    """They go up with the rejects."""
    folder = write_run(tmp_path / "run", 2)
    made = DatasetFolder(folder)
    rejects = [{**row, "license": "CC BY-ND 4.0"} for row in made.rejects]
    report = dataclasses.replace(
        made.report,
        sources=[*made.report.sources, {**made.report.sources[0], "license": "CC BY-ND 4.0", "rows": 0, "rejected": 1}],
    )
    made.write_data(list(made.rows), task_features(load_task("bioqa")), rejects)
    made.write_report(report, made.rows, made.rejects)
    with pytest.raises(
        InputError, match=r"not allow samples .* \(CC BY-ND 4.0\): 0 rows and 1 rejected .* documents d\."
    ):
        write_repository(folder, tmp_path / "out", private=False)
    write_repository(folder, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"document": "the key hf_" + "a" * 34},
            r"row 33 of data, document contains what looks like a Hugging Face token",
        ),
        ({"options": ["AKIA" + "A1" * 8]}, "row 33 of data, options contains what looks like an AWS key"),
        (
            {"question": "-----BEGIN RSA PRIVATE KEY-----"},
            "row 33 of data, question contains what looks like a private key",
        ),
        ({"title": "mine: s3cr3tOfMine!"}, "row 33 of data, title contains the value of MY_API_KEY"),
        (
            {"license": "CC BY-ND 4.0"},
            r"not allow samples .* openstax \(CC BY-ND 4.0\): 1 rows, such as documents openstax-0\.",
        ),
    ],
)
def test_secrets_and_licence_conflicts_are_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, object], message: str
) -> None:
    """The error names the location and the kind, never the secret; nothing is written or uploaded."""
    monkeypatch.setenv("MY_API_KEY", "s3cr3tOfMine!")
    folder = write_run(tmp_path / "run", 2, **change)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message) as error:
        write_repository(folder, tmp_path / "out", private=False)
    assert not re.search(r"aaaa|A1A1|s3cr3t", str(error.value))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("value", "text", "found"),
    [
        ("disabled", "The enzyme is disabled by heat.", False),
        ("password", "A password is a secret.", False),
        ("20261130", "On 20261130 it rained.", False),
        ("/run/secrets/key", "It is kept in /run/secrets/key.", False),
        ("s3cr3tOfMine!", "mine: s3cr3tOfMine!", True),
        ("s3cr3tOfMine", "nots3cr3tOfMineatall", False),
        ("s3cr3tOfMine", "密码是s3cr3tOfMine。", True),
        ("s3cr3tOfMine", "a\\ns3cr3tOfMine in JSON", True),
        ("hf_" + "Canary" * 6, "x\\nhf_" + "Canary" * 6, True),
        ("/Xk3b9QzAbCdEfGhIjKlMnOpQrStUvWxYz012345", "key=/Xk3b9QzAbCdEfGhIjKlMnOpQrStUvWxYz012345", True),
        ("correcthorsebattery", "It is correcthorsebattery.", True),
        ("correct horse battery", "It is correct horse battery, of course.", True),
        ("abcdefghijklmnopqrstuvwx", "key abcdefghijklmnopqrstuvwx", True),
    ],
)
def test_values_of_variables_are_secrets_unless_they_are_ordinary(
    monkeypatch: pytest.MonkeyPatch, value: str, text: str, found: bool
) -> None:
    """One word, a number or a path is in many texts; what is part of a longer word is something else."""
    monkeypatch.setenv("MY_PASSWORD", value)
    problem = ""
    try:
        check_secrets([("row 1", text)], "no")
    except InputError as error:
        problem = str(error)
    assert bool(problem) == found
    assert not found or ("the value of MY_PASSWORD" in problem and value not in problem)


def test_an_adapter_that_names_this_machine_is_not_published(folders: dict[str, Path], tmp_path: Path) -> None:
    """A path below the home folder, the host name, a token in the card, and a checkpoint are refused."""
    for number, (file, text, message) in enumerate(
        [
            ("adapter_config.json", f'{{"base": "{Path.home()}/models"}}', "contains a local path"),
            ("trainer_state.json", f'{{"host": "{os.uname().nodename}"}}', "contains the name of this machine"),
            ("README.md", "hf_" + "b" * 34, "README.md contains what looks like a Hugging Face token"),
            (
                "training_args.bin",
                "",
                "is a checkpoint, which serves to resume training only; give the folder `adapter` beside it",
            ),
        ]
    ):
        place = shutil.copytree(folders["adapter"], tmp_path / str(number))
        (place / file).write_text(text)
        with pytest.raises(InputError, match=message):
            write_repository(place, tmp_path / "out")
    (place / "training_args.bin").unlink()
    (place / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"has no adapter_model\.safetensors"):
        write_repository(place, tmp_path / "out")


@pytest.mark.slow
def test_local_paths_and_personal_data_are_removed(tmp_path: Path) -> None:
    """Lineage has no local paths, and with mask_personal no text has e-mail addresses or phone numbers."""
    said = "Write to jo@example.org or 888-346-3656."
    folder = write_run(tmp_path / "run", 2, document=said, url="file:///srv/jo/x.txt", source="/srv/jo/x.txt")
    write_repository(folder, tmp_path / "plain")
    write_repository(folder, tmp_path / "masked", mask_personal=True)
    for name, text in (("plain", said), ("masked", "Write to [e-mail] or [phone].")):
        files = {p: p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        assert not [path for path, content in files.items() if b"/srv/jo" in content]
        row = pyarrow.parquet.read_table(tmp_path / name / "data").to_pylist()[32]
        assert (row["document"], row["url"]) == (text, "[local path]")
    card = (tmp_path / "masked" / "README.md").read_text()
    assert "was masked in all texts before" in card
    assert "1 rows with an e-mail address, 1 with a phone number" in (tmp_path / "plain" / "README.md").read_text()
    assert not found_in((tmp_path / "masked" / "report.html").read_text())


def test_the_repository_loads_without_craft_hf(folders: dict[str, Path], tmp_path: Path) -> None:
    """The folder of `--to` loads in a process that cannot import craft_hf, in every configuration."""
    write_repository(folders["large"], tmp_path / "out", "ann/rows")
    code = (
        "import sys; sys.modules['craft_hf'] = None\n"
        "from datasets import load_dataset\n"
        f"folder = {str(tmp_path / 'out')!r}\n"
        "print([load_dataset(folder, n, split='train').num_rows for n in ('few-shots', 'S', 'M', 'default')])"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": "", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.stdout.strip() == "[32, 100, 500, 502]", done.stderr


def test_a_run_of_a_standard_size_stores_its_rows_once(tmp_path: Path) -> None:
    """The configuration of that size uses the files with all rows."""
    write_repository(write_run(tmp_path / "run", 68), tmp_path / "out")
    configs = DatasetCard.load(tmp_path / "out" / "README.md").data.to_dict()["configs"]
    assert configs[2] == {"config_name": "S", "data_files": "data/train-*"}
    assert not (tmp_path / "out" / "S").exists()


@pytest.mark.slow
def test_an_upload_that_differs_is_reported(
    hub: HubServer, client: Client, folders: dict[str, Path], name: str, tmp_path: Path
) -> None:
    """Files on the Hub that differ, or load as other rows, are an error that names them."""
    client.call(ANN, publish, folders["small"], name)
    client.call(ANN, publish, folders["adapter"], name)
    other = write_run(tmp_path / "other", 3, question="Which one is another one?")
    shutil.copytree(folders["adapter"], tmp_path / "adapter")
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    for folder, message in (
        (other, "configuration default, loaded back"),
        (tmp_path / "adapter", "config.json, loaded"),
    ):
        with pytest.raises(HubError, match=r"it fails: after the upload, .* on the Hub differs from the local file"):
            client.call(ANN, compare, folder, name)
        with pytest.raises(HubError, match=f"it fails: .*{message}"):
            client.call(ANN, compare, folder, name, with_hashes=False)


def compare(folder: Path, repo_id: str, with_hashes: bool = True) -> None:
    """Compare a repository with the files that would be published."""
    import contextlib
    import importlib
    import tempfile
    from unittest import mock

    module = importlib.import_module("craft_hf.publishing.verify")
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if not with_hashes:
            stack.enter_context(mock.patch.object(module, "pending_changes", return_value={}))
        sent = publishing._repository(folder, repo_id, work, "it fails", True, False)
        module.verify_upload(sent, repo_id, "main", "it fails")


def test_folders_that_cannot_be_published(folders: dict[str, Path], tmp_path: Path) -> None:
    """Another folder, a broken table, an existing target: each error says what was expected."""
    assert [folder_kind(folder) for folder in folders.values()] == ["dataset", "dataset", "adapter", "index"]
    with pytest.raises(InputError, match=r"cannot be published; expected a dataset .* an index .* an adapter"):
        folder_kind(tmp_path)
    broken = shutil.copytree(folders["small"], tmp_path / "broken")
    (broken / "data" / "train-00000-of-00001.parquet").write_bytes(b"no table")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        write_repository(broken, tmp_path / "out")
    with pytest.raises(InputError, match="it exists and is not an empty folder"):
        write_repository(folders["small"], broken)
    with pytest.raises(InputError, match="mask_personal applies to datasets only"):
        write_repository(folders["adapter"], tmp_path / "out", mask_personal=True)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="free disk space, or give another folder"):
        write_repository(folders["small"], tmp_path / "file" / "out")


def command(*arguments: str) -> str:
    """Return what `craft-hf` prints; its errors are raised."""
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_command(hub: HubServer, client: Client, folders: dict[str, Path], name: str, tmp_path: Path) -> None:
    """The command previews, writes and publishes, and prints where; --public makes the repository public."""
    small = str(folders["small"])
    assert "Example: craft-hf publish my-dataset user/name --dry-run" in command("publish", "--help")
    assert "would go up; nothing was sent. Not logged in" in client.call(
        "", command, "publish", small, name, "--dry-run"
    )
    shown = client.call(ANN, command, "publish", small, name, "--dry-run")
    assert re.search(r"^new +[\d,]+  data/train-00000-of-00001\.parquet$", shown, re.M)
    assert "not logged in" not in shown
    assert f"the repository is in {tmp_path / 'out'}" in command("publish", small, "--to", str(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "report.json").read_text())["task"] == "bioqa"
    with pytest.raises(InputError, match="no destination given"):
        command("publish", small)
    said = client.call(ANN, command, "publish", small, name, "--public")
    assert f"dataset {small}, loaded back and compared: {hub.url}/datasets/{name}\n" in said
    assert "Only you" not in said
    assert len(client.call("", load, name)) == 35
    assert "It is private" in client.call(ANN, command, "publish", str(folders["adapter"]), name)
