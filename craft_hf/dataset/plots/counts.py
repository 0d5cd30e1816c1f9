"""Plots of a run's counts and of the similarity of its documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from craft_hf.dataset.funnel import Stage
from craft_hf.dataset.plots.canvas import BLUE, ORANGE, plain_axes, short

WIDE = 20
MAX_BARS = 12


def funnel_plot(funnel: Sequence[Stage]) -> Figure:
    """Draw bars, the first stage on top; huge first stages go into the caption, for they would flatten the rest."""
    stages = list(funnel)
    caption = []
    while len(stages) > 2 and stages[0].count > WIDE * max(stage.count for stage in stages[1:]):
        first = stages.pop(0)
        caption.append(f"{short(first.label)}: {first.count:,}")
    labels = [short(stage.label) for stage in stages]
    counts = [stage.count for stage in stages]
    figure, axes = plain_axes(height=1.2 + 0.42 * len(stages))
    bars = axes.barh(range(len(stages)), counts, color=BLUE, edgecolor="black", linewidth=0.6)
    for bar, stage in zip(bars, stages, strict=True):
        if stage.removed:
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


def similarity_plot(kept: Sequence[float], rejected: Sequence[float]) -> Figure:
    """Draw a histogram; kept as hatched bars, rejected as a black outline over them."""
    figure, axes = plain_axes(height=3.2)
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


def decay_plot(coverage: Mapping[str, Any]) -> Figure:
    """Draw a panel for each half with hits: the median over the rank, and the 10% and 90% quantiles as a band."""
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
            axes.axhline(each_other, color=ORANGE, linestyle=":", linewidth=2.2, label="text of a few-shot")
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


def answers_plot(answers: Mapping[str, int]) -> Figure:
    """Draw bars with their counts, and a dashed line where every answer would be right equally often."""
    shown = dict(list(answers.items())[:MAX_BARS])
    figure, axes = plain_axes(height=3.0)
    positions = range(len(shown))
    bars = axes.bar(positions, list(shown.values()), color=BLUE, edgecolor="black", linewidth=0.6, width=0.6)
    labels = axes.bar_label(bars, labels=[f"{count:,}" for count in shown.values()], padding=3, zorder=4)
    for label in labels:  # the line may pass behind a number, not through it
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})
    even = sum(answers.values()) / len(answers)
    axes.axhline(even, color="black", linestyle="--", linewidth=1, label=f"even share ({even:,.1f})")
    axes.set_xticks(positions, labels=[short(name, 12) for name in shown], parse_math=False)
    axes.set_ylim(0, max(*shown.values(), even) * 1.15)
    axes.set_xlabel("right answer" + (f" (first {MAX_BARS} of {len(answers)})" if len(answers) > MAX_BARS else ""))
    axes.set_ylabel("rows made by the model")
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.set_title("Which answer is right", loc="left")
    return figure
