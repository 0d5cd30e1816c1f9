"""Compressed lines: every compression, whole, cut and damaged."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd

from craft_hf.base.errors import InputError
from craft_hf.corpus.readers.file import File


def pack_zstd(data: bytes) -> bytes:
    """Compress with a checksum, as the command `zstd` does."""
    return zstd.compress(data, options={int(zstd.CompressionParameter.checksum_flag): 1})


PACK: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".zst": pack_zstd}
KINDS = {".gz": "gzip", ".bz2": "bzip2", ".zst": "zstd"}
LINES = [b"line %d %x\n" % (n, n * 2654435761) for n in range(100_000)]


@pytest.mark.parametrize("ending", ["", *PACK])
def test_lines_are_numbered_whatever_packs_them(tmp_path: Path, ending: str) -> None:
    """Plain and compressed files give the same lines, also of several compressed parts behind each other."""
    path = tmp_path / f"a.jsonl{ending}"
    pack = PACK.get(ending, bytes)
    path.write_bytes(pack(b"".join(LINES[:7])) + pack(b"".join(LINES[7:])))
    assert list(File(path, path.name).lines()) == list(enumerate(LINES, 1))


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("lost", [1, 4, 60_000])
def test_cut_file_gives_what_is_whole_and_then_an_error(tmp_path: Path, ending: str, lost: int) -> None:
    """A file whose end is missing, if only a byte, is called broken; the error says behind which line."""
    path = tmp_path / f"a.jsonl{ending}"
    path.write_bytes(PACK[ending](b"".join(LINES))[:-lost])
    read = []
    with pytest.raises(InputError, match=rf"a\.jsonl{ending}, after line \d+: the {KINDS[ending]} file is .* cut") as e:
        read.extend(File(path, path.name).lines())
    del read
    assert "download it again" in str(e.value)


@pytest.mark.parametrize("ending", PACK)
def test_damaged_and_foreign_files_are_refused(tmp_path: Path, ending: str) -> None:
    """Bytes overwritten in the middle, and a file that is not compressed at all, are errors."""
    path = tmp_path / f"a.jsonl{ending}"
    packed = PACK[ending](b"".join(LINES))
    middle = len(packed) // 2
    for content in (packed[:middle] + bytes(100) + packed[middle + 100 :], b"plain text\n"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"after line \d+: the"):
            list(File(path, path.name).lines())


def test_zstd_with_a_long_window_is_read(tmp_path: Path) -> None:
    """What `zstd --long=31` writes needs more than the usual window; it is read all the same."""
    options = {
        zstd.CompressionParameter.enable_long_distance_matching: 1,
        zstd.CompressionParameter.window_log: 31,
        zstd.CompressionParameter.content_size_flag: 0,
    }
    packer = zstd.ZstdCompressor(options=options)
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(packer.compress(b"".join(LINES)) + packer.flush())
    assert len(list(File(path, path.name).lines())) == len(LINES)


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A folder in the place of a file is an error with its path."""
    (tmp_path / "a.jsonl").mkdir()
    with pytest.raises(InputError, match=r"a\.jsonl, after line 0: the file cannot be read"):
        list(File(tmp_path / "a.jsonl", "a.jsonl").lines())
