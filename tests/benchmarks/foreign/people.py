"""Samples that people wrote, each with a document, by task and source."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from tests.benchmarks.texts import read

Row = dict[str, Any]

MOST_CHARS = 12_000
"""Characters of a document at most."""


_DIGITS = re.compile(r"\d+")
_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


@dataclass(frozen=True)
class Sample:
    """A sample of a task with its document; `kind` is its defect, "" for none; `text` the answer if it is no JSON."""

    task: str
    source: str
    document: str
    fields: Mapping[str, Any]
    kind: str = ""
    text: str = ""

    @property
    def has_document(self) -> bool:
        """Whether there is a document at all: the questions of CommonsenseQA 2.0 have none."""
        return bool(self.document)


class Nearest:
    """The texts that share most rare words with another one."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self._words = TfidfVectorizer(stop_words="english", sublinear_tf=True, dtype=np.float32)
        self._rows = self._words.fit_transform(texts)

    def places(self, text: str, count: int) -> list[int]:
        """Return the places of the nearest texts."""
        scores = np.asarray((self._rows @ self._words.transform([text]).T).todense()).ravel()
        return np.argsort(-scores, kind="stable")[:count].tolist()


def human_samples(folder: Path, each: int, seed: int = 0) -> list[Sample]:
    """Return samples of every task and source, `each` at most of one, in an order that the seed draws."""
    rng = random.Random(seed)
    found: list[Sample] = []
    for source in (_openstax, _squad, _pubmed, _exams, _commonsense, _recipes, _summaries):
        by_source = defaultdict(list)
        for sample in source(folder, rng, each):
            by_source[sample.task, sample.source].append(sample)
        for samples in by_source.values():
            found += rng.sample(samples, min(each, len(samples)))
    return found


def question(text: str, options: Sequence[str], right: int) -> Row:
    """A multiple-choice sample of the shipped tasks."""
    return {
        "question": text,
        "options": [f"{'ABCD'[n]}. {option}" for n, option in enumerate(options)],
        "answer": "ABCD"[right],
    }


def _openstax(folder: Path, rng: random.Random, each: int) -> Iterator[Sample]:
    """Review questions with the three parts of their chapter that share most words with question and answer.

    Left out are stems that lost their gap when the data was made ("The are collectively called the calyx.").
    """
    chapters = _chapters(folder)
    rows = [row for row in read(folder, "eval_bioqa") if row.get("url") in chapters and len(row["options"]) == 4]
    for row in rng.sample(rows, len(rows)):
        text = row["question"].strip()
        if len(text) < 16 or (text.endswith(".") and not text.endswith("_.") and "?" not in text):
            continue
        if re.search(r"\b(figure|table|diagram|image)\b", text, re.IGNORECASE):
            continue
        parts = chapters[row["url"]]
        near = Nearest(parts).places(f"{text} {row['options'][row['answer_index']]}", 3)
        document = "\n\n".join(parts[n] for n in sorted(near))
        yield Sample("bioqa", row["source"], document, question(text, row["options"], row["answer_index"]))


@cache
def _chapters(folder: Path) -> Mapping[str, list[str]]:
    chapters = defaultdict(list)
    for row in read(folder, "corpus_textbooks"):
        chapters[row["url_or_path"]].append(row["text"])
    return chapters


def _squad(folder: Path, rng: random.Random, each: int) -> Iterator[Sample]:
    """Questions on passages of Wikipedia; the wrong options are answers to other questions on the same passage."""
    documents = {row["id"]: row["text"] for row in read(folder, "corpus_wikipedia")}
    by_document = defaultdict(list)
    for row in read(folder, "retrieval_squad"):
        if row["doc_id"] in documents:
            by_document[row["doc_id"]].append(row)
    for name, rows in by_document.items():
        row = rng.choice(rows)
        others = list(dict.fromkeys(r["answers"][0] for r in rows if r["answers"][0] not in row["answers"]))
        if len(others) < 3 or not row["question"].strip().endswith("?"):
            continue
        options = [row["answers"][0], *rng.sample(others, 3)]
        if len({option.casefold() for option in options}) < 4:
            continue
        yield _shuffled("bioqa", "SQuAD", documents[name], row["question"].strip(), options, rng)


