"""Results of evaluations: comparison of models, tables in Markdown, and a JSON file that can be read back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from craft_hf.base import JSON, InputError, inline
from craft_hf.evaluation.statistics import Difference, Scores, compare


@dataclass(frozen=True)
class Results:
    """The scores of one model on one task.

    `name` is that of the model or its adapter, `identity` what its answers depend on (see `EvaluatedModel.identity`).
    `data` names the reference file, and `items_hash` is a hash of all prompts and human answers. `outputs` are the
    answers that the model wrote, by item id.
    """

    name: str
    task: str
    data: str
    items_hash: str
    identity: Mapping[str, JSON]
    scores: tuple[Scores, ...]
    outputs: Mapping[str, str] = field(default_factory=dict)

    def score(self, measure: str) -> Scores:
        """Return the scores of one measure.

        Raises:
            InputError: the measure was not computed.
        """
        for scores in self.scores:
            if scores.measure == measure:
                return scores
        raise InputError(
            f"the results of {self.name} have no measure {measure}; expected one of "
            f"{', '.join(s.measure for s in self.scores)}."
        )


@dataclass(frozen=True)
class Evaluation:
    """Results of one or several models on the same items.

    Attributes:
        results: one for each model or adapter.
        against: the result that the others are compared with, or None; it may be one of them.
        seed: of the bootstrap.
    """

    results: Sequence[Results]
    against: Results | None = None
    seed: int = 0

    def to_markdown(self) -> str:
        """Return a table of all scores, followed by a table of each model's differences to `against`."""
        return to_markdown(self.results, self.against, self.seed)

    def to_json(self) -> str:
        """Return all results, per-item values and written answers included, with the differences to `against`."""
        return to_json(self.results, self.against, self.seed)


def differences(ours: Results, theirs: Results, seed: int = 0) -> list[Difference]:
    """Return `ours` minus `theirs` for each measure with per-item values in both; see `compare`.

    Raises:
        InputError: the two were evaluated on different tasks or items.
    """
    if (ours.task, ours.items_hash) != (theirs.task, theirs.items_hash):
        raise InputError(
            f"{ours.name} was evaluated for {ours.task} on {ours.data} ({ours.items_hash}), {theirs.name} for "
            f"{theirs.task} on {theirs.data} ({theirs.items_hash}); compare models on the same task and rows: use the "
            "same file, limit and seed."
        )
    theirs_by_name = {scores.measure: scores for scores in theirs.scores}
    pairs = [(s, theirs_by_name[s.measure]) for s in ours.scores if s.measure in theirs_by_name]
    return [compare(a, b, seed) for a, b in pairs if a.values and a.measure != "prefers_first"]


def to_markdown(results: Sequence[Results], against: Results | None = None, seed: int = 0) -> str:
    """Return a table of all scores, followed by a table of each model's differences to `against`."""
    lines = [
        "| model | measure | n | value | 95% interval | chance | description |",
        "|---|---|---|---|---|---|---|",
    ]
    everything = [*results, *([against] if against and against not in results else [])]
    for found in everything:
        for s in found.scores:
            chance = "" if s.chance is None else f"{s.chance:.3f}"
            lines.append(
                f"| {inline(found.name)} | {s.measure} | {s.n} | {s.value:.3f} | {s.low:.3f} to {s.high:.3f} | "
                f"{chance} | {inline(s.description)} |"
            )
    if against is not None:
        lines += ["", f"Difference to {inline(against.name)}, on the same items:", ""]
        lines += [
            "| model | measure | n | difference | 95% interval | p | McNemar p |",
            "|---|---|---|---|---|---|---|",
        ]
        for found in results:
            for d in differences(found, against, seed) if found is not against else ():
                exact = "" if d.mcnemar_p is None else format_p_value(d.mcnemar_p)
                lines.append(
                    f"| {inline(found.name)} | {d.measure} | {d.n} | {d.value:+.3f} | {d.low:+.3f} to {d.high:+.3f} | "
                    f"{format_p_value(d.p)} | {exact} |"
                )
    return "\n".join(lines)


def to_json(results: Sequence[Results], against: Results | None = None, seed: int = 0) -> str:
    """Return all results as JSON, including per-item values and written answers, with the differences to `against`."""
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
    """Read results that `to_json` wrote.

    Raises:
        InputError: the file does not exist or has another format.
    """
    try:
        models = json.loads(path.read_text(encoding="utf-8"))["models"]
        return [Results(**{**model, "scores": tuple(_scores(s) for s in model["scores"])}) for model in models]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise InputError(f"{path} cannot be read as results of `craft-hf evaluate --out`: {e!r}") from e


def _plain(result: Results) -> dict[str, JSON]:
    return {**asdict(result), "scores": [asdict(scores) for scores in result.scores]}


def _scores(found: Mapping[str, JSON]) -> Scores:
    lists = {name: tuple(found[name]) for name in ("ids", "values", "weights")}  # type: ignore[arg-type]
    return Scores(**{**found, **lists})  # type: ignore[arg-type]


def format_p_value(value: float) -> str:
    """Return a p-value with three decimals, or "below 0.001"."""
    return "below 0.001" if value < 0.001 else f"{value:.3f}"
