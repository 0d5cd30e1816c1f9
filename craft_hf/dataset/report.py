"""The report of a run: its figures, and their rendering as JSON, Markdown, HTML and plots."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import cast

from craft_hf.base import JSON, InputError, render
from craft_hf.dataset import plots
from craft_hf.dataset.diversity import RowVectors, summary_statistics
from craft_hf.dataset.funnel import Stage, funnel_mismatch, funnel_shares
from craft_hf.dataset.layout import REPORT, REPORT_HTML, REPORT_TEXT
from craft_hf.dataset.personal_data import count_personal
from craft_hf.dataset.rows import is_few_shot
from craft_hf.dataset.spdx import spdx_expression
from craft_hf.dataset.webpage import webpage
from craft_hf.quality import PERSONAL_DATA
from craft_hf.tasks import Task, texts_of

FORMAT = 2
"""Version of the format of report.json and the dataset's folder; raised when either changes."""

Row = Mapping[str, JSON]


@dataclass(frozen=True)
class RunReport:
    """The figures of a run. All values are plain JSON, so that a report reads back equal.

    `about` says what the task is (description, categories, language, instructions, fields with their types). `identity`
    is everything that decides the rows, `settings` are those that were set to something else than their default.
    `funnel` holds stages in order. `rows` has the keys rows, few_shots, generated and rejected. `sources` counts all
    rows, few-shots included, and the rejected documents, which are kept too; lengths (characters), similarity, answers
    and few_shot_use look at the generated rows only. `measured` takes a sentence from each later stage, under a name
    such as "contamination" or "human_review". `diversity` holds what `diversity.Diversity` does; it is empty where
    nothing was generated. `coverage` holds what `coverage.Coverage` does; it is empty where nothing was retrieved.
    `balance` holds what `quality.balance.Balance` does, and `contamination`, for each test set, what
    `quality.contaminated.Overlap` does.
    """

    task: str
    config_id: str
    created: str
    about: Row
    identity: Row
    index: Row
    funnel: Sequence[Stage]
    drops: Sequence[Row]
    usage: Row
    rows: Mapping[str, int]
    sources: Sequence[Row]
    lengths: Mapping[str, Mapping[str, float]]
    similarity: Mapping[str, float]
    answers: Mapping[str, int]
    few_shot_use: Mapping[str, Mapping[str, int]]
    versions: Mapping[str, str]
    notes: Sequence[str]
    measured: Mapping[str, str] = field(default_factory=dict)
    diversity: Row = field(default_factory=dict)
    coverage: Row = field(default_factory=dict)
    balance: Row = field(default_factory=dict)
    contamination: Sequence[Row] = ()
    settings: Row = field(default_factory=dict)


