"""A corpus: the documents of a file, a folder, a Hub dataset or any rows, filtered by length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from craft_hf.base import JSON, Document, InputError
from craft_hf.corpus.readers import LocatedRows, Row, Source
from craft_hf.corpus.readers.files import ENDINGS, FORMATS, FileSource
from craft_hf.corpus.readers.hub import parse_hub_dataset

MIN_CHARS = 200
MAX_CHARS = 25_000
"""Length of a document in characters, both ends included (CRAFT, arXiv 2409.02098, section 3.1)."""


class Corpus:
    """The documents of one source, filtered by length; iterate over it, then read `skipped`.

    Args:
        source: a file (.jsonl or .json, also with .gz, .bz2 or .zst; .parquet, .txt), a folder of such files, a Hub
            dataset such as "allenai/c4" or "allenai/c4@main:en:train", an iterable of rows such as a
            `datasets.Dataset`, or a `Source` of `craft_hf.corpus.readers`.
        text_column: the field or column that holds the text.
        name: of the corpus; also the source of documents without one; by default from the file name or Hub id.
        split: of a Hub dataset, unless `source` names one.
        config: of a Hub dataset, unless `source` names one.
        revision: commit, tag or branch of a Hub dataset, unless `source` names one; by default the newest commit.
        license: licence of documents without one.
        min_chars: shorter documents are left out.
        max_chars: longer documents are left out.

    After iteration, `skipped` holds the number of documents that were left out, by reason.

    Raises:
        InputError: at once if a file does not exist; while iterating if the source is empty, has no such column, holds
            invalid JSON, cannot be read, or all documents were left out.
    """

    def __init__(
        self,
        source: str | Path | Source | Iterable[Row],
        *,
        text_column: str = "text",
        name: str = "",
        split: str = "train",
        config: str | None = None,
        revision: str | None = None,
        license: str = "",
        min_chars: int = MIN_CHARS,
        max_chars: int = MAX_CHARS,
    ) -> None:
        self._source = open_source(source, text_column, split, config, revision)
        self._text_column = text_column
        self._license = license
        self._min_chars, self._max_chars = min_chars, max_chars
        self.name = name or self._source.name
        self.skipped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Document]:
        self.skipped.clear()
        rows = kept = 0
        for where, row in self._source.rows(self.skipped):
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
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.skipped.most_common())
        if not rows:
            left_out = f" ({reasons})" if reasons else ""
            raise InputError(
                f"{self.name}: the source is empty{left_out}; expected documents with a {self._text_column!r} field."
            )
        if not kept:
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


class _RowSource(Source):
    """Rows in memory, or of a `datasets` dataset."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows, self.name = rows, "documents"

    def rows(self, skipped: Counter[str]) -> LocatedRows:
        yield from ((f"row {number}", row) for number, row in enumerate(self._rows, 1))


def open_source(
    source: str | Path | Source | Iterable[Row], text_column: str, split: str, config: str | None, revision: str | None
) -> Source:
    """Return the `Source` that reads `source`; the arguments are those of `Corpus`.

    Raises:
        InputError: it is a path that does not exist.
    """
    if isinstance(source, Source):
        return source
    if not isinstance(source, str | Path):
        return _RowSource(source)
    if Path(source).exists():
        return FileSource(Path(source), text_column)
    if isinstance(source, Path) or _looks_like_a_path(source):
        raise InputError(f"there is no corpus file {source}; expected {FORMATS}, or a folder of such files.")
    return parse_hub_dataset(source, config, split, revision)


def parse_named_source(source: str) -> tuple[str, str]:
    """Split "NAME=SOURCE" into name and source; the name is "" if there is none, or if the "=" is part of a path."""
    name, equals, rest = source.partition("=")
    if not equals or "/" in name or Path(source).exists():
        return "", source
    if not name or not rest:
        raise InputError(f"{source!r} names a corpus or a source, but not both; expected NAME=SOURCE.")
    return name, rest


def _looks_like_a_path(source: str) -> bool:
    repo = source.partition(":")[0].partition("@")[0]
    return repo.count("/") > 1 or source.startswith((".", "/", "~")) or source.endswith(ENDINGS)


def _unicode(text: str) -> str:
    """Replace lone surrogates by "?": JSON can hold them, but neither UTF-8 nor a tokenizer can."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _line(value: JSON) -> str:
    """Return a value as a string for a metadata field, without NUL, at which HDF5 strings end."""
    return _unicode(str(value)).replace("\0", "")
