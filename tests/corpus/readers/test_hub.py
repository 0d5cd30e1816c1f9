"""Hub datasets: `datasets` streams a folder laid out like the dataset's repository, so nothing reaches the Hub."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from craft_hf.base import JSON
from craft_hf.base.errors import InputError
from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.ledger import Ledger
from craft_hf.corpus.readers import LostPositionError, Row
from craft_hf.corpus.readers.hub import HubDataset, parse_hub_dataset, pinned
from tests.corpus import left_out
from tests.hub_client import hub_client
from tests.hub_server import FAULTS, Fault, File, User, serving_hub


def shard(path: Path, rows: list[dict[str, str]]) -> None:
    """Write a shard of C4."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder like the repository of allenai/c4: two configurations, one of them with two splits."""
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: en\n  data_files:\n  - split: train\n    path: en/c4-train.*.json.gz\n"
        "  - split: validation\n    path: en/c4-validation.*.json.gz\n"
        "- config_name: de\n  data_files:\n  - split: train\n    path: de/c4-train.*.json.gz\n---\n"
    )
    for config, split, number in (("en", "train", 0), ("en", "train", 1), ("en", "validation", 0), ("de", "train", 0)):
        name = f"{config}/c4-{split}.{number:05d}-of-00002.json.gz"
        shard(tmp_path / name, [{"text": name, "timestamp": "2019-04-25T12:57:54Z", "url": "https://e.org"}])
    return tmp_path


@pytest.mark.parametrize(
    ("config", "split", "shards"),
    [
        ("en", "train", ["en/c4-train.00000-of-00002.json.gz", "en/c4-train.00001-of-00002.json.gz"]),
        ("en", "validation", ["en/c4-validation.00000-of-00002.json.gz"]),
        ("de", "all", ["de/c4-train.00000-of-00002.json.gz"]),
    ],
)
def test_configuration_and_split_are_streamed(repository: Path, config: str, split: str, shards: list[str]) -> None:
    """Only the shards of the configuration and split are read, in order, each time anew."""
    corpus = Corpus(HubDataset(str(repository), config, split), name="c4", min_chars=1)
    for _ in range(2):
        assert [d.text for d in corpus] == shards
    assert corpus.name == "c4"


@pytest.mark.parametrize(
    ("text", "repo", "config", "split", "revision", "name"),
    [
        ("allenai/c4", "allenai/c4", None, "train", None, "allenai/c4"),
        ("allenai/c4:en", "allenai/c4", "en", "train", None, "allenai/c4:en"),
        ("allenai/c4:en:validation", "allenai/c4", "en", "validation", None, "allenai/c4:en"),
        ("allenai/c4@1588ec4:en:train+validation", "allenai/c4", "en", "train+validation", "1588ec4", "allenai/c4:en"),
        ("squad::all", "squad", None, "all", None, "squad"),
        ("a/b@refs/pr/4", "a/b", None, "train", "refs/pr/4", "a/b"),
    ],
)
def test_one_string_says_all(
    text: str, repo: str, config: str | None, split: str, revision: str | None, name: str
) -> None:
    """Revision, configuration and split may follow the id, each may be left out."""
    read = parse_hub_dataset(text, None, "train", None)
    assert (read.repo, read.config, read.split, read.revision, read.name) == (repo, config, split, revision, name)


def test_the_string_goes_before_the_arguments() -> None:
    """What the string leaves out is taken from the arguments."""
    read = parse_hub_dataset("a/b@v1::test", "en", "train", "main")
    assert (read.config, read.split, read.revision) == ("en", "test", "v1")


@pytest.mark.parametrize("source", ["nobody/nothing:en:train", "nobody/nothing@main", "no such name", "a/b@refs/pr/4"])
def test_unreachable_dataset_is_named(source: str) -> None:
    """Without its configuration and split, the dataset is called by its id."""
    with pytest.raises(InputError, match="is neither a file nor a Hub dataset that can be reached"):
        list(Corpus(source))


@pytest.mark.parametrize(("config", "split", "message"), [("fr", "train", "fr"), ("en", "test", "Bad split: test")])
def test_unknown_configuration_and_split_list_those_there_are(
    repository: Path, config: str, split: str, message: str
) -> None:
    """The error says what the dataset has instead."""
    with pytest.raises(InputError, match=message):
        list(HubDataset(str(repository), config, split).rows(Ledger()))


