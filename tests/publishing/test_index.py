"""Indexes on the Hub: the unmodified client, in a process of its own, against a local Hub whose every request fails."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from craft_hf.base.errors import CraftError, HubError, InputError
from craft_hf.base.hub import parse_repo_name
from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.ledger import Ledger, Reason
from craft_hf.publishing.push import publish
from craft_hf.retrieval.index.build import build_index
from craft_hf.retrieval.index.card import index_card
from craft_hf.retrieval.index.hub import find_index, index_folder, pull_index
from craft_hf.retrieval.index.info import read_info
from craft_hf.retrieval.index.search import Index
from craft_hf.retrieval.index.verify import verify_index
from craft_hf.tasks.task import load_task
from tests.hub_client import Client, hub_client
from tests.hub_server import FAULTS, Fault, File, HubServer, Repo
from tests.publishing.users import ANN, BOB, READER
from tests.vectors import HashEmbedder, given_index, parts_of, shard_paths, whole_numbers

OF_TWO_LICENSES = [("own", "CC BY-SA 4.0"), ("other", "CC BY-NC 4.0")] * 15
"""Source and licence of each document; rows of both could not be published under one licence."""
OBJECT = re.compile(r"(GET|PUT) /datasets/.*/[0-9a-f]{64}")
"""A large file that goes to or comes from the storage."""


@pytest.fixture(scope="module")
def client(hub: HubServer, home: Path) -> Iterator[Client]:
    """A client that has said hello: the first request of a process is one about itself."""
    with hub_client(hub.url, home) as running:
        with pytest.raises(InputError):
            running.call(ANN, pull_index, "ann/nothing")
        yield running


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An index of two shards, and what it became when documents for a third were added."""
    folder = tmp_path_factory.mktemp("indexes")
    vectors = whole_numbers(np.random.default_rng(0), 30)
    given_index(folder / "small", vectors[:20], 10, corpora=OF_TWO_LICENSES[:20])
    shutil.copytree(folder / "small", folder / "large")
    given_index(folder / "large", vectors, 10, corpora=OF_TWO_LICENSES)
    return folder / "small", folder / "large"


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A repository of ann's for one test."""
    return "ann/" + re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:80]


def contents(folder: Path) -> dict[str, bytes]:
    """The files of an index."""
    return {name: (folder / name).read_bytes() for name in parts_of(folder)}


def published(repo: Repo | None) -> dict[str, bytes]:
    """What a reader finds in a repository, apart from the card."""
    files = repo.commits[-1].files if repo else {}
    return {path: f.content for path, f in files.items() if path not in (".gitattributes", "README.md")}


def objects(hub: HubServer) -> int:
    """Number of large files that went over the wire since counting began."""
    return sum(bool(OBJECT.match(line)) for line in hub.requests)


@pytest.mark.slow
def test_pulled_index_is_the_pushed_one(
    hub: HubServer, client: Client, indexes: tuple[Path, Path], name: str, home: Path
) -> None:
    """Files are equal to the last byte, hits as well; the repository is private, and has a card; no token is left."""
    url = client.call(ANN, publish, indexes[1], name)
    assert url == f"{hub.url}/datasets/{name}"
    folder = client.call(ANN, pull_index, name)
    assert contents(folder) == contents(indexes[1])
    assert verify_index(folder) == []
    queries = whole_numbers(np.random.default_rng(1), 4)
    for got, want in zip(Index.open(folder).search(queries, 9), Index.open(indexes[1]).search(queries, 9), strict=True):
        np.testing.assert_array_equal(got, want)
    repo = hub.repos["dataset", name]
    assert repo.private
    assert len(repo.commits) == 2
    assert repo.commits[-1].files["README.md"].content.decode() == index_card(read_info(folder), name)
    for path in [*home.rglob("*"), *folder.rglob("*")]:
        assert not path.is_file() or b"canary" not in path.read_bytes()


