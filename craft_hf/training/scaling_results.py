"""Results of a scaling study as a table, a figure and JSON.

A size is reported as the mean over its seeds with their minimum and maximum, or, for a single seed, with the 95%
interval over items. Sizes, and datasets of one size, are compared on the same items, by each item's mean over seeds.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from matplotlib.figure import Figure

from craft_hf.base import JSON, inline
from craft_hf.dataset import FORMATS, STYLE, save
from craft_hf.evaluation import Difference, Results, Scores, compare, format_p_value
from craft_hf.training.scaling import FEW_SHOTS, NO_TRAINING, Point

PointResults = Sequence[tuple[Point, Results]]
_LINES = (("#0072B2", "o", "-"), ("#D55E00", "s", "--"), ("#009E73", "^", "-."), ("#000000", "D", ":"))
"""Colour (Okabe and Ito), marker and line style of each dataset; the fifth repeats the first."""


def write_study(points: PointResults, folder: Path) -> None:
    """Write scaling.md, scaling.json, scaling.png and scaling.svg.

    Args:
        points: all points with their results, smallest first.
        folder: created if needed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scaling.md").write_text(study_markdown(points), encoding="utf-8")
    (folder / "scaling.json").write_text(study_json(points), encoding="utf-8")
    figure = plot_study(points)
    for kind in FORMATS:
        (folder / f"scaling.{kind}").write_bytes(save(figure, kind))


def study_markdown(points: PointResults) -> str:
    """Return a table of the scores of all sizes, and one of the differences between them."""
    measures = _measures(points)
    lines = [
        f"| dataset | size | rows | seeds | {' | '.join(measures)} |",
        f"|---|---|--:|--:|{'--:|' * len(measures)}",
    ]
    for (dataset, size), group in _groups(points).items():
        cells = []
        for measure in measures:
            mean, low, high = _spread(group, measure)
            cells.append(f"{mean:.3f} ({low:.3f} to {high:.3f})")
        rows = group[0][0].rows
        lines.append(f"| {inline(dataset)} | {size} | {rows:,} | {len(group)} | {' | '.join(cells)} |")
    lines += ["", *_difference_table(points)]
    return "\n".join(lines) + "\n"


def study_json(points: PointResults) -> str:
    """Return the scores of every point and the differences as JSON, without per-item values."""
    scores: list[JSON] = [
        {
            **asdict(point),
            "scores": {s.measure: {"value": s.value, "low": s.low, "high": s.high, "n": s.n} for s in results.scores},
        }
        for point, results in points
    ]
    pairs: list[JSON] = [{"of": a, "against": b, **asdict(d)} for a, b, d in _differences(points)]
    identity = dict(points[0][1].identity) if points else {}
    return json.dumps({"model": identity, "points": scores, "differences": pairs}, indent=2) + "\n"


