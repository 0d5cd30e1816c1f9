"""What happened in a run: rows and rejects come in, a `RunReport` goes out, as JSON, Markdown, HTML and plots."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import cast

from craft_hf.base import JSON, InputError, StorageError, render
from craft_hf.dataset import plots
from craft_hf.dataset.diversity import RowVectors, spread
from craft_hf.dataset.personal_data import count_personal
from craft_hf.dataset.plots.counts import LEFT_OUT
from craft_hf.dataset.webpage import webpage
from craft_hf.tasks import Task, texts_of

Row = Mapping[str, JSON]


@dataclass(frozen=True)
class RunReport:
    """A run in figures; plain JSON values, so that what is read back equals what was written.

    `about` says what the task is (description, categories, language, instructions, fields with their types).
    `identity` is everything that decides the rows, `settings` are those that were set to something else than their
    default. `funnel` holds stages in order; a stage whose name has "left
    out" in it counts what went away. `rows` has the keys rows, few_shots, generated and rejected. `sources` counts
    all rows, few-shots included; lengths (characters), similarity, answers and few_shot_use look at the generated
    rows only. `measured` takes a sentence from each later stage, under a name such as "contamination" or
    "human_review". `diversity` holds what `diversity.Diversity` does; it is empty where nothing was generated.
    `coverage` holds what `coverage.Coverage` does; it is empty where nothing was retrieved. `balance` holds what
    `quality.balance.Balance` does, and `contamination`, for each test set, what `quality.contaminated.Overlap`
    does.
    """

    task: str
    config_id: str
    created: str
    about: Row
    identity: Row
    index: Row
    funnel: Sequence[tuple[str, int]]
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
    funnel: Sequence[tuple[str, int]],
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
    generated = [row for row in rows if not row.get("is_few_shot")]
    sources = Counter((str(r.get("source") or ""), str(r.get("license") or "")) for r in rows)
    counts = {"rows": len(rows), "few_shots": len(rows) - len(generated), "generated": len(generated)}
    texts = {
        name: [sum(map(len, texts_of(row[name]))) for row in generated if row.get(name)]
        for name in (*task.fields, "document")
    }
    return RunReport(
        task=task.name,
        config_id=config_id,
        created=created,
        about=_plain(_about(task)),
        identity=_plain(identity),
        index=_plain(index),
        funnel=[(str(stage), int(count)) for stage, count in funnel],
        drops=[{"check": c, "reason": r, "count": n} for (c, r), n in _ranked(Counter(map(_reason, rejects)))],
        usage=_plain(usage),
        rows={**counts, "rejected": len(rejects)},
        sources=[{"source": s, "license": x, "rows": n} for (s, x), n in _ranked(sources)],
        lengths={name: spread(sizes) for name, sizes in texts.items() if any(sizes)},
        similarity=spread(similarity_of(generated)),
        answers=_answers(task, generated),
        few_shot_use=_few_shot_use(task, generated),
        versions=dict(versions),
        notes=[*notes, *mismatch(funnel, len(generated))],
        measured={**(measured or {}), "personal_data": count_personal(rows)},
        diversity=_plain(diversity or {}),
        coverage=_plain(coverage or {}),
        balance=_plain(balance or {}),
        contamination=[_plain(overlap) for overlap in contamination],
        settings=_plain(settings or {}),
    )


def write_report(
    report: RunReport, rows: Sequence[Row], rejects: Sequence[Row], folder: Path, vectors: RowVectors | None = None
) -> None:
    """Write assets/, report.md, report.html, and last report.json, whose presence says that all is there.

    Args:
        report: what `make_report` computed of the rows and rejects.
        rows, rejects: the same.
        folder: is made where it is missing.
        vectors: embeddings of the generated rows, which two plots show.

    Raises:
        StorageError: the folder cannot be written.
    """
    kept, dropped = (similarity_of(r for r in part if not r.get("is_few_shot")) for part in (rows, rejects))
    images = plots.draw_all(report.funnel, kept, dropped, report.answers, report.coverage, vectors)
    files = {f"assets/{name}": content for name, content in images.items()} | report_files(report, rejects, images)
    try:
        (folder / "assets").mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
    except OSError as e:
        raise StorageError(f"the report cannot be written to {folder}: {e}") from e


def report_files(report: RunReport, rejects: Sequence[Row], images: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return report.md, report.html and report.json, in this order.

    Args:
        report: what they tell.
        rejects: of which the first of each reason is shown.
        images: what lies in assets/, by name.
    """
    shown = [name.removesuffix(".png") for name in images if name.endswith(".png")]
    examples = {_reason(reject): reject for reject in reversed(rejects)}
    page = render("report.md.j2", report=report, plots=shown, examples=examples, shares=funnel_shares(report.funnel))
    return {
        "report.md": page.encode(),
        "report.html": webpage(page, images).encode(),
        "report.json": (json.dumps(asdict(report), indent=2, allow_nan=False) + "\n").encode(),
    }