def test_nothing_goes_twice(hub: HubServer, client: Client, indexes: tuple[Path, Path], name: str) -> None:
    """A second push makes no commit and uploads nothing; a second pull asks for the newest commit and that is all."""
    client.call(ANN, publish, indexes[0], name)
    client.call(ANN, pull_index, name)
    hub.start_counting()
    client.call(ANN, publish, indexes[0], name)
    assert len(hub.repos["dataset", name].commits) == 2
    assert hub.count("PUT") == hub.count("POST", "/lfs/") == hub.count("POST", "/commit/") == 0
    hub.start_counting()
    client.call(ANN, pull_index, name)
    assert hub.requests == [f"HEAD /datasets/{name}/resolve/main/index.json"]


def test_only_new_shards_go_over_the_wire(
    hub: HubServer, client: Client, indexes: tuple[Path, Path], name: str
) -> None:
    """An index that grew sends and fetches its new shard; one that shrank loses it; old commits stay as they were."""
    small, large = indexes
    client.call(ANN, publish, small, name)
    first = client.call(ANN, pull_index, name)
    hub.start_counting()
    client.call(ANN, publish, large, name)
    assert objects(hub) == hub.count("PUT") == 1
    hub.start_counting()
    assert contents(client.call(ANN, pull_index, name)) == contents(large)
    assert objects(hub) == 1
    client.call(ANN, publish, small, name)
    assert published(hub.repos["dataset", name]) == contents(small)
    hub.start_counting()
    assert contents(client.call(ANN, pull_index, name)) == contents(small)
    assert objects(hub) == 0
    assert client.call(ANN, pull_index, name, first.name) == first


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_during_a_push_does_not_show(
    hub: HubServer, client: Client, indexes: tuple[Path, Path], name: str, kind: str
) -> None:
    """Whichever request fails once, before or after its work was done, the push succeeds with a single commit."""
    folder = indexes[1]
    for number in range(1, push_requests(hub, client, folder, name) + 1):
        repo_id = f"{name}-{number}"
        hub.start_counting(Fault(number, kind))
        client.call(ANN, publish, folder, repo_id)
        repo = hub.repos["dataset", repo_id]
        assert published(repo) == contents(folder)
        assert (len(repo.commits), repo.private) == (2, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "before"),
    [
        pytest.param(kind, before, marks=() if (kind, before) in (("lost", True), ("503", False)) else pytest.mark.long)
        for kind in FAULTS
        for before in (False, True)
    ],
)
def test_a_push_that_ends_anywhere_leaves_a_readable_repository(
    hub: HubServer, client: Client, indexes: tuple[Path, Path], name: str, kind: str, before: bool
) -> None:
    """When the Hub is gone from some request on, readers have the index of before or the new one; a push completes."""
    small, large = indexes
    for number in range(1, push_requests(hub, client, large, name, small if before else None) + 1):
        repo_id = f"{name}-{number}"
        if before:
            client.call(ANN, publish, small, repo_id)
        old = published(hub.repos.get(("dataset", repo_id)))
        hub.start_counting(Fault(number, kind, repeat=True))
        message = f"cannot be published to {repo_id}: .* it resumes where it stopped"
        with pytest.raises(HubError, match=message) as error:
            client.call(ANN, publish, large, repo_id)
        assert "signature" not in str(error.value)
        found = published(hub.repos.get(("dataset", repo_id)))
        assert found in (old, contents(large))
        hub.start_counting()
        if found:
            assert contents(client.call(ANN, pull_index, repo_id)) == found
        client.call(ANN, publish, large, repo_id)
        assert len(hub.repos["dataset", repo_id].commits) == 2 + before
        assert contents(client.call(ANN, pull_index, repo_id)) == contents(large)


def push_requests(hub: HubServer, client: Client, folder: Path, name: str, before: Path | None = None) -> int:
    """Number of requests of a push without faults, into a new repository or one with another index."""
    if before:
        client.call(ANN, publish, before, f"{name}-clean")
    hub.start_counting()
    client.call(ANN, publish, folder, f"{name}-clean")
    return len(hub.requests)


