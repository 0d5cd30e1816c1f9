"""Says what building an index will take, from a sample of its sources; nothing is written."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.stats

from craft_hf.base import Activity, Embedder, InputError, Workers
from craft_hf.corpus import FORMATS, Corpus, Reading, Stratum, survey
from craft_hf.retrieval.index.chunks import CHUNKS, VECTORS, cut
from craft_hf.retrieval.index.shard import shard_bytes

CLOCK_S = 5.0
"""Seconds of embedding after which its speed is known."""

_FIRST_CHUNKS = 8
"""Chunks that are embedded before the clock runs, and in its first round; each round has twice as many."""

_MILLION = 1_000_000

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Range:
    """A number that was estimated.

    Attributes:
        value: the estimate.
        low, high: a 95% confidence interval, from how far the sampled files differ from each other; None where this is
            not known, because one file was sampled, and not all of it.
    """

    value: float
    low: float | None
    high: float | None

    def times(self, factor: float) -> Range:
        """Return the number in another unit."""
        low, high = (end if end is None else end * factor for end in (self.low, self.high))
        return Range(self.value * factor, low, high)


@dataclass(frozen=True)
class Extent:
    """What it takes to index some documents.

    Attributes:
        documents: how many, equal texts counted each time.
        chunks: that are embedded.
        hours: of reading, cutting into chunks, and embedding.
        gib: of the index on disk, in GiB (2**30 bytes): vectors of every kind, and texts.
    """

    documents: Range
    chunks: Range
    hours: Range
    gib: Range

    def lines(self) -> list[str]:
        """Return it as lines for people."""
        return [
            f"documents  {_shown(self.documents, _count)}",
            f"chunks     {_shown(self.chunks, _count)}",
            f"time       {_shown(self.hours, _duration)}",
            f"on disk    {_shown(self.gib, _size)}",
        ]


@dataclass(frozen=True)
class Forecast:
    """What building an index will take.

    Attributes:
        total: of all sources whose size is known; None if there are none.
        per_million: of the others by their names: what 1,000,000 of their documents take.
        pieces: files that the sources consist of, and other sources.
        sampled: how many of them were sampled.
        records: that were read of these.
        share: of the files' bytes on disk that was read, from 0 to 1; None if no source is a file.
        chunks_per_second: how fast chunks were embedded in the last round of the clock.
        timed_chunks: of that round.
        place: where they were embedded.
        not_sampled: how many files are too large to be read whole, though they can be read in no other way; where there
            are others of their kind, they are taken to be like these.
        missing: kinds of files of which none could be sampled; they are not in the numbers.
    """

    total: Extent | None
    per_million: dict[str, Extent]
    pieces: int
    sampled: int
    records: int
    share: float | None
    chunks_per_second: float
    timed_chunks: int
    place: str
    not_sampled: int
    missing: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return it as lines for people."""
        lines = self.total.lines() if self.total else []
        for name, extent in self.per_million.items():
            lines.append(
                f"{name}: how many documents it has is known only when it was read; each 1,000,000 of them take "
                f"{_count(extent.chunks.value)} chunks, {_duration(extent.hours.value)} and {_size(extent.gib.value)}"
            )
        part = "" if self.share is None else f", {self.share:.2%} of the bytes on disk"
        lines.append(
            f"known from {self.records:,} records in {self.sampled:,} of {self.pieces:,} "
            f"{'sources' if self.share is None else 'files'}{part}; {self.timed_chunks:,} chunks were embedded "
            f"{self.place}, {_count(self.chunks_per_second)} a second"
        )
        if self.total and self.total.documents.low is None:
            lines.append("one file of a kind was sampled, and not all of it: how far the rest differs is not known")
        if self.not_sampled:
            rest = f", and {', '.join(self.missing)} is not in these numbers" if self.missing else ""
            lines.append(f"{self.not_sampled:,} files are not sampled, because they can only be read whole{rest}")
        lines.append("equal texts, of which an index takes the first, are counted each time; nothing was written")
        return lines


