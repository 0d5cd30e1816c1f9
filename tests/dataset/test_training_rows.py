"""Rows for training: converted a batch at a time, whatever their number."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import datasets
import pytest

from craft_hf.base.errors import InputError
from craft_hf.dataset import parquet
from craft_hf.dataset.training_rows import RowCounts, conversations
from craft_hf.tasks.task import load_task

TASK = load_task("bioqa")
OPTIONS = ["A. one", "B. two", "C. three", "D. four"]


class Words:
    """A tokenizer for which each word is a token."""

    added_tokens_decoder: Mapping[int, Any] = MappingProxyType({})

    def apply_chat_template(self, turns: list[dict[str, str]], **_: object) -> dict[str, list[str]]:
        """Return the words of all turns."""
        return {"input_ids": " ".join(turn["content"] for turn in turns).split()}


WORDS: Any = Words()


def table(questions: list[str], **more: Any) -> datasets.Dataset:
    """Rows of bioqa."""
    return datasets.Dataset.from_list([{"question": q, "options": OPTIONS, "answer": "B", **more} for q in questions])


def test_every_row_is_used_or_dropped_and_counted() -> None:
    """Of three rows one fills the limit with its prompt, one is cut, and one is a few-shot."""
    rows = table(["Which " * 20, "Which " * 11, "Which?"], is_few_shot=True)
    examples, counts = conversations(rows, TASK, WORDS, 20)
    assert counts == RowCounts(given=3, few_shots=3, dropped=1, truncated=0, used=2)
    assert examples[1] == {
        "prompt": [{"role": "user", "content": "Which?\nA. one\nB. two\nC. three\nD. four"}],
        "completion": [{"role": "assistant", "content": "B"}],
    }
    assert conversations(rows, TASK, WORDS, 20, completion_only=False)[1] == RowCounts(3, 3, 0, 1, 3)
    with pytest.raises(InputError, match="prompts of all 3 rows fill 2 tokens alone; raise --max_length"):
        conversations(rows, TASK, WORDS, 2)


def test_a_row_that_the_templates_do_not_fit_is_named() -> None:
    """Whatever an expression in them raises for it."""
    odd = replace(TASK, completion_template="{{ 1 / (question | length - 2) }}")
    with pytest.raises(InputError, match=r"row 2 of the dataset does not fit the templates .*ZeroDivisionError"):
        conversations(table(["Why?", "Eh"]), odd, WORDS, None)


def test_converted_rows_are_in_memory_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As columns of a table; of Python's texts there is a batch at a time."""
    monkeypatch.setattr(parquet, "BATCH_ROWS", 50)
    rows = table(["Which is it? " * 400] * 1_000)
    size = sum(len(question) for question in rows["question"])
    conversations(table(["Which?"]), TASK, WORDS, None)  # imports what it needs
    tracemalloc.start()
    examples, _ = conversations(rows, TASK, WORDS, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(examples) == 1_000
    assert peak < size / 4
