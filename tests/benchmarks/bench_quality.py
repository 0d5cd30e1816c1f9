"""What the checks see, and how fast near-duplicates are found: on real data, beside comparing all pairs.

    make bench-quality [DATA=FOLDER]
    .venv/bin/python tests/benchmarks/bench_quality.py [FOLDER] [--all-pairs] [--thresholds] [--only-foreign]

FOLDER holds eval_*, retrieval_squad and corpus_* as .jsonl.gz; ../shared/data where that is. Without a folder the small
frozen bed of the tests is measured, and nothing else.

Foreign bed: samples that people wrote, of every task and several sources, and the same with one defect each, of some
sixty kinds, by rules and words that the checks do not know (tests/benchmarks/foreign/). A defect counts as seen if the
sample was kept without it and is dropped with it, by the checks that look at a sample alone. What a rule cannot see,
because it takes knowledge, has a table of its own.

Test bed: 400 real questions with their documents (360 of textbooks of biology, 40 of Wikipedia with a number as the
answer) that ought to be kept, and others of the same kinds with one planted defect each, forty of a kind, twenty in
other languages; see defects.py. Recall is the share of a kind that is dropped by the checks that are meant for it;
precision is that of these checks if as many samples are good as have the defect. For all kinds that rules can see
together, precision counts every good sample that any check drops.

Duplicates: 25,000 questions and sentences, a fifth of them reworded copies, kept or dropped in order. The decisions of
comparing each with all kept before it are stored in this file as their number (--all-pairs computes them again, a
quarter of an hour). The authors' way, a loop over all pairs that prepares both texts each time, is timed on a part of
the pairs and multiplied by their number.

The last line is JSON: recall_rules_worst (of the kinds of the foreign bed that a rule can see) and false_drops_worst
(of its sources), precision_rules and recall_rules (of the test bed), dedup_vs_all_pairs (how many times as fast as that
loop) and dedup_recall (the share of what that loop drops that is dropped).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from rapidfuzz import fuzz, process, utils

from craft_hf.base.embedder import Embedder
from craft_hf.base.records import Document
from craft_hf.quality.check import CheckContext, GeneratedSample
from craft_hf.quality.compared import AS_JSON, COMPARED
from craft_hf.quality.copied import FROM_DOCUMENT, LEAST_NGRAMS, NGRAM
from craft_hf.quality.duplicate import DuplicateCheck
from craft_hf.quality.grounded import SAME_MEANING, GroundedCheck
from craft_hf.quality.quality import Quality
from craft_hf.quality.repetitive import LEAST_GRAMS, MOST_REPEATED
from craft_hf.quality.test_sets import TestSet
from craft_hf.quality.text import ngrams, sentences, stems, tokens
from craft_hf.tasks.sample import sample_json
from craft_hf.tasks.task import load_task
from tests.benchmarks.defects import (
    MEANT_FOR,
    SEEN_BY_RULES,
    exam_questions,
    good_cases,
    planted,
    right_text,
    with_right,
)
from tests.benchmarks.foreign.frozen import measure_frozen
from tests.benchmarks.foreign.measure import Found, measure, print_tables
from tests.benchmarks.foreign.people import human_samples
from tests.benchmarks.texts import read, reworded, with_reworded

DATA = Path(__file__).parents[3] / "shared" / "data"
PEOPLE, KIND = 100, 30
"""Samples of a source, and of a kind of defect, in the foreign bed."""

COUNT, EACH, NUMERIC = 360, 40, 40
TEXTS, THRESHOLD, GROWTH = 25_000, 85, (3_125, 6_250, 12_500, 25_000)
TEXTS_HASH = "e757ba6a6c27eaa0"
DROPPED = 5989
"""Hashes of the 25,000 texts, and of the decisions of comparing all pairs: for each text the place of its partner."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=DATA if DATA.is_dir() else None)
    parser.add_argument("--only-foreign", action="store_true", help="measure the foreign bed, and nothing else")
    parser.add_argument("--all-pairs", action="store_true", help="compare all pairs now, too")
    parser.add_argument(
        "--thresholds", action="store_true", help="show the data behind the thresholds, and nothing else"
    )
    parser.add_argument("--seed", type=int, default=0, help="draws the foreign bed")
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    if arguments.thresholds:
        thresholds(arguments.folder)
        return
    if arguments.folder is None:
        print("There is no data folder: this is the frozen bed of the tests.")
        print_tables(frozen := measure_frozen(Embedder()))
        print(json.dumps(_worst(frozen)))
        return
    found = measure(human_samples(arguments.folder, PEOPLE, arguments.seed), KIND, Embedder(), arguments.seed)
    print_tables(found)
    if arguments.only_foreign:
        print(json.dumps(_worst(found)))
        return
    precision, recall = test_bed(arguments.folder)
    ratio, dedup_recall = duplicates(arguments.folder, arguments.all_pairs)
    print(
        json.dumps(
            {
                **_worst(found),
                "precision_rules": round(precision, 4),
                "recall_rules": round(recall, 4),
                "dedup_vs_all_pairs": round(ratio, 1),
                "dedup_recall": round(dedup_recall, 4),
            }
        )
    )


