"""Rows of public benchmarks, as their Hub datasets have them, come in; what lm-eval asks and expects goes out.

lm-eval calls these functions (`process_docs`); each returns the columns `prompt`, `letters` and `answer_index`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from craft_hf.evaluate.items import LETTERS
from craft_hf.tasks import load_task

if TYPE_CHECKING:
    from datasets import Dataset


def scienceqa_biology(rows: Dataset) -> Dataset:
    """Questions of ScienceQA (columns question, choices, answer, topic, image) on biology that need no image."""
    import datasets

    if isinstance(rows.features["image"], datasets.Image):
        rows = rows.cast_column("image", datasets.Image(decode=False))  # pictures need not be opened to be left out
    rows = rows.filter(lambda topic, image: topic == "biology" and image is None, input_columns=["topic", "image"])
    return _asked(rows, "bioqa", [(r["question"], r["choices"], r["answer"]) for r in rows])


def medmcqa(rows: Dataset) -> Dataset:
    """Questions of MedMCQA (columns question, opa, opb, opc, opd, cop)."""
    return _asked(rows, "medqa", [(r["question"], [r["opa"], r["opb"], r["opc"], r["opd"]], r["cop"]) for r in rows])


def commonsense_qa_2(rows: Dataset) -> Dataset:
    """Questions and statements of CommonsenseQA 2.0 (columns question, answer), answered with yes or no."""
    return _asked(rows, "csqa", [(r["question"], ["Yes", "No"], int(r["answer"] != "yes")) for r in rows])


def mmlu(rows: Dataset) -> Dataset:
    """Questions of a subset of MMLU (columns question, choices, answer)."""
    return _asked(rows, "bioqa", [(r["question"], r["choices"], r["answer"]) for r in rows])


def plain(rows: Dataset) -> Dataset:
    """Questions of a JSONL file (columns question, options without letters, answer_index), as reference files are."""
    return _asked(rows, "bioqa", [(r["question"], r["options"], r["answer_index"]) for r in rows])


def _asked(rows: Dataset, task: str, questions: Sequence[tuple[str, Sequence[str], int]]) -> Dataset:
    """Put the questions, options and answers into the columns that the YAML files name."""
    import datasets

    asked, loaded = [], load_task(task)
    for question, options, answer in questions:
        lettered = [f"{letter}. {option.strip()}" for letter, option in zip(LETTERS, options, strict=False)]
        prompt = loaded.prompt({"question": question.strip(), "options": lettered, "answer": LETTERS[answer]})
        asked.append({"prompt": prompt, "letters": [*LETTERS[: len(lettered)]], "answer_index": answer})
    return datasets.Dataset.from_list(asked)
