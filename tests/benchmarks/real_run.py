"""One hundred prompts of a task, really asked: what the checks keep and drop, with and without those of this project.

    .venv/bin/python tests/benchmarks/real_run.py bioqa [--prompts 100] [--show 20] [--of after]

"Before" are the schema, well-formed options and duplicates in words; "after" are all checks. The rows shown are drawn
from those that passed, so that a person can read them beside their documents.
"""

from __future__ import annotations

import argparse
import random
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from datasets.utils import tqdm

from craft_hf.base.records import JSON, Answer, Document, Verdict
from craft_hf.generation.journaled import ask, open_journal
from craft_hf.generation.prompt import PromptBuilder
from craft_hf.generation.usage import Usage
from craft_hf.quality.check import CheckContext
from craft_hf.quality.quality import Quality
from craft_hf.quality.registry import optional_checks
from craft_hf.retrieval.documents import Documents, open_index
from craft_hf.run.resolution import resolve
from craft_hf.run.settings import RunSettings

Checked = Sequence[tuple[Document, Mapping[str, JSON], Verdict]]


def main() -> None:
    """Ask, check twice, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--show", type=int, default=20)
    parser.add_argument("--of", choices=("before", "after"), default="before", help="whose kept rows to show")
    arguments = parser.parse_args()
    run = resolve(RunSettings(arguments.task, num_samples=arguments.prompts))
    documents = Documents(run.task, open_index(None))
    hits = documents.take(0, arguments.prompts)
    builder, sampling = PromptBuilder(run.task), run.settings.sampling(run.task)
    prompts = [builder.build(hit.document) for hit in hits]
    with open_journal(run.generator, sampling) as journal:
        asked = ask(run.generator, run.task.schema, sampling, prompts, journal, Usage(), lambda: True)
        answers = {prompt.key: answer for prompt, answer in tqdm(asked, run.task.name, len(prompts), unit="prompt")}
    pairs = [(hit.document, answers[prompt.key]) for hit, prompt in zip(hits, prompts, strict=True)]
    without = replace(run.task, ends={}, forbids={})
    found = {
        "before": _checked(Quality(CheckContext(without, documents.embedder), optional_checks(without)), pairs),
        "after": _checked(Quality(CheckContext(run.task, documents.embedder)), pairs),
    }
    for name, checked in found.items():
        dropped = Counter((v.check, v.reason) for _, _, v in checked if not v.keep)
        print(f"\n{name}: {len(checked)} answers, {len(checked) - dropped.total()} kept")
        for (check, reason), count in dropped.most_common():
            print(f"  {count:4d}  {check}: {reason}")
    kept_after = {id(document) for document, _, verdict in found["after"] if verdict.keep}
    kept = [(document, fields) for document, fields, verdict in found[arguments.of] if verdict.keep]
    for number, (document, fields) in enumerate(random.Random(0).sample(kept, min(arguments.show, len(kept))), 1):
        fate = "KEPT BY BOTH" if id(document) in kept_after else "DROPPED BY THE NEW CHECKS"
        print(f"\n--- {number}. {fate}: {document.id}")
        print(textwrap.fill(document.text, 150, max_lines=16))
        for name, value in fields.items():
            print(f"  {name}: {value}")


def _checked(quality: Quality, pairs: Sequence[tuple[Document, Answer]]) -> Checked:
    found = quality.check_all([document for document, _ in pairs], [answer for _, answer in pairs])
    return [(document, fields, verdicts[-1]) for (document, _), (fields, verdicts) in zip(pairs, found, strict=True)]


if __name__ == "__main__":
    main()
