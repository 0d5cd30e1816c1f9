"""One writer at a time, and the index is the old one or the new one."""

from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from filelock import FileLock

from craft_hf.base.errors import InputError, StorageError
from craft_hf.base.files import write_file
from craft_hf.corpus.corpus import Corpus
from craft_hf.retrieval.index.build import build_index
from craft_hf.retrieval.index.edit import compact_index, remove_documents
from craft_hf.retrieval.index.info import IndexInfo, read_info
from craft_hf.retrieval.index.repair import repair_index
from craft_hf.retrieval.index.search import Index
from craft_hf.retrieval.index.shard import Shard
from craft_hf.retrieval.index.vectors import save_vectors
from craft_hf.retrieval.index.verify import verify_index
from craft_hf.retrieval.index.writing import leftovers, writing
from tests import ROOT
from tests.vectors import HashEmbedder, Interrupted, parts_of, shard_paths, visible

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])


def rows(name: str, count: int) -> list[dict[str, str]]:
    """Rows with texts of their own."""
    return [{"id": f"{name}{i}", "text": f"{name} {i} " * 80, "source": name} for i in range(count)]


def add(folder: Path, name: str, count: int = 5) -> None:
    """Add a corpus to an index."""
    build_index([Corpus(rows(name, count))], folder, HashEmbedder(), shard_documents=2, add=True)