@pytest.mark.slow
def test_two_who_push_at_once_do_not_mix(
    hub: HubServer, client: Client, indexes: tuple[Path, Path], name: str, home: Path
) -> None:
    """Every commit of two who push different indexes to one repository is one of the two, as a whole."""
    whole = [contents(folder) for folder in indexes]
    with hub_client(hub.url, home) as other, ThreadPoolExecutor(2) as threads:
        for turn in range(6):
            pushers = zip((client, other), indexes if turn % 2 else indexes[::-1], strict=True)
            for done in [threads.submit(who.call, ANN, publish, folder, name) for who, folder in pushers]:
                done.result()
    commits = hub.repos["dataset", name].commits[1:]
    assert len(commits) > 2
    assert all(published(Repo(True, [commit])) in whole for commit in commits)


def test_a_push_that_another_follows_is_held_against_its_own_commit(
    hub: HubServer, client: Client, indexes: tuple[Path, Path], name: str
) -> None:
    """What somebody else has committed before a push looks at what it sent is no fault of that push."""
    client.call(ANN, publish_overtaken, *indexes, name)
    commits = hub.repos["dataset", name].commits[1:]
    assert [published(Repo(True, [commit])) for commit in commits] == [contents(folder) for folder in indexes]


def publish_overtaken(folder: Path, by: Path, repo_id: str) -> None:
    """Publish an index; another one is published as soon as the first is on the Hub."""
    import importlib

    module = importlib.import_module("craft_hf.publishing.push")
    push_files = module.push_files

    def overtaken(*arguments: object) -> str:
        commit = str(push_files(*arguments))
        with mock.patch.object(module, "push_files", push_files):
            publish(by, repo_id)
        return commit

    with mock.patch.object(module, "push_files", overtaken):
        publish(folder, repo_id)


