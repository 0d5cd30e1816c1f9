"""Building an index: what it holds, how it goes on after an interruption, and what bad input says."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from craft_hf.base import files
from craft_hf.base.embedder import Embedder, Vectors
from craft_hf.base.errors import InputError, StorageError
from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.ledger import Ledger
from craft_hf.retrieval.index.build import build_index
from craft_hf.retrieval.index.info import read_info
from craft_hf.retrieval.index.search import Index
from craft_hf.retrieval.index.shard import FORMAT, Shard, is_intact
from craft_hf.retrieval.index.vectors import SavedVectors
from craft_hf.retrieval.index.verify import verify_index
from craft_hf.retrieval.index.writing import leftovers, writing
from tests import ROOT
from tests.corpus import left_out
from tests.vectors import HashEmbedder, Interrupted, WordEmbedder, parts_of, shard_paths, visible

ROWS = [{"id": f"d{i}", "text": f"document {i} " * 30, "license": "CC0" if i % 2 else "MIT"} for i in range(10)]


def corpus(rows: Sequence[dict[str, str]] = ROWS) -> list[Corpus]:
    """One corpus of rows."""
    return [Corpus(rows, name="mine")]


KILLED = """
import json, sys, time
from pathlib import Path
from craft_hf.corpus import Corpus
from craft_hf.retrieval import build_index
from tests.vectors import HashEmbedder, shard_paths, visible

class Slow(HashEmbedder):
    def encode(self, texts, progress=None):
        print(len(texts), flush=True)
        time.sleep(0.3)
        return super().encode(texts, progress)

build_index([Corpus(json.loads(sys.argv[2]), name="mine")], Path(sys.argv[1]), Slow(), shard_documents=2)
"""


def test_index_says_what_it_holds(tmp_path: Path) -> None:
    """Counts, sources with licences, what was left out, the model and the shards are in index.json."""
    rows = [*ROWS, {"id": "short", "text": "too short"}]
    info = build_index(corpus(rows), tmp_path / "new" / "index", HashEmbedder(), shard_documents=4)
    assert (info.documents, info.dimension) == (10, 16)
    assert (info.embedding_name, info.embedding_model, info.embedding_revision) == ("hash", "hash-model", "1")
    assert [s["documents"] for s in info.shards] == [4, 4, 2]
    assert all(s["file"] == f"shard-{s['fingerprint'][:16]}.h5" for s in info.shards)
    assert list(info.corpora) == [
        {"source": "mine", "license": "CC0", "documents": 5},
        {"source": "mine", "license": "MIT", "documents": 5},
    ]
    ledger = Ledger.from_json(info.ledger)
    assert (ledger.records, ledger.documents, left_out(ledger)) == (11, 10, {"too short": 1})
    assert read_info(tmp_path / "new" / "index") == info
    index = Index.open(tmp_path / "new" / "index")
    assert [d.id for d in index.documents(range(10))] == [f"d{i}" for i in range(10)]
    assert visible(index.folder) == parts_of(index.folder)


def test_an_index_of_too_many_sources_is_refused_with_advice_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as of a web corpus whose source is the page; what the error names as the way out embeds nothing again."""
    monkeypatch.setattr("craft_hf.retrieval.index.build.MOST_SOURCES", 5)
    rows = [{**row, "source": f"https://e.org/{number}"} for number, row in enumerate(ROWS)]
    build_index([Corpus(rows[:5])], tmp_path / "five", HashEmbedder())
    with pytest.raises(InputError, match=r"more than 5 sources and licences, such as 'https://e.org/9' .*--field so"):
        build_index([Corpus(rows, name="web")], tmp_path / "index", HashEmbedder(), shard_documents=10)
    again = HashEmbedder()
    corpus = Corpus(rows, name="web", fields={"source": "", "url": "source"})
    info = build_index([corpus], tmp_path / "index", again, shard_documents=10)
    assert (again.asked, {str(c["source"]) for c in info.corpora}) == ([], {"web"})
    assert Index.open(tmp_path / "index").documents([3])[0].url == "https://e.org/3"