def at_once(folder: Path, names: Sequence[str]) -> None:
    """Add corpora in as many processes at once."""
    processes = [CONTEXT.Process(target=add, args=(folder, name)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)


@pytest.mark.parametrize("rounds", [2, pytest.param(50, marks=pytest.mark.long)])
def test_two_writers_at_once_lose_nothing(tmp_path: Path, rounds: int) -> None:
    """Whatever the order: both corpora are in the index at the end, and it is whole."""
    folder = tmp_path / "index"
    build_index([Corpus(rows("first", 3))], folder, HashEmbedder())
    for number in range(rounds):
        at_once(folder, [f"a{number}", f"b{number}"])
        assert read_info(folder).documents == 3 + 10 * (number + 1)
    assert verify_index(folder) == []
    assert {c["source"] for c in read_info(folder).corpora} == {
        "first", *(f"{name}{n}" for n in range(rounds) for name in "ab")
    }  # fmt: skip
    assert visible(folder) == parts_of(folder)


def test_second_writer_says_whom_it_waits_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The process and its machine; when the first is done, the second reads what it wrote and goes on."""
    build_index([Corpus(rows("first", 2))], tmp_path, HashEmbedder())
    started, done = threading.Event(), threading.Event()

    def write() -> None:
        started.set()
        add(tmp_path, "second")
        done.set()

    with writing(tmp_path):
        second = threading.Thread(target=write)
        second.start()
        started.wait()
        said = ""
        while "Waiting" not in said:
            time.sleep(0.02)
            said += capsys.readouterr().err
        assert re.search(rf"Waiting: process {os.getpid()} on \S+ writes to {tmp_path}", said)
        assert Index.open(tmp_path).info.documents == 2, "who reads need not wait"
        assert not done.is_set()
    second.join()
    assert read_info(tmp_path).documents == 7


def test_lock_of_a_killed_writer_is_nobodys(tmp_path: Path) -> None:
    """A process that was killed while it held the lock holds up no other."""
    code = """
import sys, time
from pathlib import Path
from craft_hf.retrieval.index.writing import writing
with writing(Path(sys.argv[1])):
    print("writing", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        os.kill(process.pid, signal.SIGKILL)
    build_index([Corpus(rows("first", 2))], tmp_path, HashEmbedder())
    assert verify_index(tmp_path) == []


def test_waiting_for_a_build_that_comes_to_nothing(tmp_path: Path) -> None:
    """The folder that the first made goes with its failure; the second makes it again."""
    folder = tmp_path / "index"
    second = threading.Thread(target=lambda: build_index([Corpus(rows("a", 2))], folder, HashEmbedder()))

    def fail() -> None:
        second.start()
        time.sleep(0.2)
        raise InputError("broken")

    with pytest.raises(InputError, match="broken"), writing(folder):
        fail()
    second.join()
    assert Index.open(folder).info.documents == 2


def test_waiting_writer_that_is_interrupted_leaves_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both found no folder; the one that made it has written nothing yet when the other is stopped."""
    folder = tmp_path / "index"

    def wait(lock: FileLock, folder: Path) -> None:
        folder.mkdir()
        for name in (".lock", ".writer"):
            (folder / name).touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("craft_hf.retrieval.index.writing._take_turn", wait)
    with pytest.raises(KeyboardInterrupt), writing(folder):
        pass
    assert sorted(path.name for path in folder.iterdir()) == [".lock", ".writer"]


def remove(folder: Path) -> None:
    """Remove a document."""
    remove_documents(folder, ["a3"])


def replace(folder: Path) -> None:
    """Replace the index by one of other documents, and all of its own."""
    build_index([Corpus(rows("b", 3) + rows("a", 6))], folder, HashEmbedder(), shard_documents=3, replace=True)


def add_more(folder: Path) -> None:
    """Add a corpus."""
    add(folder, "c", 3)


def mend(folder: Path) -> None:
    """Bring back a shard whose vectors lie beside."""
    repair_index(folder)


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(remove, marks=pytest.mark.slow),
        *(pytest.param(work, marks=pytest.mark.long) for work in (replace, add_more, compact_index, mend)),
    ],
)
@pytest.mark.parametrize("has_index_json", [True, False])
def test_writer_that_is_stopped_while_it_replaces_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_index_json: bool, work: Callable[[Path], object]
) -> None:
    """Wherever that is, the old index or the new one is there, whole, also without index.json; once more, it is done.
    Vectors that lay beside are still there, or in the index; what was removed from the new one is gone.
    """
    extra = rows("extra", 3)
    start, done = tmp_path / "start", tmp_path / "done"
    build_index([Corpus(rows("a", 6))], start, HashEmbedder(), shard_documents=2)
    with pytest.raises(KeyboardInterrupt):
        build_index([Corpus(extra)], start, Interrupted(2), shard_documents=2, add=True)
    if work is mend:
        data = shard_paths(start)[1].read_bytes()
        shard_paths(start)[1].write_bytes(data[:-1])
    shutil.copytree(start, done)
    work(done)
    old, new = read_info(start), read_info(done)
    found = list[IndexInfo]()
    for steps in range(30):
        folder = shutil.copytree(start, tmp_path / f"{steps}")
        left = [steps]
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            _stop_after(left, patch)
            work(folder)
        if not has_index_json:
            (folder / "index.json").unlink()
            repair_index(folder)
        info = read_info(folder)
        assert info in (old, new)
        found.append(info)
        if work is not mend:
            assert all("the copy from which index.json would come back" in p for p in verify_index(folder))
        if work is remove and info == new:
            with pytest.raises(InputError, match="has the id 'a3'"):
                work(folder)
        elif work is not add_more or info == old:
            work(folder)
        with writing(folder):
            pass
        assert read_info(folder) == new
        assert verify_index(folder) == []
        content = b"".join(path.read_bytes() for path in folder.iterdir())
        assert b"a 2 a 2" in content
        assert (b"a 3 a 3" in content) == (work is not remove), f"after {steps} steps"
        if work is not compact_index:
            rest = HashEmbedder()
            build_index([Corpus([*rows("a", 3), *extra])], folder, rest, replace=True)
            assert rest.asked == [extra[2]["text"]]
        if left[0]:
            break
    assert new in found
    assert old in found
    assert left[0], "all steps were tried"


def _stop_after(left: list[int], patch: pytest.MonkeyPatch) -> None:
    """Interrupt the work before it writes, replaces or removes one file more of the folder than it may."""

    def counted(plain: Callable[..., object]) -> Callable[..., object]:
        def call(path: Path, *arguments: object, **options: object) -> object:
            if not path.name.endswith((".lock", ".writer", ".incomplete")):
                if not left[0]:
                    raise KeyboardInterrupt
                left[0] -= 1
            return plain(path, *arguments, **options)

        return call

    for name in ("info", "shard"):
        patch.setattr(f"craft_hf.retrieval.index.{name}.write_file", counted(write_file))
    patch.setattr(Path, "unlink", counted(Path.unlink))


@pytest.mark.parametrize("cause", ["locked", "damaged", "no head"])
def test_what_cannot_be_read_is_kept_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], cause: str
) -> None:
    """Vectors that another user's mask hides, or a damaged file; a file with not even a head holds none, and goes."""
    build_index([Corpus(rows("a", 3))], tmp_path, HashEmbedder())
    with pytest.raises(KeyboardInterrupt):
        build_index([Corpus(rows("b", 5))], tmp_path, Interrupted(3), shard_documents=2, add=True)
    (path,) = set(tmp_path.glob("*.h5")) - set(shard_paths(tmp_path))
    empty = tmp_path / ".vectors-1.part"
    empty.write_bytes(b"craft")
    saved = tmp_path / ".vectors-2.part"
    save_vectors(tmp_path, Shard(path).embedding_hashes, Shard(path).embeddings)
    next(p for p in tmp_path.glob(".vectors-*") if p != empty).rename(saved)
    if cause == "locked":
        plain = Path.open
        monkeypatch.setattr(Path, "open", lambda p, *a, **b: _refuse() if p in (path, saved) else plain(p, *a, **b))
    elif cause == "damaged":
        content = bytearray(path.read_bytes())
        content[Shard(path)._layout["text"][0]] ^= 4
        path.write_bytes(content)
        saved.unlink()
    else:
        path.unlink()
        saved.write_bytes(b"x" + saved.read_bytes()[1:])
    kept = {p for p in (path, saved) if p.exists()}
    add(tmp_path, "c")
    assert set(leftovers(tmp_path, read_info(tmp_path))) == kept
    assert f"kept {len(kept)} files that may hold embeddings: " in capsys.readouterr().err


def _refuse() -> None:
    raise PermissionError(errno.EACCES, "Permission denied")


def test_replacement_that_was_not_finished_removes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was killed when it had noted what goes, and not yet replaced the index."""
    old = build_index([Corpus(rows("a", 3))], tmp_path, HashEmbedder(), shard_documents=2)
    with pytest.raises(KeyboardInterrupt):
        build_index([Corpus(rows("b", 5))], tmp_path, Interrupted(3), shard_documents=2, add=True)
    left = leftovers(tmp_path, old)
    with monkeypatch.context() as patch:
        patch.setattr("craft_hf.retrieval.index.writing.write_info", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            compact_index(tmp_path)
    add(tmp_path, "c")
    assert leftovers(tmp_path, read_info(tmp_path)) == left
    assert verify_index(tmp_path) == []


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_reader_that_meets_a_new_index_takes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that is replaced between reading index.json and looking for the shards is read again."""
    old = build_index([Corpus(rows("old", 3))], tmp_path, HashEmbedder())
    answers = [old]
    build_index([Corpus(rows("new", 3))], tmp_path, HashEmbedder(), replace=True)
    new = compact_index(tmp_path)
    monkeypatch.setattr(
        "craft_hf.retrieval.index.search.read_info", lambda folder: answers.pop() if answers else read_info(folder)
    )
    assert Index.open(tmp_path).info == new


def test_index_that_was_replaced_under_a_reader_is_opened_again(tmp_path: Path) -> None:
    """A shard that went with the old index is not called missing, and no repair is advised."""
    build_index([Corpus(rows("old", 3))], tmp_path, HashEmbedder())
    index = Index.open(tmp_path)
    build_index([Corpus(rows("new", 3))], tmp_path, HashEmbedder(), replace=True)
    compact_index(tmp_path)
    with pytest.raises(InputError, match="was replaced since it was opened; open it again"):
        index.documents([0])
    assert Index.open(tmp_path).documents([0])[0].id == "new0"


def test_folder_without_locks_is_written_to_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some network file systems have none: it is said, and the build goes on."""

    def no_locks(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", no_locks)
    build_index([Corpus(rows("a", 2))], tmp_path, HashEmbedder())
    assert (
        f"{tmp_path} lies where files have no locks: see to it that nobody else writes there" in capsys.readouterr().err
    )
    assert verify_index(tmp_path) == []


@pytest.fixture
def others_folder() -> Iterator[Path]:
    """A folder that others may read and not write to."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be someone else")
def test_folder_without_leave_to_write_is_named(others_folder: Path) -> None:
    """A folder that one may read only, a place where none may be made, and one that cannot be looked into."""
    code = """
import os, sys, tempfile
from pathlib import Path
from craft_hf.base import CraftError
from craft_hf.retrieval.index.writing import writing
with tempfile.TemporaryDirectory() as folder, writing(Path(folder)):
    pass  # what is imported late can be read no more afterwards
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
for folder in sys.argv[1:]:
    try:
        with writing(Path(folder)):
            print("written")
    except CraftError as e:
        print(type(e).__name__, e)
"""
    index = others_folder / "index"
    build_index([Corpus(rows("a", 2))], index, HashEmbedder())
    (others_folder / "closed").mkdir(mode=0o700)
    folders = [index, others_folder / "new" / "index", others_folder / "closed" / "index"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, folders)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    for line, folder in zip(done.stdout.splitlines(), folders, strict=True):
        assert line.startswith(f"StorageError the index folder {folder} cannot be created or written to: ")
        assert "Permission denied" in line
    assert not (others_folder / "new").exists()
    assert verify_index(index) == []


def test_a_disk_without_any_room_is_called_full(small_disk: Path) -> None:
    """Where not even a note of who writes finds room, the error says to free some, and then all goes on."""
    info = build_index([Corpus(rows("a", 2))], small_disk / "index", HashEmbedder())
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb", 0) as file:
        while True:
            file.write(bytes(1024))
    (small_disk / "index" / ".writer").unlink()
    with (small_disk / "filler").open("ab", 0) as file, contextlib.suppress(OSError):
        file.write(bytes(4096))
    with pytest.raises(StorageError, match=r"No space left on device; free disk space and run the command again, or"):
        remove_documents(small_disk / "index", ["a0"])
    assert (read_info(small_disk / "index"), verify_index(small_disk / "index")) == (info, [])
    (small_disk / "filler").unlink()
    assert remove_documents(small_disk / "index", ["a0"]).documents == 1


def test_failure_in_between_is_not_called_a_full_disk(tmp_path: Path) -> None:
    """An error of the work itself comes out as it is."""
    with pytest.raises(OSError, match="a socket") as error, writing(tmp_path):
        raise OSError("a socket")
    assert not isinstance(error.value, StorageError)
    assert json.dumps(visible(tmp_path)) == "[]"
