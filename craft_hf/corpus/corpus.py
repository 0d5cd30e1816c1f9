"""A corpus: the documents of a file, a folder, a Hub dataset or any rows, filtered by length."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from craft_hf.base import JSON, Document, InputError
from craft_hf.corpus.fields import SPELLINGS, Fields, WholeFile, as_line, as_text, names_of
from craft_hf.corpus.ledger import Ledger, Reason
from craft_hf.corpus.length import MAX_CHARS, MIN_CHARS, passages, says_less_than
from craft_hf.corpus.readers import LocatedRows, LostPositionError, Piece, Place, Row, Source, Stream
from craft_hf.corpus.readers.files import FORMATS, FileSource, ending_of
from craft_hf.corpus.readers.hub import parse_hub_dataset, repo_of

Long = Literal["split", "drop"]
"""What becomes of a text that is too long."""

_TRIED = 1000
"""Records that may lack a field before it is called missing."""


class CorpusOptions(TypedDict, total=False):
    """Which of its records a corpus takes; see `Corpus`."""

    min_chars: int
    max_chars: int
    long: Long
    limit: int | None
    strict: bool


_ARGUMENTS = (
    *("source", "fields", "name", "split", "config", "revision", "license"), *CorpusOptions.__annotations__
)  # fmt: skip


class Corpus:
    """The documents of one source; iterate over it, then see in its `ledger` what became of each file and record.

    Args:
        source: a file (see `craft_hf.corpus.readers.files.READERS` for the endings; also packed by gzip, bzip2 or
            zstd), a folder of such files, a Hub dataset such as "allenai/c4" or "allenai/c4@main:en:train", an iterable
            of rows such as a `datasets.Dataset`, or a `Source` of `craft_hf.corpus.readers`.
        fields: which field of a record is which of a document, such as {"text": "body", "license": "meta.license"};
            those that are not given are found by their usual names (`craft_hf.corpus.fields.SPELLINGS`).
        name: of the corpus; also the source of documents without one; by default from the file name or Hub id.
        split: of a Hub dataset, unless `source` names one.
        config: of a Hub dataset, unless `source` names one.
        revision: commit, tag or branch of a Hub dataset, unless `source` names one; by default the newest commit.
        license: licence of documents without one.
        min_chars: shorter documents are left out; of Chinese, Japanese and Thai, whose scripts say more with fewer
            characters, those that say less (see `says_less_than`).
        max_chars: longer documents are split or left out.
        long: "split" them into passages at the ends of paragraphs, each with the id of its document, "#" and its
            number; or "drop" them, as CRAFT does.
        limit: take the first so many documents; by default all.
        strict: raise the first broken file or record, which otherwise is left out and counted.

    Raises:
        InputError: at once if a file does not exist or an option is wrong; while iterating if the data as a whole
            cannot be read, if no record has a field that was given, or if nothing is left.
    """

    def __init__(
        self,
        source: str | Path | Source | Iterable[Row],
        *,
        fields: Mapping[str, str] | None = None,
        name: str = "",
        split: str = "train",
        config: str | None = None,
        revision: str | None = None,
        license: str = "",
        **options: Unpack[CorpusOptions],
    ) -> None:
        self._fields = Fields(fields)
        self._source = open_source(source, self._fields, split, config, revision)
        self._license = as_line(license)
        self._min_chars, self._max_chars = options.get("min_chars", MIN_CHARS), options.get("max_chars", MAX_CHARS)
        self._long, self._limit = options.get("long", "split"), options.get("limit")
        self._strict = options.get("strict", False)
        if unknown := options.keys() - CorpusOptions.__annotations__.keys():
            raise TypeError(f"Corpus() has no argument {min(unknown)!r}; expected {', '.join(_ARGUMENTS)}.")
        if self._long not in ("split", "drop"):
            raise InputError(f"long is {self._long!r}, expected 'split' or 'drop'.")
        if self._max_chars < max(self._min_chars, 1) or (self._limit is not None and self._limit < 1):
            raise InputError(
                f"min_chars is {self._min_chars}, max_chars {self._max_chars}, limit {self._limit}; expected max_chars "
                "to be at least 1 and min_chars, and a limit of at least 1."
            )
        self.name = as_line(name or self._source.name)
        self._before, self._counted = Ledger(self._strict), Ledger(self._strict)
        self._resume: Mapping[str, Any] | None = None
        self._at: tuple[Place, int, int] | None = None
        self._taken, self._is_done = 0, False
        self._fields_check = _FieldsCheck(self._fields, self.name)

    @property
    def ledger(self) -> Ledger:
        """What became of each file and record up to now."""
        total = Ledger(self._strict)
        total.add(self._before)
        total.add(self._counted)
        return total

    def state(self) -> Mapping[str, JSON] | None:
        """Return how far it is read, behind the last document that was yielded, or None if it was not begun."""
        if self._at is None and not self._is_done:
            return None
        state: dict[str, JSON] = {"is_done": self._is_done, "ledger": self.ledger.to_json()}
        if self._at:
            place, number, part = self._at
            position = self._source.position(place)
            state |= {"place": list(place), "position": position, "record": number, "parts": part}
            state["documents"], state["fields"] = self._taken, self._fields_check.state()
        return state

    def resume(self, state: Mapping[str, JSON] | None) -> None:
        """Let the next reading go on where `state` was returned, by a corpus with the same arguments."""
        self._resume = state

    def __iter__(self) -> Iterator[Document]:
        return read_corpora([self])

    def read(self) -> Iterator[Document]:
        """Yield the documents, if only none; the ledger begins anew, or goes on with what is resumed.

        Raises:
            LostPositionError: the record at which reading is to go on is not there any more.
        """
        start, self._resume = self._resume, None
        self._before, self._counted = Ledger(self._strict), Ledger(self._strict)
        self._at, self._taken, self._is_done = None, 0, bool(start and start["is_done"])
        if start and self._is_done:
            self._before = Ledger.from_json(start["ledger"])
            return
        self._fields_check = _FieldsCheck(self._fields, self.name)
        documents = self._documents(self._counted, start)
        if start:
            for _ in range(start["parts"]):
                if not next(documents, None) or not self._stands_at(Place(*start["place"])):
                    raise LostPositionError(f"{Place(*start['place'])}: this record is not there any more.")
            self._before = Ledger.from_json(start["ledger"]).without(self._counted)
            self._taken = start["documents"]
            self._fields_check = _FieldsCheck(self._fields, self.name, start["fields"])
        if self._limit is None or self._taken < self._limit:
            for document in documents:
                self._taken += 1
                yield document
                if self._taken == self._limit:
                    break
            self._fields_check.end(self.ledger)
        self._is_done = True

    def pieces(self) -> Sequence[Piece]:
        """Return what its source consists of, such as files, without reading it."""
        return self._source.pieces()

    def of_piece(self, source: Source) -> Corpus:
        """Return the corpus of a piece of the source, or of a part of one, with the same settings but the limit."""
        corpus = copy.copy(self)
        corpus._source, corpus._limit, corpus._resume = source, None, None
        return corpus

    @property
    def limit(self) -> int | None:
        """How many documents are taken at most; None for all."""
        return self._limit

    @property
    def is_strict(self) -> bool:
        """Whether the first broken file or record is an error."""
        return self._strict

    def _stands_at(self, place: Place) -> bool:
        return self._at is not None and self._at[0] == place

    def _documents(self, ledger: Ledger, start: Mapping[str, Any] | None) -> Iterator[Document]:
        first = start["record"] if start else 1
        rows = self._source.rows_from(start["position"], ledger) if start else self._source.rows(ledger)
        for number, (place, row) in enumerate(rows, first):
            self._at = place, number, 1
            if self._fields_check.add(place, row):
                self._fields_check.end(self.ledger)
            text = self._fields.value(row, "text")
            if not isinstance(text, str) or not text.strip():
                ledger.leave_out(Reason.NO_TEXT, str(place))
                continue
            text = as_text(text)
            if says_less_than(text, self._min_chars):
                ledger.leave_out(Reason.TOO_SHORT, f"{place}: {len(text):,} characters")
            elif len(text) <= self._max_chars:
                ledger.whole += 1
                yield self._document(row, text, number)
            elif self._long == "drop":
                ledger.leave_out(Reason.TOO_LONG, f"{place}: {len(text):,} characters")
            else:
                ledger.split += 1
                whole = self._document(row, "", number)
                for part, passage in enumerate(passages(text, self._max_chars), 1):
                    ledger.passages += 1
                    self._at = place, number, part
                    yield replace(whole, id=f"{whole.id}#{part}", text=passage)

    def _document(self, row: Row, text: str, number: int) -> Document:
        line = self._fields.line
        return Document(
            id=line(row, "id") or f"{self.name}:{number}",
            text=text,
            source=line(row, "source") or self.name,
            title=line(row, "title"),
            url=line(row, "url"),
            license=line(row, "license") or self._license,
            author=line(row, "author"),
        )


def read_corpora(corpora: Sequence[Corpus]) -> Iterator[Document]:
    """Yield the documents of some corpora, one corpus after the other.

    Raises:
        InputError: at the end, if all of them gave no document; the message says what was left out, and why.
    """
    for corpus in corpora:
        yield from corpus.read()
    total = Ledger()
    for corpus in corpora:
        total.add(corpus.ledger)
    if not total.documents:
        names = ", ".join(dict.fromkeys(corpus.name for corpus in corpora))
        if not total.left_out:
            raise InputError(f"{names}: the source is empty; expected documents.")
        why = total.reasons().rstrip(".")
        advice = f" These endings are read: {FORMATS}." if Reason.UNKNOWN_ENDING in total.left_out else ""
        if {Reason.TOO_SHORT, Reason.TOO_LONG} & total.left_out.keys():
            advice += " Lengths are set by min_chars= and max_chars= (--min-chars, --max-chars)."
        raise InputError(f"{names}: {total.met()}, but nothing became a document: {why}.{advice}")


class _FieldsCheck:
    """Raises an error if the first records all lack a field that was given, or a text.

    Args:
        fields: where the fields of a document are.
        name: of the corpus.
        state: of the check that this one goes on with.
    """

    def __init__(self, fields: Fields, name: str, state: Mapping[str, Any] | None = None) -> None:
        self._fields, self._name = fields, name
        self._missing = set(state["missing"]) if state else {"text", *fields.given}
        self._names = dict.fromkeys(state["names"] if state else ())
        self._tried: int = state["tried"] if state else 0

    def state(self) -> Mapping[str, JSON]:
        """Return what was seen up to now."""
        return {"missing": sorted(self._missing), "names": list(self._names), "tried": self._tried}

    def add(self, place: Place, row: Row) -> bool:
        """Look at a record; return whether enough were seen to say that a field is missing."""
        if not self._missing or isinstance(row, WholeFile):
            return False
        if not isinstance(row, Mapping):
            raise InputError(
                f"{place}: a row is a {type(row).__name__}, expected a mapping with a field for the text; of a "
                "DatasetDict, pass one split."
            )
        self._tried += 1
        self._names.update(dict.fromkeys(names_of(row)))
        self._missing = {field for field in self._missing if not self._fields.has(row, field)}
        return self._tried == _TRIED

    def end(self, ledger: Ledger) -> None:
        """Raise InputError if all records that were seen lack a field."""
        if ledger.documents and "text" not in self._fields.given:
            self._missing.discard("text")  # other records have one
        for field in filter(self._missing.__contains__, SPELLINGS) if self._tried else ():
            raise InputError(
                f"{self._name}: no field {self._fields.describe(field)} for the {field} in {self._tried:,} records; "
                f"their fields: {', '.join(self._names) or 'none'}. Name the right one with "
                f'fields={{"{field}": NAME}} (--field {field}=NAME).'
            )


class _RowSource(Source):
    """Rows in memory, or of a `datasets` dataset."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows, self.name = rows, "documents"

    def pieces(self) -> Sequence[Piece]:
        """Return all rows as one piece.

        Raises:
            InputError: they can be read only once.
        """
        if iter(self._rows) is self._rows:
            raise InputError(
                f"{self.name}: these rows can be read only once, and would be gone; pass a list or a Dataset."
            )
        return [Stream(self, len(self._rows) if isinstance(self._rows, Sized) else None)]

    def rows(self, ledger: Ledger) -> LocatedRows:
        yield from ((Place(self.name, "row", number), row) for number, row in enumerate(self._rows, 1))


def open_source(
    source: str | Path | Source | Iterable[Row], fields: Fields, split: str, config: str | None, revision: str | None
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
        return FileSource(Path(source), fields)
    if isinstance(source, Path) or looks_like_a_path(source):
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


def looks_like_a_path(source: str) -> bool:
    """Return whether a source that is not on this machine was meant to be a file, and not a Hub dataset."""
    return repo_of(source).count("/") > 1 or source.startswith((".", "/", "~")) or bool(ending_of(source))