def test_several_corpora_are_one_index(tmp_path: Path) -> None:
    """Corpora follow each other, also within a shard, and each keeps its licence."""
    corpora = [Corpus(ROWS[:3], name="a"), Corpus([{"text": "other " * 50}], name="b", license="CC BY 4.0")]
    info = build_index(corpora, tmp_path, HashEmbedder())
    assert [(c["source"], c["license"], c["documents"]) for c in info.corpora] == [
        ("a", "CC0", 1),
        ("a", "MIT", 2),
        ("b", "CC BY 4.0", 1),
    ]


def test_second_build_embeds_nothing_and_changes_nothing(tmp_path: Path) -> None:
    """The same documents and model are recognised; fingerprint and shards stay."""
    first = build_index(corpus(), tmp_path, HashEmbedder(), shard_documents=4)
    times = {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("shard-*")}
    again = HashEmbedder()
    assert build_index(corpus(), tmp_path, again, shard_documents=4, replace=True) == first
    assert not again.asked
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("shard-*")} == times


def test_same_input_gives_the_same_fingerprint_anywhere(tmp_path: Path) -> None:
    """The fingerprint is of the content, not of time or place."""
    infos = [build_index(corpus(), tmp_path / name, HashEmbedder()) for name in "ab"]
    assert infos[0].fingerprint == infos[1].fingerprint


def test_interrupted_build_goes_on_with_the_next_shard(tmp_path: Path) -> None:
    """What was finished before the interruption is not embedded again; until then the index is called unfinished."""
    with pytest.raises(KeyboardInterrupt):
        build_index(corpus(), tmp_path, Interrupted(9), shard_documents=4)
    assert len(list(tmp_path.glob("*.h5"))) == 2
    with pytest.raises(InputError, match="is unfinished; run the command that builds it again"):
        Index.open(tmp_path)
    rest = HashEmbedder()
    info = build_index(corpus(), tmp_path, rest, shard_documents=4)
    assert sorted(rest.asked) == [row["text"] for row in ROWS[8:]]
    assert info.fingerprint == build_index(corpus(), tmp_path / ".whole", HashEmbedder(), shard_documents=4).fingerprint


def test_kill_9_costs_the_shard_in_hand_and_no_other(tmp_path: Path) -> None:
    """After SIGKILL in the middle, the same build embeds the missing shards only and gives the same index."""
    folder = tmp_path / "index"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder), json.dumps(ROWS)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    for _ in range(3):  # the third shard of five is being embedded
        assert process.stdout.readline() == "2\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    whole = sorted(folder.glob("*.h5"))
    assert 2 <= len(whole) < 5
    rest = HashEmbedder()
    info = build_index(corpus(), folder, rest, shard_documents=2)
    assert sorted(rest.asked) == [row["text"] for row in ROWS[2 * len(whole) :]]
    assert info == build_index(corpus(), tmp_path / "whole", HashEmbedder(), shard_documents=2)
    assert visible(folder) == parts_of(folder)


class Logged(HashEmbedder):
    """Takes its time, and writes down the first text of each call."""

    def __init__(self, log: Path) -> None:
        super().__init__(512)
        self._log = log

    def encode(self, texts: Sequence[str], progress: Callable[[int], object] | None = None) -> Vectors:
        """Embed texts."""
        with self._log.open("a") as file:
            file.write(texts[0] + "\n")
        time.sleep(0.02)
        return super().encode(texts, progress)


def build_slowly(folder: Path, log: Path) -> None:
    """Build an index of 60 shards; runs in a process that is killed."""
    rows = [{"id": f"d{i}", "text": f"document {i} " * 30} for i in range(1200)]
    build_index([Corpus(rows)], folder, Logged(log), shard_documents=20)


@pytest.mark.slow
def test_ten_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    """After every SIGKILL all shards are whole; none is embedded twice but those in hand when it came."""
    folder, log = tmp_path / "index", tmp_path / "log"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    moments = random.Random(2409)
    cut_short = kills = 0
    while kills < 10:
        process = context.Process(target=build_slowly, args=(folder, log))
        process.start()
        before = len(log.read_text().splitlines()) if log.exists() else 0
        while process.is_alive() and (not log.exists() or len(log.read_text().splitlines()) == before):
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.12))
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        assert process.exitcode == -signal.SIGKILL, "the build was over before it was killed ten times"
        assert all(is_intact(path) for path in folder.glob("*.h5"))
        embedded = len(log.read_text().splitlines())
        assert embedded - len(list(folder.glob("*.h5"))) - cut_short <= 1, "more than the shard in hand was lost"
        cut_short = embedded - len(list(folder.glob("*.h5")))
    build_slowly(folder, log)
    assert verify_index(folder) == []
    embedded_texts = Counter(log.read_text().splitlines())
    assert len(embedded_texts) == 60
    assert 60 <= embedded_texts.total() <= 60 + cut_short
    assert cut_short <= 10


