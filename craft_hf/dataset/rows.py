"""Dataset rows: a task's fields and the lineage of each row, with the `datasets` features of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from datasets import Features, List, Value

from craft_hf.base import JSON, Document, FewShot, Reject, Sample
from craft_hf.dataset.spdx import spdx_expression
from craft_hf.tasks import (
    ID_COLUMN,
    LINEAGE_COLUMNS,
    REASONING_COLUMN,
    TRAINING_COLUMNS,
    Column,
    Task,
    columns_of,
    sample_json,
)

FEW_SHOT_COLUMN = "is_few_shot"


def _features(columns: Mapping[str, Column]) -> Features:
    return Features({name: _feature(column) for name, column in columns.items()})


def _feature(column: Column) -> object:
    if isinstance(column, str):
        return Value(column)
    if isinstance(column, list):
        return List(_feature(column[0]))
    return {name: _feature(part) for name, part in column.items()}


LINEAGE = _features(LINEAGE_COLUMNS)

REJECTED = Features(
    {
        "document_id": Value("string"),
        "check": Value("string"),
        "reason": Value("string"),
        "score": Value("float64"),
        "partner": Value("string"),
        "answer": Value("string"),
        "finish_reason": Value("string"),
        "sample": Value("string"),
        "similarity": Value("float32"),
        **{name: LINEAGE[name] for name in ("document", "source", "title", "url", "license", "license_spdx", "author")},
    }
)
"""What became of a document that is no row; `sample` is the parsed answer as JSON, "" where there is none."""


def task_features(task: Task, keep_reasoning: bool = False) -> Features:
    """Return the features of a row, in the order of its columns.

    First the task's fields from its JSON Schema, then what trainers read, the sample's id, the lineage, and the model's
    reasoning.
    """
    training: Mapping[str, Column] = {**TRAINING_COLUMNS, ID_COLUMN: "string"}
    reasoning: Mapping[str, Column] = {REASONING_COLUMN: "string"} if keep_reasoning else {}
    return _features({**columns_of(task.schema), **training, **LINEAGE_COLUMNS, **reasoning})


def is_few_shot(row: Mapping[str, JSON]) -> bool:
    """Return whether a row is a few-shot; all others were generated."""
    return bool(row.get(FEW_SHOT_COLUMN))


def few_shot_rows(task: Task, few_shots: Iterable[FewShot] | None = None) -> Iterator[dict[str, JSON]]:
    """Yield few-shots, by default the task's, as rows, marked with `is_few_shot`; nothing retrieved or generated them.

    Raises:
        jinja2.TemplateError: the task's templates do not fit a sample.
    """
    return (
        {
            **_sample_columns(task, shot.id, shot.sample),
            FEW_SHOT_COLUMN: True,
            "document_id": shot.id,
            **_document_columns(Document(shot.id, shot.text, shot.source, license=shot.license)),
            "similarity": None,
            "retrieved_by": [],
            "prompt_few_shots": [],
            "prompt_hash": "",
            "generator": "",
            "finish_reason": "",
            "checks": [],
        }
        for shot in (task.few_shots if few_shots is None else few_shots)
    )


def sample_rows(task: Task, samples: Iterable[Sample], generator: str) -> Iterator[dict[str, JSON]]:
    """Yield the samples as rows; `generator` is "model@revision". Features say which of the columns are written.

    Raises:
        jinja2.TemplateError: the task's templates do not fit a sample.
    """
    return (
        {
            **_sample_columns(task, sample.hit.document.id, sample.fields),
            FEW_SHOT_COLUMN: False,
            "document_id": sample.hit.document.id,
            **_document_columns(sample.hit.document),
            "similarity": sample.hit.similarity,
            "retrieved_by": list(sample.hit.retrieved_by),
            "prompt_few_shots": list(sample.prompt.few_shot_ids),
            "prompt_hash": sample.prompt.key,
            "generator": generator,
            "finish_reason": sample.answer.finish_reason,
            **({REASONING_COLUMN: _readable(sample.reasoning)} if sample.reasoning else {}),
            "checks": [
                {"check": v.check, "score": v.score, "partner": v.partner, "remark": v.reason} for v in sample.verdicts
            ],
        }
        for sample in samples
    )


def rejected_rows(rejects: Iterable[Reject]) -> Iterator[dict[str, JSON]]:
    """Yield the rejects as rows of `REJECTED`."""
    return (
        {
            "document_id": reject.document_id,
            "check": reject.check,
            "reason": reject.reason,
            "score": reject.score,
            "partner": reject.partner,
            "answer": _readable(reject.answer),
            "finish_reason": reject.finish_reason,
            "sample": sample_json(reject.fields) if reject.fields else "",
            "similarity": reject.similarity,
            **_document_columns(reject.document),
        }
        for reject in rejects
    )


def derived_columns(task: Task, row: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return those columns of a row that follow from others: what trainers read, the sample's id, the licence's id.

    Raises:
        jinja2.TemplateError: the task's templates do not fit the sample.
    """
    columns = _sample_columns(task, str(row.get("document_id")), task.sample(row))
    columns["license_spdx"] = spdx_expression(str(row.get("license") or ""))
    return {name: columns[name] for name in (*TRAINING_COLUMNS, ID_COLUMN, "license_spdx") if name in row}


def _sample_columns(task: Task, document_id: str, fields: Mapping[str, JSON]) -> dict[str, JSON]:
    prompt, completion = task.conversation(fields)
    return {**fields, "prompt": prompt, "completion": completion, ID_COLUMN: task.sample_id(document_id, fields)}


def _document_columns(document: Document) -> dict[str, JSON]:
    return {
        "document": document.text,
        "source": document.source,
        "title": document.title,
        "url": document.url,
        "license": document.license,
        "license_spdx": spdx_expression(document.license),
        "author": document.author,
    }


def _readable(text: str) -> str:
    """Return what a model wrote without halves of characters, which no file can hold."""
    return text.encode("utf-8", "replace").decode()
