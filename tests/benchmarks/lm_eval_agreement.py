"""Do `craft-hf evaluate` and lm-eval give the same answers? Both ask the same questions of the same model.

python tests/benchmarks/lm_eval_agreement.py --data questions.jsonl --limit 300 [--adapter FOLDER]

Needs `pip install "lm-eval[hf]"`. Prints both accuracies, and on how many questions both are right or wrong together;
exit code 1 if there is a question on which they are not.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from pathlib import Path

from craft_hf.base.models import generator_weights
from craft_hf.evaluation.benchmarks import FOLDER
from craft_hf.evaluation.choice import score_letters
from craft_hf.evaluation.items import Item, read_items
from craft_hf.evaluation.model import EvaluatedModel
from craft_hf.tasks.task import load_task

TASK = """
include: {folder}/_letters.yaml
task: agreement
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
process_docs: !function craft_hf.evaluation.benchmarks.documents.reference_rows
"""


def by_lm_eval(items: list[Item], model: str, adapter: str | None, batch_size: int, device: str) -> list[float]:
    """Return 1 for each item that lm-eval says is right, else 0."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    with tempfile.TemporaryDirectory() as folder:
        data, task = Path(folder) / "items.jsonl", Path(folder) / "agreement.yaml"
        rows = [{"question": i.question, "options": list(i.options), "answer_index": i.answer} for i in items]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        task.write_text(TASK.format(folder=FOLDER, data=data), encoding="utf-8")
        arguments = {"pretrained": generator_weights(model).location, "dtype": "float32"}
        found = simple_evaluate(
            model="hf",
            model_args={**arguments, "peft": adapter} if adapter else arguments,
            tasks=["agreement"],
            task_manager=TaskManager(include_path=[str(FOLDER), folder]),
            apply_chat_template=True,
            log_samples=True,
            bootstrap_iters=0,
            batch_size=batch_size,
            device=device,
        )
    samples = sorted(found["samples"]["agreement"], key=lambda sample: sample["doc_id"])
    return [float(sample["acc"]) for sample in samples]


def main() -> int:
    """Ask both and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--adapter")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    items = read_items(given.data, load_task("bioqa"), given.limit)
    [ours, _] = score_letters(
        EvaluatedModel(given.model, given.adapter, given.device), items, batch_size=given.batch_size
    )
    theirs = by_lm_eval(items, given.model, given.adapter, given.batch_size, given.device)
    same = sum(a == b for a, b in zip(ours.values, theirs, strict=True))
    print(f"craft-hf evaluate: {ours.value:.4f}; lm-eval: {sum(theirs) / len(theirs):.4f}; questions: {len(items)}")
    print(f"both right or both wrong: {same} of {len(items)}")
    return 0 if same == len(items) else 1


if __name__ == "__main__":
    sys.exit(main())