def test_corpus_is_added_without_embedding_the_rest(tmp_path: Path) -> None:
    """New documents come behind the old ones; those whose text is there already are left out and counted."""
    build_index(corpus(), tmp_path, HashEmbedder(), shard_documents=4)
    more = [{"id": f"n{i}", "text": f"new document {i} " * 30, "license": "MIT"} for i in range(5)]
    embedder = HashEmbedder()
    info = build_index(corpus([*more, ROWS[3], more[0]]), tmp_path, embedder, shard_documents=4, add=True)
    assert sorted(embedder.asked) == sorted(row["text"] for row in more)
    assert (info.documents, left_out(Ledger.from_json(info.ledger))) == (15, {"repeated text": 2})
    assert [s["documents"] for s in info.shards] == [4, 4, 2, 4, 1]
    assert info.corpora == (
        {"source": "mine", "license": "CC0", "documents": 5}, {"source": "mine", "license": "MIT", "documents": 10},
    )  # fmt: skip
    assert [d.id for d in Index.open(tmp_path).documents([9, 10, 14])] == ["d9", "n0", "n4"]
    assert verify_index(tmp_path) == []
    again = build_index(corpus(more), tmp_path, HashEmbedder(), shard_documents=4, add=True)
    assert (again.documents, again.fingerprint) == (15, info.fingerprint)


def test_interrupted_adding_leaves_the_index_and_goes_on(tmp_path: Path) -> None:
    """While a corpus is added the old index can be searched; the same call again embeds what is missing."""
    old = build_index(corpus(), tmp_path, HashEmbedder(), shard_documents=4)
    more = corpus([{"id": f"n{i}", "text": f"new document {i} " * 30} for i in range(8)])
    with pytest.raises(KeyboardInterrupt):
        build_index(more, tmp_path, Interrupted(5), shard_documents=4, add=True)
    assert Index.open(tmp_path).info == old
    rest = HashEmbedder()
    assert build_index(more, tmp_path, rest, shard_documents=4, add=True).documents == 18
    assert len(rest.asked) == 4


def test_models_are_not_mixed_in_one_index(tmp_path: Path) -> None:
    """Adding with another model, or to what is no index, is refused before anything is embedded."""
    with pytest.raises(InputError, match="build one with"):
        build_index(corpus(), tmp_path / "none", HashEmbedder(), add=True)
    build_index(corpus(), tmp_path, HashEmbedder())
    other = HashEmbedder(revision="2")
    with pytest.raises(
        InputError, match=r"was built with hash-model \(1\), but the embedding model is hash-model \(2\)"
    ):
        build_index(corpus(), tmp_path, other, add=True)
    assert not other.asked


def test_equal_texts_are_taken_once(tmp_path: Path) -> None:
    """Of equal texts in one or several corpora the first is taken."""
    corpora = [
        Corpus([*ROWS, ROWS[0]], name="a"),
        Corpus([{**ROWS[1], "id": "other"}, {"text": "unique " * 50}], name="b"),
    ]
    info = build_index(corpora, tmp_path, HashEmbedder(), shard_documents=4)
    assert (info.documents, left_out(Ledger.from_json(info.ledger))) == (11, {"repeated text": 2})


def test_leftover_of_a_killed_write_is_replaced(tmp_path: Path) -> None:
    """A partial file of a process that was killed stands in nobody's way and is gone afterwards."""
    for suffix in ("h5", "hashes"):
        (tmp_path / f".shard-0123456789abcdef.{suffix}.5e1f.incomplete").write_bytes(b"partial")
    build_index(corpus(), tmp_path, HashEmbedder())
    assert visible(tmp_path) == parts_of(tmp_path)
    assert not list(tmp_path.glob(".*.incomplete"))


