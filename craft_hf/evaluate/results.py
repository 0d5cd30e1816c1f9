"""What an evaluation found: scores of models come in, a table in Markdown and JSON go out, and come back from JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from craft_hf.base import JSON, InputError, inline
from craft_hf.evaluate.statistics import Difference, Scores, compare


@dataclass(frozen=True)
class Results:
    """What was found of one model.

    `name` is the model or its adapter and `identity` what they are exactly; `task` and `data` say on what it was
    measured, with a hash of all that was asked and of the human answers. `outputs` are the answers that it wrote, by
    the item's id.
    """

    name: str
    task: str
    data: str
    items_hash: str
    identity: Mapping[str, JSON]
    scores: tuple[Scores, ...]
    outputs: Mapping[str, str] = field(default_factory=dict)

    def score(self, measure: str) -> Scores:
        """Return the scores of a measure.

        Raises:
            InputError: it was not measured.
        """
        for scores in self.scores:
            if scores.measure == measure:
                return scores
        raise InputError(f"{self.name} has no {measure}; it has {', '.join(s.measure for s in self.scores)}.")


def differences(ours: Results, theirs: Results, seed: int = 0) -> list[Difference]:
    """Return `ours` minus `theirs` for each measure that both have for single items; see `compare`.

    Raises:
        InputError: they were measured on other tasks, files or items.
    """
    if (ours.task, ours.items_hash) != (theirs.task, theirs.items_hash):
        raise InputError(
            f"{ours.name} was measured for {ours.task} on {ours.data} ({ours.items_hash}), {theirs.name} for "
            f"{theirs.task} on {theirs.data} ({theirs.items_hash}); compare models on the same task and rows: the same "
            "file, limit and seed."
        )
    there = {scores.measure: scores for scores in theirs.scores}
    pairs = [(scores, there[scores.measure]) for scores in ours.scores if scores.measure in there]
    return [compare(a, b, seed) for a, b in pairs if a.values and a.measure != "prefers_first"]


def markdown(results: Sequence[Results], against: Results | None = None, seed: int = 0) -> str:
    """Return the scores as a table, and under it how each model differs from `against`."""
    lines = [
        "| model | measure | n | value | 95% interval | chance | what was measured |",
        "|---|---|---|---|---|---|---|",
    ]
    everything = [*results, *([against] if against and against not in results else [])]
    for found in everything:
        for s in found.scores:
            chance = "" if s.chance is None else f"{s.chance:.3f}"
            lines.append(
                f"| {inline(found.name)} | {s.measure} | {s.n} | {s.value:.3f} | {s.low:.3f} to {s.high:.3f} | "
                f"{chance} | {inline(s.what)} |"
            )
    if against is not None:
        lines += ["", f"Difference to {inline(against.name)}, on the same items:", ""]
        lines += [
            "| model | measure | n | difference | 95% interval | p | McNemar p |",
            "|---|---|---|---|---|---|---|",
        ]
        for found in results:
            for d in differences(found, against, seed) if found is not against else ():
                exact = "" if d.mcnemar_p is None else p_value(d.mcnemar_p)
                lines.append(
                    f"| {inline(found.name)} | {d.measure} | {d.n} | {d.value:+.3f} | {d.low:+.3f} to {d.high:+.3f} | "
                    f"{p_value(d.p)} | {exact} |"
                )
    return "\n".join(lines)


def as_json(results: Sequence[Results], against: Results | None = None, seed: int = 0) -> str:
    """Return everything as JSON, the values of all items and the written answers included."""
    everything = [*results, *([against] if against and against not in results else [])]
    found: dict[str, JSON] = {"models": [_plain(result) for result in everything]}
    if against is not None:
        found["against"] = against.name
        found["differences"] = [
            {"model": result.name, **asdict(d)}
            for result in results
            if result is not against
            for d in differences(result, against, seed)
        ]
    return json.dumps(found, ensure_ascii=False, indent=2, allow_nan=False)


def read_results(path: Path) -> list[Results]:
    """Read what `as_json` wrote.

    Raises:
        InputError: the file is something else.
    """
    try:
        models = json.loads(path.read_text(encoding="utf-8"))["models"]
        return [Results(**{**model, "scores": tuple(_scores(s) for s in model["scores"])}) for model in models]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise InputError(f"{path} cannot be read as the results that `craft-hf evaluate --out` writes: {e!r}") from e


def _plain(result: Results) -> dict[str, JSON]:
    return {**asdict(result), "scores": [asdict(scores) for scores in result.scores]}


def _scores(found: Mapping[str, JSON]) -> Scores:
    lists = {name: tuple(found[name]) for name in ("ids", "values", "weights")}  # type: ignore[arg-type]
    return Scores(**{**found, **lists})  # type: ignore[arg-type]


def p_value(value: float) -> str:
    """Return a p-value as tables have it."""
    return "below 0.001" if value < 0.001 else f"{value:.3f}"
