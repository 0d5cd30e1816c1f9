"""A small part of the foreign bed that is kept in the repository: what README quotes is held by it.

    .venv/bin/python -m tests.benchmarks.foreign.frozen FOLDER    # draws it anew

It holds samples of textbooks (OpenStax, CC BY), recipes (Unlicense) and web pages (CC0), good ones and ones with a
defect. The licences of all are those that let their texts be kept.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from craft_hf.base.embedder import Embedder
from tests.benchmarks.foreign.damage import damaged
from tests.benchmarks.foreign.measure import Found, judged
from tests.benchmarks.foreign.people import Sample, human_samples

FILE = Path(__file__).with_name("frozen.jsonl.gz")
SOURCES = ("openstax", "public-domain-recipes", "digital.gov")
"""Beginnings of the names of sources whose licences let their texts be kept here."""

EACH, KIND, MOST_CHARS = 6, 1, 4_500
"""Good samples of a source, samples of a kind for each task, and characters of a document at most."""


def frozen_samples() -> list[Sample]:
    """Return the samples: good ones first."""
    with gzip.open(FILE, "rt", encoding="utf-8") as file:
        return [Sample(**json.loads(line)) for line in file]


def measure_frozen(embedder: Embedder) -> Found:
    """Check the samples."""
    return judged(frozen_samples(), embedder)


def draw(folder: Path) -> list[Sample]:
    """Draw samples from a data folder: good ones, and with a defect each as many of a kind as there are to be."""
    people = [s for s in human_samples(folder, 200) if s.source.startswith(SOURCES) and len(s.document) <= MOST_CHARS]
    counts, good = Counter[tuple[str, str]](), list[Sample]()
    for sample in people:
        counts[sample.task, sample.source] += 1
        if counts[sample.task, sample.source] <= EACH:
            good.append(sample)
    of_kind, bad = Counter[tuple[str, str]](), list[Sample]()
    for sample in damaged(people, 12):
        of_kind[sample.kind, sample.task] += 1
        if of_kind[sample.kind, sample.task] <= KIND:
            bad.append(sample)
    return good + bad


if __name__ == "__main__":
    lines = "".join(json.dumps(asdict(sample), ensure_ascii=False) + "\n" for sample in draw(Path(sys.argv[1])))
    FILE.write_bytes(gzip.compress(lines.encode(), mtime=0))
    print(f"{FILE}: {len(frozen_samples())} samples, {FILE.stat().st_size:,} bytes")