def forecast_index(
    corpora: Sequence[Corpus], embedder: Embedder, *, vectors: str | None = None, workers: Workers | None = None
) -> Forecast:
    """Read a sample of some corpora, embed some of its chunks, and say what an index of all will take.

    Files are sampled by kind, spread over their list, and of large ones the beginning is read; what was found is
    extrapolated by bytes on disk, as they are packed.

    Args:
        corpora: what is to be indexed.
        embedder: makes the embeddings.
        vectors: "chunks" or "document", see `build_index`; by default chunks.
        workers: where shards will be embedded; by default in this process.

    Raises:
        InputError: a corpus is missing or broken, or nothing became a document.
    """
    if not corpora:
        raise InputError("no corpus was given; expected at least one to forecast an index of.")
    if vectors not in (None, *VECTORS):
        raise InputError(f"vectors is {vectors!r}, expected one of {', '.join(VECTORS)}.")
    with Activity("Reading a sample of the sources"):
        strata = [stratum for corpus in corpora for stratum in survey(corpus)]
    readings = [reading for stratum in strata for reading in stratum.readings]
    _check(corpora, strata, readings)
    with Activity("Cutting the sample into chunks"):
        found = [_Sample(stratum, embedder, vectors or CHUNKS) for stratum in strata if stratum.readings]
    with Activity("Embedding some chunks"):
        speed = _Speed(found, embedder, workers)
    known, unknown = list[_Sums](), dict[str, Extent]()
    for corpus in corpora:
        of_corpus = [sample for sample in found if sample.stratum.corpus is corpus]
        if all(sample.stratum.amount is not None for sample in of_corpus):
            known += _limited([sample.total() for sample in of_corpus], corpus.limit)
        elif corpus.limit:  # it may have fewer
            known += _limited([sample.of_documents(corpus.limit) for sample in of_corpus], corpus.limit)
        else:
            unknown[corpus.name] = speed.extent(
                [sample.of_documents(_MILLION / len(of_corpus)) for sample in of_corpus]
            )
    files = [stratum for stratum in strata if stratum.are_files]
    size = sum(stratum.amount or 0 for stratum in files)
    return Forecast(
        total=speed.extent(known) if known else None,
        per_million=unknown,
        pieces=sum(stratum.pieces for stratum in strata),
        sampled=len(readings),
        records=sum(reading.records for reading in readings),
        share=sum(reading.amount for stratum in files for reading in stratum.readings) / size if size else None,
        chunks_per_second=speed.per_second[-1],
        timed_chunks=speed.chunks,
        place=f"with {workers.count} workers" if workers else embedder.place,
        not_sampled=sum(stratum.too_large for stratum in strata),
        missing=tuple(stratum.kind or stratum.corpus.name for stratum in strata if not stratum.readings),
    )


def _check(corpora: Sequence[Corpus], strata: Sequence[Stratum], readings: Sequence[Reading]) -> None:
    if any(reading.documents for reading in readings):
        return
    names = ", ".join(dict.fromkeys(corpus.name for corpus in corpora))
    if not strata:
        raise InputError(f"{names}: there is no file that can be read; expected {FORMATS}.")
    if not readings:
        raise InputError(
            f"{names}: all {sum(stratum.pieces for stratum in strata):,} files can only be read whole, and are too "
            "large to do that for a forecast; forecast an index of smaller ones of their kind."
        )
    records = sum(reading.records for reading in readings)
    raise InputError(
        f"{names}: none of the {records:,} records of the sample became a document; build an index of some of the "
        "files, which says what was left out and why."
    )


@dataclass(frozen=True)
class _Sums:
    """What documents come to.

    Attributes:
        documents, chunks, bytes: see `Extent`; bytes are those on disk.
        halves: half the widths of their confidence intervals; None if these are not known.
        main_s: seconds of reading and cutting.
    """

    documents: float
    chunks: float
    bytes: float
    halves: tuple[float, float, float] | None
    main_s: float

    def times(self, factor: float) -> _Sums:
        """Return what so many times the documents come to."""
        halves = self.halves and (self.halves[0] * factor, self.halves[1] * factor, self.halves[2] * factor)
        return _Sums(self.documents * factor, self.chunks * factor, self.bytes * factor, halves, self.main_s * factor)


class _Sample:
    """What was read of a stratum, cut into chunks.

    Attributes:
        parts: the texts of some chunks.
    """

    def __init__(self, stratum: Stratum, embedder: Embedder, vectors: str) -> None:
        self.stratum = stratum
        texts = [document.text for reading in stratum.readings for document in reading.kept]
        start = time.monotonic()
        chunks = cut(texts, embedder, vectors)
        self.parts = chunks.parts(texts)
        self._cut_s = (time.monotonic() - start) / max(1, len(self.parts))
        self._dimension = embedder.dimension
        self._is_one_each = len(self.parts) == len(texts)
        self._per_character = len(self.parts) / max(1, sum(map(len, texts)))

    def of_documents(self, count: float) -> _Sums:
        """Return what so many documents come to, if they are like those that were read."""
        read = self._read()
        return read.times(count / read.documents)

    def total(self) -> _Sums:
        """Return what all pieces come to, by their bytes on disk, or rows."""
        stratum = self.stratum
        amounts = np.array([reading.amount for reading in stratum.readings])
        size, read = float(stratum.amount or 0), self._read()
        if stratum.is_whole or not amounts.sum():
            return read
        found = read.times(size / amounts.sum())
        if len(amounts) == 1:
            return found
        rows = np.array([self._of(reading) for reading in stratum.readings])
        rest = rows - rows.sum(axis=0) / amounts.sum() * amounts[:, None]
        variance = len(amounts) * (rest**2).sum(axis=0) / (len(amounts) - 1) * (1 - min(1.0, amounts.sum() / size))
        halves = scipy.stats.t.ppf(0.5 + _CONFIDENCE / 2, len(amounts) - 1) * np.sqrt(variance) * size / amounts.sum()
        return replace(found, halves=tuple(halves.tolist()))

    def _read(self) -> _Sums:
        """What was read comes to."""
        documents, chunks, size = (
            np.array([self._of(reading) for reading in self.stratum.readings]).sum(axis=0).tolist()
        )
        seconds = sum(reading.seconds for reading in self.stratum.readings) + chunks * self._cut_s
        return _Sums(documents, chunks, size, (0.0, 0.0, 0.0) if self.stratum.is_whole else None, seconds)

    def _of(self, reading: Reading) -> tuple[float, float, float]:
        """Documents, chunks and bytes in an index of what was read of a piece."""
        chunks = reading.documents if self._is_one_each else reading.characters * self._per_character
        return reading.documents, chunks, shard_bytes(reading.documents, chunks, self._dimension, reading.bytes)


