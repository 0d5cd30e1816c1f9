"""What to embed as the query: the whole few-shot (CRAFT's way and the default), its text alone, or its request alone.

    .venv/bin/python tests/benchmarks/bench_query.py DATA_DIR [--documents 4000] [--index FOLDER]

DATA_DIR holds corpus_*.jsonl.gz (fields id, text and source). A seeded draw of their documents is embedded with the
embedded model; with --index, the index is kept in that folder and the next run embeds nothing. The request is the
prompt and the completion of the few-shot's sample: what its author made of the text.

For every shipped task and query form:

P@20, P@100    share of the 20 and the 100 first hits that come from the corpora that fit the task (see `FITTING`), with
               the standard error by leaving out one few-shot at a time; "by chance" is their share in the index
as whole       share of the 100 first hits that the whole few-shot finds, too
similarity     medians of what the averaged half placed: its first and its last band; and of random documents
tokens         of a few-shot in the mean; then how many few-shots exceed the model's limit, and what share of all
               tokens it cuts off

Below each table stands how the 100 hits are distributed over the files.

The difference to the whole few-shot is given at the end, with its own standard error: the forms share their few-shots.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from craft_hf.base.embedder import Embedder
from craft_hf.base.models import embedder_weights
from craft_hf.base.records import Hit
from craft_hf.corpus.corpus import Corpus
from craft_hf.retrieval.coverage import measure_coverage
from craft_hf.retrieval.coverage.figures import Coverage
from craft_hf.retrieval.index.build import build_index
from craft_hf.retrieval.index.search import Index
from craft_hf.retrieval.similarity import Retriever
from craft_hf.tasks.task import NAMES, QUERY_PARTS, Task, load_task

FORMS: Mapping[str, tuple[str, ...]] = {
    "whole": QUERY_PARTS,
    "text": ("text",),
    "request": ("prompt", "completion"),
}
"""Query forms by name, as the parts that `query` of a task names."""

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
    "terms": ("textbooks/", "medical/"),
}
"""Corpora that fit a task, as beginnings of "file/source": everyday advice for csqa, articles from the web for
summarization, texts that explain their words for terms. A corpus that is not named may hold fitting documents, too
(nursing textbooks for medqa), so the shares serve to compare the forms, not the tasks."""

K, FIRST = 100, 20


@dataclass(frozen=True)
class Result:
    """One form on one task.

    `precision` holds the shares of fitting documents among the FIRST and the K first hits; `left_out` the same with one
    few-shot less, a row for each that was left out, to judge how much the few hand-written few-shots decide.
    """

    hits: list[Hit]
    coverage: Coverage
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


def search(index: Index, embedder: Embedder, task: Task) -> Result:
    """Retrieve for a task, with all few-shots and with each of them left out."""
    queries = embedder.encode([task.query_text(shot) for shot in task.few_shots])
    retriever = Retriever(index, task.few_shots, queries)
    found = retriever.take(K)
    left_out = []
    for i in range(len(task.few_shots)):
        others = task.few_shots[:i] + task.few_shots[i + 1 :]
        left_out.append(precision(task, Retriever(index, others, np.delete(queries, i, axis=0)).take(K).hits))
    coverage = measure_coverage(retriever)
    return Result(found.hits, coverage, precision(task, found.hits), np.array(left_out))


def standard_error(left_out: np.ndarray) -> np.ndarray:
    """Return the jackknife's standard error of each column, from figures with one few-shot left out each."""
    count = len(left_out)
    error: np.ndarray = np.sqrt((count - 1) / count * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    return error


def tokens(task: Task) -> str:
    """Say how long the queries are in the embedding model's tokens, and what it cuts off."""
    model = SentenceTransformer(embedder_weights().location, device="cpu")
    texts = [task.query_text(shot) for shot in task.few_shots]
    lengths = np.array([len(ids) for ids in model.tokenizer(texts, verbose=False)["input_ids"]])
    beyond = np.maximum(lengths - model.max_seq_length, 0)
    return f"{lengths.mean():.0f} | {(beyond > 0).sum()} of {len(texts)} | {beyond.sum() / lengths.sum():.0%}"


def report(name: str, index: Index, embedder: Embedder) -> dict[str, Result]:
    """Print a table for one task, and return what was found by form."""
    task = load_task(name)
    corpora = {str(c["source"]): int(str(c["documents"])) for c in index.info.corpora}
    chance = sum(n for source, n in corpora.items() if source.startswith(FITTING[name])) / len(index)
    print(f"\n### {name}: by chance {chance:.1%}\n")
    print(
        f"| query | P@{FIRST} | P@{K} | as whole | similarity first > last (random) | tokens | over limit | cut off |"
    )
    print("|---|--:|--:|--:|---|--:|--:|--:|")
    results: dict[str, Result] = {}
    for form, parts in FORMS.items():
        changed = replace(task, query=parts)
        result = results[form] = search(index, embedder, changed)
        whole = {hit.document.id for hit in results["whole"].hits}
        same = sum(hit.document.id in whole for hit in result.hits) / len(result.hits)
        decay = result.coverage.decay["averaged"]
        few, many = (
            f"{p:.1%} ± {e:.1%}" for p, e in zip(result.precision, standard_error(result.left_out), strict=True)
        )
        print(
            f"| {form} | {few} | {many} | {same:.0%} | {decay.bands[0].median:.3f} > {decay.bands[-1].median:.3f} "
            f"({decay.random_median:.3f}) | {tokens(changed)} |"
        )
    print()
    for form, result in results.items():
        files = Counter(hit.document.source.split("/")[0] for hit in result.hits)
        print(f"{form}: {', '.join(f'{file} {count}' for file, count in files.most_common())}")
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
        print(f"{len(index):,} documents, {index.info.embedding_model}, {K} hits")
        results = {name: report(name, index, embedder) for name in NAMES}
    print(f"\n### P@{K} less that of the whole few-shot, in points\n\n| task | text | request |\n|---|--:|--:|")
    for name, forms in results.items():
        cells = []
        for form in ("text", "request"):
            difference = (forms[form].precision - forms["whole"].precision)[1]
            error = standard_error(forms[form].left_out - forms["whole"].left_out)[1]
            cells.append(f"{100 * difference:+.1f} ± {100 * error:.1f}")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