@pytest.mark.slow
@pytest.mark.parametrize("repeat", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", [*FAULTS, "cut"])
def test_an_interrupted_pull_goes_on(
    hub: HubServer, client: Client, indexes: tuple[Path, Path], name: str, kind: str, repeat: bool
) -> None:
    """One fault anywhere does not show; when the Hub is gone, that is said, and the next pull completes."""
    client.call(ANN, publish, indexes[1], name)
    hub.start_counting()
    client.call(ANN, pull_index, name)
    requests = len(hub.requests)
    for number in range(1, requests + 1):
        repo_id = f"{name}-{number}"
        hub.repos["dataset", repo_id] = hub.repos["dataset", name]
        hub.start_counting(Fault(number, kind, repeat))
        if repeat:
            with pytest.raises(HubError, match=rf"the index {repo_id} .* cannot be fetched: ") as error:
                client.call(ANN, pull_index, repo_id)
            assert "signature" not in str(error.value)
            hub.start_counting()
        assert contents(client.call(ANN, pull_index, repo_id)) == contents(indexes[1])


@pytest.mark.parametrize(
    ("token", "repo_id", "private", "message"),
    [
        ("", "ann/new", True, "you are not logged in to the Hub; log in with `hf auth login`, or set HF_TOKEN"),
        ("hf_canaryWrong", "ann/new", True, "the Hub does not accept your token"),
        (READER, "ann/new", True, "the token of ann may only read; log in"),
        (
            ANN,
            "bob/new",
            True,
            r"your token may not do that \(.*rights to write to bob/new.*token that may write there",
        ),
        (ANN, "bob/open", False, r"your token may not do that \(.*rights to write to bob/open"),
        (ANN, "ann/open", True, "that repository is public, but a private one was asked for. Nothing was uploaded"),
        (ANN, "ann/closed", False, "that repository is private, but a public one was asked for. Nothing was uploaded"),
        (ANN, "ann/rows", True, "holds 'data/train.parquet', which is not part of it; give another name"),
        (ANN, "name", True, "not the name of a Hub repository; expected user/name"),
        (ANN, "ann/name@main", True, "not the name of a Hub repository; expected user/name"),
        (ANN, "ann/na me", True, "not the name of a Hub repository; expected user/name"),
    ],
)
def test_what_cannot_be_pushed_is_said_before_a_byte_goes_up(
    hub: HubServer,
    client: Client,
    indexes: tuple[Path, Path],
    token: str,
    repo_id: str,
    private: bool,
    message: str,
) -> None:
    """Each mistake is an InputError that names index, repository and remedy; no file, nor its beginning, was sent."""
    for other, is_private in {"ann/open": False, "ann/closed": True, "bob/open": False}.items():
        hub.add_repo(other, private=is_private)
    hub.add_repo("ann/rows").commit("rows", {"data/train.parquet": File(b"rows", is_large=True)})
    hub.start_counting()
    with pytest.raises(InputError, match=message) as error:
        client.call(token, publish, indexes[0], repo_id, private=private)
    assert f"{indexes[0]} cannot be published to {repo_id}: " in str(error.value)
    assert hub.count("PUT") == hub.count("POST", "/commit/") == 0
    assert hub.count("POST", "/preupload/") == (repo_id == "bob/open")


@pytest.mark.parametrize("damage", ["bit", "cut", "missing"])
def test_a_broken_index_is_not_pushed(
    hub: HubServer, client: Client, indexes: tuple[Path, Path], tmp_path: Path, damage: str
) -> None:
    """A changed bit, a shard cut short or missing: the Hub is not even asked who is there."""
    shutil.copytree(indexes[0], tmp_path / "index")
    shard = shard_paths(tmp_path / "index")[1]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.unlink() if damage == "missing" else shard.write_bytes(data if damage == "bit" else data[:-1])
    hub.start_counting()
    with pytest.raises(InputError, match=rf"{shard.name} (was changed|has \d+ bytes|is missing)"):
        client.call(ANN, publish, tmp_path / "index", "ann/broken")
    assert hub.requests == []


@pytest.mark.parametrize(
    ("fields", "public", "message"),
    [
        (
            {"text": "My key is sk-" + "Canary1" * 8 + " and more" * 30},
            False,
            "the document d3 contains what looks like an OpenAI",
        ),
        ({"url": "https://example.org/?token=hf_" + "Canary" * 6}, False, "the document d3 contains .* Hugging Face"),
        ({"author": "correct horse battery"}, False, "the document d3 contains the value of MY_PASSWORD"),
        ({"source": str(Path.home() / "notes")}, False, "contains a local path, below"),
        ({"license": "unknown"}, True, r"not every source states a licence.*mine \(unknown\): 1 documents"),
    ],
)
def test_documents_are_checked_before_a_byte_goes_up(
    hub: HubServer, client: Client, tmp_path: Path, fields: dict[str, str], public: bool, message: str
) -> None:
    """A secret in any field, a local place in what the card lists, and publicity without a licence are refused."""
    rows = [
        {"id": f"d{i}", "text": f"document {i} {'of words ' * 30}", "source": "mine", "license": "CC BY 4.0"}
        for i in range(5)
    ]
    rows[3] |= fields
    build_index([Corpus(rows)], tmp_path / "index", HashEmbedder())
    hub.start_counting()
    with pytest.raises(InputError, match=message) as error:
        client.call(ANN, _publish_with_password, tmp_path / "index", "ann/checked", private=not public)
    assert "canary" not in str(error.value).lower()
    assert "horse" not in str(error.value)
    assert hub.requests == []


def _publish_with_password(folder: Path, repo_id: str, private: bool) -> str:
    with mock.patch.dict(os.environ, MY_PASSWORD="correct horse battery"):  # noqa: S106
        return publish(folder, repo_id, private=private)


def test_what_cannot_be_pulled_is_said(hub: HubServer, client: Client, indexes: tuple[Path, Path], name: str) -> None:
    """Missing repositories, revisions, indexes and shards, and names that lead out of the folder, are InputErrors."""
    client.call(ANN, publish, indexes[0], name)
    hub.add_repo("ann/empty")
    files = dict(hub.repos["dataset", name].commits[-1].files)
    info = json.loads(files["index.json"].content)
    for repo_id, file in {"ann/leads-out": "../../shard-0.h5", "ann/lacks-one": f"shard-{7:016}.h5"}.items():
        info["shards"][0]["file"] = file
        hub.add_repo(repo_id).commit("index", {**files, "index.json": File(json.dumps(info).encode(), is_large=False)})
    for token, repo_id, revision, message in [
        (ANN, "ann/missing", None, "there is no such repository that you may see; check the name"),
        (BOB, name, None, "there is no such repository that you may see; check the name"),
        ("", f"{name}", None, "there is no such repository that you may see; check the name. Is it private"),
        (ANN, name, "v9", "has no such revision"),
        (ANN, "ann/empty", None, r"a file is missing there \(.*index\.json"),
        (ANN, "ann/lacks-one", None, r"a file is missing there \(.*shard-0+7\.h5"),
        (ANN, "ann/leads-out", None, r"names a shard '\.\./\.\./shard-0\.h5', expected shard-0123456789abcdef\.h5"),
    ]:
        with pytest.raises(InputError, match=message):
            client.call(token, pull_index, repo_id, revision)


def test_a_damaged_copy_in_the_cache_is_named(client: Client, indexes: tuple[Path, Path], name: str) -> None:
    """A shard that was cut short in the Hub's cache is found, and what to delete is said."""
    client.call(ANN, publish, indexes[0], name)
    shard = shard_paths(client.call(ANN, pull_index, name))[0].resolve()
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"the copy of the index .* is damaged: .*delete \S+ and fetch it again") as e:
        client.call(ANN, pull_index, name)
    shutil.rmtree(re.search(r"delete (\S+) and", str(e.value))[1])  # type: ignore[index]
    assert contents(client.call(ANN, pull_index, name)) == contents(indexes[0])