@pytest.mark.parametrize("shard_documents", [4, 3])
def test_only_what_is_new_is_embedded(tmp_path: Path, shard_documents: int) -> None:
    """A row more at the front, another licence, a changed text, another shard size: old vectors are found again."""
    build_index(corpus(), tmp_path, HashEmbedder(), shard_documents=4)
    new = [{"id": "new", "text": "a new one " * 40}, {**ROWS[3], "id": "d3", "text": "changed " * 40}]
    rows = [new[0], *ROWS[:3], new[1], *({**row, "license": "other"} for row in ROWS[4:])]
    embedder = HashEmbedder()
    info = build_index(corpus(rows), tmp_path, embedder, shard_documents=shard_documents, replace=True)
    assert embedder.asked == [row["text"] for row in new]
    assert verify_index(tmp_path) == []
    assert len(leftovers(tmp_path, info)) == 1, "the vector of the text that was changed"
    assert info == build_index(
        corpus(rows), tmp_path / ".new" / "index", HashEmbedder(), shard_documents=shard_documents
    )
    other = HashEmbedder(revision="2")
    build_index(corpus(ROWS[:4]), tmp_path, other, replace=True)
    assert len(other.asked) == 4, "vectors of another model are no use"


def test_index_is_neither_replaced_nor_added_to_unless_told(tmp_path: Path) -> None:
    """The error says what to give, also while others write; nothing changes, not even when the corpus is broken."""
    first = build_index(corpus(), tmp_path, HashEmbedder())
    with writing(tmp_path), pytest.raises(InputError, match=r"of 10 documents, .* not changed: give --add .*--replace"):
        build_index(corpus(ROWS[:2]), tmp_path, HashEmbedder())
    with pytest.raises(InputError, match="both add and replace"):
        build_index(corpus(ROWS[:2]), tmp_path, HashEmbedder(), add=True, replace=True)
    for settings in ({"add": True}, {"replace": True}):
        with pytest.raises(InputError, match="1 record, but nothing became a document: 1 too short"):
            build_index([Corpus([{"text": "short"}])], tmp_path, HashEmbedder(), **settings)
    assert Index.open(tmp_path).info == first
    assert verify_index(tmp_path) == []


def test_damaged_vectors_are_not_taken_over(tmp_path: Path) -> None:
    """What lies in a shard that was changed since it was written is embedded again, the rest is not."""
    info = build_index(corpus(), tmp_path, HashEmbedder(), shard_documents=4)
    path = shard_paths(tmp_path)[1]
    content = bytearray(path.read_bytes())
    content[Shard(path)._layout["embedding"][0] + 3] ^= 64
    path.write_bytes(content)
    mend = HashEmbedder()
    assert build_index(corpus(), tmp_path, mend, shard_documents=4, replace=True) == info
    assert mend.asked == [row["text"] for row in ROWS[4:8]]
    assert verify_index(tmp_path) == []


def test_unfinished_builds_keep_what_they_paid_for(tmp_path: Path) -> None:
    """Vectors of an interrupted build stay when another corpus is added, and go when the index has them all."""
    build_index(corpus(ROWS[:2]), tmp_path, HashEmbedder())
    with pytest.raises(KeyboardInterrupt):
        build_index(corpus(ROWS), tmp_path, Interrupted(5), shard_documents=4, add=True)
    more = corpus([{"text": "another corpus " * 30}])
    info = build_index(more, tmp_path, HashEmbedder(), add=True)
    assert len(leftovers(tmp_path, info)) == 1
    rest = HashEmbedder()
    info = build_index(corpus(ROWS), tmp_path, rest, shard_documents=3, add=True)
    assert len(rest.asked) == 4
    assert leftovers(tmp_path, info) == []
    assert info.documents == 11


