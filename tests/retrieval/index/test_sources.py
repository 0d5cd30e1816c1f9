"""The settings of an index's builds: kept, told, and published without the places of this machine."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

import craft_hf
from craft_hf.base.errors import InputError
from craft_hf.cli.main import app
from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.presets import PRESETS
from craft_hf.retrieval.index.hub import index_files
from craft_hf.retrieval.index.info import build_command, read_info
from craft_hf.retrieval.index.sources import lasting_source, pinned_settings
from tests.vectors import HashEmbedder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index of files with names of their own, some given by relative path, and of rows in memory."""
    monkeypatch.setattr("craft_hf.base.Embedder", lambda name, device: HashEmbedder())
    place = tmp_path / "own-place"
    place.mkdir()
    monkeypatch.chdir(place)
    for name in ("a", "b"):
        Path(f"{name}.txt").write_text(f"{name} Banks lend money. " * 20)
    craft_hf.build_index(["left=a.txt", "b.txt"], "index", license=["CC0", "MIT"], min_chars=100, shard_documents=3)
    craft_hf.build_index(Corpus([{"text": "more " * 60}]), "index", add=True)
    return place / "index"


def test_settings_of_each_build_are_kept(folder: Path) -> None:
    """As they were given, with absolute paths; rows in memory cannot be read again, and have none."""
    first, second = read_info(folder).builds
    assert first == {
        "sources": [f"left={folder.parent / 'a.txt'}", str(folder.parent / "b.txt")], "preset": "",
        "field": [],
        "license": ["CC0", "MIT"], "name": "", "split": "train", "hub_config": None, "min_chars": 100,
        "max_chars": 25_000, "long": "split", "limit": None, "min_score": None,
        "strict": False, "embedding_model": "embedded", "shard_documents": 3, "vectors": None,
    }  # fmt: skip
    assert second == {}