def _shuffled(task: str, source: str, document: str, text: str, options: Sequence[str], rng: random.Random) -> Sample:
    """A sample whose first option is the right one, in another order."""
    order = rng.sample(range(len(options)), len(options))
    return Sample(task, source, document, question(text, [options[n] for n in order], order.index(0)))


def _pubmed(folder: Path, rng: random.Random, each: int) -> Iterator[Sample]:
    """Questions of abstracts: answered with yes or no, and by the authors' conclusion beside those of others."""
    rows = [row for row in read(folder, "eval_medqa") if row["source"].startswith("PubMedQA")]
    ends = [re.split(r"(?<=[.!?])\s+", row["long_answer"].strip())[-1] for row in rows]
    near = Nearest([row["question"] for row in rows])
    for place in rng.sample(range(len(rows)), len(rows)):
        row, text = rows[place], rows[place]["question"].strip()
        if not text.endswith("?"):
            continue
        others = [ends[n] for n in near.places(text, 8) if n != place and ends[n] != ends[place]]
        context = f"{row['context']}\n\n{row['long_answer']}"
        yield _shuffled("medqa", "PubMedQA", context, text, [ends[place], *others[:3]], rng)
        if row["answer_index"] < 2 and re.match(
            r"(is|are|do|does|did|can|could|should|will|has|have|was|were)\b", text, re.IGNORECASE
        ):
            fields = {"question": text, "options": ["A. Yes", "B. No"], "answer": "AB"[row["answer_index"]]}
            yield Sample("csqa", "PubMedQA", context, fields)


def _exams(folder: Path, rng: random.Random, each: int) -> Iterator[Sample]:
    """Questions of medical exams; those of which the right option is a disease are cases with documents about it.

    The others have no document: none says what they ask.
    """
    names = {"MedQA": "cases", "MedMCQA": "MedMCQA", "MMLU": "MMLU medicine"}
    documents = defaultdict(list)
    for row in read(folder, "corpus_medical"):
        documents[re.sub(r" \(.*", "", row["title"]).casefold()].append(row["text"])
    rows = list(read(folder, "eval_medqa"))
    for row in rng.sample(rows, len(rows)):
        source = next((name for start, name in names.items() if row["source"].startswith(start)), "")
        text, right = row["question"].strip(), row["options"][row["answer_index"]]
        if (
            not source
            or len(row["options"]) != 4
            or not text.endswith(("?", ":", "_", "."))
            or not 30 < len(text) < 2000
        ):
            continue
        if re.search(r"\b(above|below|figure|diagram|image|photograph)\b", text):
            continue
        about = documents.get(right.strip(" .").casefold(), [])
        if len(text) > 200 and about:
            yield Sample(
                "medqa", "cases", "\n\n".join(about)[:MOST_CHARS], question(text, row["options"], row["answer_index"])
            )
        elif source != "cases":
            yield Sample("medqa", source, "", question(text, row["options"], row["answer_index"]))


def _commonsense(folder: Path, rng: random.Random, each: int) -> Iterator[Sample]:
    """Questions and statements of CommonsenseQA 2.0 that end as the task asks; there is no document."""
    for row in read(folder, "eval_csqa"):
        text = row["question"].strip()
        if not row["source"].startswith("CommonsenseQA 2.0") or len(text) < 16:
            continue
        asks = re.match(
            r"(is|are|do|does|did|can|could|should|will|would|has|have|was|were|may)\b", text, re.IGNORECASE
        )
        if not text.endswith("?" if asks else (".", "?")) or re.match(
            r"(what|which|how|who|why|when|where)\b", text, re.IGNORECASE
        ):
            continue
        fields = {"question": text, "options": ["A. Yes", "B. No"], "answer": "AB"[row["answer_index"]]}
        yield Sample("csqa", "CommonsenseQA 2.0", "", fields)


_LIST_ITEM = re.compile(r"^\s*(?:[-*+•]|\d+[.)])\s+")