@pytest.mark.parametrize("is_broken", [True, False])
def test_replacing_keeps_what_was_paid_for(tmp_path: Path, is_broken: bool) -> None:
    """Whatever is replaced, by whatever, also an index that cannot be read: what is embedded is not embedded again."""
    more = [{"id": f"m{i}", "text": f"more {i} " * 60} for i in range(9)]
    build_index(corpus(ROWS[:3]), tmp_path, HashEmbedder(), shard_documents=2)
    build_index(corpus(ROWS[3:6]), tmp_path, HashEmbedder(), shard_documents=2, add=True)
    with pytest.raises(KeyboardInterrupt):
        build_index(corpus(more), tmp_path, Interrupted(5), shard_documents=2, add=True)
    if is_broken:
        for name in ("index.json", ".index.json"):
            (tmp_path / name).write_text("{")
    licensed = [{**row, "license": "other"} for row in ROWS[:2]]
    first, rest = HashEmbedder(), HashEmbedder()
    assert build_index(corpus(licensed), tmp_path, first, shard_documents=2, replace=True).documents == 2
    build_index(corpus([*more, *ROWS[:7]]), tmp_path, rest, replace=True)
    assert first.asked == []
    assert rest.asked == [row["text"] for row in (*more[4:], ROWS[6])]
    assert leftovers(tmp_path, read_info(tmp_path)) == []


def test_bad_input_leaves_nothing_behind(tmp_path: Path) -> None:
    """A corpus that is empty or broken makes no folder, and no corpus at all is refused."""
    (tmp_path / "empty.jsonl").touch()
    for corpora in ([Corpus(tmp_path / "empty.jsonl")], [Corpus([{"body": "x"}])], []):
        with pytest.raises(InputError):
            build_index(corpora, tmp_path / "index", HashEmbedder())
        assert not (tmp_path / "index").exists()


def test_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    """Nothing is written beside files that are no index, nor over a file."""
    (tmp_path / "thesis.docx").touch()
    with pytest.raises(InputError, match=r"holds 'thesis\.docx', which is not part of an index"):
        build_index(corpus(), tmp_path, HashEmbedder())
    with pytest.raises(InputError, match="is a file; give a folder"):
        build_index(corpus(), tmp_path / "thesis.docx", HashEmbedder())
    with pytest.raises(StorageError, match="cannot be created"):
        build_index(corpus(), tmp_path / "thesis.docx" / "index", HashEmbedder())


@pytest.mark.parametrize("name", ["shard-00000-of-00010.parquet", "shard-1.h5", "shard-notes"])
def test_foreign_files_named_like_shards_are_safe(tmp_path: Path, name: str) -> None:
    """A file that is called a shard but is none of the index's is neither removed nor taken for an unfinished index."""
    (tmp_path / name).write_text("precious")
    with pytest.raises(InputError, match=f"holds '{name}', which is not part of an index"):
        build_index(corpus(), tmp_path, HashEmbedder())
    assert (tmp_path / name).read_text() == "precious"
    with pytest.raises(InputError, match="is not an index"):
        read_info(tmp_path)


def test_build_on_a_full_disk_goes_on_when_there_is_room(small_disk: Path, tmp_path: Path) -> None:
    """On a disk that is really full, whole shards stay and nothing else does; with more room only the rest is made."""
    rows = [{"id": f"d{i}", "text": f"{i:02} " * 8000} for i in range(16)]
    folder = small_disk / "index"
    with pytest.raises(StorageError, match=r"(cannot be written|cannot be saved).*is kept; free disk space"):
        build_index(corpus(rows), folder, HashEmbedder(), shard_documents=2)
    whole = sorted(folder.glob("*.h5"))
    assert 3 <= len(whole) < 8
    ids = sorted(int(d.id[1:]) for path in whole for d in Shard(path).documents([0, 1]))
    assert ids == list(range(2 * len(whole)))
    saved = sum(len(SavedVectors(path).embeddings) for path in folder.glob(".vectors-*"))
    subprocess.run(["mount", "-o", "remount,size=4m", small_disk], check=True)
    rest = HashEmbedder()
    info = build_index(corpus(rows), folder, rest, shard_documents=2)
    assert len(rest.asked) == 16 - 2 * len(whole) - saved
    assert info == build_index(corpus(rows), tmp_path / "whole", HashEmbedder(), shard_documents=2)
    assert [d.text for d in Index.open(folder).documents([15, 0])] == [rows[15]["text"], rows[0]["text"]]


