"""What every writer of an index does with its folder: it waits for its turn, and replaces the index in one step.

`index.json` names the shards of the index. A writer puts new shards beside those, notes down what will no longer be
needed, replaces `index.json`, and removes that: whoever reads, and whatever is killed, finds the old index or the new
one. What a writer that was killed did not come to remove, the next one removes.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from craft_hf.base import Activity, InputError, StorageError, file_json
from craft_hf.retrieval.index.hashes import write_hashes
from craft_hf.retrieval.index.info import (
    IndexInfo,
    info_hash,
    shard_names,
    write_info,
    write_note,
    written_hash,
)
from craft_hf.retrieval.index.layout import (
    LEAVING,
    LOCK,
    WRITER,
    half_written_in,
    hashes_in,
    hashes_path,
    is_index_file,
    vector_files,
)
from craft_hf.retrieval.index.shard import hub_repository, mending
from craft_hf.retrieval.index.unfinished import forget_build
from craft_hf.retrieval.index.vectors import KnownVectors, open_whole_vectors

WAIT_QUIETLY_S = 1.0
"""Seconds after which a writer says whom it waits for."""

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
    lock = FileLock(folder / LOCK, thread_local=False)
    try:
        try:
            _check_folder(folder)
            missing += (path for path in (folder, *folder.parents) if not path.exists())
            _take_turn(lock, folder)
            _check_folder(folder)  # once more, as others wrote to it
            finish(folder)
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
        if {path.name for path in folder.iterdir()} <= {LOCK, WRITER}:
            for name in (WRITER, LOCK):
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
        if (folder / LOCK).exists():
            break
        lock.release()  # of a file that was removed just now
    (folder / WRITER).write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")


def _writer(folder: Path) -> str:
    with contextlib.suppress(OSError):
        return (folder / WRITER).read_text(encoding="utf-8")
    return "another process"


def replace_index(info: IndexInfo, folder: Path, *, dropped: Collection[Path] = ()) -> None:
    """Make `info` the index of a folder, whose shards are there, and remove what is no longer needed.

    A file stays as long as it may hold a vector that the index does not hold: shards that are not part of it any more,
    what unfinished builds left, and what cannot be read.

    Args:
        info: the new index.
        folder: which this process is `writing`.
        dropped: files that go whatever they hold.

    Raises:
        StorageError: `index.json` cannot be written; the old index stays.
    """
    in_index = KnownVectors([folder / name for name in shard_names(info)], info.dimension)
    write_hashes(folder, info)
    hashes = {hashes_path(folder / name) for name in shard_names(info)}
    leaving = half_written_in(folder) + [path for path in hashes_in(folder) if path not in hashes]
    unsure: list[str] = []
    for path in leftovers(folder, info):
        try:
            if path in dropped or _is_held(path, in_index):
                leaving.append(path)
        except InputError as e:
            unsure.append(str(e).rstrip("."))
    if leaving:
        note = {"index_json": info_hash(info), "files": [path.name for path in leaving]}
        write_note(folder / LEAVING, file_json(note))
    write_info(info, folder)
    forget_build(folder)
    _remove(folder, leaving)
    if unsure:
        Activity(
            f"{folder}: kept {len(unsure)} files that may hold embeddings: {unsure[0]}. "
            f"craft-hf index compact {folder} removes them"
        ).print_line()


def _remove(folder: Path, leaving: Iterable[Path]) -> int:
    """Remove files, and the note of them; return how many there were."""
    there = [path for path in leaving if path.exists()]
    for path in there:
        path.unlink(missing_ok=True)
    (folder / LEAVING).unlink(missing_ok=True)
    return len(there)


def finish(folder: Path) -> None:
    """Remove what a killed writer had half written, and what it was to remove if it had replaced `index.json`.

    One that was killed before that is run again, or another one decides anew what is needed.
    """
    for path in half_written_in(folder):
        path.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        noted = json.loads((folder / LEAVING).read_text(encoding="utf-8"))
        if noted["index_json"] == written_hash(folder):
            files = [folder / name for name in noted["files"]]
            ours = {*half_written_in(folder), *vector_files(folder), *hashes_in(folder)}
            if removed := _remove(folder, ours.intersection(files)):
                Activity(f"{folder}: removed {removed} files that a killed command left behind").print_line()


def leftovers(folder: Path, info: IndexInfo) -> list[Path]:
    """Return the files of a folder that hold vectors and are no part of the index.

    Unfinished builds left them, or they are shards that were part of an earlier index.
    """
    names = set(shard_names(info))
    return [path for path in vector_files(folder) if path.name not in names]


def _is_held(path: Path, index: KnownVectors) -> bool:
    """Whether nothing is lost with a file, because the index has all vectors that it holds.

    Raises:
        InputError: the file cannot be read, or is damaged: nobody knows what it holds.
    """
    vectors = open_whole_vectors(path)
    return not vectors.chunks or (vectors.dimension == index.dimension and index.holds(vectors.embedding_hashes))


def _check_folder(folder: Path) -> None:
    """Raise InputError if the folder holds something else, so that no other file is overwritten."""
    if hub_repository(folder):
        raise InputError(
            f"{folder} is a copy in the Hub's cache, which must stay what is on the Hub; to change it, copy the folder "
            f"first (cp -rL), or to mend it, {mending(folder)}"
        )
    if folder.is_dir():
        for path in folder.iterdir():
            if not path.name.startswith(".") and not is_index_file(path.name):
                raise InputError(
                    f"the folder {folder} holds {path.name!r}, which is not part of an index; give an empty one."
                )
    elif folder.exists():
        raise InputError(f"{folder} is a file; give a folder for the index.")