def make_report(
    task: Task,
    *,
    config_id: str,
    created: str,
    identity: Row,
    index: Row,
    funnel: Sequence[Stage],
    usage: Row,
    rows: Sequence[Row],
    rejects: Sequence[Row],
    notes: Sequence[str],
    versions: Mapping[str, str],
    measured: Mapping[str, str] | None = None,
    diversity: Row | None = None,
    coverage: Row | None = None,
    balance: Row | None = None,
    contamination: Sequence[Row] = (),
    settings: Row | None = None,
) -> RunReport:
    """Compute a run's report.

    Args:
        task: the task of the run.
        config_id: name of the run.
        created: date and time in UTC, ISO 8601.
        identity: everything that decides the rows.
        index: documents, embedding_model, and corpora: a list of name, license, documents.
        funnel: stages in order, each with its number of documents, the last one with the rows that were kept.
        usage: what `usage.Usage` holds, cost (None without prices) and seconds_total.
        rows: dataset rows: the task's fields and the lineage.
        rejects: what became no row: check, reason, score, partner, answer, ...
        notes: plain sentences for the reader.
        versions: of Python and of the packages that shape the rows.
        measured: a sentence from each further stage, by the stage's name.
        diversity: how varied the generated rows are, see `diversity.Diversity`.
        coverage: how few-shots and index fit each other, see `coverage.Coverage`.
        balance: how often each letter was right before and after the options were shuffled.
        contamination: what was found of each test set.
        settings: of the run, those with another value than their default.
    """
    figures = _RowFigures(task)
    for row in rows:
        figures.add(row)
    return RunReport(
        task=task.name,
        config_id=config_id,
        created=created,
        about=_plain(_about(task)),
        identity=_plain(identity),
        index=_plain(index),
        funnel=list(funnel),
        drops=[{"check": c, "reason": r, "count": n} for (c, r), n in _ranked(Counter(map(_reason, rejects)))],
        usage=_plain(usage),
        rows={
            "rows": len(rows),
            "few_shots": len(rows) - figures.generated,
            "generated": figures.generated,
            "rejected": len(rejects),
        },
        sources=_sources(figures.sources, Counter(map(_source, rejects))),
        lengths={name: summary_statistics(sizes) for name, sizes in figures.lengths.items() if any(sizes)},
        similarity=summary_statistics(figures.similarity),
        answers=_answers(task, figures.answers),
        few_shot_use=_few_shot_use(task, figures.prompted, figures.retrieved),
        versions=dict(versions),
        notes=[*notes, *funnel_mismatch(funnel, figures.generated)],
        measured={**(measured or {}), PERSONAL_DATA: count_personal(rows, rejects)},
        diversity=_plain(diversity or {}),
        coverage=_plain(coverage or {}),
        balance=_plain(balance or {}),
        contamination=[_plain(overlap) for overlap in contamination],
        settings=_plain(settings or {}),
    )


class _RowFigures:
    """Counts and lengths of rows, collected in one pass; all but `sources` consider generated rows only."""

    def __init__(self, task: Task) -> None:
        self.generated = 0
        self.sources = Counter[tuple[str, str]]()
        self.lengths: dict[str, list[int]] = {name: [] for name in (*task.fields, "document")}
        self.similarity = list[float]()
        self.answers = Counter[str]()
        self.prompted = Counter[str]()
        self.retrieved = Counter[str]()
        self._task = task

    def add(self, row: Row) -> None:
        """Count a row."""
        self.sources[_source(row)] += 1
        if is_few_shot(row):
            return
        self.generated += 1
        for name, sizes in self.lengths.items():
            if row.get(name):
                sizes.append(sum(map(len, texts_of(row[name]))))
        self.similarity += similarity_of([row])
        if self._task.answer_field and row.get(self._task.answer_field) is not None:
            self.answers[self._task.answer_name(row)] += 1
        self.prompted.update(_names(row.get("prompt_few_shots")))
        self.retrieved.update(_names(row.get("retrieved_by")))


def draw_plots(
    report: RunReport, rows: Sequence[Row], rejects: Sequence[Row], vectors: RowVectors | None = None
) -> dict[str, bytes]:
    """Draw the plots of a report; see `plots.draw_all` for their names.

    Args:
        report: what `make_report` computed of the rows and rejects.
        rows, rejects: the same.
        vectors: embeddings of the generated rows, which two plots show.
    """
    kept, dropped = (similarity_of(row for row in part if not is_few_shot(row)) for part in (rows, rejects))
    return plots.draw_all(report.funnel, kept, dropped, report.answers, report.coverage, vectors)


