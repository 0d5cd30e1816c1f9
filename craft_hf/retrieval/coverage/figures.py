"""The records of a coverage report, with plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class FewShotUse:
    """What a few-shot found.

    Attributes:
        id: of the few-shot.
        placed: hits that it placed in its turn of the merge.
        found: hits that it placed, or that another branch placed and it ranked at least as high.
        alone: those of `found` that no other few-shot found.
        share: its share of the hits that few-shots found, each divided equally among those that found it; the shares
            add up to 1.
    """

    id: str
    placed: int
    found: int
    alone: int
    share: float


@dataclass(frozen=True)
class SourceShare:
    """A corpus among the hits and in the index; `ratio` of the two shares is above 1 if it is over-represented."""

    source: str
    hits: int
    share: float
    documents: int
    index_share: float
    ratio: float | None


@dataclass(frozen=True)
class Band:
    """Similarities from rank `first` to `last`, both included: their 10%, 50% and 90% quantiles."""

    first: int
    last: int
    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Decay:
    """How similarity decreases with rank in one half of the hits, in up to ten bands of about equal size.

    Attributes:
        bands: best first.
        random_median: median similarity of random documents: to the mean of the few-shots for the averaged half, to
            each of them for the individual half.
        random_high: the similarity that one of 20 unrelated documents reaches by chance. It is estimated from median
            and median absolute deviation: the 95% quantile would rise with every document that fits the task, and only
            tell how much of the index was retrieved.
    """

    bands: tuple[Band, ...]
    random_median: float
    random_high: float


@dataclass(frozen=True)
class NearDuplicateDocuments:
    """Near-duplicates among the hits, see `vector_statistics.NearDuplicates`; `examples` hold document ids."""

    compared: int
    pairs: int
    repeats: int
    examples: tuple[tuple[str, str, float], ...]


@dataclass(frozen=True)
class Coverage:
    """How well few-shots and an index fit each other; None where there are too few documents to tell.

    Attributes:
        hits: retrieved documents.
        left_out: documents that were left out because they are nearly the text of a few-shot.
        not_selected: documents of the index that are of other sources or licences than asked for; no figure counts
            them.
        passed_over: documents that were not taken because their source gave its most.
        found_by_few_shots: hits that one or more few-shots found.
        both: share of hits that few-shots and the average found.
        few_shots: what each few-shot found.
        sources: the corpora among the hits, and among the selected documents of the index.
        decay: how similarity decreases with rank, for the halves "individual" and "averaged".
        near_duplicates: among the hits.
        random_documents: random documents of the index that the hits were compared with.
        mean_similarity: mean cosine similarity of two hits.
        random_similarity: the same of two random documents.
        few_shot_similarity: of the text of a few-shot to the mean of the others, see `query.few_shot_similarity`; a
            document that fits has as much in the averaged half. None where there are too few few-shots to tell.
        vendi_score: effective number of different hits.
        warnings: see `advice.advise`.
        drawn: the documents were drawn at random: few-shots found none of them, and there is no decay.
    """

    hits: int
    left_out: int
    found_by_few_shots: int
    both: float | None
    few_shots: tuple[FewShotUse, ...]
    sources: tuple[SourceShare, ...]
    decay: Mapping[str, Decay]
    near_duplicates: NearDuplicateDocuments
    random_documents: int
    mean_similarity: float | None
    random_similarity: float | None
    few_shot_similarity: float | None
    vendi_score: float | None
    warnings: tuple[str, ...] = ()
    drawn: bool = False
    not_selected: int = 0
    passed_over: int = 0
