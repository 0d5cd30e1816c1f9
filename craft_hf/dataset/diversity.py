"""How varied the rows of a dataset are, by the words of their texts and by their embeddings."""

from __future__ import annotations

import math
import re
import statistics
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import sacrebleu
from sacrebleu.metrics.helpers import extract_all_word_ngrams

from craft_hf.base import Vectors

MOST_COMPARED = 50
"""Most texts that self-BLEU compares, each with all others; with 300 words each this takes about two seconds."""

MOST_COUNTED = 10_000
"""Most texts whose n-grams are counted, in megabytes of memory; distinct-n falls the more texts it is of, so that it
says less of more."""

_ORDER = 4

Cosines = np.ndarray[tuple[int], np.dtype[np.float32]]
"""float32, shape (rows,), each in [-1, 1]."""


@dataclass(frozen=True)
class RowVectors:
    """Embeddings of generated rows: unit vectors, float32 (rows or few-shots, dimension).

    `samples` and `documents` have a line for each of the rows looked at; `few_shots` are embedded like `samples`.
    """

    samples: Vectors
    documents: Vectors
    few_shots: Vectors


@dataclass(frozen=True)
class Diversity:
    """How varied the generated rows are. None, or an empty mapping, stands for what could not be measured.

    `distinct` has a share in [0, 1] for "1", "2" and "3", and is that of `distinct_rows` rows. `self_bleu` in [0, 1],
    high where rows repeat each other, is that of `self_bleu_rows` rows. `nearest_row` and `nearest_few_shot` hold min,
    median, p95 and max of the cosine similarity of each of `embedded` rows to the nearest other one and to the nearest
    few-shot. `map_variance` is the share of the variance, in [0, 1], that each axis of the map shows.
    """

    rows: int
    distinct: Mapping[str, float | None]
    distinct_rows: int
    self_bleu: float | None
    self_bleu_rows: int
    embedded: int
    nearest_row: Mapping[str, float]
    nearest_few_shot: Mapping[str, float]
    map_variance: tuple[float, float] | None


def measure_diversity(texts: Collection[str], vectors: RowVectors | None) -> Diversity:
    """Measure how varied rows are.

    Args:
        texts: those of all generated rows; read once.
        vectors: the embeddings of as many of them as were looked at, None where they were not embedded.
    """
    count = len(texts)
    counted, drawn = (set(draw_numbers(count, most)) for most in (MOST_COUNTED, MOST_COMPARED))
    compared = list[str]()

    def all_that_count() -> Iterator[str]:
        for number, text in enumerate(texts):
            if number in drawn:
                compared.append(text)
            if number in counted:
                yield text

    shares = distinct(all_that_count(), (1, 2, 3))
    mapped = project(vectors) if vectors else None
    return Diversity(
        rows=count,
        distinct={str(n): _rounded(share) for n, share in shares.items()},
        distinct_rows=len(counted),
        self_bleu=_rounded(self_bleu(compared)),
        self_bleu_rows=len(compared),
        embedded=len(vectors.samples) if vectors else 0,
        nearest_row=_cosines(nearest_row(vectors)) if vectors else {},
        nearest_few_shot=_cosines(nearest_few_shot(vectors)) if vectors else {},
        map_variance=mapped[1] if mapped else None,
    )


def draw_numbers(count: int, most: int) -> list[int]:
    """Return 0 to `count` - 1, or a seeded random sample of `most` of them, in ascending order."""
    if count <= most:
        return list(range(count))
    drawn: list[int] = np.sort(np.random.default_rng(0).choice(count, most, replace=False)).tolist()
    return drawn


def distinct(texts: Iterable[str], sizes: Sequence[int]) -> dict[int, float | None]:
    """Return distinct-n (Li et al. 2016, arXiv 1510.03055): the share of distinct word n-grams; None without any.

    Args:
        texts: any number; an n-gram does not go from one to the next, and case is passed over.
        sizes: words of an n-gram, each 1 or more.
    """
    found = {n: array("q") for n in sizes}
    for text in texts:
        words = re.findall(r"\w+", text.lower())
        for n, hashes in found.items():
            hashes.extend(map(hash, zip(*(words[i:] for i in range(n)), strict=False)))
    return {n: len(np.unique(np.frombuffer(h, np.int64))) / len(h) if h else None for n, h in found.items()}


