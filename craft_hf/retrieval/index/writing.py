"""What every writer of an index does with its folder: it waits for its turn, and replaces the index in one step.

`index.json` names the shards of the index. A writer puts new shards beside those, notes down what will no longer be
needed, replaces `index.json`, and removes that: whoever reads, and whatever is killed, finds the old index or the new
one. What a writer that was killed did not come to remove, the next one removes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from craft_hf.base import Activity, InputError, StorageError
from craft_hf.retrieval.index.info import (
    IndexInfo,
    is_index_file,
    read_copy,
    read_info,
    shard_files,
    shard_names,
    write_info,
    write_note,
)
from craft_hf.retrieval.index.unfinished import forget_build
from craft_hf.retrieval.index.vectors import KnownVectors, open_vectors, vector_files

WAIT_QUIETLY_S = 1.0
"""Seconds after which a writer says whom it waits for."""

_LOCK, _WRITER = ".lock", ".writer"

_LEAVING = ".leaving"
"""Names of the files that a writer removes when it has replaced `index.json`."""

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Be the only one who writes to a folder; waits until others are done. Who reads needs no leave, and does not wait.

    The folder is made if needed, and goes again if nothing was written to it.

    Raises:
        InputError: the folder holds something that is no part of an index, or is a file.
        StorageError: it cannot be written to.
    """
    missing: list[Path] = []
    lock = FileLock(folder / _LOCK, thread_local=False)
    try:
        try:
            _check_folder(folder)
            missing += (path for path in (folder, *folder.parents) if not path.exists())
            _take_turn(lock, folder)
            _check_folder(folder)  # once more, as others wrote to it
            _finish(folder)
        except OSError as e:
            is_full = e.errno in (errno.ENOSPC, errno.EDQUOT)
            advice = "free disk space and run the command again" if is_full else "see to it that you may write there"
            raise StorageError(
                f"the index folder {folder} cannot be created or written to: {e}; {advice}, or give another one."
            ) from e
        yield
    finally:
        if missing and lock.is_locked:  # who was interrupted while it waited leaves the folder to the one at work
            _remove_if_empty(folder, missing)
        lock.release()


def _remove_if_empty(folder: Path, made: Sequence[Path]) -> None:
    """Remove the folders that were made, if nothing was written to the first of them."""
    with contextlib.suppress(OSError):
        if {path.name for path in folder.iterdir()} <= {_LOCK, _WRITER}:
            for name in (_WRITER, _LOCK):
                (folder / name).unlink(missing_ok=True)
            for path in made:
                path.rmdir()


def _take_turn(lock: FileLock, folder: Path) -> None:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=WAIT_QUIETLY_S)
        except Timeout:
            waiting = Activity(f"Waiting: {_writer(folder)} writes to {folder}")
            waiting.print_line()
            try:
                with waiting:
                    lock.acquire()
            except FileNotFoundError:
                continue
        except FileNotFoundError:
            continue  # whom we waited for removed the folder, because nothing came of it
        except OSError as e:
            if e.errno not in _NO_LOCKS:
                raise
            Activity(f"{folder} lies where files have no locks: see to it that nobody else writes there").print_line()
            return
        if (folder / _LOCK).exists():
            break
        lock.release()  # of a file that was removed just now
    (folder / _WRITER).write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")


def _writer(folder: Path) -> str:
    with contextlib.suppress(OSError):
        return (folder / _WRITER).read_text(encoding="utf-8")
    return "another process"


def replace_index(info: IndexInfo, folder: Path, old: IndexInfo | None, *, clear: bool = False) -> None:
    """Make `info` the index of a folder, whose shards are there, and remove what is no longer needed.

    What an unfinished build left stays as long as it holds a vector that the index does not hold.

    Args:
        info: the new index.
        folder: which this process is `writing`.
        old: the index that it takes the place of.
        clear: remove what unfinished builds left in any case.

    Raises:
        StorageError: `index.json` cannot be written; the old index stays.
    """
    names = set(shard_names(info))
    dropped = _leaving(folder) | set(shard_names(old) if old else ())
    leaving = [path for path in shard_files(folder) if path.suffix != ".h5" or path.name in dropped - names]
    in_index: KnownVectors | None = None
    for path in leftovers(folder, info):
        in_index = in_index or KnownVectors([folder / name for name in names], info.dimension)
        if path not in leaving and (clear or _is_in(path, in_index, info.dimension)):
            leaving.append(path)
    if leaving:
        write_note(folder / _LEAVING, "\n".join(path.name for path in leaving).encode())
    write_info(info, folder)
    forget_build(folder)
    _remove(folder, leaving)


def _leaving(folder: Path) -> set[str]:
    """Return the names of the files that a writer was to remove, and was killed before it was done."""
    with contextlib.suppress(FileNotFoundError):
        return set((folder / _LEAVING).read_text(encoding="utf-8").splitlines())
    return set()


def _remove(folder: Path, leaving: Sequence[Path]) -> None:
    for path in leaving:
        path.unlink(missing_ok=True)
    (folder / _LEAVING).unlink(missing_ok=True)


def _finish(folder: Path) -> None:
    """Remove what a writer that was killed had half written, or was to remove and the index there does not need."""
    for path in shard_files(folder):
        if path.suffix != ".h5":
            path.unlink(missing_ok=True)
    if not (names := _leaving(folder)):
        return
    with contextlib.suppress(InputError):
        info = read_info(folder)
        if info == read_copy(folder):  # else it was killed before `index.json` was replaced, and is run again
            names.difference_update(shard_names(info))
            left = [path for path in {*shard_files(folder), *vector_files(folder)} if path.name in names]
            _remove(folder, left)
            if left:
                Activity(f"{folder}: removed {len(left)} files that a killed command left behind").print_line()


def leftovers(folder: Path, info: IndexInfo) -> list[Path]:
    """Return what unfinished builds left in a folder: shards and saved vectors that the index does not name."""
    names = set(shard_names(info))
    return [path for path in vector_files(folder) if path.name not in names]


def _is_in(path: Path, index: KnownVectors, dimension: int) -> bool:
    """Whether nothing is lost with a file: it cannot be read, or the index has all that it holds."""
    try:
        vectors = open_vectors(path)
        return not vectors.chunks or (vectors.dimension == dimension and index.holds(vectors.embedding_hashes))
    except InputError:
        return True


def _check_folder(folder: Path) -> None:
    """Raise InputError if the folder holds something else, so that no other file is overwritten."""
    if folder.is_dir():
        for path in folder.iterdir():
            if not path.name.startswith(".") and not is_index_file(path.name):
                raise InputError(
                    f"the folder {folder} holds {path.name!r}, which is not part of an index; give an empty one."
                )
    elif folder.exists():
        raise InputError(f"{folder} is a file; give a folder for the index.")