def _worst(found: Found) -> dict[str, float]:
    """The worst kind that a rule can see, and the worst source."""
    return {
        "recall_rules_worst": round(found.recall_rules_worst, 4),
        "false_drops_worst": round(found.false_drops_worst, 4),
    }


def test_bed(folder: Path) -> tuple[float, float]:
    """Check all samples of the bed; return precision and recall on the defects that rules can see."""
    task, embedder = load_task("bioqa"), Embedder()
    cases = good_cases(folder, embedder, 2 * COUNT, 2 * NUMERIC)
    good = [*cases[:COUNT], *cases[2 * COUNT : 2 * COUNT + NUMERIC]]
    bases = [*cases[COUNT : 2 * COUNT], *cases[2 * COUNT + NUMERIC :]]
    tests = exam_questions(folder)
    bad = planted(task, good, bases, tests, EACH)
    quality = Quality(CheckContext(task, embedder, test_sets=lambda: [TestSet("MMLU biology", tests)]))
    every = [*good, *bad]
    checked = quality.check_all([case.document for case in every], [case.answer for case in every])
    by = ["" if verdicts[-1].keep else verdicts[-1].check for _, verdicts, *_ in checked]
    reasons = Counter((v[-1].check, v[-1].reason) for _, v, *_ in checked[: len(good)] if not v[-1].keep)
    wrongly = Counter(by[: len(good)])
    print(f"\n{len(good)} good samples, {len(good) - wrongly['']} of them dropped:")
    for (check, reason), count in reasons.most_common():
        print(f"  {count:3d}  {check}: {reason}")
    print("\n| planted defect | samples | dropped | by a check meant for it (recall) | precision | others dropped by |")
    print("|---|--:|--:|--:|--:|---|")
    caught = total = 0
    for defect, meant in MEANT_FOR.items():
        found = [check for case, check in zip(every, by, strict=True) if case.defect == defect]
        hits = sum(check in meant for check in found)
        false = sum(wrongly[check] for check in meant) / len(good) * len(found)
        others = ", ".join(f"{check} {n}" for check, n in Counter(c for c in found if c and c not in meant).items())
        dropped, size = sum(map(bool, found)), len(found)
        precision = hits / (hits + false) if hits else 0.0
        print(f"| {defect} | {size} | {dropped / size:.2f} | {hits / size:.2f} | {precision:.2f} | {others} |")
        if defect in SEEN_BY_RULES:
            caught, total = caught + hits, total + size
    recall, precision = caught / total, caught / (caught + len(good) - wrongly[""])
    print(f"\nwhat rules can see, {total} samples: precision {precision:.3f}, recall {recall:.3f}")
    return precision, recall


