"""Rows and their columns: whatever follows a task's schema can be written."""

from __future__ import annotations

import json
from dataclasses import replace

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_hf.base.records import JSON, Answer, Document, FewShot, Hit, Prompt, Sample
from craft_hf.dataset.rows import few_shot_rows, sample_rows, task_features
from craft_hf.tasks.answers import AnswerReader
from craft_hf.tasks.task import load_task

SCHEMA: dict[str, JSON] = {
    "type": "object",
    "required": ["count"],
    "properties": {
        "count": {"type": "integer"},
        "weight": {"type": "number"},
        "pair": {"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "integer"}},
        "parts": {"type": "array", "items": {"type": "object", "properties": {"of": {"type": "integer"}}}},
    },
}
NUMBERS = st.one_of(
    st.integers(), st.integers(-(10**400), 10**400), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([3.0, 2.0**53, 1e18, 2.0**63, -(2.0**63), 6.022e23, 10**19, 10**30, 10**400]),
)  # fmt: skip
FIELDS = st.fixed_dictionaries(
    {"count": NUMBERS},
    optional={
        "weight": st.none() | NUMBERS,
        "pair": st.lists(NUMBERS, max_size=2),
        "parts": st.lists(st.fixed_dictionaries({}, optional={"of": NUMBERS}), max_size=2),
    },
)
TASK = replace(load_task("bioqa"), schema=SCHEMA)


@given(FIELDS)
def test_an_answer_is_a_reject_or_a_row_that_is_read_back_as_it_was(fields: dict[str, JSON]) -> None:
    """Whatever numbers a model writes, nothing fails when the rows are written, after all is paid for."""
    read = AnswerReader(SCHEMA).read(Answer(json.dumps(fields), "stop"))
    sample, problem = read.fields, read.problem
    if problem:
        return
    schema = task_features(TASK).arrow_schema
    table = pyarrow.Table.from_pylist([sample], schema=schema)
    assert TASK.sample(table.to_pylist()[0]) == sample


@pytest.mark.parametrize(
    ("answer", "count", "problem"),
    [
        ("3.0", 3, ""),
        ("1e18", 10**18, ""),
        ("-9223372036854775808.0", -(2**63), ""),
        ("9223372036854775808.0", None, "a whole number beyond 64 bits"),
        ("6.022e23", None, "a whole number beyond 64 bits"),
        ("3.5", 3.5, "count: against the schema (type)"),
    ],
)
def test_whole_numbers_are_what_the_schema_calls_so(answer: str, count: JSON, problem: str) -> None:
    """JSON Schema knows no difference between 3 and 3.0; a column of whole numbers has 64 bits."""
    read = AnswerReader(SCHEMA).read(Answer(f'{{"count": {answer}}}', "stop"))
    sample, found = read.fields, read.problem
    assert (sample.get("count"), found) == (count, problem)
    assert type(sample.get("count")) is type(count)


def test_rows_have_the_columns_of_their_features_in_order() -> None:
    """Whatever a few-shot or a sample has under another name would not be written."""
    task, document = load_task("bioqa"), Document("d", "Text.")
    fields = task.few_shots[0].sample
    sample = Sample(fields, Hit(document, 0.5, ("average",)), Prompt("p", "d", (), ()), Answer("{}", "stop"))
    for row in (*few_shot_rows(task, [FewShot("f", "Text.", fields)]), *sample_rows(task, [sample], "m@1")):
        assert tuple(row) == tuple(task_features(task))
        assert tuple(row)[3:7] == ("prompt", "completion", "sample_id", "is_few_shot")
        assert row["prompt"] == [{"role": "user", "content": task.prompt(fields)}]
        assert row["completion"] == [{"role": "assistant", "content": task.completion(fields)}]
        assert row["sample_id"] == task.sample_id(str(row["document_id"]), fields)
