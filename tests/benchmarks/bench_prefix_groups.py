"""What sharing few-shots between prompts does to the variety of the samples, and what it saves.

    .venv/bin/python tests/benchmarks/bench_prefix_groups.py [--task bioqa] [--prompts 48] [--groups 1 2 4 8 per-prompt]

For each number of groups the same documents of the sample corpus are rewritten by the embedded default model. Variety
is measured on the outputs, as many for each: mean cosine similarity of all pairs (lower is more varied), distinct-1, -2
and -3 (different word n-grams among all; higher is more varied). The spread to expect by chance is that between seeds:
give --seeds 2 or more, each of which draws other few-shots and tokens.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import numpy as np

from craft_hf.base.embedder import Embedder
from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.sample import sample_corpus
from craft_hf.generation.generator import Sampling
from craft_hf.generation.local.generator import LocalGenerator
from craft_hf.generation.prompt import PromptBuilder
from craft_hf.quality.check import CheckContext
from craft_hf.quality.quality import Quality
from craft_hf.run.settings import PER_PROMPT
from craft_hf.tasks.task import load_task


def distinct(texts: Sequence[str], n: int) -> float:
    """Return different n-grams of words as a share of all."""
    words = [text.lower().split() for text in texts]
    grams = [gram for line in words for gram in zip(*(line[i:] for i in range(n)), strict=False)]
    return len(set(grams)) / len(grams)


def pairwise_similarity(texts: Sequence[str]) -> float:
    """Return the mean cosine similarity of all pairs."""
    vectors = Embedder().encode(texts)
    similarity = vectors @ vectors.T
    return float(similarity[np.triu_indices(len(texts), 1)].mean())


def main() -> None:
    """Run all numbers of groups and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="bioqa")
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--groups", nargs="+", default=["1", "2", "4", "8", PER_PROMPT])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--new-tokens", type=int, default=160)
    options = parser.parse_args()
    task = load_task(options.task)
    context = CheckContext(task, Embedder())
    documents = [d for d in Corpus(sample_corpus()) if 500 < len(d.text) < 3000][: options.prompts]
    generator = LocalGenerator()
    print(f"{options.task}, {len(documents)} documents, {options.seeds} seeds; per seed")
    print(f"{'groups':>11}  seed  seconds  cached  similarity  distinct-1  distinct-2  distinct-3  kept")
    for groups in options.groups:
        for seed in range(options.seeds):
            builder = PromptBuilder(task, seed, groups if groups == PER_PROMPT else int(groups))
            prompts = [builder.build(document) for document in documents]
            sampling = Sampling(max_new_tokens=options.new_tokens, seed=seed)
            started = time.perf_counter()
            answers = {p.document_id: answer for p, answer in generator.generate(prompts, task.schema, sampling)}
            took = time.perf_counter() - started
            texts = [answers[document.id].text for document in documents]
            checked = Quality(context).check_all(documents, [answers[document.id] for document in documents])
            kept = statistics.mean(verdicts[-1].keep for _, verdicts, *_ in checked)
            cached = sum(a.cached_tokens for a in answers.values()) / sum(a.prompt_tokens for a in answers.values())
            figures = "  ".join(f"{distinct(texts, n):>10.3f}" for n in (1, 2, 3))
            print(
                f"{groups:>11}  {seed:>4}  {took:>7.0f}  {cached:>6.0%}  {pairwise_similarity(texts):>10.4f}  {figures}"
                f"  {kept:>4.0%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
