"""What a whole run costs beside the asking: checks, rows and report, over varied answers of a fast local server.

    make bench-client
    .venv/bin/python tests/benchmarks/bench_pipeline.py [--rows 5000] [--data FOLDER] [--profile FILE]

A server in a process of its own makes a question of four sentences of the prompt's document, so that answers are as
varied as documents are. The index holds real documents (--data, by default ../shared/data where that is there, else the
sample corpus with its sentences in other orders) with random vectors: how they are found is not measured. Each run is a
process of its own, with one thread for the embedding model, and its journal is empty.

pipeline_ms_per_sample  CPU of the run by its rows, all checks on, without start-up, and less the embedder's forward
                        pass, which is printed beside that of `SentenceTransformer.encode` in batches of the same texts
wall_vs_asking          seconds of a run without the check `semantic` by those of asking the same prompts alone
peak_mb                 most resident memory of the first run, of all its processes
mb_per_10k_rows         by how much that grows from a run of a fifth of the rows, for each 10,000 rows

The last line is JSON.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import multiprocessing
import os
import platform
import random
import re
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.bench_client import serving

DATA = Path(__file__).parents[3] / "shared" / "data"
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
LETTERS = "ABCD"


def texts(data: Path | None, count: int) -> Iterator[str]:
    """Yield so many different documents."""
    from craft_hf.corpus import sample_corpus

    if data:
        for path in sorted(data.glob("corpus_*.jsonl.gz")):
            with gzip.open(path, "rt", encoding="utf-8") as file:
                for row in map(json.loads, file):
                    if count and len(row["text"]) > 1000:
                        yield row["text"][:6000]
                        count -= 1
    with gzip.open(sample_corpus(), "rt", encoding="utf-8") as file:
        own = [json.loads(line)["text"] for line in file]
    rng = random.Random(0)
    for _ in range(count):
        sentences = [s for text in rng.sample(own, 3) for s in SENTENCE.split(text)]
        yield " ".join(rng.sample(sentences, min(20, len(sentences))))


def build(folder: Path, data: Path | None, count: int) -> None:
    """Build an index with random vectors under the name of the embedded model."""
    from craft_hf.base import Embedder
    from craft_hf.corpus import Corpus
    from craft_hf.retrieval.index.build import build_index

    class RandomVectors(Embedder):
        def encode_batches(self, texts: Any) -> Iterator[tuple[list[int], Any]]:
            vectors = np.random.default_rng(len(texts)).standard_normal((len(texts), self.dimension), np.float32)
            yield list(range(len(texts))), vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    rows = ({"id": f"d{i}", "text": text, "source": "bench"} for i, text in enumerate(texts(data, count)))
    build_index([Corpus(rows)], folder, RandomVectors(), vectors="document")


def document_sample(body: bytes) -> dict[str, Any]:
    """Make a sample of sentences of the document in a request."""
    document = json.loads(body)["messages"][-1]["content"].partition("Text:\n")[2]
    rng = random.Random(hashlib.blake2b(document.encode(), digest_size=8).digest())
    sentences = list(dict.fromkeys(s for s in SENTENCE.split(document) if 40 < len(s) < 250))
    while len(sentences) < 5:
        sentences.append(" ".join(rng.sample(document.split(), 12)))
    words = [sentence.rstrip(".!?").split() for sentence in rng.sample(sentences, 5)]
    return {
        "question": f"Which of these is true where {' '.join(words[0][:14])}?",
        "options": [f"{letter}. {' '.join(w[-12:])}" for letter, w in zip(LETTERS, words[1:], strict=True)],
        "answer": rng.choice(LETTERS),
    }


class Forward:
    """CPU seconds of the embedding model's forward pass, and the texts that it was given."""

    def __init__(self) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(1)
        self.seconds, self.rows, forward = 0.0, 0, SentenceTransformer.forward

        def timed(model: Any, features: Any, *arguments: Any, **named: Any) -> Any:
            start = time.thread_time()
            try:
                return forward(model, features, *arguments, **named)
            finally:
                self.seconds += time.thread_time() - start
                self.rows += len(features["input_ids"])

        SentenceTransformer.forward = timed  # type: ignore[method-assign]


def settings(url: str, index: Path, rows: int, exam: Path | None, skip: tuple[str, ...]) -> Any:
    """Return the settings of a run whose documents are drawn at random."""
    from craft_hf.run.settings import RunSettings

    return RunSettings(
        "bioqa", index=str(index), num_samples=rows, generator=url, generator_model="bench", concurrency=256,
        retrieval="random", skip_checks=skip, test_sets=[str(exam)] if exam else None,
    )  # fmt: skip


