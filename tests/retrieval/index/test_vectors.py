"""Vectors are made once: saved while they are made, and found again wherever they lie."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from craft_hf.base.embedder import Vectors
from craft_hf.base.errors import InputError, StorageError
from craft_hf.corpus.corpus import Corpus
from craft_hf.retrieval.index import vectors as module
from craft_hf.retrieval.index.build import build_index
from craft_hf.retrieval.index.layout import vector_files
from craft_hf.retrieval.index.shard import embedding_hashes
from craft_hf.retrieval.index.vectors import KnownVectors, SavedVectors, VectorSaver, embed, open_vectors
from tests import ROOT
from tests.vectors import HashEmbedder, parts_of, visible

TEXTS = [f"text {i}" for i in range(6)]
HASHES = embedding_hashes(TEXTS, "m")
HALVES = np.arange(6 * 4, dtype=np.float16).reshape(6, 4)


class InBatches(HashEmbedder):
    """Embeds in batches of two, and prints each when the next one begins."""

    def encode_batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Vectors]]:
        """Embed texts."""
        for start in range(0, len(texts), 2):
            rows = list(range(start, min(start + 2, len(texts))))
            yield rows, self.encode([texts[row] for row in rows])
            print(rows, flush=True)


KILLED = """
import sys, time
from io import FileIO
from pathlib import Path
from typing import Any
from craft_hf.corpus import Corpus
from craft_hf.retrieval import build_index
from craft_hf.base import open_workers
from tests.retrieval.index.test_vectors import InBatches, ROWS

class Stuck(InBatches):
    def encode(self, texts, progress=None):
        if "document 6 " in texts[0]:
            print("stuck", flush=True)
            time.sleep(600)
        return super().encode(texts, progress)

if __name__ == "__main__":
    build_index([Corpus(ROWS)], Path(sys.argv[1]), Stuck())
