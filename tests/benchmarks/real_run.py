"""A task really asked until so many rows are kept, each printed beside its document for a person to judge.

    .venv/bin/python tests/benchmarks/real_run.py terms --temperature 0.2 --prefix-groups 1 [--rows 40] [--dropped]

Documents come in the order of the run. With `--dropped` the answers that checks dropped are printed, with the reasons.
"""

from __future__ import annotations

import argparse
import textwrap
from collections import Counter

from datasets.utils import tqdm

from craft_hf.generation.journaled import ask, open_journal
from craft_hf.generation.prompt import PromptBuilder
from craft_hf.generation.usage import Usage
from craft_hf.quality.check import CheckContext
from craft_hf.quality.quality import Quality
from craft_hf.retrieval.documents import Documents, open_index
from craft_hf.run.resolution import resolve
from craft_hf.run.settings import RunSettings

ROUND = 32
"""Prompts that are asked before it is seen whether enough rows were kept."""


def main() -> None:
    """Ask, check, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--rows", type=int, default=40, help="to keep")
    parser.add_argument("--prompts", type=int, default=400, help="after which it ends with fewer rows")
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-new-tokens", type=int)
    parser.add_argument("--prefix-groups", type=int)
    parser.add_argument("--dropped", action="store_true", help="print the answers that were dropped instead")
    options = parser.parse_args()
    given = {"temperature": options.temperature, "max_new_tokens": options.max_new_tokens}
    decoding = {name: value for name, value in given.items() if value is not None}
    run = resolve(RunSettings(options.task, num_samples=options.rows, seed=options.seed, **decoding))
    documents = Documents(run.task, open_index(None))
    builder, sampling = PromptBuilder(run.task, options.seed, options.prefix_groups), run.settings.sampling(run.task)
    quality = Quality(CheckContext(run.task, documents.embedder))
    dropped, asked_for, kept, printed = Counter[str](), 0, 0, 0
    with open_journal(run.generator, sampling) as journal, tqdm(total=options.rows, unit="row") as bar:
        while kept < options.rows and asked_for < options.prompts:
            hits = documents.take(asked_for, min(ROUND, options.prompts - asked_for))
            if not hits:
                break
            prompts = [builder.build(hit.document) for hit in hits]
            asked = ask(run.generator, run.task.schema, sampling, prompts, journal, Usage(), lambda: True)
            by_key = {prompt.key: answer for prompt, answer in asked}
            answers = [by_key[prompt.key] for prompt in prompts]
            checked = quality.check_all([hit.document for hit in hits], answers)
            asked_for += len(hits)
            for hit, answer, (fields, [*_, last], *_) in zip(hits, answers, checked, strict=True):
                if last.keep:
                    kept += 1
                    bar.update()
                else:
                    dropped[f"{last.check}: {last.reason}"] += 1
                if last.keep == options.dropped:
                    continue
                printed += 1
                print(f"\n--- {printed}. {hit.document.id} ({hit.document.title}), {last.check} {last.reason}")
                print("\n".join(textwrap.fill(line, 150) for line in hit.document.text.splitlines()))
                for name, value in fields.items() if last.keep else [("answer", answer.text)]:
                    print(f"  >> {name}: {value}", flush=True)
        print(f"\n{asked_for} answers, {kept} kept")
    for reason, count in dropped.most_common():
        print(f"  {count:4d}  {reason}")


if __name__ == "__main__":
    main()
