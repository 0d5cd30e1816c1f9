"""Reads Parquet files, with one batch in memory at a time."""

from __future__ import annotations

from pathlib import Path

from craft_hf.base import InputError
from craft_hf.corpus.readers import LocatedRows


def parquet_rows(path: Path) -> LocatedRows:
    """Yield the rows of a file.

    Raises:
        InputError: it is not a Parquet file, or broken.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from ((str(path), row) for row in batch.to_pylist())
    except (pyarrow.ArrowInvalid, OSError) as e:
        raise InputError(f"{path} is not a readable Parquet file: {e}") from e
