"""Samples as a reviewer sees them, with an id that is the same wherever the sample comes from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from craft_hf.base import JSON, Answer, Document, Reject, Sample
from craft_hf.dataset import is_few_shot
from craft_hf.quality import SIMILARITY, broken_rule, limits_for
from craft_hf.tasks import AnswerReader, Task, parse_json, sample_json


@dataclass(frozen=True)
class ReviewSample:
    """A sample with its document and what the checks said.

    `dropped_by` is the check that dropped it, "" for a sample that was kept. `checks` are those it passed, or the one
    that dropped it: check, score, partner and remark. `uncertainty` is from 0, sure, to 1.
    """

    id: str
    fields: Mapping[str, JSON]
    document: Mapping[str, str]
    checks: Sequence[Mapping[str, JSON]]
    dropped_by: str = ""
    similarity: float | None = None
    uncertainty: float = 0.0

    @property
    def scores(self) -> dict[str, float]:
        """What the checks measured, and the similarity of the document."""
        found = {str(check["check"]): check.get("score") for check in self.checks} | {SIMILARITY: self.similarity}
        return {name: float(score) for name, score in found.items() if isinstance(score, int | float)}


def schema_problem(task: Task, fields: Mapping[str, JSON]) -> str:
    """Say what of the task's schema a sample breaks; "" for nothing."""
    return AnswerReader(task.schema).read(Answer(sample_json(fields), "stop")).problem


def problem(task: Task, fields: Mapping[str, JSON]) -> str:
    """Say why a sample that somebody edited is none of the task: by its schema, or by its rules; "" for nothing."""
    return schema_problem(task, fields) or broken_rule(task, fields)


def from_sample(task: Task, sample: Sample) -> ReviewSample:
    """Return a kept sample of a run that is going on."""
    checks = [{"check": v.check, "score": v.score, "partner": v.partner, "remark": v.reason} for v in sample.verdicts]
    document = _document(sample.hit.document)
    return _made(task, document, sample.fields, checks, "", sample.hit.similarity)


def from_reject(task: Task, reject: Reject) -> ReviewSample:
    """Return a dropped sample of a run that is going on; it has fields."""
    check = {"check": reject.check, "score": reject.score, "partner": reject.partner, "remark": reject.reason}
    return _made(task, _document(reject.document), reject.fields, [check], reject.check, reject.similarity)


def from_rows(
    task: Task, rows: Sequence[Mapping[str, JSON]], rejects: Sequence[Mapping[str, JSON]]
) -> Iterator[ReviewSample]:
    """Yield the generated rows of a dataset, then those rejects that hold a sample; few-shots are no news."""
    for row in rows:
        if is_few_shot(row):
            continue
        found = row.get("checks")
        passed = [check for check in found if isinstance(check, Mapping)] if isinstance(found, Sequence) else []
        checks: list[Mapping[str, JSON]] = [{**check, "score": _number(check.get("score"))} for check in passed]
        fields = task.sample(row)
        yield _made(task, _document_of(row), fields, checks, "", _number(row.get("similarity")))
    for row in rejects:
        try:
            sample = parse_json(str(row["sample"])) if row.get("sample") else None
        except ValueError:  # whoever changed it, it is no sample now
            continue
        if not isinstance(sample, Mapping):
            continue
        score = _number(row["score"])
        check = {"check": row["check"], "score": score, "partner": row["partner"], "remark": row["reason"]}
        yield _made(task, _document_of(row), sample, [check], str(row["check"]), _number(row.get("similarity")))


def _made(
    task: Task,
    document: Mapping[str, str],
    fields: Mapping[str, JSON],
    checks: Sequence[Mapping[str, JSON]],
    dropped_by: str,
    similarity: float | None,
) -> ReviewSample:
    identity = task.sample_id(document["id"], fields)
    found = uncertainty(task, checks, kept=not dropped_by)
    return ReviewSample(identity, fields, document, checks, dropped_by, similarity, found)


def _document_of(row: Mapping[str, JSON]) -> dict[str, str]:
    document = {name: str(row.get(name) or "") for name in ("source", "title", "url", "license", "author")}
    return document | {"id": str(row["document_id"]), "text": str(row.get("document") or "")}


def _document(document: Document) -> dict[str, str]:
    return {
        "id": document.id,
        "text": document.text,
        "source": document.source,
        "title": document.title,
        "url": document.url,
        "license": document.license,
        "author": document.author,
    }


def _number(value: JSON) -> float | None:
    """Return the number in a column; NaN, as which some tools write a missing one, is none."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def uncertainty(task: Task, checks: Sequence[Mapping[str, JSON]], kept: bool = True) -> float:
    """Return how near a sample's scores come to the limits of their checks, from 0 (far from all) to 1 (at one).

    1 - |score - threshold| / near, for the check that comes nearest. A remark on a kept sample, such as "too easy",
    counts 0.5 at least. Checks without a limit, or whose limit leaves no doubt, count nothing.
    """
    limits = {name: limit for name, limit in limits_for(task).items() if limit.near}
    nearest = 0.0
    for check in checks:
        score, limit = check.get("score"), limits.get(str(check["check"]))
        if isinstance(score, int | float) and limit is not None:
            nearest = max(nearest, 1 - abs(score - limit.threshold) / limit.near)
        if kept and check.get("remark"):
            nearest = max(nearest, 0.5)
    return round(nearest, 4)
