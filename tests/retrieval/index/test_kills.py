"""SIGKILL at random moments of build, add, repair and compact: the old index or the new one, and nothing is lost."""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.synchronize
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest import mock

import pytest

from craft_hf.base.embedder import Vectors
from craft_hf.corpus.corpus import Corpus
from craft_hf.retrieval.index import search
from craft_hf.retrieval.index.build import build_index
from craft_hf.retrieval.index.edit import compact_index
from craft_hf.retrieval.index.info import read_info
from craft_hf.retrieval.index.repair import repair_index
from craft_hf.retrieval.index.search import Index
from craft_hf.retrieval.index.shard import Shard
from craft_hf.retrieval.index.verify import verify_index
from craft_hf.retrieval.index.writing import leftovers
from tests.vectors import HashEmbedder, shard_paths

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])
BATCH, DIMENSION = 5, 512
ROWS = [{"id": f"d{i}", "text": f"document {i} " * 30} for i in range(400)]
OLD, NEW = ROWS[:200], ROWS[200:]


class Logged(HashEmbedder):
    """Takes its time, and writes down each text that it embeds."""

    def __init__(self, log: Path) -> None:
        super().__init__(DIMENSION)
        self._log = log

    def encode_batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Vectors]]:
        """Embed texts."""
        for start in range(0, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            time.sleep(0.005)
            made = self.encode(batch)
            with self._log.open("a") as file:
                file.writelines(f"{text}\n" for text in batch)
            yield list(range(start, start + len(batch))), made


def build(folder: Path, log: Path) -> None:
    """Replace the index by one of all rows, in larger shards."""
    build_index([Corpus(ROWS)], folder, Logged(log), shard_documents=100, replace=True)


def add(folder: Path, log: Path) -> None:
    """Add the new rows."""
    build_index([Corpus(NEW)], folder, Logged(log), shard_documents=50, add=True)


def mend(folder: Path, log: Path) -> None:
    """Embed again what is damaged."""
    with mock.patch.object(search, "Embedder", return_value=Logged(log)):
        repair_index(folder)


def compact(folder: Path, log: Path) -> None:
    """Join the small shards."""
    compact_index(folder, 100)


def run(work: Callable[[Path, Path], None], folder: Path, log: Path, begun: multiprocessing.synchronize.Event) -> None:
    """Do the work in a process that is killed."""
    begun.set()
    work(folder, log)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An index of the old rows, in small shards."""
    build_index([Corpus(OLD)], tmp_path / "index", HashEmbedder(DIMENSION), shard_documents=10)
    return tmp_path / "index"


@pytest.mark.slow
@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.long)])
@pytest.mark.parametrize("work", [build, add, mend, compact])
def test_kills_lose_nothing(folder: Path, tmp_path: Path, work: Callable[[Path, Path], None], kills: int) -> None:
    """After each kill the old index is there, or the new one, whole; at the end each text was embedded about once."""
    log = tmp_path / "log"
    log.touch()
    damaged = shard_paths(folder)[::2] if work is mend else []
    for path in damaged:
        content = bytearray(path.read_bytes())
        start, end, _, _ = Shard(path)._layout["embedding"]
        for place in range(start, end, DIMENSION * 2):
            content[place] ^= 64
        path.write_bytes(content)
    old = read_info(folder)
    shutil.copytree(folder, tmp_path / "start")
    shutil.copytree(folder, tmp_path / "trial")
    start = time.monotonic()
    work(tmp_path / "trial", tmp_path / "trial.log")
    took = time.monotonic() - start
    new = read_info(tmp_path / "trial")
    moments = random.Random(2409)
    killed = 0
    while killed < kills:
        begun = CONTEXT.Event()
        process = CONTEXT.Process(target=run, args=(work, folder, log, begun))
        process.start()
        begun.wait()
        time.sleep(moments.uniform(0, took / (2 if work is compact else kills)))
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        assert process.exitcode in (0, -signal.SIGKILL)
        info = read_info(folder)
        assert info in (old, new)
        if info == old:
            problems = [p for p in verify_index(folder) if "the copy from which index.json would come back" not in p]
            assert len(problems) <= len(damaged)
            assert [d.id for d in Index.open(folder).documents(range(200))] == [row["id"] for row in OLD]
        else:
            assert verify_index(folder) == []
            if killed < kills:  # it was done: once more from the start
                shutil.rmtree(folder)
                shutil.copytree(tmp_path / "start", folder)
                log.write_text("")
    if read_info(folder) == old:
        work(folder, log)
    assert read_info(folder) == new
    assert verify_index(folder) == []
    assert leftovers(folder, new) == []
    embedded = Counter(log.read_text().splitlines())
    expected = {build: 200, add: 200, mend: 10 * len(damaged), compact: 0}[work]
    assert len(embedded) == expected
    assert embedded.total() <= expected + kills * BATCH
    assert json.loads((folder / "index.json").read_text())["documents"] == new.documents
