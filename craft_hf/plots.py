"""The report's plots: counts and similarities in, PNG and SVG bytes out.

Colours are those of Okabe and Ito, which colour-blind people tell apart; hatches and numbers at the bars keep the
plots readable in greyscale. The same numbers give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

BLUE, ORANGE = "#56B4E9", "#E69F00"
FORMATS = ("png", "svg")
LEFT_OUT = "left out"
WIDE = 20
MAX_BARS = 12
MAX_LABEL = 40

# the user's own style is set aside while drawing; the backend is not touched, for it would not be put back
_STYLE: dict[Any, Any] = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
_STYLE |= {"svg.hashsalt": "craft_hf", "font.size": 10, "hatch.linewidth": 0.6}
_METADATA: Mapping[str, Mapping[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}


def draw_all(
    funnel: Sequence[tuple[str, int]],
    kept: Sequence[float],
    rejected: Sequence[float],
    answers: Mapping[str, int],
    coverage: Mapping[str, Any] | None = None,
) -> dict[str, bytes]:
    """Draw every plot that there is data for.

    Args:
        funnel: stages in order with the number of documents at each; a stage whose name holds "left out" counts what
            went away before the next one.
        kept: cosine similarities of the documents that became rows, each in [-1, 1].
        rejected: cosine similarities of the documents that did not, where they are known.
        answers: how often each answer is the right one.
        coverage: a `coverage.Coverage` as plain data.

    Returns:
        File name to content, two files a plot: "funnel", "similarity", "decay" and "answers" with ".png" and ".svg".
    """
    files: dict[str, bytes] = {}
    with matplotlib.rc_context(_STYLE):
        figures = {
            "funnel": _funnel(funnel) if funnel else None,
            "similarity": _similarity(kept, rejected) if len(kept) + len(rejected) else None,
            "decay": _decay(coverage) if coverage and coverage["hits"] else None,
            "answers": _answers(answers) if any(answers.values()) else None,
        }
        drawn = [(name, figure) for name, figure in figures.items() if figure]
        for name, figure in drawn:
            for kind in FORMATS:
                buffer = io.BytesIO()
                figure.savefig(buffer, format=kind, dpi=150, metadata=_METADATA[kind], bbox_inches="tight")
                files[f"{name}.{kind}"] = buffer.getvalue()
    return files


def _funnel(funnel: Sequence[tuple[str, int]]) -> Figure:
    """Horizontal bars, first stage on top; huge first stages go into the caption, for they would flatten the rest."""
    stages = list(funnel)
    caption = []
    while len(stages) > 2 and stages[0][1] > WIDE * max(count for _, count in stages[1:]):
        name, count = stages.pop(0)
        caption.append(f"{_short(name)}: {count:,}")
    labels = [_short(name) for name, _ in stages]
    counts = [count for _, count in stages]
    figure, axes = _axes(height=1.2 + 0.42 * len(stages))
    bars = axes.barh(range(len(stages)), counts, color=BLUE, edgecolor="black", linewidth=0.6)
    for bar, label in zip(bars, labels, strict=True):
        if LEFT_OUT in label:
            bar.set_facecolor("white")
            bar.set_hatch("////")
    axes.bar_label(bars, labels=[f"{count:,}" for count in counts], padding=4)
    axes.set_yticks(range(len(stages)), labels=labels, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, max([*counts, 1]) * 1.12)
    label = "documents" + (f" (not drawn: {'; '.join(caption)})" if caption else "")
    axes.set_xlabel(label, parse_math=False, loc="right" if caption else "center")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_title("From documents to rows", loc="left")
    return figure


def _similarity(kept: Sequence[float], rejected: Sequence[float]) -> Figure:
    """A histogram; kept as hatched bars, rejected as a black outline over them."""
    figure, axes = _axes(height=3.2)
    everything = np.array([*kept, *rejected])
    low, high = float(everything.min()), float(everything.max())
    pad = max(0.0, 0.1 - (high - low)) / 2
    edges = np.linspace(low - pad, high + pad, min(20, max(5, len(everything) // 4)) + 1)
    axes.hist(
        kept,
        bins=edges.tolist(),
        color=ORANGE,
        edgecolor="black",
        linewidth=0.6,
        hatch="///",
        label=f"kept ({len(kept):,})",
    )
    if len(rejected):
        axes.hist(
            rejected,
            bins=edges.tolist(),
            histtype="step",
            color="black",
            linewidth=1.8,
            label=f"rejected ({len(rejected):,})",
        )
    axes.set_xlabel("cosine similarity of document and few-shots")
    axes.set_ylabel("documents")
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_ylim(top=axes.get_ylim()[1] * 1.05)
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.set_title("How near the documents are", loc="left")
    return figure


def _decay(coverage: Mapping[str, Any]) -> Figure:
    """A panel for each half with hits: the median over the rank, with the 10% and 90% quantiles as a hatched band."""
    halves = {name: half for name, half in coverage["decay"].items() if half["bands"]}
    figure = Figure(figsize=(6.5, 3.4), layout="constrained")
    panels = figure.subplots(1, len(halves), sharey=True, squeeze=False)[0]
    for axes, (name, half) in zip(panels, halves.items(), strict=True):
        ranks = [(band["first"] + band["last"]) / 2 for band in half["bands"]]
        low, median, high = ([band[part] for band in half["bands"]] for part in ("low", "median", "high"))
        axes.fill_between(ranks, low, high, facecolor="white", edgecolor=BLUE, hatch="////", label="hits, 10% to 90%")
        axes.plot(ranks, median, color="black", marker="o", markersize=4, linewidth=1.4, label="hits, median")
        axes.axhline(half["random_high"], color="black", linestyle="--", linewidth=1, label="by chance, 1 of 20")
        if name == "averaged" and (each_other := coverage["few_shot_similarity"]) is not None:
            axes.axhline(each_other, color=ORANGE, linestyle=":", linewidth=2.2, label="few-shots to each other")
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlim(0.5, half["bands"][-1]["last"] + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_xlabel(f"rank in the {name} half")
    panels[0].set_ylabel("cosine similarity")
    panels[0].set_title("How similarity falls", loc="left")
    handles, labels = panels[-1].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=2)
    return figure


def _answers(answers: Mapping[str, int]) -> Figure:
    """Bars with their counts, and a dashed line where every answer would be right equally often."""
    shown = dict(list(answers.items())[:MAX_BARS])
    figure, axes = _axes(height=3.0)
    positions = range(len(shown))
    bars = axes.bar(positions, list(shown.values()), color=BLUE, edgecolor="black", linewidth=0.6, width=0.6)
    labels = axes.bar_label(bars, labels=[f"{count:,}" for count in shown.values()], padding=3, zorder=4)
    for label in labels:  # the line may pass behind a number, not through it
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})
    even = sum(answers.values()) / len(answers)
    axes.axhline(even, color="black", linestyle="--", linewidth=1, label=f"even share ({even:,.1f})")
    axes.set_xticks(positions, labels=[_short(name, 12) for name in shown], parse_math=False)
    axes.set_ylim(0, max(*shown.values(), even) * 1.15)
    axes.set_xlabel("right answer" + (f" (first {MAX_BARS} of {len(answers)})" if len(answers) > MAX_BARS else ""))
    axes.set_ylabel("rows made by the model")
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.set_title("Which answer is right", loc="left")
    return figure


def _axes(height: float) -> tuple[Figure, Axes]:
    """A figure of 6.5 inches' width that knows no window, and its axes without the box around them."""
    figure = Figure(figsize=(6.5, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _short(label: str, limit: int = MAX_LABEL) -> str:
    """One line, printable, at most `limit` characters."""
    plain = "".join(c if c.isprintable() else " " for c in label)
    return plain if len(plain) <= limit else plain[: limit - 3] + "..."
