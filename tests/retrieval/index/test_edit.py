"""Documents are removed and shards joined without embedding anything."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from craft_hf.base.errors import InputError, StorageError
from craft_hf.cli.main import app
from craft_hf.corpus.corpus import Corpus
from craft_hf.retrieval.index.build import build_index
from craft_hf.retrieval.index.edit import compact_index, remove_documents
from craft_hf.retrieval.index.info import read_info, write_info
from craft_hf.retrieval.index.repair import repair_index
from craft_hf.retrieval.index.search import Index
from craft_hf.retrieval.index.verify import verify_index
from craft_hf.retrieval.index.writing import leftovers
from tests.vectors import HashEmbedder, Interrupted, parts_of, shard_paths, visible

ROWS = [
    {"id": f"d{i}", "text": f"document {i} " * 30, "license": ("MIT", "CC0")[i % 2], "source": ("web", "b")[i >= 4]}
    for i in range(10)
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index of five shards."""
    build_index([Corpus(ROWS)], tmp_path / "index", HashEmbedder(), shard_documents=2)
    return tmp_path / "index"


def test_documents_are_removed_by_id_and_by_source(folder: Path) -> None:
    """What is left is found as before, and counted; shards that hold nothing of it stay as they are."""
    old = read_info(folder)
    done = CliRunner().invoke(app, ["index", "remove", str(folder), "--id", "d5", "--id", "d7", "--source", "web"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"6 documents were removed\n{folder}: 4 documents in 3 shards")
    assert "6  left out: removed" in done.output
    index = Index.open(folder)
    assert [d.id for d in index.documents(range(4))] == ["d4", "d6", "d8", "d9"]
    assert index.info.corpora == (
        {"source": "b", "license": "CC0", "documents": 1}, {"source": "b", "license": "MIT", "documents": 3}
    )  # fmt: skip
    queries = HashEmbedder().encode([ROWS[i]["text"] for i in (4, 6, 8, 9)])
    assert index.search(queries, 1)[1][:, 0].tolist() == [0, 1, 2, 3]
    assert index.info.shards[2] == old.shards[4]
    assert verify_index(folder) == []
    assert visible(folder) == parts_of(folder)
    rows = [row for row in ROWS if row["id"] in ("d4", "d6", "d8", "d9")]
    fresh = build_index([Corpus(rows)], folder.with_name("fresh"), HashEmbedder(), shard_documents=2)
    assert compact_index(folder, 2).fingerprint == fresh.fingerprint


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ids": ["d1", "d99"]}, "has the id 'd99'. Nothing was removed"),
        ({"ids": ["web"]}, "has the id 'web'. Nothing was removed"),
        ({"sources": ["d1"]}, "has the source 'd1'; its sources: b, web. Nothing was removed"),
        ({"sources": ["Web"]}, "has the source 'Web'; its sources: b, web. Nothing was removed"),
        ({"sources": ["web", "b"]}, "to be rid of it, delete the folder"),
        ({}, "nothing was given to remove"),
    ],
)
def test_mistakes_remove_nothing(folder: Path, arguments: dict[str, list[str]], message: str) -> None:
    """An id or source that is not there, all documents, or nothing at all: the index stays as it is."""
    old = read_info(folder)
    with pytest.raises(InputError, match=message):
        remove_documents(folder, **arguments)
    assert read_info(folder) == old
    assert verify_index(folder) == []