def duplicates(folder: Path, all_pairs: bool) -> tuple[float, float]:
    """Find near-duplicates; return how many times as fast as the authors' loop, and the share of its drops."""
    texts = with_reworded(folder, TEXTS)
    if _hash(texts) != TEXTS_HASH:
        print("\nThe texts are not those whose decisions are stored here: all pairs are compared now.")
        all_pairs = True
    decisions: list[int] = []
    for count in GROWTH:
        seconds, decisions = _timed(texts[:count])
        print(f"{count:7,} texts: {seconds:6.2f} s, {sum(d >= 0 for d in decisions):5,} dropped")
    dropped, expected = sum(d >= 0 for d in decisions), DROPPED
    if all_pairs:
        wanted = _all_pairs(texts)
        expected = sum(d >= 0 for d in wanted)
        dropped = sum(d >= 0 and other >= 0 for d, other in zip(decisions, wanted, strict=True))
        print(f"TEXTS_HASH = {_hash(texts)!r}\nDROPPED = {expected}")
        print(f"{sum(d != other for d, other in zip(decisions, wanted, strict=True))} decisions are others")
    kept = np.cumsum([d < 0 for d in decisions])
    pairs = int(kept[:-1].sum())
    rate = _authors_rate(texts)
    print(f"all pairs: {pairs:,} at {rate:,.0f} a second, as the authors compare them: {pairs / rate:,.0f} s")
    print(f"{pairs / rate / seconds:.1f} times as fast; dropped {dropped:,} of {expected:,}")
    return pairs / rate / seconds, dropped / expected


def _timed(texts: Sequence[str]) -> tuple[float, list[int]]:
    """Return the seconds for all texts in order, and for each the place of the partner that dropped it, else -1."""
    context = CheckContext(replace(load_task("bioqa"), few_shots=()), Embedder(), THRESHOLD, duplicates_by=AS_JSON)
    DuplicateCheck(context).check(_sample("", "machine code is made at the first call"))
    found = DuplicateCheck(context)
    decisions, started = [], time.perf_counter()
    for number, text in enumerate(texts):
        sample = _sample(str(number), text)
        verdict = found.check(sample)
        if verdict.keep:
            found.remember(sample)
        decisions.append(-1 if verdict.keep else int(verdict.partner))
    return time.perf_counter() - started, decisions


def _sample(name: str, text: str) -> GeneratedSample:
    return GeneratedSample(Document(name, ""), {"question": text})


def _all_pairs(texts: Sequence[str], block: int = 250) -> list[int]:
    """Return the decisions of comparing each text with all that were kept before it; the nearest, first one counts."""
    prepared = [utils.default_process(sample_json({"question": text})) for text in texts]
    kept, decisions = np.zeros(len(texts), bool), list[int]()
    for start in range(0, len(texts), block):
        end = min(start + block, len(texts))
        scores = process.cdist(
            prepared[start:end], prepared[:end], scorer=fuzz.token_set_ratio, score_cutoff=THRESHOLD, workers=-1,
            dtype=np.float64,
        )  # fmt: skip
        for number in range(start, end):
            row = np.where(kept[:number], scores[number - start, :number], 0)
            nearest = int(row.argmax()) if number else 0
            kept[number] = not number or row[nearest] < THRESHOLD
            decisions.append(-1 if kept[number] else nearest)
        print(f"\r{end:,} of {len(texts):,} texts compared with all before them", end="", flush=True)
    print()
    return decisions


def _authors_rate(texts: Sequence[str], count: int = 400) -> float:
    """Return the pairs that a plain loop compares in a second, both texts prepared for each pair as thefuzz does it."""
    drawn = [sample_json({"question": text}) for text in random.Random(0).sample(texts, count)]
    started = time.perf_counter()
    for number, text in enumerate(drawn):
        for other in drawn[:number]:
            fuzz.token_set_ratio(text, other, processor=utils.default_process)
    return count * (count - 1) / 2 / (time.perf_counter() - started)


def _hash(values: Sequence[str | int]) -> str:
    return hashlib.blake2b(json.dumps(list(values)).encode(), digest_size=8).hexdigest()


