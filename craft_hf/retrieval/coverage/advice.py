"""What the figures advise: a `Coverage` comes in, sentences go out, each with what was measured and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator

from craft_hf.retrieval.coverage.figures import Coverage

LEAST_RANDOM = 20
"""Random documents below which nothing is said of chance: of fewer, not even one in 20 can be seen."""

FEW = 7
"""An equal part of the documents below which no few-shot is judged: where 7 are expected, chance leaves none less than
once in 1,000 times."""

REPEATED = 0.1
"""Share of near-duplicates from which there is a warning: one prompt in ten is likely to be paid for in vain."""


def advise(coverage: Coverage) -> tuple[str, ...]:
    """Return a sentence for everything in the figures that speaks against generating from these documents.

    Of documents that were drawn at random nobody expects that they fit the few-shots.
    """
    if coverage.drawn:
        return tuple(_repeats(coverage))
    return (*_fit(coverage), *_end(coverage), *_dominant(coverage), *_useless(coverage), *_repeats(coverage))


def _fit(coverage: Coverage) -> Iterator[str]:
    """Say so if the best documents are less like the few-shots than these are like each other.

    Both are means of cosine similarities to few-shots, so that one can be held against the other.
    """
    bands, each_other = coverage.decay["averaged"].bands, coverage.few_shot_similarity
    if bands and each_other is not None and bands[0].median < each_other:
        yield (
            "The index may hold nothing of the few-shots' kind: the documents that are nearest to all of them have a "
            f"similarity of {bands[0].median:.3f}, the few-shots have {each_other:.3f} to each other. Look at what is "
            "found, and add a corpus that fits the task."
        )


def _end(coverage: Coverage) -> Iterator[str]:
    """Name the halves whose end is no more similar than an unrelated document may be by chance.

    Where most of the index fits the task, so do random documents: what is as near to the few-shots as these are to each
    other needs no warning.
    """
    for name, half in coverage.decay.items():
        limit = half.random_high
        if name == "averaged" and coverage.few_shot_similarity is not None:
            limit = min(limit, coverage.few_shot_similarity)
        if half.bands and coverage.random_documents >= LEAST_RANDOM and half.bands[-1].median < limit:
            end = half.bands[-1]
            yield (
                f"The end of the {name} half is hardly more similar than any document of the index: its ranks "
                f"{end.first} to {end.last} have a median of {end.median:.3f}, and chance alone reaches "
                f"{half.random_high:.3f}. Ask for fewer documents, or add a corpus that fits the task."
            )


def _dominant(coverage: Coverage) -> Iterator[str]:
    """Name the few-shots that find most.

    Each has its turn in the individual half. If all find what the averaged half adds equally often, every share is 1/F;
    if a single one finds it, its share is (1 + 1/F) / 2. It dominates from the middle between the two, if that is also
    3 standard deviations of a binomial count above 1/F.
    """
    found = coverage.found_by_few_shots
    even = 1 / len(coverage.few_shots)
    for use in coverage.few_shots if found * even >= FEW else ():
        if use.share > even + max((1 - even) / 4, 3 * math.sqrt(even * (1 - even) / found)):
            yield (
                f"The few-shot {use.id} dominates: its part is {use.share:.0%} of what few-shots found, where an equal "
                f"part is {even:.0%}. Compare it with the others; it may be the only one that the index fits."
            )


def _useless(coverage: Coverage) -> Iterator[str]:
    """Name the few-shots that alone found less than a tenth of an equal part."""
    part = coverage.found_by_few_shots / len(coverage.few_shots)
    for use in coverage.few_shots if part >= FEW else ():
        if len(coverage.few_shots) > 1 and use.alone < part / 10:
            yield (
                f"The few-shot {use.id} adds hardly anything: {use.alone} documents were found by it alone, where an "
                f"equal part is {part:.0f}. An example that is less like the others finds more."
            )


def _repeats(coverage: Coverage) -> Iterator[str]:
    near = coverage.near_duplicates
    if near.repeats and near.repeats >= REPEATED * near.compared:
        yield (
            f"{near.repeats} of {near.compared} documents nearly repeat one before them; their samples are likely to "
            "be dropped as duplicates. Take repeated texts out of the corpus."
        )
