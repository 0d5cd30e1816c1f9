"""A build that was interrupted goes on behind what it wrote, and does not read the sources from their start."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest

import craft_hf
from craft_hf.base import JSON
from craft_hf.base.errors import InputError
from craft_hf.corpus import Corpus, Ledger
from craft_hf.corpus.readers import files
from craft_hf.corpus.readers.hub import HubDataset
from craft_hf.retrieval.index.build import build_index
from craft_hf.retrieval.index.info import IndexInfo, read_info
from craft_hf.retrieval.index.sources import open_sources, source_versions
from craft_hf.retrieval.index.verify import verify_index
from tests.vectors import HashEmbedder, Interrupted, visible


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder of five files: blank and broken lines, repeated texts and ids, too short and too long documents."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(5):
        lines = [json.dumps({"id": f"d{i}", "text": f"text {number} {i} " * 30}) for i in range(4)]
        lines.insert(2, json.dumps({"id": "again", "text": "text 0 0 " * 30}))
        lines.insert(3, json.dumps({"id": "short", "text": "short"}))
        lines.insert(1, "" if number % 2 else '{"broken')
        lines.insert(4, json.dumps({"id": "long", "text": "\n\n".join(f"{i} of {number} " * 9 for i in range(9))}))
        (folder / f"{number}.jsonl").write_text("\n".join(lines))
    (folder / ".hidden").touch()
    return folder


def settings_of(*sources: Path) -> dict[str, Any]:
    """Settings as `craft_hf.build_index` has them."""
    return {
        "sources": [str(source) for source in sources], "preset": "", "field": [], "license": [], "name": "",
        "split": "train", "hub_config": None, "min_chars": 100, "max_chars": 400, "long": "split", "limit": None,
        "min_score": None, "strict": False,
    }  # fmt: skip


def build(folder: Path, settings: dict[str, Any], embedder: HashEmbedder, **arguments: Any) -> IndexInfo:
    """Build an index in shards of three."""
    corpora = open_sources(settings)
    return build_index(corpora, folder, embedder, shard_documents=3, settings=[settings], **arguments)


def test_sources_are_looked_at_once_when_it_is_a_builds_turn(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a million files that takes minutes; before its turn, another one may still change them."""
    folder, looked = tmp_path / "index", list[bool]()

    def versions(settings: Sequence[Mapping[str, Any]]) -> list[Any]:
        looked.append((folder / ".lock").exists())
        return source_versions(settings)

    monkeypatch.setattr("craft_hf.retrieval.index.unfinished.source_versions", versions)
    build(folder, settings_of(corpus), HashEmbedder())
    assert looked == [True]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are opened."""
    names: list[str] = []
    plain = files.read_file

    def read(rows: Any, file: Any, ledger: Ledger) -> Any:
        names.append(file.path.name)
        return plain(rows, file, ledger)

    monkeypatch.setattr(files, "read_file", read)
    return names


@pytest.mark.parametrize("documents", range(2, 30, 4))
def test_resumed_build_gives_the_same_index(corpus: Path, tmp_path: Path, documents: int) -> None:
    """Wherever it was interrupted, also within a long document: the same shards, ids, counts and examples."""
    settings = settings_of(corpus)
    whole = build(tmp_path / "whole", settings, HashEmbedder())
    assert whole.documents == 30
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "index", settings, Interrupted(documents))
    rest = HashEmbedder()
    assert build(tmp_path / "index", settings, rest) == whole
    assert len(rest.asked) == whole.documents - documents // 3 * 3
    assert verify_index(tmp_path / "index") == []
    assert visible(tmp_path / "index") == visible(tmp_path / "whole")


def test_a_note_that_a_kill_tore_costs_its_shard_alone(corpus: Path, tmp_path: Path, opened: list[str]) -> None:
    """A line is added for each shard, however many there are before it; the last one may be half a line."""
    settings, note = settings_of(corpus), tmp_path / "index" / ".build.json"
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "index", settings, Interrupted(24))
    lines = note.read_bytes().splitlines()
    assert [len(lines), *("documents" in json.loads(line)["shard"] for line in lines[1:])] == [9, *[True] * 8]
    assert max(map(len, lines[1:])) < 1.5 * min(map(len, lines[1:]))
    os.truncate(note, note.stat().st_size - 20)
    opened.clear()
    rest = Interrupted(3)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "index", settings, rest)
    assert (opened[0], note.read_bytes().splitlines()[:8]) == ("3.jsonl", lines[:8])
    assert [json.loads(line)["shard"] for line in note.read_bytes().splitlines()[8:9]] == [
        json.loads(lines[8])["shard"]
    ]
    assert build(tmp_path / "index", settings, HashEmbedder()) == build(tmp_path / "whole", settings, HashEmbedder())


def test_files_before_are_not_opened(corpus: Path, tmp_path: Path, opened: list[str]) -> None:
    """Reading goes on in the file in which the last whole shard ends."""
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "index", settings_of(corpus), Interrupted(24))
    opened.clear()
    build(tmp_path / "index", settings_of(corpus), HashEmbedder())
    assert opened == ["3.jsonl", "4.jsonl"]


def test_sources_before_are_not_opened(corpus: Path, tmp_path: Path, opened: list[str]) -> None:
    """Of several sources, those that were read are passed over, and counted as they were."""
    sources = settings_of(*sorted(corpus.glob("*.jsonl")))
    whole = build(tmp_path / "whole", sources, HashEmbedder())
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "index", sources, Interrupted(24))
    opened.clear()
    assert build(tmp_path / "index", sources, HashEmbedder()) == whole
    assert opened == ["3.jsonl", "4.jsonl"]


def test_adding_goes_on_too(corpus: Path, tmp_path: Path, opened: list[str]) -> None:
    """With the documents of the index before it, whose texts and ids are not taken again."""
    sources = sorted(corpus.glob("*.jsonl"))
    results = []
    for name in ("whole", "index"):
        build(tmp_path / name, settings_of(sources[1]), HashEmbedder())
        if name == "index":
            with pytest.raises(KeyboardInterrupt):
                build(tmp_path / name, settings_of(corpus), Interrupted(20), add=True)
            opened.clear()
        results.append(build(tmp_path / name, settings_of(corpus), HashEmbedder(), add=True))
    assert results[0] == results[1]
    assert "0.jsonl" not in opened


@pytest.mark.parametrize("change", ["content", "setting", "shard", "note", "key", "format"])
def test_what_was_changed_is_read_from_the_start(corpus: Path, tmp_path: Path, opened: list[str], change: str) -> None:
    """Another file, another setting, a shard or note that is gone: all is read, only new texts embedded."""
    settings, folder = settings_of(corpus), tmp_path / "index"
    with pytest.raises(KeyboardInterrupt):
        build(folder, settings, Interrupted(24))
    if change == "content":
        path = corpus / "0.jsonl"
        path.write_text(path.read_text().replace("text 0 1 ", "text 0 x "))
    elif change == "setting":
        settings["license"] = ["CC0"]
    elif change == "shard":
        next(folder.glob("*.h5")).unlink()
    elif change == "note":
        os.truncate(folder / ".build.json", 50)
    else:
        note = folder / ".build.json"
        of = {"key": '"builds"', "format": '"repeated_texts"'}[change]
        note.write_text(note.read_text().replace(of, '"other"'))
    opened.clear()
    rest = HashEmbedder()
    info = build(folder, settings, rest)
    assert opened[0] == "0.jsonl"
    assert info == build(tmp_path / "whole", settings, HashEmbedder())
    assert len(rest.asked) <= info.documents - 24 + 3


def test_source_that_lost_its_record_is_said(corpus: Path, tmp_path: Path) -> None:
    """Where a change could not be seen beforehand, the error says so, and the same command goes on from the start."""
    settings, folder = settings_of(corpus), tmp_path / "index"
    with pytest.raises(KeyboardInterrupt):
        build(folder, settings, Interrupted(24))
    *before, last = (folder / ".build.json").read_text().splitlines()
    note = json.loads(last)
    note["states"][0]["position"][1][2] = note["states"][0]["place"][2] = 99
    (folder / ".build.json").write_text("\n".join([*before, json.dumps(note), ""]))
    with pytest.raises(InputError, match=r"line 99: this record is not there any more\. .* run the same command again"):
        build(folder, settings, HashEmbedder())
    assert build(folder, settings, HashEmbedder()) == build(tmp_path / "whole", settings, HashEmbedder())


@pytest.mark.parametrize("how", ["add", "replace", "build"])
def test_build_that_was_killed_at_its_very_end_is_done(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Wherever it was stopped: once more, it returns the index, and counts nothing twice."""
    folder = tmp_path / "index"
    ways = {"add": {"add": True}, "replace": {"replace": True}, "build": {}}
    if how != "build":
        build_index([Corpus([{"text": "before " * 60}])], folder, HashEmbedder())
        shutil.copytree(folder, tmp_path / "other")
    settings = settings_of(corpus)
    expected = build(tmp_path / "other", settings, HashEmbedder(), **ways[how])
    with monkeypatch.context() as patch:
        patch.setattr("craft_hf.retrieval.index.writing.forget_build", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            build(folder, settings, HashEmbedder(), **ways[how])
    assert build(folder, settings, HashEmbedder(), **ways[how]) == expected
    assert read_info(folder) == expected
    assert not (folder / ".build.json").exists()


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_names_that_are_not_utf8_can_be_noted(corpus: Path, tmp_path: Path) -> None:
    """The folder of another system: a build of it goes on, and can be read again."""
    place = corpus.rename(Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9")))
    (place / "1.jsonl").rename(Path(os.fsdecode(bytes(place) + b"/1\xe9.jsonl")))
    Path(os.fsdecode(bytes(place) + b"/caf\xe9.png")).touch()
    settings = settings_of(place)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "index", settings, Interrupted(10))
    info = build(tmp_path / "index", settings, HashEmbedder())
    assert info == build(tmp_path / "whole", settings, HashEmbedder())
    assert read_info(tmp_path / "index").builds == (settings,)


def test_limit_counts_what_was_taken_before(corpus: Path, tmp_path: Path) -> None:
    """A limit is for the whole corpus."""
    settings = {**settings_of(corpus), "limit": 20}
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "index", settings, Interrupted(10))
    assert build(tmp_path / "index", settings, HashEmbedder()) == build(tmp_path / "whole", settings, HashEmbedder())


