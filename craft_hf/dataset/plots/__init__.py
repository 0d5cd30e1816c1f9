"""The report's plots, as PNG and SVG; the same numbers give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

from craft_hf.dataset.diversity import RowVectors, nearest_few_shot, nearest_row, project
from craft_hf.dataset.funnel import Stage
from craft_hf.dataset.plots.canvas import FORMATS, STYLE, save
from craft_hf.dataset.plots.counts import answers_plot, decay_plot, funnel_plot, similarity_plot
from craft_hf.dataset.plots.variety import map_plot, nearest_plot


def draw_all(
    funnel: Sequence[Stage],
    kept: Sequence[float],
    rejected: Sequence[float],
    answers: Mapping[str, int],
    coverage: Mapping[str, Any] | None = None,
    vectors: RowVectors | None = None,
) -> dict[str, bytes]:
    """Draw every plot that there is data for.

    Args:
        funnel: stages in order.
        kept: cosine similarities of the documents that became rows, each in [-1, 1].
        rejected: cosine similarities of the documents that did not, where they are known.
        answers: how often each answer is the right one.
        coverage: a `coverage.Coverage` as plain data.
        vectors: embeddings of rows, their documents and the few-shots.

    Returns:
        File name to content, two files a plot: "funnel", "similarity", "decay", "answers", "nearest" and "map" with
        ".png" and ".svg".
    """
    files: dict[str, bytes] = {}
    near = (nearest_row(vectors), nearest_few_shot(vectors)) if vectors else ()
    mapped = project(vectors) if vectors else None
    with matplotlib.rc_context(STYLE):
        figures = {
            "funnel": funnel_plot(funnel) if funnel else None,
            "similarity": similarity_plot(kept, rejected) if len(kept) + len(rejected) else None,
            "decay": decay_plot(coverage) if coverage and coverage["hits"] and coverage["decay"] else None,
            "answers": answers_plot(answers) if any(answers.values()) else None,
            "nearest": nearest_plot(*near) if any(map(len, near)) else None,
            "map": map_plot(*mapped) if mapped else None,
        }
        drawn = [(name, figure) for name, figure in figures.items() if figure]
        for name, figure in drawn:
            files |= {f"{name}.{kind}": save(figure, kind) for kind in FORMATS}
    return files
