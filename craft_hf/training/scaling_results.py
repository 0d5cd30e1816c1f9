"""What a scaling study found: points with their results come in, a table, a figure and JSON go out.

The scores of a size are the mean over its seeds, and the least and the greatest of them; of one seed, its 95% interval
over the items. Two sizes, or two datasets of one size, are compared on the same items, each item's value being its mean
over the seeds.
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
from craft_hf.training.scaling import FEW_SHOTS, NOTHING, Point

Found = Sequence[tuple[Point, Results]]
_LINES = (("#0072B2", "o", "-"), ("#D55E00", "s", "--"), ("#009E73", "^", "-."), ("#000000", "D", ":"))
"""Colour (Okabe and Ito), mark and dashes of the datasets, in order; the fifth looks like the first."""


def write_study(found: Found, folder: Path) -> None:
    """Write scaling.md, scaling.json, scaling.png and scaling.svg.

    Args:
        found: all points with what was measured, smallest first.
        folder: where they go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scaling.md").write_text(as_markdown(found), encoding="utf-8")
    (folder / "scaling.json").write_text(as_json(found), encoding="utf-8")
    figure = draw(found)
    for kind in FORMATS:
        (folder / f"scaling.{kind}").write_bytes(save(figure, kind))


def as_markdown(found: Found) -> str:
    """Return a table of all sizes, and one of what they gain."""
    measures = _measures(found)
    lines = [
        f"| dataset | size | rows | seeds | {' | '.join(measures)} |",
        f"|---|---|--:|--:|{'--:|' * len(measures)}",
    ]
    for (dataset, size), group in _groups(found).items():
        cells = []
        for measure in measures:
            mean, low, high = _spread(group, measure)
            cells.append(f"{mean:.3f} ({low:.3f} to {high:.3f})")
        rows = group[0][0].rows
        lines.append(f"| {inline(dataset)} | {size} | {rows:,} | {len(group)} | {' | '.join(cells)} |")
    lines += ["", *_gains(found)]
    return "\n".join(lines) + "\n"


def as_json(found: Found) -> str:
    """Return the scores of every point, and the differences, without the values of single items."""
    points: list[JSON] = [
        {
            **asdict(point),
            "scores": {s.measure: {"value": s.value, "low": s.low, "high": s.high, "n": s.n} for s in results.scores},
        }
        for point, results in found
    ]
    pairs: list[JSON] = [{"of": a, "against": b, **asdict(d)} for a, b, d in _differences(found)]
    identity = dict(found[0][1].identity) if found else {}
    return json.dumps({"model": identity, "points": points, "differences": pairs}, indent=2) + "\n"


