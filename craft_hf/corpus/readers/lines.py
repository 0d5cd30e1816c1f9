"""Reads lines of plain and compressed files, and detects truncated ones."""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from backports import zstd

from craft_hf.base import InputError

COMPRESSED = (".gz", ".bz2", ".zst")
_LONG = {int(zstd.DecompressionParameter.window_log_max): 31}  # reads also what `zstd --long=31` wrote


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file, numbered from 1; the extension .gz, .bz2 or .zst tells how it is compressed.

    Raises:
        InputError: the file cannot be read, or its compression is broken or cut; the message names the last good line.
    """
    number = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                yield number, line
    except (OSError, EOFError, zlib.error, zstd.ZstdError) as e:
        if path.suffix not in COMPRESSED:
            raise InputError(f"{path}, after line {number}: the file cannot be read ({e}).") from e
        kind = {".gz": "gzip", ".bz2": "bzip2", ".zst": "zstd"}[path.suffix]
        raise InputError(
            f"{path}, after line {number}: the {kind} file is broken or cut ({e}); copy or download it again."
        ) from e


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path))
    if path.suffix == ".bz2":
        return bz2.open(path)
    if path.suffix == ".zst":
        return cast(IO[bytes], zstd.open(path, options=_LONG))
    return path.open("rb")
