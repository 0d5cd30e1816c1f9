"""What a person looks at: rows, rejects or samples of a run come in, `ReviewSample` with a stable id goes out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from craft_hf.base import JSON, Answer, Document, Reject, Sample, fingerprint
from craft_hf.quality import LEAST_POINTS, SAME, SchemaCheck, WellFormedCheck
from craft_hf.tasks import Task, parse_json, sample_json


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
        found = {str(check["check"]): _number(check.get("score")) for check in self.checks}
        found["similarity"] = self.similarity
        return {name: score for name, score in found.items() if score is not None}


def sample_id(task: Task, document_id: str, fields: Mapping[str, JSON]) -> str:
    """Return what stands for a sample wherever it comes up: its document and what it says.

    The order of options, which changes with what else is kept, and their labels make no difference.
    """
    said, choices = dict(fields), task.multiple_choice
    if choices and choices.options_field in said:
        options = choices.read(said)
        said[choices.options_field] = sorted(options.texts)
        said[choices.answer_field] = said.get(choices.answer_field) if options.right is None else [options.right_text]
    return fingerprint([document_id, said])


def schema_problem(task: Task, fields: Mapping[str, JSON]) -> str:
    """Say what of the task's schema a sample breaks; "" for nothing."""
    _, verdict = SchemaCheck(task.schema).check(Answer(sample_json(fields), "stop"))
    return verdict.reason


def problem(task: Task, fields: Mapping[str, JSON]) -> str:
    """Say why a sample that somebody edited is none of the task: by its schema, or by its rules; "" for nothing."""
    return schema_problem(task, fields) or WellFormedCheck(task).check(fields).reason


def of_sample(task: Task, sample: Sample) -> ReviewSample:
    """Return a kept sample of a run that is going on."""
    checks = [{"check": v.check, "score": v.score, "partner": v.partner, "remark": v.reason} for v in sample.verdicts]
    document = _document(sample.hit.document)
    return _made(task, document, sample.fields, checks, "", sample.hit.similarity)


def of_reject(task: Task, document: Document, reject: Reject) -> ReviewSample:
    """Return a dropped sample of a run that is going on; it has fields."""
    check = {"check": reject.check, "score": reject.score, "partner": reject.partner, "remark": reject.reason}
    return _made(task, _document(document), reject.fields, [check], reject.check, reject.similarity)


def of_rows(
    task: Task, rows: Sequence[Mapping[str, JSON]], rejects: Sequence[Mapping[str, JSON]]
) -> Iterator[ReviewSample]:
    """Yield the generated rows of a dataset, then those rejects that hold a sample; few-shots are no news."""
    documents: dict[str, dict[str, str]] = {}
    for row in rows:
        if row.get("is_few_shot"):
            continue
        document = {name: str(row.get(name) or "") for name in ("source", "title", "url", "license")}
        document |= {"id": str(row["document_id"]), "text": str(row.get("document") or "")}
        documents[document["id"]] = document
        found = row.get("checks")
        passed = [check for check in found if isinstance(check, Mapping)] if isinstance(found, Sequence) else []
        checks: list[Mapping[str, JSON]] = [{**check, "score": _number(check.get("score"))} for check in passed]
        fields = task.sample(row)
        yield _made(task, document, fields, checks, "", _number(row.get("similarity")))
    for row in rejects:
        sample = parse_json(str(row["sample"])) if row.get("sample") else None
        if not isinstance(sample, Mapping):
            continue
        name, score = str(row["document_id"]), _number(row["score"])
        check = {"check": row["check"], "score": score, "partner": row["partner"], "remark": row["reason"]}
        document = documents.get(name, {"id": name, "text": ""})
        yield _made(task, document, sample, [check], str(row["check"]), _number(row.get("similarity")))


def _made(
    task: Task,
    document: Mapping[str, str],
    fields: Mapping[str, JSON],
    checks: Sequence[Mapping[str, JSON]],
    dropped_by: str,
    similarity: float | None,
) -> ReviewSample:
    identity = sample_id(task, document["id"], fields)
    return ReviewSample(identity, fields, document, checks, dropped_by, similarity, uncertainty(task, checks))


def _document(document: Document) -> dict[str, str]:
    return {
        "id": document.id,
        "text": document.text,
        "source": document.source,
        "title": document.title,
        "url": document.url,
        "license": document.license,
    }


def _number(value: JSON) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def uncertainty(task: Task, checks: Sequence[Mapping[str, JSON]]) -> float:
    """Return how near a sample's scores come to the thresholds of their checks, from 0 (far from all) to 1 (at one).

    1 - |score - threshold| / reach, for the check that comes nearest, where reach is 0.4 for the share of supported
    words (`grounded`), 0.2 for cosine similarity to another sample (`semantic`), half of the scale for the judge. A
    remark, such as "too easy", counts 0.5 at least. Other checks have no score that a person could doubt.
    """
    nearest = 0.0
    for check in checks:
        score = _number(check.get("score"))
        if score is not None and (limit := _limit(task, str(check["check"]))):
            threshold, reach = limit
            nearest = max(nearest, 1 - abs(score - threshold) / reach)
        if check.get("remark"):
            nearest = max(nearest, 0.5 if check["check"] == "judge" else 0.0)
    return round(max(nearest, 0.0), 4)


def _limit(task: Task, check: str) -> tuple[float, float] | None:
    """Threshold of a check's score, and from how far away it counts as near."""
    if check == "grounded" and task.grounded:
        return min(task.grounded.values()), 0.4
    if check == "semantic":
        return SAME, 0.2
    if check == "judge":
        return (0.5, 0.5) if task.multiple_choice else (LEAST_POINTS, 2.0)
    return None
