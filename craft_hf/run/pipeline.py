"""One run: a `ResolvedRun` comes in; retrieval, generation and quality fill its folder with rows and rejects.

Documents are taken in the order of retrieval, in rounds, until enough samples are kept. The order does not depend on
how many are wanted, so a run for more samples begins with the same prompts and pays for the new ones only.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from craft_hf.base import JSON, Answer, Embedder, Hit, Prompt, Reject, Sample, Verdict
from craft_hf.dataset import Stage, read_previous_samples
from craft_hf.generation import Journal, PromptBuilder, Sampling, Usage, ask, open_journal
from craft_hf.quality import Balance, CheckContext, Overlap, Quality, Shuffle, checks_for, load_test_sets
from craft_hf.retrieval import Coverage, Documents, index_summary, open_index
from craft_hf.review import CHECK as PEOPLE
from craft_hf.review import People
from craft_hf.run.progress import Progress
from craft_hf.run.resolution import ResolvedRun
from craft_hf.tasks import Task

SMALLEST_YIELD = 0.2
"""Share of kept samples that a round reckons with at least, so that a bad start does not empty the purse at once."""

PILOT = 16
"""Prompts from which a run with a budget learns what a prompt costs."""


@dataclass
class Outcome:
    """What came of the documents of a run."""

    samples: list[Sample] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    funnel: list[Stage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    index: Mapping[str, JSON] = field(default_factory=dict)
    embedding_name: str = ""
    coverage: Coverage | None = None
    balance: Balance = field(default_factory=Balance)
    overlaps: Sequence[Overlap] = ()
    review: str = ""


def execute(run: ResolvedRun, fresh: bool = False) -> Outcome:
    """Retrieve, generate and check until the wanted number of samples is kept or the documents run out.

    Args:
        run: what to do.
        fresh: ask the model again also where the journal has an answer.

    Raises:
        CraftError: see the stages; every answer given before is in the journal.
    """
    outcome = Outcome()
    index = open_index(run.settings.index)
    outcome.index = index_summary(index)
    outcome.embedding_name = index.info.embedding_name
    wanted = run.settings.rows_wanted(run.task)
    documents = run.documents(index)
    if wanted:
        sampling = run.settings.sampling(run.task)
        with open_journal(run.generator, sampling, replay=not fresh) as journal, _people(run) as people:
            _rounds(run, documents, journal, wanted, outcome, people)
        outcome.coverage = documents.coverage()
    outcome.funnel = _funnel(run.task, outcome, len(index), len(documents.left_out))
    return outcome


def _funnel(task: Task, outcome: Outcome, indexed: int, few_shot_texts: int) -> list[Stage]:
    """Count what was left after each stage; a check that dropped nothing is no stage."""
    dropped = Counter(reject.check for reject in outcome.rejects)
    left = len(outcome.samples) + dropped.total() - dropped["leakage"]
    stages = [
        Stage("index", "documents in the index", indexed),
        Stage("retrieved", "retrieved", left + few_shot_texts),
        Stage("few_shot_texts", "few-shot texts left out", few_shot_texts, removed=True),
        Stage("prompted", "prompted", left),
    ]
    labels = {check.name: check.label for check in checks_for(task)} | {PEOPLE: "not rejected by people"}
    for name, label in labels.items():
        left -= dropped[name]
        if dropped[name]:
            stages.append(Stage(name, label, left))
    return [*stages, Stage("kept", "kept", len(outcome.samples))]


@contextmanager
def _people(run: ResolvedRun) -> Iterator[People | None]:
    """Open the run's review, if it has one."""
    if run.settings.review is None:
        yield None
        return
    with closing(People(Path(run.settings.review), run.task, run.decisions)) as people:
        yield people


