"""What all plots share: style, colours and formats.

Colours are those of Okabe and Ito, which colour-blind people tell apart; hatches, shapes and numbers keep the plots
readable in greyscale.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

BLUE, ORANGE, VERMILLION = "#56B4E9", "#E69F00", "#D55E00"
FORMATS = ("png", "svg")
MAX_LABEL = 40

# the user's own style is set aside while drawing; the backend is not touched, for it would not be put back
STYLE: dict[Any, Any] = {k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")}
STYLE |= {"svg.hashsalt": "craft_hf", "font.size": 10, "hatch.linewidth": 0.6}
_METADATA: Mapping[str, Mapping[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}


def plain_axes(height: float) -> tuple[Figure, Axes]:
    """Return a figure, 6.5 inches wide and `height` high, that knows no window, and its axes without a box."""
    figure = Figure(figsize=(6.5, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def short(label: str, limit: int = MAX_LABEL) -> str:
    """Return a label on one line, printable, at most `limit` characters."""
    plain = "".join(c if c.isprintable() else " " for c in label)
    return plain if len(plain) <= limit else plain[: limit - 3] + "..."


def save(figure: Figure, kind: str) -> bytes:
    """Return the file of a figure in one of `FORMATS`; it holds neither date nor program."""
    figure.set_dpi(150)
    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):  # once for all formats: that takes the longest
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    buffer = io.BytesIO()  # savefig would draw twice
    canvas: Any = (FigureCanvasAgg if kind == "png" else FigureCanvasSVG)(figure)
    getattr(canvas, f"print_{kind}")(buffer, metadata=_METADATA[kind])
    return buffer.getvalue()