def test_a_name_is_a_folder_first(indexes: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What exists is never looked for on the Hub; a path that is no Hub name gives the error for missing folders."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(indexes[0], tmp_path / "ann" / "here")
    assert index_folder("ann/here") == Path("ann/here")
    assert find_index("ann/here") == ("ann/here", read_info(indexes[0]))
    with pytest.raises(InputError, match=r"no index folder no/such/index; build one .* or give the name of one on"):
        find_index("no/such/index")
    with pytest.raises(InputError, match=r"ann/there \(on the Hub; no folder here.*HF_HUB_OFFLINE is set"):
        index_folder("ann/there")
    assert parse_repo_name("ann/x@refs/pr/1") == ("ann/x", "refs/pr/1")
    assert [parse_repo_name(text) for text in ("x", "a/b/c", "./a", "/a", "../a", "a/b@", "a/b@c d")] == [None] * 7


def run_id(index: str) -> tuple[str, str | None]:
    """Identity of a run over an index, and the name by which the run will open it."""
    from craft_hf.run.resolution import resolve
    from craft_hf.run.settings import RunSettings

    run = resolve(RunSettings("bioqa", index=index, size="XS"))
    return run.run_id, run.settings.index


def few_shot_rows(index: str) -> int:
    """Number of rows of a dataset that needs the index for nothing but its identity and its card."""
    from datasets import load_dataset

    import craft_hf  # noqa: F401 (makes "craft" known)

    return len(load_dataset("craft", task="bioqa", index=index, size="XS", split="train"))


def command(*arguments: str) -> str:
    """What `craft-hf` prints."""
    from craft_hf.cli.main import app

    result = CliRunner().invoke(app, arguments)
    if result.exception:
        raise result.exception
    return result.stdout


def search(name: str) -> str:
    """What `craft-hf index search` prints, with the embedding model of the test's indexes."""
    with mock.patch("craft_hf.retrieval.index.search.Embedder", return_value=HashEmbedder(8)):
        return command("index", "search", name, "a text", "-k", "2")


@pytest.mark.slow
def test_an_index_on_the_hub_works_like_its_folder(
    hub: HubServer, client: Client, indexes: tuple[Path, Path], name: str, home: Path
) -> None:
    """Commands and datasets take its name; the identity is that of the content; once pulled, the Hub is not needed."""
    small, large = (str(folder) for folder in indexes)
    assert command("index", "push", "--help").count("Example: craft-hf index push my-index user/name") == 1
    assert command("index", "pull", "--help").count("Example: craft-hf index pull user/name") == 1
    said = client.call(ANN, command, "index", "push", small, name)
    assert said.splitlines()[0] == f"{hub.url}/datasets/{name}"
    first = hub.repos["dataset", name].commits[-1].sha
    hub.start_counting()
    identity, pinned = client.call(ANN, run_id, name)
    assert (identity, pinned) == (client.call(ANN, run_id, small)[0], f"{name}@{first}")
    assert objects(hub) == 0  # an identity needs no shard
    few_shots = len(load_task("bioqa").few_shots)
    assert client.call(ANN, few_shot_rows, name) == few_shots
    client.call(ANN, publish, large, name)
    assert client.call(ANN, run_id, name)[0] == client.call(ANN, run_id, large)[0] != identity
    assert client.call(ANN, run_id, f"{name}@{first}") == (identity, pinned)
    assert "30 documents in 3 shards" in client.call(ANN, command, "index", "pull", name)
    hub.start_counting()
    with hub_client(hub.url, home, HF_HUB_OFFLINE="1") as offline:
        assert offline.call("", run_id, name)[0] == client.call(ANN, run_id, large)[0]
        assert offline.call("", few_shot_rows, f"{name}@{first}") == few_shots
        assert "30 documents in 3 shards" in offline.call("", command, "index", "info", name)
        assert offline.call("", search, name) == offline.call("", search, large) != ""
        assert "all as they were written" in offline.call("", command, "index", "verify", name)
        with pytest.raises(InputError, match="HF_HUB_OFFLINE is set, and the cache does not hold it"):
            offline.call("", pull_index, "ann/other")
        with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
            offline.call(ANN, publish, small, name)
        with pytest.raises(CraftError, match="'name' is no name on the Hub; expected user/name or user/name@revision"):
            offline.call("", command, "index", "pull", "name")


def test_public_is_public(hub: HubServer, client: Client, indexes: tuple[Path, Path], name: str) -> None:
    """--public makes a repository that all can pull from, without a token."""
    client.call(ANN, command, "index", "push", str(indexes[0]), name, "--public")
    assert not hub.repos["dataset", name].private
    assert contents(client.call("", pull_index, name)) == contents(indexes[0])


def test_an_organisation_takes_an_index(hub: HubServer, client: Client, indexes: tuple[Path, Path]) -> None:
    """A namespace of which the user is a member is as good as the own one."""
    client.call(ANN, publish, indexes[0], "team/index")
    assert published(hub.repos["dataset", "team/index"]) == contents(indexes[0])


def test_card_lists_what_the_index_holds(indexes: tuple[Path, Path]) -> None:
    """The front matter is YAML; documents, model, dimension, licences and how to use it are there, none made up."""
    info = read_info(indexes[0])
    corpora = [
        {"source": "a|b", "license": "CC BY 4.0", "documents": 12},
        {"source": "", "license": "", "documents": 8},
    ]
    ledger = Ledger(files_read=2, whole=18, split=1, passages=2)
    ledger.leave_out(Reason.TOO_SHORT, "a.jsonl, line 3: 12 characters", 5)
    info = info.__class__(**{**vars(info), "corpora": tuple(corpora), "ledger": ledger.to_json()})
    start, front, body = index_card(info, "ann/x").split("---\n", 2)
    assert start == ""
    assert yaml.safe_load(front) == {
        "license": "other", "tags": ["craft_hf", "embeddings", "retrieval"], "viewer": False,
    }  # fmt: skip
    for line in (
        "| documents | 20 |",
        "| embedding model | hash-model (1) |",
        "| dimension | 8 |",
        "| a\\|b | CC BY 4.0 | 12 |",
        "| not stated | not stated | 8 |",
        "| too short | 5 | a.jsonl, line 3: 12 characters |",
        "Read: 2 files with 24 records: 20 documents, 2 of them passages of 1 long record.",
        'craft-hf index search ann/x "How do plants make sugar?"',
    ):
        assert line in body.splitlines()
    assert 'load_dataset("craft", task="bioqa", index="ann/x", split="train")' in body