def whole_run(
    answer: Connection, url: str, index: Path, rows: int, exam: Path | None, skip: tuple[str, ...], profile: str
) -> None:
    """Do a small run, to load what is loaded once, and then one that is measured; send its figures."""
    from craft_hf.dataset import DatasetFolder
    from craft_hf.run.resolution import resolve
    from craft_hf.run.runs import ensure_run

    forward = Forward()
    ensure_run(resolve(settings(url, index, 40, exam, skip)))
    small = _peak()
    forward.seconds, forward.rows = 0.0, 0
    run = resolve(settings(url, index, rows, exam, skip))
    watch = _Watch()
    start, cpu = time.perf_counter(), _cpu()
    if profile:
        import cProfile

        with cProfile.Profile() as profiler:
            folder = ensure_run(run, fresh=True)
        profiler.dump_stats(profile)
    else:
        folder = ensure_run(run, fresh=True)
    seconds, cpu = time.perf_counter() - start, _cpu() - cpu
    report = DatasetFolder(folder).report
    drops = {str(drop["check"]): 0 for drop in report.drops}
    for drop in report.drops:
        drops[str(drop["check"])] += int(drop["count"])
    made = report.rows["generated"]
    answer.send(
        {
            "rows": made, "seconds": seconds, "cpu": cpu, "forward": forward.seconds, "embedded": forward.rows,
            "peak": watch.stop(), "small": small, "drops": drops,
        }
    )  # fmt: skip


def asking(answer: Connection, url: str, index: Path, rows: int) -> None:
    """Ask the prompts of such a run alone, and send the seconds."""
    from craft_hf.generation import PromptBuilder, ask, open_journal
    from craft_hf.generation.usage import Usage
    from craft_hf.retrieval import open_index
    from craft_hf.run.resolution import resolve

    run = resolve(settings(url, index, rows, None, ()))
    hits = run.documents(open_index(str(index))).take(0, rows)
    builder, sampling = PromptBuilder(run.task), run.settings.sampling(run.task)
    prompts = [builder.build(hit.document) for hit in hits]
    for some in (prompts[:40], prompts):
        start, cpu = time.perf_counter(), _cpu()
        with open_journal(run.generator, sampling, replay=False) as journal:
            for _ in ask(run.generator, run.task.schema, sampling, some, journal, Usage(), lambda: True):
                pass
    answer.send({"seconds": time.perf_counter() - start, "cpu": _cpu() - cpu})


def alone(step: Any, *arguments: Any) -> dict[str, Any]:
    """Take a step in a process of its own, with a cache of its own, and return what it sends."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CRAFT_HF_HOME"] = cache
        process = context.Process(target=step, args=(there, *arguments))
        process.start()
        there.close()
        found: dict[str, Any] = here.recv()
        process.join()
    return found


class _Watch:
    """Most resident memory of this process and its children together, looked at ten times a second."""

    def __init__(self) -> None:
        self._most, self._ended = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        import psutil

        here = psutil.Process()
        while not self._ended.wait(0.1):
            total = 0
            for process in (here, *here.children(recursive=True)):
                with suppress(psutil.Error):
                    total += process.memory_info().rss
            self._most = max(self._most, total / 1e6)

    def stop(self) -> float:
        """Return the peak in MB."""
        self._ended.set()
        self._thread.join()
        return self._most


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def _cpu() -> float:
    """CPU seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> None:
    """Measure, print, and print the figures as JSON at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=0.2, help="of an answer")
    parser.add_argument("--data", type=Path, default=DATA if DATA.is_dir() else None)
    parser.add_argument("--profile", default="", help="write a profile of the first run here, and end")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}")
    os.environ["OMP_NUM_THREADS"] = "1"
    exam = options.data / "eval_bioqa.jsonl.gz" if options.data else None
    with tempfile.TemporaryDirectory() as folder, serving(options.seconds, sample=document_sample) as url:
        index = Path(folder) / "index"
        build(index, options.data, 2 * options.rows)
        run = alone(whole_run, url, index, options.rows, exam, (), options.profile)
        _print("whole run", run)
        if options.profile:
            return
        fewer = alone(whole_run, url, index, options.rows // 5, exam, (), "")
        _print("a fifth of it", fewer)
        without = alone(whole_run, url, index, options.rows, exam, ("semantic",), "")
        _print("without semantic", without)
        asked = alone(asking, url, index, without["rows"] + sum(without["drops"].values()))
    print(f"asking alone: {asked['seconds']:.1f} s, {asked['cpu']:.1f} s of CPU")
    figures = {
        "pipeline_ms_per_sample": 1000 * (run["cpu"] - run["forward"]) / run["rows"],
        "wall_vs_asking": without["seconds"] / asked["seconds"],
        "peak_mb": run["peak"],
        "mb_per_10k_rows": (run["peak"] - fewer["peak"]) / (run["rows"] - fewer["rows"]) * 1e4,
    }
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


def _print(name: str, run: dict[str, Any]) -> None:
    drops = ", ".join(f"{check} {count}" for check, count in run["drops"].items())
    print(
        f"{name}: {run['rows']} rows in {run['seconds']:.1f} s, CPU {run['cpu']:.1f} s, of that {run['forward']:.1f} s "
        f"the model's forward pass over {run['embedded']} texts; at most {run['peak']:.0f} MB ({run['small']:.0f} in a "
        f"run of 40 rows); dropped: {drops or 'none'}",
        flush=True,
    )


if __name__ == "__main__":
    main()
