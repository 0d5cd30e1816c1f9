"""Files and folders are written whole or not at all, whatever stops the writing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from craft_hf.base.errors import StorageError
from craft_hf.base.files import incomplete, replaced_folder, write_file, write_target

KILLED = """
import sys, time
from pathlib import Path
from craft_hf.base.files import replaced_folder
with replaced_folder(Path(sys.argv[1])) as new:
    (new / "half").write_text("half")
    print("here", flush=True)
    time.sleep(60)
"""


def names(folder: Path) -> list[str]:
    """What is in a folder, hidden names too."""
    return sorted(path.name for path in folder.iterdir())


def kill_midway(target: Path) -> None:
    """Let a process begin to replace a folder, and kill it."""
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(target)], stdout=subprocess.PIPE)
    assert child.stdout
    with child.stdout:
        child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()


def stop_midway(target: Path, error: type[BaseException]) -> None:
    """Begin to replace a folder, and raise an error."""
    with replaced_folder(target) as new:
        (new / "half").touch()
        raise error


def test_write_file_replaces_or_leaves(tmp_path: Path) -> None:
    """A file gets all parts of its content; when writing fails, the old file stays, and nothing beside it."""
    path = tmp_path / "file.json"
    write_file(path, b"one ", b"two")
    assert path.read_bytes() == b"one two"
    with pytest.raises(TypeError):
        write_file(path, b"three", "no bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"one two"


def test_what_a_killed_write_left_goes_when_nobody_is_at_it(tmp_path: Path) -> None:
    """A file that another process writes to at the moment stays, and so do those of other names."""
    path, names_left = tmp_path / "file[1].json", [incomplete("file[1].json").replace("*", f"{i}") for i in range(2)]
    for name in (*names_left, ".file1.json.0.incomplete"):
        (tmp_path / name).write_bytes(b"half")
    for name in (names_left[0], ".file1.json.0.incomplete"):
        os.utime(tmp_path / name, (0, 0))
    write_file(path, b"whole")
    assert names(tmp_path) == sorted([names_left[1], ".file1.json.0.incomplete", path.name])


def test_two_who_write_the_same_file_both_write_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither writes into the other's file, and neither fails because the other was done first."""
    path, sync = tmp_path / "file", os.fsync

    def write_in_between(descriptor: int) -> None:
        sync(descriptor)
        monkeypatch.setattr(os, "fsync", sync)
        write_file(path, b"of the other")
        assert path.read_bytes() == b"of the other"

    monkeypatch.setattr(os, "fsync", write_in_between)
    write_file(path, b"of the one")
    assert (path.read_bytes(), names(tmp_path)) == (b"of the one", ["file"])


def test_the_name_of_a_file_is_forced_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the file, its folder: a power cut may otherwise take the name, and with it the file."""
    synced, sync = list[bool](), os.fsync

    def note(descriptor: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    write_file(tmp_path / "file", b"content")
    assert synced == [False, True]


def test_replaced_folder_keeps_the_old_one_until_the_end(tmp_path: Path) -> None:
    """The old folder is there while the new one is filled, and gone when it is complete; others may read it."""
    target = tmp_path / "far" / "target"
    with replaced_folder(target) as new:
        (new / "a").write_text("1")
        assert not target.exists()
    with replaced_folder(target) as new:
        assert names(new) == []
        (new / "b").write_text("2")
        assert names(target) == ["a"]
    assert (names(target), names(tmp_path / "far")) == (["b"], ["target"])
    (tmp_path / "plain").mkdir()
    assert target.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_replaced_folder_leaves_all_as_it_was_when_the_block_fails(tmp_path: Path) -> None:
    """An error, or Ctrl-C, while the new folder is filled leaves the old one and nothing beside it."""
    target = tmp_path / "target"
    (target / "old").mkdir(parents=True)
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            stop_midway(target, error)
        assert (names(target), names(tmp_path)) == (["old"], ["target"])


def test_replaced_folder_puts_the_old_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the new folder cannot be moved into its place, the old one returns to it."""
    target = tmp_path / "target"
    (target / "old").mkdir(parents=True)
    move = os.replace

    def fail(source: Path, to: Path) -> None:
        if Path(source).name == "new":
            raise OSError(5, "Input/output error")
        move(source, to)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="Input/output"), replaced_folder(target):
        pass
    assert (names(target), names(tmp_path)) == (["old"], ["target"])


def test_replaced_folder_cleans_up_after_a_kill(tmp_path: Path) -> None:
    """What a killed process left goes with the next call; an old folder that it had moved aside is back before."""
    target = tmp_path / "target"
    target.mkdir()
    (target / "a").write_text("1")
    kill_midway(target)
    (left,) = (path for path in tmp_path.iterdir() if path != target)
    assert names(left / "new") == ["half"]
    target.rename(left / "old")  # as if it had been killed between the two moves
    with replaced_folder(target) as new:
        assert names(target) == ["a"]
        (new / "b").touch()
    assert (names(target), names(tmp_path)) == (["b"], ["target"])


def _replace(target: Path) -> None:
    for _ in range(20):
        with replaced_folder(target) as new:
            (new / "whole").write_text(f"{os.getpid()}")
            time.sleep(0.002)


def test_replaced_folder_leaves_others_at_work_alone(tmp_path: Path) -> None:
    """While one process fills a folder, what another one does for the same place touches nothing of it."""
    target = tmp_path / "target"
    with replaced_folder(target) as new:
        (new / "a").touch()
        child = multiprocessing.get_context("spawn").Process(target=_replace, args=(target,))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert names(target) == ["whole"]
        assert names(new) == ["a"]
    assert (names(target), names(tmp_path)) == (["a"], ["target"])


def test_a_neighbour_whose_name_goes_on_is_left_alone(tmp_path: Path) -> None:
    """What a killed write of data.v2 left is put back by the next write of data.v2, not taken by one of data."""
    work = tmp_path / ".data.v2.abcdefgh"
    (work / "old").mkdir(parents=True)
    (work / "old" / "rows").write_text("rows of data.v2")
    (work / "lock").touch()
    with replaced_folder(tmp_path / "data") as new:
        (new / "rows").write_text("rows of data")
    assert (work / "old" / "rows").is_file()
    with pytest.raises(RuntimeError), replaced_folder(tmp_path / "data.v2"):
        raise RuntimeError
    assert (tmp_path / "data.v2" / "rows").read_text() == "rows of data.v2"


def test_a_target_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A full disk, or a folder that went away while the result was made, ends in one line."""
    with pytest.raises(StorageError, match=r"gone/r\.json cannot be written"):
        write_target(tmp_path / "gone" / "r.json", b"{}")
