"""Dataset rows: a task's fields and the lineage of each row, with the `datasets` features of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from datasets import Features, List, Value

from craft_hf.base import JSON, FewShot, Reject, Sample
from craft_hf.tasks import LINEAGE_COLUMNS, REASONING_COLUMN, Column, Task, columns_of, sample_json

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
    }
)
"""What became of a document that is no row; `sample` is the parsed answer as JSON, "" where there is none."""


def task_features(task: Task, keep_reasoning: bool = False) -> Features:
    """Return the features of a row: the task's fields from its JSON Schema, the lineage, and the model's reasoning."""
    reasoning: Mapping[str, Column] = {REASONING_COLUMN: "string"} if keep_reasoning else {}
    return _features({**columns_of(task.schema), **LINEAGE_COLUMNS, **reasoning})


def is_few_shot(row: Mapping[str, JSON]) -> bool:
    """Return whether a row is a few-shot; all others were generated."""
    return bool(row.get(FEW_SHOT_COLUMN))


def few_shot_rows(few_shots: Iterable[FewShot]) -> Iterator[dict[str, JSON]]:
    """Yield the few-shots as rows, marked with `is_few_shot`; nothing retrieved or generated them."""
    return (
        {
            **shot.sample,
            FEW_SHOT_COLUMN: True,
            "document_id": shot.id,
            "document": shot.text,
            "source": shot.source,
            "title": "",
            "url": "",
            "license": shot.license,
            "author": "",
            "similarity": None,
            "retrieved_by": [],
            "prompt_few_shots": [],
            "prompt_hash": "",
            "generator": "",
            "finish_reason": "",
            "checks": [],
        }
        for shot in few_shots
    )


def sample_rows(samples: Iterable[Sample], generator: str) -> Iterator[dict[str, JSON]]:
    """Yield the samples as rows; `generator` is "model@revision". Features say which of the columns are written."""
    return (
        {
            **sample.fields,
            FEW_SHOT_COLUMN: False,
            "document_id": sample.hit.document.id,
            "document": sample.hit.document.text,
            "source": sample.hit.document.source,
            "title": sample.hit.document.title,
            "url": sample.hit.document.url,
            "license": sample.hit.document.license,
            "author": sample.hit.document.author,
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
        }
        for reject in rejects
    )


def _readable(text: str) -> str:
    """Return what a model wrote without halves of characters, which no file can hold."""
    return text.encode("utf-8", "replace").decode()