def draw(found: Found) -> Figure:
    """Draw each measure over the rows: a line a dataset, with the least and the greatest of its seeds as bars."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        measures = _measures(found)
        columns = min(3, len(measures))
        lines = -(-len(measures) // columns)
        figure = Figure(figsize=(3.3 * columns, 2.7 * lines + 0.6), layout="constrained")
        axes = figure.subplots(lines, columns, squeeze=False)
        for number, measure in enumerate(measures):
            ax = axes[number // columns][number % columns]
            for place, (dataset, group) in enumerate(_curves(found).items()):
                colour, mark, dashes = _LINES[place % len(_LINES)]
                means, lows, highs = zip(*(_spread(same, measure) for same in group), strict=True)
                bars = [[m - low for m, low in zip(means, lows, strict=True)],
                        [high - m for m, high in zip(means, highs, strict=True)]]  # fmt: skip
                ax.errorbar(
                    [same[0][0].rows for same in group], means, bars, color=colour, marker=mark, linestyle=dashes,
                    markersize=5, linewidth=1.4, capsize=3, label=dataset,
                )  # fmt: skip
            scores = found[0][1].score(measure)
            if scores.chance is not None:
                ax.axhline(scores.chance, color="grey", linewidth=0.8, linestyle=(0, (1, 3)))
            ax.set_xscale("symlog", linthresh=10)
            ax.set_xlim(left=0)
            better = {True: " (more is better)", False: " (less is better)", None: ""}[scores.higher_is_better]
            ax.set_title(f"{measure}{better}", fontsize=9, loc="left")
            ax.set_xlabel("rows of training")
            ax.spines[["top", "right"]].set_visible(False)
        for number in range(len(measures), lines * columns):
            axes[number // columns][number % columns].set_visible(False)
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=3)
    return figure


def _gains(found: Found) -> list[str]:
    lines = [
        "| what | against | measure | items | difference | 95% interval | p |",
        "|---|---|---|--:|--:|---|--:|",
    ]
    for ours, theirs, d in _differences(found):
        lines.append(
            f"| {inline(ours)} | {inline(theirs)} | {d.measure} | {d.n} | {d.value:+.3f} | "
            f"{d.low:+.3f} to {d.high:+.3f} | {format_p_value(d.p)} |"
        )
    return lines


def _differences(found: Found) -> list[tuple[str, str, Difference]]:
    """Return each size against no training and the few-shots, and against the first dataset at the same size."""
    groups = _groups(found)
    names = list(dict.fromkeys(d for d, _ in groups if d not in (NOTHING, FEW_SHOTS)))
    means, pairs = {key: _over_seeds(group) for key, group in groups.items()}, []
    for key in groups:
        bases = [other for other in groups if other[0] in (NOTHING, FEW_SHOTS) and other != key]
        if key[0] == NOTHING:
            continue
        if key[0] == FEW_SHOTS:
            bases = [other for other in bases if other[0] == NOTHING]
        elif key[0] != names[0] and (names[0], key[1]) in groups:
            bases.append((names[0], key[1]))
        for base in bases:
            for measure, ours in means[key].items():
                if measure in means[base]:
                    pairs.append((_label(key), _label(base), compare(ours, means[base][measure])))
    return pairs


def _over_seeds(group: Found) -> Mapping[str, Scores]:
    """Return the first seed's scores with each item's mean over all seeds as its value, which is what is compared."""
    means = {}
    for scores in group[0][1].scores:
        if scores.values:
            values = [results.score(scores.measure).values for _, results in group]
            means[scores.measure] = replace(scores, values=tuple(map(statistics.mean, zip(*values, strict=True))))
    return means


def _spread(group: Found, measure: str) -> tuple[float, float, float]:
    """Return the mean over the seeds, the least and the greatest of them; of one seed its interval over the items."""
    scores = [results.score(measure) for _, results in group]
    values = [score.value for score in scores]
    if len(scores) == 1:
        return values[0], scores[0].low, scores[0].high
    return statistics.mean(values), min(values), max(values)


def _label(key: tuple[str, str]) -> str:
    return key[0] if key[0] in (NOTHING, FEW_SHOTS) else f"{key[0]}, {key[1]}"


def _measures(found: Found) -> list[str]:
    return [scores.measure for scores in found[0][1].scores]


def _groups(found: Found) -> dict[tuple[str, str], list[tuple[Point, Results]]]:
    """Put the seeds of a point together."""
    groups: dict[tuple[str, str], list[tuple[Point, Results]]] = {}
    for point, results in found:
        groups.setdefault((point.dataset, point.size), []).append((point, results))
    return groups


def _curves(found: Found) -> dict[str, list[list[tuple[Point, Results]]]]:
    """Return the groups of each dataset, smallest first, each beginning with those that all share."""
    groups = _groups(found)
    shared = [group for (dataset, _), group in groups.items() if dataset in (NOTHING, FEW_SHOTS)]
    names = dict.fromkeys(d for d, _ in groups if d not in (NOTHING, FEW_SHOTS))
    curves = {name: [*shared, *(group for (d, _), group in groups.items() if d == name)] for name in names}
    return curves or {FEW_SHOTS: shared}