"""

ROWS = [{"id": f"d{i}", "text": f"document {i} " * 30} for i in range(10)]


def saved(folder: Path, rows: Sequence[int]) -> Path:
    """Save the vectors of some texts, as a process does that is killed then."""
    saver = VectorSaver(folder, 4)
    saver.add(HASHES[rows], HALVES[rows])
    (path,) = folder.glob(".vectors-*.part")
    return path


def test_saved_vectors_are_found_again(tmp_path: Path) -> None:
    """By the hash of text and model; what is not there is said; another dimension is passed over."""
    saved(tmp_path, [3, 1, 4])
    vectors, found = KnownVectors(vector_files(tmp_path), 4).find(HASHES)
    assert found.tolist() == [False, True, False, True, True, False]
    np.testing.assert_array_equal(vectors[found], HALVES[found])
    assert not vectors[~found].any()
    assert not KnownVectors(vector_files(tmp_path), 4).find(embedding_hashes(TEXTS, "other model"))[1].any()
    assert not KnownVectors(vector_files(tmp_path), 5).find(HASHES)[1].any()
    assert not KnownVectors([], 4).find(HASHES)[1].any()
    assert KnownVectors(vector_files(tmp_path), 4).holds(HASHES[[1, 4]])
    assert not KnownVectors(vector_files(tmp_path), 4).holds(HASHES[[1, 2]])


@pytest.mark.parametrize("cut", [1, 27, 28, 29, 60])
def test_torn_tail_is_left_out(tmp_path: Path, cut: int) -> None:
    """A file that ends anywhere has the records before that."""
    path = saved(tmp_path, [0, 1, 2])
    size = path.stat().st_size
    os.truncate(path, size - cut)
    whole = (size - cut - 16) // 28
    assert SavedVectors(path).chunks == whole
    found = KnownVectors([path], 4).find(HASHES)[1]
    assert found.tolist() == [row < whole for row in range(6)]


def test_damaged_record_is_left_out(tmp_path: Path) -> None:
    """A changed bit costs its record; a file that is none of ours is named."""
    path = saved(tmp_path, [0, 1, 2])
    content = bytearray(path.read_bytes())
    content[16 + 28 + 20] ^= 1
    path.write_bytes(content)
    assert KnownVectors([path], 4).find(HASHES)[1].tolist() == [True, False, True, False, False, False]
    damaged = bytearray(content)
    damaged[14] ^= 1  # of the dimension
    for wrong in (b"short", bytes(damaged)):
        path.write_bytes(wrong)
        if len(path.read_bytes()) < 16:
            assert open_vectors(path).chunks == 0
        else:
            with pytest.raises(InputError, match="is no file of saved vectors, or its beginning is damaged"):
                open_vectors(path)
        assert not KnownVectors([path], 4).find(HASHES)[1].any()


def test_vectors_of_a_damaged_file_are_taken_from_another(tmp_path: Path) -> None:
    """The same vector in two shards, of which one is damaged."""
    rows = [{"text": f"document {i} " * 30} for i in range(4)]
    for name, chosen in (("a", rows), ("b", rows[::-1])):
        build_index([Corpus(chosen)], tmp_path / name, HashEmbedder())
    paths = [next((tmp_path / name).glob("*.h5")) for name in "ab"]
    hashes = embedding_hashes([row["text"] for row in rows], HashEmbedder().identity)
    for damaged in paths:
        content = damaged.read_bytes()
        damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert KnownVectors(paths, 16).find(hashes)[1].all()
        assert not KnownVectors([damaged], 16).find(hashes)[1].any()
        damaged.write_bytes(content)


def test_each_text_is_embedded_once(tmp_path: Path) -> None:
    """Equal texts of one shard share a vector; those that were found are not embedded."""
    texts = ["a", "b", "a", "c", "b", "d"]
    embedder = HashEmbedder(4)
    hashes = embedding_hashes(texts, embedder.identity)
    vectors = np.zeros((6, 4), dtype=np.float16)
    with VectorSaver(tmp_path, 4) as saver:
        embed(texts, hashes, vectors, np.array([False] * 5 + [True]), embedder, saver)
    assert embedder.asked == ["a", "b", "c"]
    np.testing.assert_array_equal(vectors[:5], embedder.encode(texts[:5]).astype(np.float16))
    assert not vectors[5].any()


def test_vector_that_is_no_number_is_refused_and_not_saved(tmp_path: Path) -> None:
    """NaN, infinity, and what float16 cannot hold, are named by their text."""

    class Broken(HashEmbedder):
        def encode(self, texts, progress=None):  # type: ignore[no-untyped-def]
            return super().encode(texts) * np.float32(1e9)

    with pytest.raises(InputError, match=r"of the text 'a+' holds NaN, infinity or .* unit vectors from hash-model@1"):
        build_index([Corpus([{"text": "a" * 300}])], tmp_path, Broken())
    assert visible(tmp_path) == []


def test_vectors_are_saved_at_once_and_synced_when_it_is_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is asked for certainty when the time has passed; at the end of a shard the file goes."""
    now, synced = [0.0], list[int]()
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module.os, "fsync", synced.append)
    with VectorSaver(tmp_path, 4) as saver:
        assert not list(tmp_path.iterdir())
        saver.add(HASHES[:2], HALVES[:2])
        (path,) = tmp_path.iterdir()
        assert SavedVectors(path).chunks == 2
        assert not synced
        now[0] = module.SYNC_EVERY_S + 1
        saver.add(HASHES[2:3], HALVES[2:3])
        saver.add(HASHES[3:], HALVES[3:])
        assert SavedVectors(path).chunks == 6
        assert len(synced) == 1
    assert not list(tmp_path.iterdir())


def test_full_disk_keeps_what_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a write that fails in the middle, the records that are whole count."""
    free = [1000]

    class SmallDisk(FileIO):
        def write(self, data: Any) -> int:
            if not free[0]:
                raise OSError(28, "No space left on device")
            written = super().write(data[: free[0]])
            free[0] -= written
            return written

    monkeypatch.setattr(module, "FileIO", SmallDisk)
    saver = VectorSaver(tmp_path, 4)
    saver.add(HASHES[:2], HALVES[:2])
    (path,) = tmp_path.iterdir()
    free[0] = 40
    with pytest.raises(StorageError, match=r"cannot be saved .*No space left.*is kept; free disk space"):
        saver.add(HASHES[2:4], HALVES[2:4])
    assert KnownVectors([path], 4).find(HASHES)[1].tolist() == [True] * 3 + [False] * 3


def test_kill_9_costs_the_batch_in_hand_and_no_other(tmp_path: Path) -> None:
    """In the middle of a shard: what was saved of it is found again, and the file goes when the index is complete."""
    folder = tmp_path / "index"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        while process.stdout.readline() != "stuck\n":
            assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
    assert [name[:9] for name in visible(folder)] == [".vectors-"]
    rest = InBatches()
    info = build_index([Corpus(ROWS)], folder, rest)
    assert rest.asked == [row["text"] for row in ROWS[6:]]
    assert info == build_index([Corpus(ROWS)], tmp_path / "whole", HashEmbedder())
    assert visible(folder) == parts_of(folder)
