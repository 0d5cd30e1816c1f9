"""Plots of how varied the rows are: histograms of cosine similarity, and a map in two dimensions."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from craft_hf.dataset.diversity import Cosines, RowVectors
from craft_hf.dataset.plots.canvas import BLUE, VERMILLION, plain_axes

_BINS = 20


def nearest_plot(rows: Cosines, few_shots: Cosines) -> Figure:
    """Draw two histograms over one scale: to the nearest other row as hatched bars, to a few-shot as a black outline.

    Args:
        rows: cosine similarity of each row to the nearest other one; may be empty.
        few_shots: that to the nearest few-shot; may be empty, but not both.
    """
    figure, axes = plain_axes(height=3.2)
    everything = np.concatenate([rows, few_shots])
    edges = np.linspace(min(0.0, float(everything.min())), 1, _BINS + 1).tolist()
    if len(rows):
        axes.hist(
            rows, bins=edges, color=BLUE, edgecolor="black", linewidth=0.6, hatch="///", label="the nearest other row"
        )
    if len(few_shots):
        label = "the nearest few-shot"
        axes.hist(few_shots, bins=edges, histtype="step", color="black", linewidth=1.8, label=label)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel("cosine similarity (1: the same)")
    axes.set_ylabel("rows made by the model")
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    figure.legend(frameon=False, loc="outside lower center", ncols=2)
    axes.set_title("How near a row is to its nearest", loc="left")
    return figure


def map_plot(points: RowVectors, shares: tuple[float, float]) -> Figure:
    """Draw documents, samples and few-shots on one plane, told apart by shape, colour and how dark they are.

    Args:
        points: of the plane, float32 (rows or few-shots, 2).
        shares: of the variance that each axis shows, in [0, 1].
    """
    figure, axes = plain_axes(height=5.2)
    kinds = (
        ("documents", points.documents, "s", 22, "none", VERMILLION),
        ("rows made by the model", points.samples, "o", 20, BLUE, "black"),
        ("few-shots", points.few_shots, "^", 100, "black", "white"),
    )
    for name, places, marker, size, face, edge in kinds:
        axes.scatter(
            places[:, 0],
            places[:, 1],
            size,
            marker=marker,
            facecolors=face,
            edgecolors=edge,
            linewidths=1.0,
            label=f"{name} ({len(places):,})",
        )
    axes.set_aspect("equal", adjustable="datalim")  # a distance is the same in both directions
    axes.set_xlabel(f"first axis ({shares[0]:.0%} of the variance)")
    axes.set_ylabel(f"second axis ({shares[1]:.0%})")
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    figure.legend(frameon=False, loc="outside lower center", ncols=3)
    axes.set_title("Map of the embeddings", loc="left")
    return figure