def thresholds(folder: Path) -> None:
    """Show what people's summaries and right options are like: the data behind grounded, copied and repetitive."""
    _right_options(folder)
    _questions_again(folder)
    rows = random.Random(0).sample(list(read(folder, "eval_summarization")), 300)
    least = load_task("summarization").grounded["summary"]
    embedder, few, found = Embedder(), Counter[str](), Counter[str]()
    lifted = []
    for place, row in enumerate(rows):
        other = rows[(place + 1) % len(rows)]
        there = sentences(row["document"])
        words, grams = set(stems(row["document"])), set(ngrams(tokens(row["document"]), NGRAM))
        vectors = embedder.encode(there[:150])
        own = list(ngrams(tokens(row["summary"]), NGRAM))
        if len(own) >= LEAST_NGRAMS:
            lifted.append(sum(gram in grams for gram in own) / len(own))
        for kind, summary in (("its own", row["summary"]), ("another's", other["summary"])):
            for sentence in sentences(summary):
                wanted = stems(sentence)
                found[kind] += 1
                if wanted and sum(word in words for word in wanted) / len(wanted) < least:
                    few[kind] += 1
                    near = float((vectors @ embedder.encode([sentence])[0]).max())
                    few[f"{kind}, same meaning"] += near >= SAME_MEANING
    for kind in ("its own", "another's"):
        same = few[f"{kind}, same meaning"] / few[kind]
        print(
            f"{found[kind]:,} sentences of {kind} summary: {few[kind]:,} share under {least} of their words with the "
            f"document; of these {same:.0%} have a cosine of {SAME_MEANING} with a sentence of it"
        )
    shares: Mapping[str, float] = {f"{q:.0%}": round(float(np.quantile(lifted, q)), 2) for q in (0.5, 0.75, 0.9, 0.95)}
    over = sum(share >= FROM_DOCUMENT for share in lifted)
    print(f"5-grams of {len(lifted)} summaries that stand in the document, quantiles: {shares}")
    print(f"{over} reach {FROM_DOCUMENT}")
    written = {
        "questions": [row["question"] for row in read(folder, "eval_csqa")],
        "summaries": [row["summary"] for row in read(folder, "eval_summarization")],
        "recipes": [row["output"] for row in read(folder, "eval_recipegen")],
    }
    for name, texts in written.items():
        grams = [list(ngrams(tokens(text), 3)) for text in texts]
        repeated = [1 - len(set(g)) / len(g) if len(g) >= LEAST_GRAMS else 0.0 for g in grams]
        over = sum(share > MOST_REPEATED for share in repeated)
        print(
            f"{len(texts):,} {name}: 99% have at most {np.quantile(repeated, 0.99):.2f} of their 3-grams repeated, "
            f"{over} more than {MOST_REPEATED}"
        )


def _questions_again(folder: Path) -> None:
    """Print how many different questions are dropped as duplicates, and how many are found again when reworded."""
    exams = [row for name in ("eval_bioqa", "eval_medqa") for row in read(folder, name) if len(row["options"]) == 4]
    made: dict[str, list[dict[str, object]]] = {
        "bioqa": [
            {
                "question": row["question"],
                "options": [f"{letter}. {option}" for letter, option in zip("ABCD", row["options"], strict=True)],
                "answer": "ABCD"[row["answer_index"]],
            }
            for row in exams
        ],
        "csqa": [
            {"question": row["question"], "options": ["A. Yes", "B. No"], "answer": "A"}
            for row in read(folder, "eval_csqa")
            if row["source"].startswith("CommonsenseQA 2.0")
        ],
    }
    rng = random.Random(0)
    for name, samples in made.items():
        for by in COMPARED:
            check = DuplicateCheck(CheckContext(load_task(name), Embedder(), THRESHOLD, duplicates_by=by))
            dropped = again = 0
            for number, fields in enumerate(samples):
                sample = GeneratedSample(Document(str(number), ""), fields)
                if not check.check(sample).keep:
                    dropped += 1
                    continue
                check.remember(sample)
                changed = {**fields, "question": reworded(str(fields["question"]), rng)}
                again += not check.check(GeneratedSample(Document("", ""), changed)).keep
            found = again / (len(samples) - dropped)
            print(f"{len(samples):,} questions as {name}, by {by}: {dropped / len(samples):.1%} are dropped; of the "
                  f"others {found:.1%} are found again with a few words changed")  # fmt: skip


def _right_options(folder: Path) -> None:
    """Print how many questions are dropped as not grounded with their own right option, and with another question's."""
    embedder = Embedder()
    check, cases = GroundedCheck(CheckContext(load_task("bioqa"), embedder)), good_cases(folder, embedder, 2 * COUNT, 0)
    for kind, step in (("their own right option", 0), ("the right option of another", COUNT)):
        others = [cases[(place + step) % len(cases)] for place in range(len(cases))]
        dropped = sum(
            not check.check(GeneratedSample(case.document, with_right(case.fields, right_text(other.fields)))).keep
            for case, other in zip(cases, others, strict=True)
        )
        print(f"{len(cases):,} questions with {kind}: {dropped / len(cases):.1%} are not grounded")


if __name__ == "__main__":
    main()
