"""What to embed as the query: which parts of a few-shot, and how they share its vector.

    .venv/bin/python tests/benchmarks/bench_query.py DATA_DIR [--documents 4000] [--index FOLDER]

DATA_DIR holds corpus_*.jsonl.gz (fields id, text and source) and eval_*.jsonl.gz. A seeded draw of the documents is
embedded with the embedded model, in chunks; with --index, the index is kept in that folder and the next run embeds
nothing. The ways (see `WAYS`):

whole          text, prompt and completion as one text, cut where the model stops reading: CRAFT's
whole chunks   the same without the cut, as the mean of its chunks: the longest part decides
halves         the text, and prompt and completion as one text, half each; all of both counts
parts          a third each: the default
text, request  the text alone; prompt and completion alone

For every shipped task with evaluation questions and way:

P@20, P@100    share of the 20 and the 100 first hits that come from the corpora that fit the task (see `FITTING`), with
               the standard error by leaving out one few-shot at a time; "by chance" is their share in the index
held out       of questions and answers that people wrote in the field of the task, and nobody retrieved by: the mean
               similarity of each to the nearest of the 100 first hits
as whole       share of the 100 first hits that the whole few-shot finds, too
similarity     medians of the first and the last ten documents that the averaged half placed; and of random documents

The differences to the whole few-shot are given at the end, those of P@100 with their own standard error: the ways share
their few-shots.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from craft_hf.base.embedder import Embedder, Vectors
from craft_hf.base.records import Hit
from craft_hf.corpus.corpus import Corpus
from craft_hf.retrieval.coverage import measure_coverage
from craft_hf.retrieval.coverage.figures import Coverage
from craft_hf.retrieval.index.build import build_index
from craft_hf.retrieval.index.search import Index
from craft_hf.retrieval.query import query_vectors
from craft_hf.retrieval.similarity import AVERAGE, Retriever
from craft_hf.tasks.task import QUERY_AS_WHOLE, QUERY_PARTS, Task, load_task

Way = Callable[[Task, Embedder], Vectors]
"""Embeds a task's few-shots as queries."""

TASKS = ("bioqa", "csqa", "medqa", "recipegen", "summarization")

HELD_OUT = 300
"""Questions of each task."""

FITTING: Mapping[str, tuple[str, ...]] = {
    "bioqa": (
        "textbooks/openstax-biology-1e",
        "textbooks/openstax-anatomy-physiology",
        "textbooks/openstax-microbiology",
    ),
    "csqa": ("howto_or_web/gutenberg-", "howto_or_web/openstax-college-success"),
    "medqa": ("medical/",),
    "recipegen": ("recipes/",),
    "summarization": (
        "howto_or_web/digital.gov",
        "howto_or_web/18f-blog",
        "howto_or_web/plainlanguage.gov",
        "howto_or_web/opensource.guide",
    ),
}
"""Corpora that fit a task, as beginnings of "file/source": everyday advice for csqa, articles from the web for
summarization. A corpus that is not named may hold fitting documents, too
(nursing textbooks for medqa), so the shares serve to compare the forms, not the tasks."""

K, FIRST = 100, 20

ENDS = 10
"""Documents of which a median is taken at the beginning and the end of what the averaged half placed."""


@dataclass(frozen=True)
class Result:
    """One way on one task.

    `precision` holds the shares of fitting documents among the FIRST and the K first hits; `left_out` the same with one
    few-shot less, a row for each that was left out, to judge how much the few hand-written few-shots decide.
    """

    hits: list[Hit]
    coverage: Coverage
    held_out: float
    precision: np.ndarray
    left_out: np.ndarray


def sample(data: Path, documents: int) -> list[dict[str, str]]:
    """Draw documents from all corpora together; the source of each becomes "file/source"."""
    rows = []
    for path in sorted(data.glob("corpus_*.jsonl.gz")):
        file_name = path.name.removeprefix("corpus_").removesuffix(".jsonl.gz")
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows += [{**row, "source": f"{file_name}/{row['source']}"} for row in map(json.loads, file)]
    if not rows:
        raise SystemExit(f"{data} holds no corpus_*.jsonl.gz; give the folder that does.")
    chosen = np.sort(np.random.default_rng(0).permutation(len(rows))[:documents])
    return [rows[i] for i in chosen]


def precision(task: Task, hits: Sequence[Hit]) -> np.ndarray:
    """Return the shares of fitting documents among the FIRST and the K first hits."""
    fit = np.array([hit.document.source.startswith(FITTING[task.name]) for hit in hits])
    return np.array([fit[:FIRST].mean(), fit[:K].mean()])


def whole(task: Task, embedder: Embedder) -> Vectors:
    """Embed few-shots as one text each, of which the model reads the head."""
    return query_vectors([task.query_parts(shot) for shot in task.few_shots], embedder, QUERY_AS_WHOLE)


def joined(*groups: tuple[str, ...]) -> Way:
    """Return a way that joins parts to texts, which share the vector equally, all of each counting."""

    def embed(task: Task, embedder: Embedder) -> Vectors:
        texts = [
            ["\n".join(replace(task, query=group).query_parts(shot)) for group in groups] for shot in task.few_shots
        ]
        return query_vectors(texts, embedder)

    return embed