def read_report(folder: Path) -> RunReport:
    """Read the report that `write_report` wrote into a folder.

    Raises:
        InputError: there is no report.json, or it is none of this version.
    """
    path = folder / "report.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise InputError(f"{path} cannot be read as a report: {e}; give the folder that a run wrote.") from e
    known = {f.name for f in fields(RunReport)}
    needed = {f.name for f in fields(RunReport) if f.default is f.default_factory is MISSING}
    wrong = needed - set(data) | set(data) - known if isinstance(data, dict) else known
    if wrong:
        raise InputError(f"{path} is no report of this craft_hf (see {', '.join(sorted(wrong))}); do the run again.")
    return RunReport(**{**data, "funnel": [(stage, count) for stage, count in data["funnel"]]})


def funnel_shares(funnel: Sequence[tuple[str, int]]) -> list[tuple[str, int, str]]:
    """Return (stage, count, share of the stage before in percent); what was left out is passed over."""
    shares, before = [], 0
    for stage, count in funnel:
        shares.append((stage, count, f"{100 * count / before:.1f}%" if before else ""))
        before = before if LEFT_OUT in stage else count
    return shares


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
    """A field's JSON Schema in words."""
    if not isinstance(schema, Mapping):
        return "any value"
    if isinstance(values := schema.get("enum"), Sequence):
        return f"one of {', '.join(map(str, values))}"
    kind = str(schema.get("type") or "any value")
    return {"string": "text", "array": "list", "object": "mapping", "integer": "whole number"}.get(kind, kind)


def _plain(value: Row) -> Row:
    """The value as JSON gives it back: lists for tuples, text for keys."""
    return cast(Row, json.loads(json.dumps(value)))


def _ranked(counts: Counter[tuple[str, str]]) -> list[tuple[tuple[str, str], int]]:
    """Most first; ties in alphabetical order."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _answers(task: Task, rows: Sequence[Row]) -> dict[str, int]:
    """How often each answer is right, in the schema's order; answers that never are right count 0."""
    if not task.answer_field:
        return {}
    schema = _properties(task).get(task.answer_field)
    named = schema.get("enum") if isinstance(schema, Mapping) else None
    counts = Counter(task.answer_name(row) for row in rows if row.get(task.answer_field) is not None)
    order = [str(v) for v in named] if isinstance(named, Sequence) else []
    return {name: counts[name] for name in dict.fromkeys([*order, *sorted(counts)])}


def _few_shot_use(task: Task, rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """In how many rows' prompts each few-shot stood, and how many rows' documents it found."""
    prompted, found = (
        Counter(i for row in rows for i in _names(row.get(key))) for key in ("prompt_few_shots", "retrieved_by")
    )
    ids = dict.fromkeys([*(shot.id for shot in task.few_shots), *found, *prompted])
    return {i: {"prompted": prompted[i], "retrieved": found[i]} for i in ids}


def _names(value: JSON) -> list[str]:
    return [str(v) for v in value] if isinstance(value, Sequence) and not isinstance(value, str) else []


def mismatch(funnel: Sequence[tuple[str, int]], generated: int) -> list[str]:
    """Return a sentence if the funnel does not end in the rows that there are: better said than hidden."""
    if not funnel or funnel[-1][1] == generated:
        return []
    return [f"The last stage, {funnel[-1][0]}, counts {funnel[-1][1]}, but the dataset has {generated} generated rows."]


def _reason(reject: Row) -> tuple[str, str]:
    return str(reject.get("check") or ""), str(reject.get("reason") or "")
