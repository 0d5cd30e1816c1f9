"""Dataset rows: a task's fields and the lineage of each row, with the `datasets` features of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from datasets import Features, List, Value

from craft_hf.base import JSON, FewShot, InputError, Reject, Sample
from craft_hf.tasks import Task, sample_json

FEW_SHOT_COLUMN = "is_few_shot"

LINEAGE = Features(
    {
        FEW_SHOT_COLUMN: Value("bool"),
        "document_id": Value("string"),
        "document": Value("string"),
        "source": Value("string"),
        "title": Value("string"),
        "url": Value("string"),
        "license": Value("string"),
        "author": Value("string"),
        "similarity": Value("float32"),
        "retrieved_by": List(Value("string")),
        "prompt_few_shots": List(Value("string")),
        "prompt_hash": Value("string"),
        "generator": Value("string"),
        "finish_reason": Value("string"),
        "checks": List(
            {
                "check": Value("string"),
                "score": Value("float64"),
                "partner": Value("string"),
                "remark": Value("string"),
            }
        ),
    }
)
"""Where a row came from; `retrieved_by` holds few-shot ids and "average", or "random"; `generator` is "model@revision".
`checks` are those that the row passed, with what they measured."""

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

_SCALARS = {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool"}


def task_features(task: Task) -> Features:
    """Return the features of a row: the task's fields from its JSON Schema, then the lineage.

    Raises:
        InputError: a field has a type that has no column type.
    """
    properties = task.schema["properties"]
    assert isinstance(properties, Mapping)
    return Features({**{name: _feature(task.name, name, schema) for name, schema in properties.items()}, **LINEAGE})


def _feature(task: str, name: str, schema: JSON) -> object:
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    assert kind is None or isinstance(schema, Mapping)
    if isinstance(schema, Mapping):
        if kind is None and isinstance(values := schema.get("enum", [schema.get("const")]), Sequence):
            kind = "string" if all(isinstance(v, str) for v in values) else None
        if isinstance(kind, str) and kind in _SCALARS:
            return Value(_SCALARS[kind])
        if kind == "array":
            prefix = schema.get("prefixItems") or [{}]
            items = schema.get("items") or (prefix[0] if isinstance(prefix, Sequence) else {})
            return List(_feature(task, f"{name}[]", items))
        if kind == "object" and isinstance(inner := schema.get("properties"), Mapping):
            return {key: _feature(task, f"{name}.{key}", value) for key, value in inner.items()}
    raise InputError(
        f"task {task}: field {name!r} has schema {schema!r}, which is no column type; "
        f"use type {', '.join(_SCALARS)}, array with items, or object with properties."
    )


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
    """Yield the samples as rows; `generator` is "model@revision"."""
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
            "answer": reject.answer.encode("utf-8", "replace").decode(),
            "finish_reason": reject.finish_reason,
            "sample": sample_json(reject.fields) if reject.fields else "",
            "similarity": reject.similarity,
        }
        for reject in rejects
    )