WAYS: Mapping[str, Way] = {
    "whole": whole,
    "whole chunks": joined(QUERY_PARTS),
    "halves": joined(("text",), ("prompt", "completion")),
    "parts": joined(("text",), ("prompt",), ("completion",)),
    "text": joined(("text",)),
    "request": joined(("prompt", "completion")),
}


def held_out(data: Path, task: str, embedder: Embedder) -> Vectors:
    """Embed questions with their answers, or what stands for them, that people wrote for the task's field."""
    with gzip.open(data / f"eval_{task}.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    texts = []
    for number in np.random.default_rng(0).permutation(len(rows))[:HELD_OUT]:
        row = rows[number]
        if "options" in row:
            texts.append(f"{row['question']}\n{row['options'][row['answer_index']]}")
        else:
            texts.append(row.get("summary") or f"{row['instruction']}\n{row['output']}")
    return embedder.encode(texts)


def search(index: Index, embedder: Embedder, task: Task, way: Way, questions: Vectors) -> Result:
    """Retrieve for a task, with all few-shots and with each of them left out."""
    queries = way(task, embedder)
    retriever = Retriever(index, task.few_shots, queries)
    found = retriever.take(K)
    left_out = []
    for i in range(len(task.few_shots)):
        others = task.few_shots[:i] + task.few_shots[i + 1 :]
        left_out.append(precision(task, Retriever(index, others, np.delete(queries, i, axis=0)).take(K).hits))
    coverage = measure_coverage(retriever)
    nearest = float(index.similarities(questions, found.rows).max(axis=1).mean())
    return Result(found.hits, coverage, nearest, precision(task, found.hits), np.array(left_out))


def standard_error(left_out: np.ndarray) -> np.ndarray:
    """Return the jackknife's standard error of each column, from figures with one few-shot left out each."""
    count = len(left_out)
    error: np.ndarray = np.sqrt((count - 1) / count * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    return error


def report(name: str, index: Index, embedder: Embedder, data: Path) -> dict[str, Result]:
    """Print a table for one task, and return what was found by way."""
    task = load_task(name)
    questions = held_out(data, name, embedder)
    corpora = {str(c["source"]): int(str(c["documents"])) for c in index.info.corpora}
    chance = sum(n for source, n in corpora.items() if source.startswith(FITTING[name])) / len(index)
    texts = ["\n".join(task.query_parts(shot)) for shot in task.few_shots]
    cut = sum(end < len(text) for end, text in zip(embedder.heads(texts), texts, strict=True))
    print(f"\n### {name}: by chance {chance:.1%}; {cut} of {len(texts)} few-shots are longer than the window\n")
    print(f"| query | P@{FIRST} | P@{K} | held out | as whole | similarity first > last (random) |")
    print("|---|--:|--:|--:|--:|---|")
    results: dict[str, Result] = {}
    for form, way in WAYS.items():
        result = results[form] = search(index, embedder, task, way, questions)
        whole = {hit.document.id for hit in results["whole"].hits}
        same = sum(hit.document.id in whole for hit in result.hits) / len(result.hits)
        placed = [hit.similarity for hit in result.hits if hit.retrieved_by[0] == AVERAGE]
        first, last = np.median(placed[:ENDS]), np.median(placed[-ENDS:])
        few, many = (
            f"{p:.1%} ± {e:.1%}" for p, e in zip(result.precision, standard_error(result.left_out), strict=True)
        )
        print(
            f"| {form} | {few} | {many} | {result.held_out:.4f} | {same:.0%} | {first:.3f} > {last:.3f} "
            f"({result.coverage.decay['averaged'].random_median:.3f}) |",
            flush=True,
        )
    return results


def main() -> None:
    """Build the index if it is not there, and print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA_DIR", help="folder with corpus_*.jsonl.gz")
    parser.add_argument("--documents", type=int, default=4000, help="to draw from all of them (default: 4000)")
    parser.add_argument("--index", type=Path, help="folder that keeps the index (default: built, and removed after)")
    options = parser.parse_args()
    embedder = Embedder()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.index or Path(temporary)
        build_index([Corpus(sample(options.data, options.documents))], folder, embedder, shard_documents=500)
        index = Index.open(folder)
        print(f"{len(index):,} documents, {index.info.embedding_model}, {K} hits; {index.info.embedded_text}")
        results = {name: report(name, index, embedder, options.data) for name in TASKS}
    others = [form for form in WAYS if form != "whole"]
    print(f"\n### Less that of the whole few-shot: P@{K} in points / held out\n")
    print(f"| task | {' | '.join(others)} |\n|---|{'--:|' * len(others)}")
    for name, forms in results.items():
        cells = []
        for form in others:
            difference = (forms[form].precision - forms["whole"].precision)[1]
            error = standard_error(forms[form].left_out - forms["whole"].left_out)[1]
            nearer = forms[form].held_out - forms["whole"].held_out
            cells.append(f"{100 * difference:+.1f} ± {100 * error:.1f} / {nearer:+.4f}")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