def test_small_shards_are_joined(folder: Path) -> None:
    """The rows stay where they were; shards that hold enough, or do not fit to another, stay as well."""
    build_index([Corpus([{"text": "another one " * 40}])], folder, HashEmbedder(), add=True)
    index = Index.open(folder)
    queries = HashEmbedder().encode(["a query", "another"])
    want = index.search(queries, 11)
    documents = index.documents(range(11))
    done = CliRunner().invoke(app, ["index", "compact", str(folder), "--shard-documents", "5"])
    assert done.exit_code == 0, done.output
    now = Index.open(folder)
    assert [s["documents"] for s in now.info.shards] == [4, 4, 3]
    for found, wanted in zip(now.search(queries, 11), want, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert now.documents(range(11)) == documents
    assert now.info.corpora == index.info.corpora
    assert verify_index(folder) == []
    assert visible(folder) == parts_of(folder)
    assert compact_index(folder, 3) == now.info, "shards are not split"


@pytest.mark.parametrize("work", ["compact", "remove", "add", "replace", "repair"])
def test_full_disk_keeps_the_old_index(small_disk: Path, work: str) -> None:
    """On a disk that is really full the index stays what it was; with more room the same call succeeds."""
    rows = [{"id": f"d{i}", "text": f"{i:02} " * 4000} for i in range(14)]
    folder = small_disk / "index"
    old = build_index([Corpus(rows)], folder, HashEmbedder(), shard_documents=7)
    more = [{"id": f"n{i}", "text": f"n{i:02} " * 5000} for i in range(7)]
    works = {
        "compact": lambda: compact_index(folder, 14),
        "remove": lambda: remove_documents(folder, ["d0", "d13"]),
        "add": lambda: build_index([Corpus(more)], folder, HashEmbedder(), add=True),
        "replace": lambda: build_index([Corpus(more)], folder, HashEmbedder(), replace=True),
        "repair": lambda: repair_index(folder),
    }
    if work == "repair":
        path = shard_paths(folder)[0]
        path.write_bytes(path.read_bytes()[:-60] + b"?" + path.read_bytes()[-59:])
    problems = verify_index(folder)
    with pytest.raises(StorageError, match=r"cannot be (written|saved).*No space left"):
        works[work]()
    assert read_info(folder) == old
    assert verify_index(folder) == problems
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    works[work]()
    info = read_info(folder)
    assert verify_index(folder) == []
    assert info.documents == {"compact": 14, "remove": 12, "add": 21, "replace": 7, "repair": 14}[work]
    assert len(leftovers(folder, info)) == {"replace": 2}.get(work, 0)


def test_damage_is_not_copied(folder: Path) -> None:
    """A shard with a changed bit is refused, with what mends it, and the index stays."""
    path = shard_paths(folder)[0]
    content = bytearray(path.read_bytes())
    content[-60] ^= 1
    path.write_bytes(content)
    for use in (lambda: compact_index(folder), lambda: remove_documents(folder, ["d0"])):
        with pytest.raises(InputError, match="was changed after it was written; mend it with: craft-hf index repair"):
            use()


def test_what_an_unfinished_build_left_is_told_and_goes(folder: Path) -> None:
    """`info` says what lies beside the index, and that `compact` removes it."""
    more = [Corpus([{"text": f"more {i} " * 60} for i in range(4)])]
    with pytest.raises(KeyboardInterrupt):
        build_index(more, folder, Interrupted(3), shard_documents=2, add=True)
    info = read_info(folder)
    assert len(leftovers(folder, info)) == 1
    told = CliRunner().invoke(app, ["index", "info", str(folder)]).output
    assert "1 files (0.0 MB) beside the index hold embeddings of a command that is at work or was interrupted" in told
    assert f"craft-hf index compact {folder} removes them" in told
    compact_index(folder, 2)
    assert leftovers(folder, info) == []
    assert read_info(folder) == info


def test_compact_says_how_many_embeddings_go(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that the index does not hold, of an earlier index or of a build that was interrupted; else nothing."""
    build_index([Corpus(ROWS[:3])], folder, HashEmbedder(), shard_documents=2, replace=True)
    with pytest.raises(KeyboardInterrupt):
        build_index([Corpus([{"text": f"more {i} " * 60}]) for i in range(4)], folder, Interrupted(3), add=True)
    capsys.readouterr()
    compact_index(folder)
    assert "removed 7 embeddings that the index does not hold" in capsys.readouterr().err
    compact_index(folder)
    assert "embeddings" not in capsys.readouterr().err


def test_removed_text_goes_from_what_lies_beside_the_index_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compact that was killed, and a build that was interrupted, left shards that hold it; their vectors stay."""
    more = [{"id": f"m{i}", "text": f"more {i} " * 60, "source": "m"} for i in range(4)]
    with pytest.raises(KeyboardInterrupt):
        build_index([Corpus(more)], folder, Interrupted(3), shard_documents=2, add=True)
    build_index([Corpus(more[2:])], folder, HashEmbedder(), add=True)
    with monkeypatch.context() as patch:
        patch.setattr("craft_hf.retrieval.index.edit.replace_index", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            compact_index(folder, 4)
    remove_documents(folder, ["d5"], ["m"])
    content = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"document 4 document" in content
    for text in (b"document 5 document", b"more 0 more", b"more 1 more", b"more 2 more"):
        assert text not in content, text
    rest = HashEmbedder()
    build_index([Corpus([*ROWS, *more])], folder, rest, replace=True)
    assert rest.asked == []


def _interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_counts_that_somebody_edited_do_not_harm(folder: Path) -> None:
    """A licence that was written into index.json by hand: what is removed is counted in the shards."""
    data = json.loads((folder / "index.json").read_text())
    data["corpora"][0] = {**data["corpora"][0], "license": "Apache-2.0"}
    (folder / "index.json").write_text(json.dumps(data))
    info = remove_documents(folder, ["d4", "d5"])
    assert {str(c["license"]) for c in info.corpora} == {"MIT", "CC0"}
    assert verify_index(folder) == []
    with pytest.raises(InputError, match="was not replaced: the shards hold 8 documents, expected 9"):
        write_info(replace(info, documents=9), folder)
    assert read_info(folder) == info
