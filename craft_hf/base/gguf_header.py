"""The header of a GGUF file: whether a file is one, and whether it is there to its end."""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import BinaryIO

from craft_hf.base.errors import InputError

_MAGIC = b"GGUF"
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value, by the number of its type; texts and arrays say theirs."""
_TEXT, _ARRAY = 8, 9
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 20: (32, 18), 23: (256, 136), 30: (1, 2),
}  # fmt: skip
"""Weights of a block and its bytes, by the number of a tensor's type; of other types a byte is looked for."""
_DEEPEST = 8
"""Lists in lists that are followed."""
_ALIGNMENT = b"general.alignment"


def check_gguf(path: Path) -> None:
    """Refuse a file that is no GGUF, or ends before its last tensor does.

    Raises:
        InputError: it is so, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if (begins := file.read(4)) != _MAGIC:
                raise InputError(f"{path} is no GGUF file: it begins with {begins!r}, expected {_MAGIC!r}.")
            needed = _end(file, size)
    except OSError as e:
        raise InputError(f"the model {path} cannot be read: {e}; expected a GGUF file.") from e
    if size < needed:
        raise InputError(f"{path} is cut: it has {size:,} bytes, and needs {needed:,} or more. Fetch it again.")


class _UnknownKind(Exception):
    """A header has values of a kind that this module does not know."""


def _end(file: BinaryIO, size: int) -> int:
    """Return how many bytes a file must have; one more than it has, if its header does not end."""
    try:
        _, tensors, pairs = struct.unpack("<IQQ", _read(file, 20))
        alignment = 32
        for _ in range(pairs):
            key, kind = _read(file, _number(file, 8)), _number(file, 4)
            if key == _ALIGNMENT and kind == 4:
                alignment = _number(file, 4) or 1
            else:
                _skip(file, kind, size)
        last = 0
        for _ in range(tensors):
            _read(file, _number(file, 8))
            dimensions = _number(file, 4)
            weights = math.prod(struct.unpack(f"<{dimensions}Q", _read(file, 8 * dimensions)))
            block, block_bytes = _BLOCKS.get(_number(file, 4), (weights, 1))
            last = max(last, _number(file, 8) + weights // max(block, 1) * block_bytes)
    except EOFError:
        return size + 1
    except _UnknownKind:  # where its values end only a newer version knows
        return 0
    return -(-file.tell() // alignment) * alignment + last


def _skip(file: BinaryIO, kind: int, size: int, depth: int = 0) -> None:
    """Pass over a value."""
    count = 1
    if kind == _ARRAY:
        kind, count, depth = _number(file, 4), _number(file, 8), depth + 1
    if kind in _SIZES:
        _pass(file, _SIZES[kind] * count, size)
        return
    if kind not in (_TEXT, _ARRAY) or depth > _DEEPEST:
        raise _UnknownKind
    for _ in range(count):
        if kind == _TEXT:
            _pass(file, _number(file, 8), size)
        else:
            _skip(file, kind, size, depth)


def _pass(file: BinaryIO, length: int, size: int) -> None:
    if file.tell() + length > size:
        raise EOFError
    file.seek(length, os.SEEK_CUR)


def _number(file: BinaryIO, size: int) -> int:
    return int.from_bytes(_read(file, size), "little")


def _read(file: BinaryIO, size: int) -> bytes:
    data = file.read(size) if size < 1 << 24 else b""
    if len(data) < size:
        raise EOFError
    return data
