"""Lists on the disk: they read like lists, and take no memory."""

from __future__ import annotations

import os
import random
import tracemalloc
from pathlib import Path

import pytest

from craft_hf.base import Spooled, StorageError
from craft_hf.base.spooled import BLOCK


@pytest.mark.parametrize("count", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_it_reads_like_the_list_that_was_put_in(home: Path, count: int) -> None:
    """Every item, slice and comparison is that of the list, while it grows and after."""
    items, spooled, rng = [(n, f"é{n}") for n in range(count)], Spooled[tuple[int, str]](), random.Random(count)
    for n, item in enumerate(items):
        spooled.append(item)
        assert spooled[-1] == item
        place = rng.randrange(n + 1)
        assert spooled[place] == items[place]  # while it grows
    assert len(spooled) == count
    assert bool(spooled) == bool(items)
    assert list(spooled) == items
    assert spooled == items
    assert spooled != [*items, (0, "")]
    for part in (slice(None), slice(count // 2, None), slice(1, 5), slice(None, None, -1)):
        assert spooled[part] == items[part]
    with pytest.raises(IndexError):
        spooled[count]


def test_readers_at_different_places_read_each_block_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two streams of one run do not make each other read again."""
    spooled, reads = Spooled[int](), []
    for n in range(5 * BLOCK):
        spooled.append(n)
    read = os.pread
    monkeypatch.setattr(os, "pread", lambda *args: reads.append(args) or read(*args))
    for one, other in zip(range(2 * BLOCK), range(2 * BLOCK, 4 * BLOCK), strict=True):
        assert (spooled[one], spooled[other]) == (one, other)
    assert len(reads) == 4


def test_a_forked_child_reads_it_too(home: Path) -> None:
    """Neither moves the place at which the other one reads."""
    spooled = Spooled[int]()
    for n in range(9 * BLOCK):
        spooled.append(n)
    places = [n * 97 % len(spooled) for n in range(300)]
    child = os.fork()
    found = all(spooled[n] == n for n in places)
    if not child:
        os._exit(0 if found else 1)
    assert found
    assert os.waitpid(child, 0)[1] == 0


def test_two_readers_at_different_places_read_what_is_there(home: Path) -> None:
    """Blocks that are read in turn do not take each other's place."""
    spooled = Spooled[int]()
    for n in range(5 * BLOCK):
        spooled.append(n)
    assert list(zip(spooled, reversed(spooled), strict=True)) == [(n, 5 * BLOCK - 1 - n) for n in range(5 * BLOCK)]


def test_memory_does_not_grow_with_the_items(home: Path) -> None:
    """Sixteen times the items take no more memory."""

    def most(blocks: int) -> int:
        tracemalloc.start()
        spooled = Spooled[str]()
        for n in range(blocks * BLOCK):
            spooled.append(f"{n:1000}")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert most(64) < 1.5 * most(4)


def test_nothing_is_left_on_the_disk(home: Path) -> None:
    """The file has no name, so that no kill leaves it."""
    spooled = Spooled[int]()
    for n in range(2 * BLOCK):
        spooled.append(n)
    assert not [path for path in home.rglob("*") if path.is_file()]


def test_a_cache_that_cannot_be_written_says_what_is_safe(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full or unwritable disk ends in an error that says what to do."""
    (home / "file").write_text("")
    monkeypatch.setenv("CRAFT_HF_HOME", str(home / "file"))
    spooled = Spooled[int]()
    for n in range(BLOCK):
        spooled.append(n)
    with pytest.raises(StorageError, match="All answers are safe in the journal; make room and run"):
        spooled.append(BLOCK)