def _recipes(folder: Path, rng: random.Random, each: int) -> Iterator[Sample]:
    """Recipes with a list of ingredients and steps; the document is the page, with its introduction and remarks."""
    asks = (
        "How do I make {}?", "Please give me a recipe for {}.",
        "I would like to cook {}. What do I need, and what do I do?",
        "Can you tell me how to prepare {}?",
        "I have guests tonight and want to serve {}. Which ingredients and steps?",
    )  # fmt: skip
    pages = [(row["source"], row["title"], row["text"]) for row in read(folder, "corpus_recipes")]
    pages += [(row["source"], row["title"], row["output"]) for row in read(folder, "eval_recipegen")]
    for source, title, text in pages:
        found = _recipe(text) if source in ("public-domain-recipes", "tacofancy") else None
        if found and len(title) < 60:
            yield Sample(
                "recipegen", source, text, {"instruction": rng.choice(asks).format(title.strip(" .")), **found}
            )


def _recipe(text: str) -> Row | None:
    """Read a page with headings."""
    parts: dict[str, list[str]] = {"ingredients": [], "steps": []}
    part = ""
    for line in text.split("\n"):
        heading = line.strip(" #*:").casefold()
        if heading in ("ingredients", "ingredients:"):
            part = "ingredients"
        elif heading in ("directions", "preparation", "steps", "method", "instructions"):
            part = "steps"
        elif line.startswith("#") and parts["steps"]:
            part = "after"
        elif part == "after" and _LIST_ITEM.match(line):
            return None  # the steps go on under another heading
        elif part == "after" or line.startswith("#") or (part == "ingredients" and not _LIST_ITEM.match(line)):
            continue
        elif part and _LIST_ITEM.match(line):
            parts[part].append(_plain(_LIST_ITEM.sub("", line)))
        elif part == "steps" and line.strip():
            parts[part].append(_plain(line))
    full = {
        name: [item for item in items if re.search(r"\w", item) and "http" not in item] for name, items in parts.items()
    }
    return full if 3 <= len(full["ingredients"]) <= 30 and 3 <= len(full["steps"]) <= 20 else None


def _plain(text: str) -> str:
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("**", "").replace("__", "").strip()


def _summaries(folder: Path, rng: random.Random, each: int) -> Iterator[Sample]:
    """Summaries of textbook chapters, web pages, papers, talks with patients and meetings, of texts not too long.

    Left out are those that do not end as the task asks, those of which every sentence stands in the text, and those
    with a number that their text has neither in digits nor in words: their writers had more before them.
    """
    asks = (
        "Summarize the text below.", "Please write a short summary of this text.",
        "Give me the main points of this text.",
        "What does this text say, in brief?", "I have no time to read this; write a summary for me.",
    )  # fmt: skip
    for row in read(folder, "eval_summarization"):
        document, summary = row["document"].strip(), row["summary"].strip()
        source = (
            "openstax"
            if row["source"].startswith("openstax")
            else re.split(r" (?:dev|test|val|clef|clin)", row["source"])[0]
        )
        if not 501 <= len(document) <= MOST_CHARS or not 101 <= len(summary) <= 1500:
            continue
        if not re.search(r"[.!?][\"')]?$|(?:^|\n)\s*[-*•] [^\n]+$", summary):
            continue
        if any(not _is_said(number, document) for number in _DIGITS.findall(summary)):
            continue
        if all(part.rstrip(".!?").casefold() in document.casefold() for part in re.split(r"(?<=[.!?])\s+", summary)):
            continue
        fields = {"instruction": rng.choice(asks), "long_but_clean_text": document, "summary": summary}
        yield Sample("summarization", source, document, fields)


def _is_said(number: str, text: str) -> bool:
    """Whether a text has a number, or the words of its last two digits."""
    last, words = int(number[-2:]), text.casefold().replace("-", " ")
    spoken = _ONES[last] if last < len(_ONES) else f"{_TENS[last // 10 - 2]} {_ONES[last % 10]}".removesuffix(" zero")
    return number in _DIGITS.findall(text) or f" {spoken}" in words


def by_source(samples: Iterable[Sample]) -> Mapping[tuple[str, str], list[Sample]]:
    """Return samples by task and source."""
    found = defaultdict(list)
    for sample in samples:
        found[sample.task, sample.source].append(sample)
    return found