@pytest.mark.parametrize("source", ["ann/notes:en", "ann/notes@main:en", "ann/notes@main"])
def test_a_folder_of_its_name_is_not_read_in_place_of_a_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """`datasets` would take the folder, and the index would say that its documents are those of a commit of the Hub."""
    shard(tmp_path / "ann" / "notes" / "train.json.gz", [{"text": "mine " * 60}])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^the folder ann/notes would be read .* give its path alone"):
        list(Corpus(source))
    with pytest.raises(InputError, match=r"the folder .* would be read"):
        list(HubDataset(str(tmp_path / "ann" / "notes"), revision="main").rows(Ledger()))
    assert [document.text for document in Corpus("ann/notes")] == ["mine " * 60]


def test_a_row_that_cannot_be_converted_is_counted_but_not_the_first(repository: Path) -> None:
    """One odd row of millions ends no build; if the first is odd, all are, because it is another dataset."""

    def convert(row: Row) -> Row:
        if "00001" in str(row["text"]):
            raise InputError("expected other fields.")
        return row

    ledger = Ledger()
    source = HubDataset(str(repository), "en", "train", convert=convert)
    assert [str(place).rpartition(", ")[2] for place, _ in source.rows(ledger)] == ["row 1"]
    assert left_out(ledger) == {"broken record": 1}
    with pytest.raises(InputError, match="expected other fields"):
        list(HubDataset(str(repository), "en", convert=lambda row: convert({"text": "00001"})).rows(Ledger()))


def test_shard_that_breaks_while_streaming_names_the_row(repository: Path) -> None:
    """A cut shard behind a whole one is an error that says how far reading went."""
    path = repository / "en" / "c4-train.00001-of-00002.json.gz"
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(InputError, match="after row 1: reading the Hub dataset failed"):
        list(HubDataset(str(repository), "en").rows(Ledger()))


def _begin(count: int) -> tuple[list[str], JSON]:
    source = HubDataset("ann/notes")
    rows = source.rows(Ledger())
    found = [next(rows) for _ in range(count)]
    return [str(row["text"]) for _, row in found], json.loads(json.dumps(source.position(found[-1][0])))


def _go_on(position: list[Any]) -> list[str]:
    return [str(row["text"]) for _, row in HubDataset("ann/notes").rows_from(position, Ledger())]


@pytest.mark.slow
def test_reading_goes_on_at_the_commit_at_which_it_began(tmp_path: Path) -> None:
    """A commit that puts other rows before them changes nothing; one that is gone is told."""

    def files(*rows: str) -> dict[str, File]:
        lines = "".join(json.dumps({"text": row}) + "\n" for row in rows)
        return {"train.jsonl": File(lines.encode(), is_large=False)}

    with serving_hub({"hf_ann": User("ann")}) as hub, hub_client(hub.url, tmp_path / "home") as client:
        repo = hub.add_repo("ann/notes", private=False)
        repo.commit("first", files("a", "b", "c"))
        rows, position = client.call("hf_ann", _begin, 2)
        repo.commit("second", files("new", "a", "b", "c", "d"))
        assert rows == ["a", "b"]
        assert client.call("hf_ann", _go_on, position) == ["b", "c"]
        assert client.call("hf_ann", _begin, 2)[0] == ["new", "a"]
        sha = repo.commits[-1].sha
        for text in ("ann/notes", "ann/notes:default:train", "ann/notes@main", "ann/none"):
            want = text if "@" in text or text == "ann/none" else text.replace("ann/notes", f"ann/notes@{sha}")
            assert client.call("hf_ann", pinned, text) == want
        for kind in FAULTS:
            hub.start_counting(Fault(1, kind))
            assert client.call("hf_ann", pinned, "ann/notes") == f"ann/notes@{sha}"
        hub.start_counting(Fault(1, "429", repeat=True))
        assert client.call("hf_ann", pinned, "ann/notes") == "ann/notes"
        hub.start_counting()
        with pytest.raises(LostPositionError, match=r"ann/notes: the commit 0{40} is not on the Hub any more"):
            client.call("hf_ann", _go_on, ["0" * 40, *position[1:]])