def _limited(sums: Sequence[_Sums], limit: int | None) -> list[_Sums]:
    """Return what the first `limit` documents come to, if they are like all."""
    documents = sum(each.documents for each in sums)
    if limit is None or documents <= limit:
        return list(sums)
    found = [each.times(limit / documents) for each in sums]
    return [replace(each, halves=each.halves and (0.0, *each.halves[1:])) for each in found]


class _Speed:
    """How fast chunks are embedded.

    Args:
        samples: whose chunks are embedded, in rounds of twice as many each, until a round takes `CLOCK_S`.
        embedder: embeds.
        workers: where; by default in this process.

    Attributes:
        per_second: chunks, in each of the last two rounds.
        chunks: of the last round.
    """

    def __init__(self, samples: Sequence[_Sample], embedder: Embedder, workers: Workers | None) -> None:
        parts = [part for sample in samples for part in sample.parts]
        random.Random(0).shuffle(parts)
        self._workers, self._embedder = workers, embedder
        self._embed(parts[:_FIRST_CHUNKS])  # the model is loaded, and what is set up once
        self.per_second: list[float] = []
        self.chunks, start = 0, 0
        while not self.per_second or (start < len(parts) and self.chunks / self.per_second[-1] < CLOCK_S):
            taken = parts[start : start + max(_FIRST_CHUNKS, 2 * self.chunks)]
            if self.per_second and len(taken) < self.chunks:
                break
            begin = time.monotonic()
            self._embed(taken)
            start, self.chunks = start + len(taken), len(taken)
            self.per_second = [*self.per_second[-1:], len(taken) / (time.monotonic() - begin)]

    def _embed(self, parts: Sequence[str]) -> None:
        if self._workers is None:
            self._embedder.encode(parts)
            return
        count = self._workers.count
        under_way = [
            self._workers.executor.submit(self._embedder.encode, share)
            for share in (parts[number::count] for number in range(count))
            if share
        ]
        for future in under_way:
            future.result()

    def extent(self, sums: Sequence[_Sums]) -> Extent:
        """Return what documents take here; workers embed while this process reads and cuts, else it does both."""
        main_s = sum(each.main_s for each in sums)
        documents, chunks, size = (
            _range([(values[i], each.halves and each.halves[i]) for each, values in ((e, _values(e)) for e in sums)])
            for i in range(3)
        )

        def hours(count: float, per_second: float) -> float:
            reading, embedding = main_s * count / max(chunks.value, 1e-9), count / per_second
            return (max(reading, embedding) if self._workers else reading + embedding) / 3600

        low = None if chunks.low is None else hours(chunks.low, max(self.per_second))
        high = None if chunks.high is None else hours(chunks.high, min(self.per_second))
        time_range = Range(hours(chunks.value, self.per_second[-1]), low, high)
        return Extent(documents, chunks, time_range, size.times(2**-30))


def _values(sums: _Sums) -> tuple[float, float, float]:
    return sums.documents, sums.chunks, sums.bytes


def _range(parts: Sequence[tuple[float, float | None]]) -> Range:
    """Return the sum of independent estimates, given with half the widths of their confidence intervals."""
    value = sum(part for part, _ in parts)
    halves = [half for _, half in parts if half is not None]
    if len(halves) < len(parts):
        return Range(value, None, None)
    half = math.hypot(*halves)
    return Range(value, max(0.0, value - half), value + half)


def _shown(number: Range, show: Callable[[float], str]) -> str:
    value = show(number.value)
    if number.low is None or number.high is None:
        return f"about {value}"
    low, high = show(number.low), show(number.high)
    return value if low == high == value else f"about {value} ({low} to {high})"


def _count(number: float) -> str:
    """Return a number with three digits that are not 0, and whole from 100 on."""
    if number < 100:
        return f"{number:.3g}"
    digits = max(0, math.floor(math.log10(number)) - 2)
    return f"{round(number / 10**digits) * 10**digits:,}"


def _duration(hours: float) -> str:
    if hours < 1 / 60:
        return f"{3600 * hours:.0f} s"
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:,.1f} h"


def _size(gib: float) -> str:
    return f"{1024 * gib:.1f} MiB" if gib < 1 else f"{gib:,.1f} GiB"
