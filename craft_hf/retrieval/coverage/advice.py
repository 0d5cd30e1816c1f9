"""Warnings that follow from a `Coverage`, each with what was measured and what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator

from craft_hf.retrieval.coverage.figures import Coverage

MIN_RANDOM_DOCUMENTS = 20
"""Random documents below which none is compared with chance: fewer do not show what one in 20 reaches."""

MIN_EXPECTED = 7
"""Expected documents of each few-shot below which none is judged: where 7 are expected, none are found by chance less
than once in 1,000 times."""

NEAR_DUPLICATE_WARNING = 0.1
"""Share of near-duplicates from which there is a warning: one prompt in ten is likely to be paid for nothing."""


def advise(coverage: Coverage) -> tuple[str, ...]:
    """Return a sentence for each reason not to generate from these documents.

    Documents that were drawn at random are not expected to fit the few-shots.
    """
    if coverage.drawn:
        return tuple(_near_duplicates(coverage))
    return (*_fit(coverage), *_end(coverage), *_dominant(coverage), *_useless(coverage), *_near_duplicates(coverage))


def _fit(coverage: Coverage) -> Iterator[str]:
    """Warn if the best documents are less similar to the few-shots than the few-shots' own texts are.

    Both are means of cosine similarities of a text to few-shots, so they can be compared.
    """
    bands, each_other = coverage.decay["averaged"].bands, coverage.few_shot_similarity
    if bands and each_other is not None and bands[0].median < each_other:
        yield (
            "The index may hold no documents like the few-shots: those that are most similar to all of them have a "
            f"similarity of {bands[0].median:.3f}, the text of a few-shot has {each_other:.3f} to the others. Look at "
            "the retrieved documents, and add a corpus that fits the task."
        )


def _end(coverage: Coverage) -> Iterator[str]:
    """Warn of halves whose last documents are no more similar than unrelated documents may be by chance.

    Where most of the index fits the task, so do random documents: what is as similar to the few-shots as their own
    texts needs no warning.
    """
    for name, half in coverage.decay.items():
        limit = half.random_high
        if name == "averaged" and coverage.few_shot_similarity is not None:
            limit = min(limit, coverage.few_shot_similarity)
        if half.bands and coverage.random_documents >= MIN_RANDOM_DOCUMENTS and half.bands[-1].median < limit:
            end = half.bands[-1]
            yield (
                f"The end of the {name} half is hardly more similar than a random document of the index: its ranks "
                f"{end.first} to {end.last} have a median of {end.median:.3f}, and chance alone reaches "
                f"{half.random_high:.3f}. Ask for fewer documents, or add a corpus that fits the task."
            )


def _dominant(coverage: Coverage) -> Iterator[str]:
    """Warn of few-shots that find most of the documents.

    Few-shots take turns in the individual half. If all find the documents of the averaged half equally often, every
    share is 1/F; if a single one finds them all, its share is (1 + 1/F) / 2. It dominates from the middle between the
    two, if that is also 3 standard deviations of a binomial count above 1/F.
    """
    found = coverage.found_by_few_shots
    even = 1 / len(coverage.few_shots)
    for use in coverage.few_shots if found * even >= MIN_EXPECTED else ():
        if use.share > even + max((1 - even) / 4, 3 * math.sqrt(even * (1 - even) / found)):
            yield (
                f"The few-shot {use.id} dominates: its share is {use.share:.0%} of the documents that few-shots found, "
                f"where an equal share is {even:.0%}. Compare it with the others; it may be the only one that fits "
                "the index."
            )


def _useless(coverage: Coverage) -> Iterator[str]:
    """Warn of few-shots that alone found less than a tenth of an equal share."""
    part = coverage.found_by_few_shots / len(coverage.few_shots)
    for use in coverage.few_shots if part >= MIN_EXPECTED else ():
        if len(coverage.few_shots) > 1 and use.alone < part / 10:
            yield (
                f"The few-shot {use.id} adds hardly anything: {use.alone} documents were found by it alone, where an "
                f"equal share is {part:.0f}. A few-shot that is less like the others finds more."
            )


def _near_duplicates(coverage: Coverage) -> Iterator[str]:
    near = coverage.near_duplicates
    if near.repeats and near.repeats >= NEAR_DUPLICATE_WARNING * near.compared:
        yield (
            f"{near.repeats} of {near.compared} documents are near-duplicates of one before them; their samples are "
            "likely to be dropped as duplicates. Remove repeated texts from the corpus."
        )