def test_info_tells_the_command_that_builds_it_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command, given from anywhere, builds the same index."""
    (line,) = (
        line
        for line in CliRunner().invoke(app, ["index", "info", str(folder)]).output.splitlines()
        if "built by" in line
    )
    first, second = line.removeprefix("built by: ").split(" && ")
    assert second == f"craft-hf index build SOURCE --out {folder} --add"
    monkeypatch.chdir(tmp_path)
    words = [str(tmp_path / "again") if word == str(folder) else word for word in shlex.split(first)[1:]]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert read_info(tmp_path / "again").shards == read_info(folder).shards[:1]


def test_each_source_has_the_licence_in_its_place(folder: Path, tmp_path: Path) -> None:
    """An empty one says that the source names none; the command that is told again says so too."""
    index = craft_hf.build_index(["a.txt", "b.txt"], "other", license=["", "CC0"], min_chars=100)
    licenses = {"a": "", "b": "CC0"}
    assert {str(corpus["source"]): corpus["license"] for corpus in index.info.corpora} == licenses
    words = shlex.split(build_command(index.info.builds, str(tmp_path / "again")))
    assert CliRunner().invoke(app, words[1:], catch_exceptions=False).exit_code == 0
    assert read_info(tmp_path / "again").fingerprint == index.fingerprint
    index = craft_hf.build_index(["a.txt", "b.txt"], "none", license=[""], min_chars=100)
    assert {corpus["license"] for corpus in index.info.corpora} == {""}


def test_advice_of_a_build_on_an_index_helps(folder: Path) -> None:
    """Without --add or --replace nothing changes, and the error says what to give; both do what it says."""
    before = (folder / "index.json").read_bytes()
    Path("c.txt").write_text("c Banks lend money. " * 20)
    words = ["index", "build", "c.txt", "--out", str(folder)]
    refused = CliRunner().invoke(app, words)
    assert isinstance(refused.exception, InputError)
    assert "of 3 documents, which was not changed: give --add (add=True) to put documents" in str(refused.exception)
    assert (folder / "index.json").read_bytes() == before
    added = CliRunner().invoke(app, [*words, "--add"], catch_exceptions=False)
    assert f"{folder}: 4 documents in 3 shards" in added.output
    replaced = CliRunner().invoke(app, [*words, "--replace"], catch_exceptions=False)
    assert f"{folder}: 1 documents in 1 shards" in replaced.output


def test_published_index_names_no_local_place(folder: Path) -> None:
    """Of local sources and a local model only the names are published; names on the Hub stay."""
    data = json.loads((folder / "index.json").read_text())
    data["embedding_name"] = str(folder.parent)
    data["builds"][0]["embedding_model"] = str(folder.parent)
    data["builds"].append({**data["builds"][0], "sources": ["web=allenai/c4:en:train", "user/name"]})
    (folder / "index.json").write_text(json.dumps(data))
    published = json.loads(index_files(folder, read_info(folder), "user/index")["index.json"])  # type: ignore[arg-type]
    assert str(folder.parent.parent) not in json.dumps(published)
    assert [build.get("sources") for build in published["builds"]] == [
        ["left=./a.txt", "./b.txt"], None, ["web=allenai/c4:en:train", "user/name"],
    ]  # fmt: skip
    assert published["embedding_name"] == published["builds"][0]["embedding_model"] == "./own-place"
    assert {**published, "builds": 0, "embedding_name": 0} == {**data, "builds": 0, "embedding_name": 0}


def test_commands_are_quoted_for_a_shell() -> None:
    """A blank in a path, an empty setting, several licences; without any settings the source is left open."""
    builds = [
        {"sources": ["my notes/"], "license": ["CC BY 4.0", "", "MIT"], "name": "", "hub_config": None, "min_score": 0},
        {},
    ]  # fmt: skip
    assert build_command(builds, "out") == (
        "craft-hf index build 'my notes/' --out out --license 'CC BY 4.0' --license '' --license MIT --min-score 0 "
        "&& craft-hf index build SOURCE --out out --add"
    )
    assert build_command([], "out") == "craft-hf index build SOURCE --out out"


def test_what_is_no_file_here_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only files and folders get an absolute path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").mkdir()
    assert lasting_source("allenai/c4:en") == "allenai/c4:en"
    assert lasting_source("web=allenai/c4") == "web=allenai/c4"
    assert lasting_source("notes") == str(tmp_path / "notes")
    assert lasting_source("mine=notes") == f"mine={tmp_path / 'notes'}"
    asked = list[str]()
    monkeypatch.setattr("craft_hf.retrieval.index.sources.pinned", lambda text: asked.append(text) or f"{text}@1234")
    files = ["my letters.jsonl", "./gone", "a/b/c", "mine=gone.pdf", "notes", "notes:en", str(tmp_path / "gone")]
    assert [lasting_source(source) for source in files if source != "notes"] == [f for f in files if f != "notes"]
    assert lasting_source(Path("allenai/c4")) == str(tmp_path / "allenai" / "c4")
    assert pinned_settings({"sources": [*files, "web=allenai/c4"], "limit": 3}) == {
        "sources": [*files, "web=allenai/c4@1234"], "limit": 3,
    }  # fmt: skip
    assert asked == ["allenai/c4"], "the Hub is asked for no file's name"


def test_the_hub_dataset_of_a_preset_gets_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """It becomes the source, so that another version of craft_hf reads the same; files are read in its place."""
    monkeypatch.setattr("craft_hf.retrieval.index.sources.pinned", lambda text: text if "@" in text else f"{text}@new")

    def sources(preset: str, *given: str) -> object:
        return pinned_settings({"sources": list(given), "preset": preset})["sources"]

    assert sources("wikihow") == ["gursi26/wikihow-cleaned@new"]
    assert sources("c4") == [f"allenai/c4@{PRESETS['c4'].revision}"]
    assert sources("wikihow", "./wikihowAll.csv") == ["./wikihowAll.csv"]
    assert sources("") == sources("none such") == []
    monkeypatch.setattr("craft_hf.retrieval.index.sources.pinned", lambda text: text)  # the Hub cannot be reached
    assert sources("wikihow") == []
