"""The figures of coverage: frozen records of plain values, as they stand in a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class FewShotUse:
    """What a few-shot found.

    `placed` documents came into the list in its turn. `found` are these and those that others placed but it had as far
    up in its own list. `alone` are those of them that no other few-shot had. `share` is its part in all that few-shots
    found, each document divided among those that found it; the shares add up to 1.
    """

    id: str
    placed: int
    found: int
    alone: int
    share: float


@dataclass(frozen=True)
class SourceShare:
    """A corpus among the hits and in the index: documents and shares; `ratio` is above 1 where it is found often."""

    source: str
    hits: int
    share: float
    documents: int
    index_share: float
    ratio: float | None


@dataclass(frozen=True)
class Band:
    """Similarities from one rank to another, both ends included: their 10%, 50% and 90% quantiles."""

    first: int
    last: int
    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Decay:
    """How similarity falls with the rank within one half of the hits, in up to ten bands of about as many documents.

    `random_median` is the median similarity of random documents: to the mean of the few-shots for the averaged half, to
    each of them for the individual half. `random_high` is what one of 20 unrelated documents reaches by chance. It is
    reckoned from median and median absolute deviation: a plain quantile would rise with every document that fits, and
    say no more than how large a part of the index was retrieved.
    """

    bands: tuple[Band, ...]
    random_median: float
    random_high: float


@dataclass(frozen=True)
class Repeats:
    """Near-duplicates among the hits: see `alike.NearDuplicates`; `examples` give document ids."""

    compared: int
    pairs: int
    repeats: int
    examples: tuple[tuple[str, str, float], ...]


@dataclass(frozen=True)
class Coverage:
    """What retrieval alone tells; None stands for what so few documents do not tell.

    `drawn` says that the documents were drawn at random: then nothing was found by anything, and there is no decay.

    `left_out` counts documents that nearly are a few-shot's text. `found_by_few_shots` hits were found by one few-shot
    or more, and `both` is the share of hits that few-shots and the average found. `decay` has the keys "individual" and
    "averaged". `mean_similarity` is the mean cosine similarity of two hits, `random_similarity` that of two of the
    `random_documents`, `few_shot_similarity` that of two few-shots; `vendi_score` is the number of wholly different
    documents that would be as diverse as the hits.
    """

    hits: int
    left_out: int
    found_by_few_shots: int
    both: float | None
    few_shots: tuple[FewShotUse, ...]
    sources: tuple[SourceShare, ...]
    decay: Mapping[str, Decay]
    near_duplicates: Repeats
    random_documents: int
    mean_similarity: float | None
    random_similarity: float | None
    few_shot_similarity: float | None
    vendi_score: float | None
    warnings: tuple[str, ...] = ()
    drawn: bool = False