def test_no_two_documents_have_one_id(tmp_path: Path) -> None:
    """Files that count from 0 each, and what is added later: ids in the index stay, repeated ones get a suffix."""
    rows = [{"id": str(i % 2), "text": f"document {i} " * 30} for i in range(6)]
    first = build_index(corpus(rows), tmp_path / "i", HashEmbedder(), shard_documents=4)
    assert Ledger.from_json(first.ledger).repeated_ids == 4
    before = Index.open(tmp_path / "i").documents(range(6))
    assert [d.id.partition("~")[0] for d in before] == ["0", "1"] * 3
    assert [d.id for d in before][:2] == ["0", "1"]
    more = [{"id": "1", "text": "another document " * 30}, {"id": "new", "text": "new document " * 30}]
    info = build_index(corpus([*more, rows[5]]), tmp_path / "i", HashEmbedder(), add=True)
    documents = Index.open(tmp_path / "i").documents(range(8))
    assert documents[:6] == before
    assert documents[6].id.startswith("1~")
    assert documents[7].id == "new"
    assert len({d.id for d in documents}) == 8
    assert Ledger.from_json(info.ledger).repeated_ids == 5


def test_odd_strings_come_back(tmp_path: Path) -> None:
    """Empty fields, all scripts and mended characters go into an index and come out as the corpus gave them."""
    texts = ["Grüße, κόσμε, 世界 🙂 " * 20, "x" * 250 + "\0", "y" * 250 + "\ud800"]
    rows = [{"id": f"d{i}", "text": text, "title": "", "source": "ä\udcff\0"} for i, text in enumerate(texts)]
    info = build_index(corpus(rows), tmp_path, HashEmbedder())
    documents = Index.open(tmp_path).documents(range(3))
    assert documents == list(corpus(rows)[0])
    assert [d.text for d in documents] == [texts[0], "x" * 250, "y" * 250 + "?"]
    assert info.corpora[0]["source"] == "ä?"


def test_full_disk_at_the_end_keeps_the_old_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """index.json is replaced whole or not at all."""
    first = build_index(corpus(), tmp_path, HashEmbedder())

    write = files.os.replace

    def full(source: Path, target: Path) -> None:
        if target.name == "index.json":
            raise OSError(28, "No space left on device")
        write(source, target)

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(StorageError, match=r"index\.json cannot be written: .*No space left.*run the command again"):
        build_index(corpus(), tmp_path, HashEmbedder(), replace=True)
    assert read_info(tmp_path) == first
    assert [name for name in visible(tmp_path) if name != ".build.json"] == parts_of(tmp_path)