def test_hub_dataset_goes_on_at_the_commit_at_which_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that comes meanwhile changes nothing; the next build takes it. The index keeps the one that was read."""
    now = ["first"]

    def load(*_: object, revision: str, **__: object) -> datasets.IterableDataset:
        rows = [{"id": f"{revision} {i}", "text": f"{revision} {i} " * 40} for i in range(10)]
        return datasets.IterableDataset.from_generator(lambda: iter(rows))

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr("craft_hf.retrieval.index.sources.pinned", lambda text: text.replace("/n", f"/n@{now[0]}"))
    monkeypatch.setattr(HubDataset, "_resolved", lambda self, commit: commit or self.revision)

    def build(embedder: HashEmbedder, **arguments: Any) -> list[str]:
        monkeypatch.setattr("craft_hf.base.Embedder", lambda name, device: embedder)
        sources = ["web=ann/n:default", "bob/n"]
        index = craft_hf.build_index(sources, tmp_path / "index", shard_documents=3, **arguments)
        assert index.info.builds[0]["sources"] == [f"web=ann/n@{now[0]}:default", f"bob/n@{now[0]}"]
        return [document.id for document in index.documents(range(len(index)))]

    with pytest.raises(KeyboardInterrupt):
        build(Interrupted(7))
    monkeypatch.setattr("craft_hf.retrieval.index.sources.pinned", lambda text: text.replace("/n", "/n@second"))
    rest = HashEmbedder()
    assert build(rest) == [f"first {i}" for i in range(10)]
    assert len(rest.asked) == 4
    now[0] = "second"
    assert build(HashEmbedder(), replace=True) == [f"second {i}" for i in range(10)]


def test_hub_dataset_goes_on_in_its_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state of the stream is kept, and rows long before the last are not read again."""
    read: list[int] = []

    def rows(shards: list[int]) -> Any:
        for shard in shards:
            for number in range(100):
                read.append(100 * shard + number)
                yield {"id": str(100 * shard + number), "text": "a"}

    def load(*_: object, **__: object) -> datasets.IterableDataset:
        return datasets.IterableDataset.from_generator(rows, gen_kwargs={"shards": list(range(5))})

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(HubDataset, "_resolved", lambda self, commit: "0123")
    monkeypatch.setattr("craft_hf.corpus.readers.hub._MARK_EVERY", 50)
    source = HubDataset("user/name")
    for place, row in source.rows(Ledger()):
        if row["id"] == "321":
            position: JSON = json.loads(json.dumps(source.position(place)))
            break
    read.clear()
    rest = [row["id"] for _, row in HubDataset("user/name").rows_from(position, Ledger())]  # type: ignore[arg-type]
    assert rest == [str(number) for number in range(321, 500)]
    assert min(read) >= 200
