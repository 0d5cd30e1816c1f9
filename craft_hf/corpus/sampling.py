"""Reads a sample of a corpus: the beginnings of some of its files, spread over all of them."""

from __future__ import annotations

import itertools
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from craft_hf.base import Document, InputError
from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.ledger import Ledger, Reason
from craft_hf.corpus.readers import LocatedRows, Piece, Source

PIECES = 64
"""Most pieces of a kind that are sampled."""

BYTES = 32 << 20
"""Bytes on disk after which no more pieces of a kind are sampled."""

PIECE_BYTES = 1 << 20
"""Bytes on disk after which reading a piece ends, if it can be read in part."""

RECORDS = 2000
"""Records after which reading ends where bytes are not known."""

SECONDS = 10.0
"""Seconds after which no more pieces of a kind are begun, and the reading of one ends."""

LARGEST_WHOLE = 64 << 20
"""Bytes of a file that is not sampled if it can only be read whole."""

KEPT = 64
"""Most documents of a piece that are kept, spread over what was read."""


@dataclass(frozen=True)
class Reading:
    """What was read of a piece.

    Attributes:
        amount: of the piece: bytes on disk, or rows; 0 where its size is not known.
        is_whole: whether that is all of it.
        records: that were met.
        documents: that they became.
        characters: of the documents' texts.
        bytes: of the documents in UTF-8, all fields.
        kept: some of the documents.
        seconds: that it took.
    """

    amount: float
    is_whole: bool
    records: int
    documents: int
    characters: int
    bytes: int
    kept: Sequence[Document]
    seconds: float


@dataclass(frozen=True)
class Stratum:
    """Pieces of a corpus that are alike, and what was read of some.

    Attributes:
        corpus: they are of.
        kind: what they are, such as ".jsonl.gz".
        pieces: how many.
        amount: of all: bytes on disk, or rows; None if that is not known.
        are_files: whether they are files.
        too_large: how many of them are not sampled, because they can only be read whole.
        readings: of some.
    """

    corpus: Corpus
    kind: str
    pieces: int
    amount: int | None
    are_files: bool
    too_large: int
    readings: Sequence[Reading]

    @property
    def is_whole(self) -> bool:
        """Whether all was read."""
        return len(self.readings) == self.pieces and all(reading.is_whole for reading in self.readings)


def survey(corpus: Corpus) -> list[Stratum]:
    """Read a sample of a corpus; of each kind of file some, spread over their list, and of large ones the beginning.

    Raises:
        InputError: nothing of it can be read, or a field that was given is not there.
    """
    kinds: dict[str, list[Piece]] = defaultdict(list)
    for piece in corpus.pieces():
        kinds[piece.kind].append(piece)
    found, errors = [], list[InputError]()
    for kind, pieces in kinds.items():
        readings = list(_readings(corpus, pieces, errors))
        sizes = [piece.size for piece in pieces if piece.size is not None]
        amount = sum(sizes) if len(sizes) == len(pieces) else None
        too_large = sum(map(_is_too_large, pieces))
        found.append(Stratum(corpus, kind, len(pieces), amount, pieces[0].is_file, too_large, readings))
    if errors and len(errors) == sum(len(stratum.readings) for stratum in found):
        raise errors[0]
    return found


def spread(count: int) -> Iterator[int]:
    """Yield the numbers below `count`, each once, so that the first few of them are spread over all.

    They are the multiples of the golden ratio, modulo the count (a Weyl sequence).
    """
    seen = set[int]()
    golden = (math.sqrt(5) - 1) / 2
    for step in itertools.count():
        if len(seen) == count or step > 4 * count + 100:
            break
        number = int((0.5 + step * golden) % 1 * count)
        if number not in seen:
            seen.add(number)
            yield number
    yield from (number for number in range(count) if number not in seen)


def _is_too_large(piece: Piece) -> bool:
    return not piece.is_streamed and (piece.size or 0) > LARGEST_WHOLE


def _readings(corpus: Corpus, pieces: Sequence[Piece], errors: list[InputError]) -> Iterator[Reading]:
    start, amount, count = time.monotonic(), 0.0, 0
    for number in spread(len(pieces)):
        if count == PIECES or (count > 1 and (amount > BYTES or time.monotonic() - start > SECONDS)):
            break
        piece = pieces[number]
        if _is_too_large(piece):
            continue
        reading = _read(corpus, piece, errors)
        amount, count = amount + reading.amount, count + 1
        yield reading


def _read(corpus: Corpus, piece: Piece, errors: list[InputError]) -> Reading:
    start, beginning = time.monotonic(), _Beginning(piece)
    part = corpus.of_piece(beginning)
    documents: list[Document] = []
    try:
        documents.extend(part.read())
    except InputError as e:
        if corpus.is_strict:
            raise
        errors.append(e)
    finally:
        piece.close()
    texts = [(d.text, d.id, d.title, d.url, d.author) for d in documents]
    return Reading(
        amount=beginning.share * (piece.size or 0),
        is_whole=beginning.is_whole,
        records=part.ledger.records,
        documents=len(documents),
        characters=sum(len(d.text) for d in documents),
        bytes=sum(len(field.encode("utf-8", "replace")) for fields in texts for field in fields),
        kept=[documents[number] for number in sorted(itertools.islice(spread(len(documents)), KEPT))],
        seconds=time.monotonic() - start,
    )


class _Beginning(Source):
    """The first records of a piece.

    A file is read and unpacked ahead of what is asked for, about as far at each new block as at the first record. So
    reading ends where a block begins, and what was read ahead at the first record does not count.

    Attributes:
        share: of the piece that they are, once they are read.
        is_whole: whether they are all.
    """

    def __init__(self, piece: Piece) -> None:
        self._piece, self.name = piece, piece.name
        self.share, self.is_whole = 1.0, True

    def rows(self, ledger: Ledger) -> LocatedRows:
        end, size = time.monotonic() + SECONDS, self._piece.size
        enough = PIECE_BYTES if self._piece.is_file else RECORDS
        ahead = before = 0.0
        for number, located in enumerate(self._piece.rows(ledger)):
            share = self._piece.share()
            if not number:
                ahead = share
            is_enough = number >= RECORDS if size is None else share > before and (share - ahead) * size >= enough
            if self._piece.is_streamed and number and (is_enough or time.monotonic() > end):
                self.share, self.is_whole = share - ahead or share, False
                return
            before = share
            yield located
        if size is None:
            self.share = 0.0
        elif Reason.UNREADABLE in ledger.left_out:  # it broke off
            self.share, self.is_whole = before, False