def broken_folders(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Folders that are no index, with what the error says."""
    yield tmp_path / "missing", "there is no index folder .*missing; build one with"
    (tmp_path / "empty").mkdir()
    yield tmp_path / "empty", "empty is empty; build one"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    yield tmp_path / "photos", r"photos is not an index \(it has no index\.json\)"
    for name, content in {
        "list": "[]",
        "cut": f'{{"format": {FORMAT}, "shar',
        "bare": f'{{"format": {FORMAT}}}',
        "empty-json": "{}",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.json").write_text(content)
        yield tmp_path / name, r"index\.json is not an index of craft_hf"
    build_index(corpus(), tmp_path / "future", HashEmbedder())
    data = json.loads((tmp_path / "future" / "index.json").read_text())
    (tmp_path / "future" / "index.json").write_text(json.dumps({**data, "format": 99, "new": 1}))
    yield (
        tmp_path / "future",
        f"has format 99, .* reads format {FORMAT}; build .* into another folder: craft-hf index bui",
    )


def test_what_is_no_index_is_refused(tmp_path: Path) -> None:
    """A missing, empty or foreign folder, a broken index.json and another format each get an error of their own."""
    for folder, message in broken_folders(tmp_path):
        with pytest.raises(InputError, match=message):
            Index.open(folder)


@pytest.mark.long
def test_any_flipped_byte_of_index_json_is_harmless_or_refused(tmp_path: Path) -> None:
    """Whatever byte of index.json is another one, the index is read as it is or refused, and nothing else happens."""
    build_index(corpus(), tmp_path, HashEmbedder(), shard_documents=4)
    queries = HashEmbedder().encode(["query"])
    want = Index.open(tmp_path).search(queries, 20)[1].tolist()
    path = tmp_path / "index.json"
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for position in range(len(good)):
        new = int(rng.integers(32, 127)) if position % 3 else int(rng.integers(48, 58))
        path.write_bytes(good[:position] + bytes([new]) + good[position + 1 :])
        try:
            index = Index.open(tmp_path)
            assert index.search(queries, 20)[1].tolist() == want
            assert [d.id for d in index.documents(range(10))] == [f"d{i}" for i in range(10)]
        except InputError:
            refused += 1
    assert refused > len(good) / 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"documents": 11}, "the shards hold 10 documents, expected 11"),
        ({"shards": [{"file": "shard-00000.h5", "documents": 10}]}, "KeyError: 'fingerprint'"),
        ({"shards": [1]}, "TypeError"),
        (
            {"shards": [{"file": 1, "documents": 10, "bytes": 1, "fingerprint": ""}]},
            "name, fingerprint or hash of its documents is not a string",
        ),
        (
            {"shards": [{"file": "a", "documents": 10, "bytes": "1", "fingerprint": "", "documents_hash": ""}]},
            "size is not a number",
        ),
    ],
)
def test_index_json_that_does_not_fit_its_shards_is_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    """Numbers that do not add up, and shards that lack what is needed, are refused when the index is opened."""
    build_index(corpus(), tmp_path, HashEmbedder())
    data = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps({**data, **change}))
    with pytest.raises(InputError, match=rf"index\.json is not an index of craft_hf .*{message}"):
        Index.open(tmp_path)


@pytest.mark.weights
def test_real_model_builds_the_same_index_again(tmp_path: Path) -> None:
    """With the embedded weights, a rebuilt index has the fingerprint of the first one."""
    embedder = Embedder()
    infos = [build_index(corpus(), tmp_path / name, embedder, shard_documents=6) for name in "ab"]
    assert infos[0].fingerprint == infos[1].fingerprint
    assert infos[0].dimension == 384


LONG = [
    {
        "id": f"l{n}",
        "text": " ".join([f"The sentence of document {n} that is first.", *(f"More {n} {i}." for i in range(n))]),
    }
    for n in (0, 3, 9)
]


def test_all_of_a_text_is_embedded_in_chunks(tmp_path: Path) -> None:
    """What is embedded is all of every document, in order; index.json says how many have several chunks."""
    embedder = WordEmbedder(window=12)
    info = build_index([Corpus(LONG, min_chars=1)], tmp_path, embedder)
    assert (info.vectors, info.window, info.documents) == ("chunks", 12, 3)
    assert (info.chunks, info.longer_than_window) == (len(embedder.asked), 2)
    assert "".join(embedder.asked) == "".join(row["text"] for row in LONG)
    assert "2 of 3 documents are longer than the 12 tokens that the model reads: they are embed" in info.embedded_text
    again = WordEmbedder(window=12)
    more = [*LONG, {"id": "new", "text": "Something else. " * 10}]
    assert build_index([Corpus(more, min_chars=1)], tmp_path, again, replace=True).documents == 4
    assert set(again.asked) == set(again.asked) - set(embedder.asked), "nothing was embedded twice"


def test_one_vector_a_document_is_of_its_head(tmp_path: Path) -> None:
    """With vectors="document" only the head is embedded; what is added to the index is treated in the same way."""
    embedder = WordEmbedder(window=12)
    info = build_index([Corpus(LONG, min_chars=1)], tmp_path, embedder, vectors="document")
    assert (info.chunks, info.longer_than_window) == (3, 2)
    assert [len(text.split()) for text in embedder.asked] == [8, 12, 12]
    assert "what stands behind is not embedded" in info.embedded_text
    more = [Corpus([{"id": "new", "text": "Something else. " * 10}], min_chars=1)]
    with pytest.raises(InputError, match="was built with vectors='document', and 'chunks' was given; leave it out"):
        build_index(more, tmp_path, embedder, add=True, vectors="chunks")
    added = build_index(more, tmp_path, embedder, add=True)
    assert (added.vectors, added.chunks, added.longer_than_window) == ("document", 4, 3)
    with pytest.raises(InputError, match="vectors is 'all', expected one of chunks, document"):
        build_index(more, tmp_path / "new", embedder, vectors="all")
    found = Index.open(tmp_path).search(embedder.encode([embedder.asked[2]]), 1)[1]
    assert Index.open(tmp_path).documents(found[0].tolist())[0].id == "l9"
