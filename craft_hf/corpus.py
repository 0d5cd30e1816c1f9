"""Corpora: JSONL, Parquet, plain text or a `datasets` dataset comes in, `Document`s go out."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, cast

from craft_hf.errors import InputError
from craft_hf.records import JSON, Document

MIN_CHARS = 200
MAX_CHARS = 25_000
"""Length of a document in characters, both ends included (CRAFT, arXiv 2409.02098, section 3.1)."""

_ROW_FORMATS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet")
_FORMATS = ", ".join((*_ROW_FORMATS, ".txt"))


class Corpus:
    """The documents of one source, filtered by length; iterate over it, then read what was left out.

    Args:
        source: a file (.jsonl, .jsonl.gz, .parquet, .txt), a folder of such files, the id of a Hub dataset, or an
            iterable of rows such as a `datasets.Dataset`.
        text_column: the field or column that holds the text.
        name: name of the corpus, and the source of documents that name none; by default from the file or id.
        split: split of a Hub dataset.
        config: configuration of a Hub dataset.
        license: licence of documents that name none.
        min_chars: shorter documents are left out.
        max_chars: longer documents are left out.

    After iteration, `skipped` counts what was left out by reason.

    Raises:
        InputError: at once if a file does not exist; while iterating if the source is empty, has no such column, holds
            invalid JSON, cannot be read, or nothing is left of it.
    """

    def __init__(
        self,
        source: str | Path | Iterable[Mapping[str, JSON]],
        *,
        text_column: str = "text",
        name: str = "",
        split: str = "train",
        config: str | None = None,
        license: str = "",
        min_chars: int = MIN_CHARS,
        max_chars: int = MAX_CHARS,
    ) -> None:
        if isinstance(source, str | Path) and _looks_like_a_path(str(source)) and not Path(source).exists():
            raise InputError(f"there is no corpus file {source}; expected {_FORMATS}, or a folder of such files.")
        self._source = source
        self._text_column = text_column
        self._split, self._config, self._license = split, config, license
        self._min_chars, self._max_chars = min_chars, max_chars
        self.name = name or _default_name(source)
        self.skipped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Document]:
        self.skipped.clear()
        rows = kept = 0
        for where, row in self._rows():
            rows += 1
            if not isinstance(row, Mapping):
                raise InputError(
                    f"{where}: a row is a {type(row).__name__}, expected a mapping with a {self._text_column!r} field; "
                    "of a DatasetDict, pass one split."
                )
            text = row.get(self._text_column)
            if self._text_column not in row and rows == 1:
                raise InputError(
                    f"{where} has no text column {self._text_column!r}; its columns: {', '.join(row)}. "
                    "Name the right one with text_column= (--text-column)."
                )
            if not isinstance(text, str) or not text.strip():
                self.skipped["no text"] += 1
            elif len(text) < self._min_chars:
                self.skipped[f"under {self._min_chars} characters"] += 1
            elif len(text) > self._max_chars:
                self.skipped[f"over {self._max_chars} characters"] += 1
            else:
                kept += 1
                yield self._document(row, text, rows)
        if not rows:
            raise InputError(
                f"{self.name}: the source is empty; expected documents with a {self._text_column!r} field."
            )
        if not kept:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.skipped.most_common())
            raise InputError(
                f"{self.name}: none of the {rows} documents is left ({reasons}); "
                f"expected {self._min_chars} to {self._max_chars} characters, see min_chars= and max_chars=."
            )

    def _document(self, row: Mapping[str, JSON], text: str, number: int) -> Document:
        return Document(
            id=_line(f"{self.name}:{number}" if row.get("id") in (None, "") else row["id"]),
            text=_unicode(text),
            source=_line(row.get("source") or self.name),
            title=_line(row.get("title") or ""),
            url=_line(row.get("url") or row.get("url_or_path") or ""),
            license=_line(row.get("license") or self._license),
        )

    def _rows(self) -> Iterator[tuple[str, Mapping[str, JSON]]]:
        """Yield each row with words that say where it stands."""
        if not isinstance(self._source, str | Path):
            yield from ((self.name, row) for row in self._source)
            return
        path = Path(self._source)
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.name.endswith((*_ROW_FORMATS, ".txt")) and p.is_file())
            if not files:
                raise InputError(f"the folder {path} holds no corpus file; expected {_FORMATS}.")
            for file in files:
                yield from self._file_rows(file, str(file.relative_to(path)))
        elif path.is_file():
            yield from self._file_rows(path, path.name)
        else:
            yield from self._hub_rows(str(self._source))

    def _file_rows(self, path: Path, text_id: str) -> Iterator[tuple[str, Mapping[str, JSON]]]:
        if path.name.endswith(".txt"):
            try:
                text = path.read_text(encoding="utf-8-sig")
            except UnicodeDecodeError as e:
                raise InputError(f"{path} is not UTF-8 text ({e}); convert it first.") from e
            if text.strip():
                yield str(path), {"id": text_id, "title": path.stem, self._text_column: text}
        elif path.name.endswith(".parquet"):
            yield from _parquet_rows(path)
        elif path.name.endswith(_ROW_FORMATS):
            yield from _json_rows(path)
        else:
            raise InputError(f"{path} is no corpus file; expected {_FORMATS}.")

    def _hub_rows(self, dataset: str) -> Iterator[tuple[str, Mapping[str, JSON]]]:
        import datasets

        try:
            rows = datasets.load_dataset(dataset, self._config, split=self._split, streaming=True)
        except (OSError, ValueError) as e:
            reason = " ".join(str(e).split())
            raise InputError(f"{dataset!r} is neither a file nor a Hub dataset that can be reached: {reason}") from e
        yield from ((dataset, row) for row in rows)


def _default_name(source: str | Path | Iterable[Mapping[str, JSON]]) -> str:
    if not isinstance(source, str | Path):
        return "documents"
    name = Path(source).name if Path(source).exists() else str(source)
    for ending in (*_ROW_FORMATS, ".txt"):
        name = name.removesuffix(ending)
    return name


def _looks_like_a_path(source: str) -> bool:
    return source.count("/") > 1 or source.startswith((".", "/", "~")) or source.endswith((*_ROW_FORMATS, ".txt"))


def _unicode(text: str) -> str:
    """Put "?" for lone surrogates: JSON can say them, but neither UTF-8 nor a tokenizer can."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _line(value: JSON) -> str:
    """Return what may stand in a field beside the text: HDF5 strings end at a NUL."""
    return _unicode(str(value)).replace("\0", "")


def _json_rows(path: Path) -> Iterator[tuple[str, Mapping[str, JSON]]]:
    with cast(IO[bytes], gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as file:
        number = 0
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise InputError(f"{path}, line {number}: holds {type(row).__name__}, expected a JSON object.")
                    yield f"{path}, line {number}", row
        except InputError:
            raise
        except (ValueError, RecursionError) as e:  # besides broken JSON: numbers too long, brackets too deep
            raise InputError(f"{path}, line {number}: not valid JSON ({e}); expected one object on each line.") from e
        except (EOFError, gzip.BadGzipFile, zlib.error) as e:
            raise InputError(f"{path}, after line {number}: the gzip file is broken or cut ({e}).") from e


def _parquet_rows(path: Path) -> Iterator[tuple[str, Mapping[str, JSON]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from ((str(path), row) for row in batch.to_pylist())
    except (pyarrow.ArrowInvalid, OSError) as e:
        raise InputError(f"{path} is not a readable Parquet file: {e}") from e