def report_files(report: RunReport, rejects: Sequence[Row], images: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return report.md, report.html and report.json, in this order.

    Args:
        report: what they tell.
        rejects: of which the first of each reason is shown.
        images: the plots, by name.
    """
    shown = [name.removesuffix(".png") for name in images if name.endswith(".png")]
    examples: dict[tuple[str, str], Row] = {}
    for reject in rejects:
        examples.setdefault(_reason(reject), reject)
    page = render("report.md.j2", report=report, plots=shown, examples=examples, shares=funnel_shares(report.funnel))
    return {
        REPORT_TEXT: page.encode(),
        REPORT_HTML: webpage(page, images).encode(),
        REPORT: (json.dumps({"format": FORMAT, **asdict(report)}, indent=2, allow_nan=False) + "\n").encode(),
    }


def parse_report(content: bytes) -> RunReport:
    """Return the report that a report.json holds.

    Raises:
        InputError: it is no report, or one of another format; worded to follow the name of the file.
    """
    try:
        data = json.loads(content)
    except ValueError as e:
        raise InputError(f"is no report of a run: {e}") from e
    if not isinstance(data, dict):
        raise InputError(f"is no report of a run: expected an object, found {str(data)[:40]!r}")
    if (found := data.pop("format", None)) != FORMAT:
        said = "no format" if found is None else f"format {found!r}"
        raise InputError(f"has {said}, but this craft_hf reads format {FORMAT}")
    if wrong := sorted(set(data) ^ {f.name for f in fields(RunReport)}):
        raise InputError(f"is no report of this craft_hf (see {', '.join(wrong)})")
    return RunReport(**{**data, "funnel": [Stage(**stage) for stage in data["funnel"]]})


def similarity_of(rows: Iterable[Row]) -> list[float]:
    """Return the cosine similarities of the rows that have one."""
    values = (row.get("similarity") for row in rows)
    return [float(v) for v in values if isinstance(v, int | float) and math.isfinite(v)]


def _about(task: Task) -> Row:
    return {
        "description": task.description,
        "categories": list(task.categories),
        "language": task.language,
        "instructions": list(task.instructions),
        "fields": [[name, _type(schema)] for name, schema in _properties(task).items()],
    }


def _properties(task: Task) -> Row:
    properties = task.schema["properties"]
    assert isinstance(properties, Mapping)
    return properties


def _type(schema: JSON) -> str:
    """Describe the type in a field's JSON Schema."""
    if not isinstance(schema, Mapping):
        return "any value"
    if isinstance(values := schema.get("enum"), Sequence):
        return f"one of {', '.join(map(str, values))}"
    kind = str(schema.get("type") or "any value")
    return {"string": "text", "array": "list", "object": "mapping", "integer": "whole number"}.get(kind, kind)


def _plain(value: Row) -> Row:
    """Return the value after a round trip through JSON: lists for tuples, strings for keys."""
    return cast(Row, json.loads(json.dumps(value)))


def _ranked(counts: Counter[tuple[str, str]]) -> list[tuple[tuple[str, str], int]]:
    """Sort by count, highest first; ties in alphabetical order."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _source(row: Row) -> tuple[str, str]:
    return str(row.get("source") or ""), str(row.get("license") or "")


def _sources(rows: Counter[tuple[str, str]], rejects: Counter[tuple[str, str]]) -> list[Row]:
    """Return the numbers of rows and rejects of each source and licence, those with most rows first."""
    found = sorted(rows.keys() | rejects.keys(), key=lambda of: (-rows[of], -rejects[of], of))
    return [
        {"source": of[0], "license": of[1], "spdx": spdx_expression(of[1]), "rows": rows[of], "rejected": rejects[of]}
        for of in found
    ]


def _answers(task: Task, counts: Counter[str]) -> dict[str, int]:
    """Return how often each answer is the right one, in the schema's order, including zeros."""
    if not task.answer_field:
        return {}
    schema = _properties(task).get(task.answer_field)
    named = schema.get("enum") if isinstance(schema, Mapping) else None
    order = [str(v) for v in named] if isinstance(named, Sequence) else []
    return {name: counts[name] for name in dict.fromkeys([*order, *sorted(counts)])}


def _few_shot_use(task: Task, prompted: Counter[str], retrieved: Counter[str]) -> dict[str, dict[str, int]]:
    """Return for each few-shot the number of rows whose prompt has it, and whose document it retrieved."""
    ids = dict.fromkeys([*(shot.id for shot in task.few_shots), *retrieved, *prompted])
    return {i: {"prompted": prompted[i], "retrieved": retrieved[i]} for i in ids}


def _names(value: JSON) -> list[str]:
    return [str(v) for v in value] if isinstance(value, Sequence) and not isinstance(value, str) else []


def _reason(reject: Row) -> tuple[str, str]:
    return str(reject.get("check") or ""), str(reject.get("reason") or "")