def self_bleu(texts: Sequence[str]) -> float | None:
    """Return self-BLEU (Zhu et al. 2018, arXiv 1802.01886) in [0, 1]; None for fewer than two texts.

    It is the mean BLEU-4 of each text against all others, and takes a time that grows with the square of their number;
    a text of fewer than four words is scored by the n-grams that it has. The figures are those of sacrebleu's
    sentence_score, which counts the n-grams of all others anew for each text.
    """
    if len(texts) < 2:
        return None
    bleu = sacrebleu.BLEU(lowercase=True, effective_order=True)
    counted = [extract_all_word_ngrams(bleu._preprocess_segment(text), 1, _ORDER) for text in texts]
    lengths = [length for _, length in counted]
    most: dict[tuple[str, ...], list[int]] = defaultdict(list)  # the two highest counts of each n-gram in a text
    for grams, _ in counted:
        for gram, count in grams.items():
            most[gram] = sorted((*most[gram], count))[-2:]
    scores = []
    for number, (grams, length) in enumerate(counted):
        correct, total = [0] * _ORDER, [max(0, length - order) for order in range(_ORDER)]
        for gram, count in grams.items():
            least, *highest = most[gram] if len(most[gram]) > 1 else (0, *most[gram])
            elsewhere = least if count == highest[0] else highest[0]
            correct[len(gram) - 1] += min(count, elsewhere)
        others = lengths[:number] + lengths[number + 1 :]
        closest = min(others, key=lambda other: (abs(other - length), other))
        found = sacrebleu.BLEU.compute_bleu(
            correct, total, length, closest, smooth_method="exp", effective_order=True, max_ngram_order=_ORDER
        )
        scores.append(found.score)
    return min(1.0, sum(scores) / len(scores) / 100)


def nearest_row(vectors: RowVectors) -> Cosines:
    """Return each row's greatest cosine similarity to another row; empty for fewer than two rows."""
    if len(vectors.samples) < 2:
        return np.zeros(0, dtype=np.float32)
    cosines = vectors.samples @ vectors.samples.T
    np.fill_diagonal(cosines, -1)
    nearest: Cosines = np.clip(cosines.max(axis=1), -1, 1)
    return nearest


def nearest_few_shot(vectors: RowVectors) -> Cosines:
    """Return each row's greatest cosine similarity to a few-shot; empty without few-shots."""
    if not len(vectors.few_shots):
        return np.zeros(0, dtype=np.float32)
    nearest: Cosines = np.clip((vectors.samples @ vectors.few_shots.T).max(axis=1), -1, 1)
    return nearest


def project(vectors: RowVectors) -> tuple[RowVectors, tuple[float, float]] | None:
    """Project all vectors onto their first two principal components; None for fewer than three vectors.

    Returns:
        The vectors as points, float32 (rows or few-shots, 2), and the share of the variance that each axis shows.
    """
    kinds = vectors.documents, vectors.samples, vectors.few_shots
    pooled = np.concatenate(kinds).astype(np.float64)
    if len(pooled) < 3:
        return None
    centred = pooled - pooled.mean(axis=0)
    _, widths, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] * np.where(axes[:2].sum(axis=1) < 0, -1, 1)[:, None]  # a direction's sign says nothing: fix it
    points = (centred @ axes.T).astype(np.float32)
    parts = np.split(points, np.cumsum([len(kind) for kind in kinds])[:2])
    total = float(np.square(widths).sum())
    if not total:
        return None
    shares = np.square(widths[:2]) / total
    documents, samples, few_shots = parts
    return RowVectors(samples, documents, few_shots), (round(float(shares[0]), 4), round(float(shares[1]), 4))


def summary_statistics(values: Sequence[float]) -> dict[str, float]:
    """Return min, median, p95 (nearest rank) and max of some values; empty without values."""
    if not (ordered := sorted(values)):
        return {}
    p95 = ordered[math.ceil(0.95 * len(ordered)) - 1]
    return {"min": ordered[0], "median": statistics.median(ordered), "p95": p95, "max": ordered[-1]}


def _cosines(values: Cosines) -> dict[str, float]:
    return {name: round(value, 4) for name, value in summary_statistics(values.tolist()).items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
