"""What the checks drop of the foreign bed: recall by kind of defect, false drops by task and source."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from craft_hf.base.embedder import Embedder
from craft_hf.base.records import Answer, Document
from craft_hf.quality.check import Check, CheckContext, GeneratedSample
from craft_hf.quality.registry import checks_for
from craft_hf.tasks.answers import AnswerReader, answer_reader
from craft_hf.tasks.sample import without_most
from craft_hf.tasks.task import load_task
from tests.benchmarks.foreign.damage import SEEN, damaged
from tests.benchmarks.foreign.people import Sample, by_source

NEEDS_DOCUMENT = ("grounded", "copied")
"""Checks that have nothing to look at where there is no document."""

LEAST = 10
"""Samples of a source, or of a kind, from which its share counts."""


@dataclass
class Found:
    """Shares by task and source, and by kind; `reasons` say what dropped good samples."""

    false_drops: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    recall: dict[str, tuple[int, int]] = field(default_factory=dict)
    reasons: dict[tuple[str, str], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    missed: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))
    by: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    @property
    def false_drops_worst(self) -> float:
        """The greatest share of good samples of one source that is dropped."""
        return max(dropped / total for dropped, total in self.false_drops.values() if total >= LEAST)

    @property
    def recall_rules_worst(self) -> float:
        """The least share of a kind that a rule can see."""
        return min(caught / total for kind, (caught, total) in self.recall.items() if SEEN[kind] and total >= LEAST)


def measure(samples: Sequence[Sample], each: int, embedder: Embedder, seed: int = 0) -> Found:
    """Check all samples, then those that were kept with a defect planted into each."""
    found, kept = Found(), list[Sample]()
    for (task, source), of_source in by_source(samples).items():
        verdicts = _last_verdicts(of_source, embedder)
        good = [sample for sample, verdict in zip(of_source, verdicts, strict=True) if not verdict]
        found.false_drops[task, source] = (len(of_source) - len(good), len(of_source))
        found.reasons[task, source].update(filter(None, verdicts))
        kept += good
    _judge_bad(found, damaged(kept, each, seed), embedder)
    return found


def judged(samples: Sequence[Sample], embedder: Embedder) -> Found:
    """Check samples that have their defects already."""
    found = Found()
    for (task, source), of_source in by_source([s for s in samples if not s.kind]).items():
        verdicts = _last_verdicts(of_source, embedder)
        found.false_drops[task, source] = (sum(map(bool, verdicts)), len(of_source))
        found.reasons[task, source].update(filter(None, verdicts))
    _judge_bad(found, [s for s in samples if s.kind], embedder)
    return found


def _judge_bad(found: Found, bad: Sequence[Sample], embedder: Embedder) -> None:
    for task in dict.fromkeys(sample.task for sample in bad):
        of_task = [sample for sample in bad if sample.task == task]
        for sample, verdict in zip(of_task, _last_verdicts(of_task, embedder), strict=True):
            caught, total = found.recall.get(sample.kind, (0, 0))
            found.recall[sample.kind] = (caught + bool(verdict), total + 1)
            if verdict:
                found.by[sample.kind][verdict.split(":")[0]] += 1
            else:
                found.missed[sample.kind].append(sample)


def _last_verdicts(samples: Sequence[Sample], embedder: Embedder) -> list[str]:
    """Return what dropped each of the samples, each looked at alone; "" for nothing."""
    found = []
    for sample in samples:
        checks, reader = _checks(sample.task, sample.has_document, embedder)
        answer = Answer(sample.text or json.dumps(sample.fields, ensure_ascii=False), "stop")
        read = reader.read(answer)
        made = GeneratedSample(Document("d", sample.document), read.fields, answer, read.problem, read.is_repaired)
        verdicts = (check.check(made) for check in checks)
        found.append(next((f"{v.check}: {v.reason}" for v in verdicts if not v.keep), ""))
    return found


@cache
def _checks(task: str, has_document: bool, embedder: Embedder) -> tuple[Sequence[Check], AnswerReader]:
    """Return the checks of a task that look at one sample alone; the lengths that only models miss are no matter."""
    loaded = load_task(task)
    loaded = replace(loaded, schema=without_most(loaded.schema))
    context = CheckContext(loaded, embedder)
    kinds = itertools.takewhile(lambda kind: not kind.compares, checks_for(loaded))
    made = [k(context) for k in kinds if k.applies(context) and (has_document or k.name not in NEEDS_DOCUMENT)]
    return made, answer_reader(loaded.schema)


def print_tables(found: Found) -> None:
    """Print what was found as Markdown."""
    print("\n| task | samples that people wrote | number | dropped | most often for |\n|---|---|--:|--:|---|")
    for (task, source), (dropped, total) in sorted(found.false_drops.items()):
        reasons = "; ".join(f"{reason} ({count})" for reason, count in found.reasons[task, source].most_common(3))
        print(f"| {task} | {source} | {total} | {dropped / total:.1%} | {reasons} |")
    for seen, title in ((True, "defect that a rule can see"), (False, "defect that takes knowledge to see")):
        print(f"\n| {title} | samples | dropped | by |\n|---|--:|--:|---|")
        for kind, (caught, total) in found.recall.items():
            if SEEN[kind] is seen:
                by = ", ".join(f"{name} {count}" for name, count in found.by[kind].most_common(4))
                print(f"| {kind} | {total} | {caught / total:.0%} | {by} |")
