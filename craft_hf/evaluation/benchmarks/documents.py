"""Converters from the rows of public benchmark datasets to the documents of our lm-eval tasks.

The YAML files name these functions as `process_docs`. Each takes the rows of a Hub dataset and returns a dataset with
the columns `prompt`, `letters` (of the options) and `answer_index` (from 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from craft_hf.tasks import load_task

if TYPE_CHECKING:
    from datasets import Dataset


def scienceqa_biology(rows: Dataset) -> Dataset:
    """Convert ScienceQA (columns question, choices, answer, topic, image): only biology questions without an image."""
    import datasets

    if isinstance(rows.features["image"], datasets.Image):
        rows = rows.cast_column("image", datasets.Image(decode=False))  # no need to decode images in order to drop them
    rows = rows.filter(lambda topic, image: topic == "biology" and image is None, input_columns=["topic", "image"])
    return _documents(rows, "bioqa", [(r["question"], r["choices"], r["answer"]) for r in rows])


def medmcqa(rows: Dataset) -> Dataset:
    """Convert MedMCQA (columns question, opa, opb, opc, opd, cop)."""
    return _documents(
        rows, "medqa", [(r["question"], [r["opa"], r["opb"], r["opc"], r["opd"]], r["cop"]) for r in rows]
    )


def commonsense_qa_2(rows: Dataset) -> Dataset:
    """Convert CommonsenseQA 2.0 (columns question, answer), whose questions and statements are answered yes or no."""
    return _documents(rows, "csqa", [(r["question"], ["Yes", "No"], int(r["answer"] != "yes")) for r in rows])


def mmlu(rows: Dataset) -> Dataset:
    """Convert a subset of MMLU (columns question, choices, answer)."""
    return _documents(rows, "bioqa", [(r["question"], r["choices"], r["answer"]) for r in rows])


def reference_rows(rows: Dataset) -> Dataset:
    """Convert a reference file of `craft-hf evaluate` (columns question, options without letters, answer_index)."""
    return _documents(rows, "bioqa", [(r["question"], r["options"], r["answer_index"]) for r in rows])


def _documents(rows: Dataset, task: str, questions: Sequence[tuple[str, Sequence[str], int]]) -> Dataset:
    """Return the columns that the YAML files name, for (question, options, answer index) triples."""
    import datasets

    documents, loaded = [], load_task(task)
    choices, like = loaded.multiple_choice, loaded.few_shots[0].sample
    assert choices
    for question, options, answer in questions:
        texts = [option.strip() for option in options]
        written = [choices.written(texts, place, like) for place in range(len(texts))]
        prompt = loaded.prompt({"question": question.strip(), **written[answer]})
        letters = [str(each[choices.answer_field]) for each in written]
        documents.append({"prompt": prompt, "letters": letters, "answer_index": answer})
    return datasets.Dataset.from_list(documents)