def plot_study(points: PointResults) -> Figure:
    """Plot each measure over the number of rows: one line per dataset, with error bars from minimum to maximum."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        measures = _measures(points)
        columns = min(3, len(measures))
        lines = -(-len(measures) // columns)
        figure = Figure(figsize=(3.3 * columns, 2.7 * lines + 0.6), layout="constrained")
        axes = figure.subplots(lines, columns, squeeze=False)
        for number, measure in enumerate(measures):
            ax = axes[number // columns][number % columns]
            for place, (dataset, group) in enumerate(_curves(points).items()):
                colour, mark, dashes = _LINES[place % len(_LINES)]
                means, lows, highs = zip(*(_spread(same, measure) for same in group), strict=True)
                bars = [[m - low for m, low in zip(means, lows, strict=True)],
                        [high - m for m, high in zip(means, highs, strict=True)]]  # fmt: skip
                ax.errorbar(
                    [same[0][0].rows for same in group], means, bars, color=colour, marker=mark, linestyle=dashes,
                    markersize=5, linewidth=1.4, capsize=3, label=dataset,
                )  # fmt: skip
            scores = points[0][1].score(measure)
            if scores.chance is not None:
                ax.axhline(scores.chance, color="grey", linewidth=0.8, linestyle=(0, (1, 3)))
            ax.set_xscale("symlog", linthresh=10)
            ax.set_xlim(left=0)
            better = {True: " (higher is better)", False: " (lower is better)", None: ""}[scores.higher_is_better]
            ax.set_title(f"{measure}{better}", fontsize=9, loc="left")
            ax.set_xlabel("training rows")
            ax.spines[["top", "right"]].set_visible(False)
        for number in range(len(measures), lines * columns):
            axes[number // columns][number % columns].set_visible(False)
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=3)
    return figure


def _difference_table(points: PointResults) -> list[str]:
    lines = [
        "| dataset and size | compared with | measure | items | difference | 95% interval | p |",
        "|---|---|---|--:|--:|---|--:|",
    ]
    for ours, theirs, d in _differences(points):
        lines.append(
            f"| {inline(ours)} | {inline(theirs)} | {d.measure} | {d.n} | {d.value:+.3f} | "
            f"{d.low:+.3f} to {d.high:+.3f} | {format_p_value(d.p)} |"
        )
    return lines


def _differences(points: PointResults) -> list[tuple[str, str, Difference]]:
    """Compare each size with no training, the few-shots, and the first dataset at the same size."""
    groups = _groups(points)
    names = list(dict.fromkeys(d for d, _ in groups if d not in (NO_TRAINING, FEW_SHOTS)))
    means, pairs = {key: _over_seeds(group) for key, group in groups.items()}, []
    for key in groups:
        bases = [other for other in groups if other[0] in (NO_TRAINING, FEW_SHOTS) and other != key]
        if key[0] == NO_TRAINING:
            continue
        if key[0] == FEW_SHOTS:
            bases = [other for other in bases if other[0] == NO_TRAINING]
        elif key[0] != names[0] and (names[0], key[1]) in groups:
            bases.append((names[0], key[1]))
        for base in bases:
            for measure, ours in means[key].items():
                if measure in means[base]:
                    pairs.append((_label(key), _label(base), compare(ours, means[base][measure])))
    return pairs


def _over_seeds(group: PointResults) -> Mapping[str, Scores]:
    """Return the scores with each item's mean over all seeds as its value, for comparisons."""
    means = {}
    for scores in group[0][1].scores:
        if scores.values:
            values = [results.score(scores.measure).values for _, results in group]
            means[scores.measure] = replace(scores, values=tuple(map(statistics.mean, zip(*values, strict=True))))
    return means


def _spread(group: PointResults, measure: str) -> tuple[float, float, float]:
    """Return mean, minimum and maximum over the seeds; for a single seed, its value and interval over the items."""
    scores = [results.score(measure) for _, results in group]
    values = [score.value for score in scores]
    if len(scores) == 1:
        return values[0], scores[0].low, scores[0].high
    return statistics.mean(values), min(values), max(values)


def _label(key: tuple[str, str]) -> str:
    return key[0] if key[0] in (NO_TRAINING, FEW_SHOTS) else f"{key[0]}, {key[1]}"


def _measures(points: PointResults) -> list[str]:
    return [scores.measure for scores in points[0][1].scores]


def _groups(points: PointResults) -> dict[tuple[str, str], list[tuple[Point, Results]]]:
    """Group the points of all seeds by dataset and size."""
    groups: dict[tuple[str, str], list[tuple[Point, Results]]] = {}
    for point, results in points:
        groups.setdefault((point.dataset, point.size), []).append((point, results))
    return groups


def _curves(points: PointResults) -> dict[str, list[list[tuple[Point, Results]]]]:
    """Return the groups of each dataset, smallest first, starting with the shared points."""
    groups = _groups(points)
    shared = [group for (dataset, _), group in groups.items() if dataset in (NO_TRAINING, FEW_SHOTS)]
    names = dict.fromkeys(d for d, _ in groups if d not in (NO_TRAINING, FEW_SHOTS))
    curves = {name: [*shared, *(group for (d, _), group in groups.items() if d == name)] for name in names}
    return curves or {FEW_SHOTS: shared}