def _rounds(
    run: ResolvedRun, documents: Documents, journal: Journal, wanted: int, outcome: Outcome, people: People | None
) -> None:
    """Fill the outcome round by round; a round asks for what is missing, by the yield seen so far."""
    settings, usage = run.settings, outcome.usage
    builder = PromptBuilder(run.task, settings.seed, settings.prefix_groups)
    quality = open_quality(run, documents.embedder, usage)
    shuffle = Shuffle(run.task, settings.seed)
    outcome.balance, outcome.overlaps = shuffle.balance, quality.overlaps
    budget, seen = settings.budget, 0
    with Progress(run.task.name, wanted, usage) as progress:
        while (missing := wanted - len(outcome.samples)) > 0 and not budget.is_spent(usage):
            share = max(len(outcome.samples) / seen, SMALLEST_YIELD) if seen else 1.0
            size = min(math.ceil(missing / share), settings.prompts_per_sample * wanted - seen)
            if people:  # short rounds: samples are seen soon, and promotions are in prompts soon
                builder = PromptBuilder(run.task, settings.seed, settings.prefix_groups, people.listen(seen))
                size = min(size, run.at_once, (people.next_stop(seen) or size + seen) - seen)
            hits = documents.take(seen, int(min(size, budget.prompts_left(usage, PILOT))))
            if not hits:
                outcome.notes.append(_shortfall(len(outcome.samples), wanted, seen, size, settings.prompts_per_sample))
                break
            prompts = [builder.build(hit.document) for hit in hits]
            answers: dict[str, Answer] = {}
            sampling = settings.sampling(run.task)
            asked = ask(
                run.generator, run.task.schema, sampling, prompts, journal, usage, lambda: not budget.is_spent(usage)
            )
            for prompt, answer in asked:
                answers[prompt.key] = answer
                progress.arrived(quality.would_keep(answer))
            answered = [(h, p, answers[p.key]) for h, p in zip(hits, prompts, strict=True) if p.key in answers]
            seen += len(answered)
            checked = quality.check_all([hit.document for hit, _, _ in answered], [answer for _, _, answer in answered])
            start = len(outcome.samples), len(outcome.rejects)
            for (hit, prompt, answer), (fields, verdicts) in zip(answered, checked, strict=True):
                if people:
                    fields, verdicts = people.judge(hit.document, hit.similarity, fields, verdicts)
                if verdicts[-1].keep and len(outcome.samples) < wanted:
                    fields = shuffle.shuffled(hit.document.id, fields)
                    outcome.samples.append(Sample(fields, hit, prompt, answer, tuple(verdicts)))
                else:
                    outcome.rejects.append(_reject(hit, answer, fields, verdicts[-1]))
            if people:
                texts = {hit.document.id: hit.document for hit in hits}
                rejects = [(texts[reject.document_id], reject) for reject in outcome.rejects[start[1] :]]
                people.show(outcome.samples[start[0] :], rejects)
            progress.judged(len(outcome.samples), Counter(reject.check for reject in outcome.rejects))
    quality.finish()
    outcome.review = people.said() if people else ""
    if len(outcome.samples) < wanted and budget.is_spent(usage):
        outcome.notes.append(
            f"Asked for {wanted} samples, gave {len(outcome.samples)}: max_budget of {budget} was spent on {seen} "
            "prompts. With a higher one the run goes on from here."
        )
    for document_id, few_shot_id, overlap in documents.left_out:
        reason = "the document is nearly a few-shot's text"
        outcome.rejects.append(Reject(document_id, "leakage", reason, overlap, few_shot_id))


def _shortfall(kept: int, wanted: int, seen: int, size: int, most: int) -> str:
    if size:
        return f"Asked for {wanted} samples, gave {kept}: all {seen} documents that the index has for this were used."
    return (
        f"Asked for {wanted} samples, gave {kept}: stopped after {seen} prompts, {most} for each sample "
        "wanted (prompts_per_sample); see the reasons of the drops, and try a stronger generator."
    )


def open_quality(run: ResolvedRun, embedder: Embedder, usage: Usage, judged: bool = True) -> Quality:
    """Return the checks of a run; the judge's answers come from its journal, and are counted in `usage`."""
    settings, generator = run.settings, run.judge

    def ask_judge(
        prompts: Sequence[Prompt], schema: Mapping[str, JSON], sampling: Sampling
    ) -> Iterator[tuple[Prompt, Answer]]:
        assert generator is not None
        with open_journal(generator, sampling) as journal:
            yield from ask(generator, schema, sampling, prompts, journal, usage, lambda: True)

    context = CheckContext(
        run.task,
        embedder,
        duplicate_threshold=settings.duplicate_threshold,
        test_sets=lambda: load_test_sets(settings.test_set_names(run.task), settings.test_sets is not None),
        earlier=read_previous_samples(settings.earlier_folders, run.task),
        ask=ask_judge if generator is not None and judged else None,
        judge_draws=settings.judge_draws,
        seed=settings.seed,
    )
    return Quality(context, settings.skipped)


def _reject(hit: Hit, answer: Answer, fields: Mapping[str, JSON], last: Verdict) -> Reject:
    if last.keep:
        last = Verdict("surplus", False, "passed all checks, but enough samples were kept before it")
    return Reject(
        hit.document.id, last.check, last.reason, last.score, last.partner, answer.text, answer.finish_reason, fields,
        hit.similarity,
    )  # fmt: skip
