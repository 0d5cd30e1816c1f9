"""Files and folders that are written whole or not at all: beside their place first, then moved into it."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from craft_hf.base.errors import InputError, StorageError
from craft_hf.base.records import JSON

_NEW, _OLD, _LOCK = "new", "old", "lock"

_ABANDONED_S = 3600.0
"""Seconds after which a file that is not complete, and was not written to since, is one of a killed process."""


def write_file(path: Path, *parts: bytes) -> None:
    """Write a file, or replace it in one step; it is on the disk, with its name, when this returns.

    A process that is killed leaves the old file and a hidden `incomplete` one, which goes with the next write an hour
    later. Of several who write the same file at the same time, each writes all of it, and the last one's stays.

    Args:
        path: in a folder that exists.
        parts: the content, one part after the other.

    Raises:
        OSError: it cannot be written; the old file stays, and nothing half-written is left.
    """
    for left in path.parent.glob(incomplete(glob.escape(path.name))):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED_S:
                left.unlink()
    beside = path.with_name(incomplete(path.name).replace("*", uuid.uuid4().hex))
    try:
        with beside.open("xb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        _sync_folder(path.parent)
    finally:  # after Ctrl-C too; a complete file has its own name by now
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def check_target(path: Path) -> None:
    """Check that `write_file` can write a file that somebody names, before the work that it is for.

    Raises:
        InputError: it is a folder, or its folder is not there or may not be written to.
    """
    folder = path.resolve().parent
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file in it.")
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder} to write {path.name} into; make it first.")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{path.name} cannot be written into {folder}: you may not write there; give another folder.")


def write_target(path: Path, *parts: bytes) -> None:
    """Write a file that somebody named, after `check_target`; see `write_file`.

    Raises:
        StorageError: it cannot be written; an old file stays.
    """
    try:
        write_file(path, *parts)
    except OSError as e:
        raise StorageError(f"{path} cannot be written: {e}.") from e


def file_json(value: JSON, indent: int | None = None) -> bytes:
    """Return a value as the JSON of a file, readable in any script.

    Half a character (a lone surrogate), as which Python names a file whose name is not UTF-8, is written as its escape,
    and so is read back.
    """
    return json.dumps(value, indent=indent, ensure_ascii=False).encode("utf-8", "backslashreplace")


def printable(name: str) -> str:
    """Return a file's name as text that can be printed and written down: what is not UTF-8 as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def incomplete(name: str) -> str:
    """Return the pattern of the names under which `write_file` writes a file before it has its own."""
    return f".{name}.*.incomplete"


def _sync_folder(folder: Path) -> None:
    """See to it that the names in a folder are on the disk, where the system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder to fill, which takes the place of `target` when the block ends.

    The old folder stays until the new one is complete: whoever reads `target` finds the one or the other. If the block
    raises, `target` is what it was and nothing is left beside it. What a killed process leaves beside it, hidden, goes
    with the next call; an old folder that was already moved aside is put back by it.

    Args:
        target: a folder, or nothing; its parents are made.

    Raises:
        OSError: the place cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _clean_up(target)
    work = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        with FileLock(work / _LOCK):  # a kill frees it, which tells `_clean_up` that nobody is at work here any more
            new, old = work / _NEW, work / _OLD
            new.mkdir()  # not the folder of mkdtemp, which nobody else may read
            yield new
            if target.exists():
                os.replace(target, old)
            try:
                os.replace(new, target)
            except OSError:
                if old.exists():
                    os.replace(old, target)
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _clean_up(target: Path) -> None:
    """Remove what a killed process left beside a folder."""
    ours = re.compile(re.escape(f".{target.name}.") + r"\w{8}")  # the name that mkdtemp makes, and no neighbour's
    for work in [path for path in target.parent.iterdir() if ours.fullmatch(path.name) and (path / _LOCK).exists()]:
        with contextlib.suppress(Timeout), FileLock(work / _LOCK, timeout=0):
            if (work / _OLD).exists() and not target.exists():
                os.replace(work / _OLD, target)
            shutil.rmtree(work, ignore_errors=True)
