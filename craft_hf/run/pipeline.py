"""One run: retrieval, generation and checks, whose samples come out one by one.

Documents are taken in the order of retrieval, in rounds, until enough samples are kept. The order does not depend on
how many are wanted, so a run for more samples begins with the same prompts and pays for the new ones only.

A round's prompts are answered in any order, but checked in the order of their documents: a check may compare with what
was kept before. So a sample comes out as soon as the answers to all prompts before it are there.
"""

from __future__ import annotations

import logging
import math
import re
import textwrap
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from craft_hf.base import (
    JSON,
    UNANSWERED,
    Activity,
    Answer,
    Embedder,
    Hit,
    Prompt,
    Reject,
    Sample,
    Verdict,
    holds_chat_markers,
)
from craft_hf.dataset import Stage, read_previous_samples
from craft_hf.generation import Journal, Outcomes, PromptBuilder, Sampling, Usage, ask, open_journal
from craft_hf.quality import (
    LEAKAGE,
    PEOPLE,
    SURPLUS,
    Balance,
    CheckContext,
    Overlap,
    Quality,
    Shuffle,
    checks_for,
    load_test_sets,
)
from craft_hf.retrieval import Coverage, Documents, index_summary, open_index
from craft_hf.review import People
from craft_hf.run.resolution import ResolvedRun
from craft_hf.run.settings import RunSettings
from craft_hf.tasks import Task

logger = logging.getLogger(__name__)

_ADDRESS = re.compile(r"https?://\S+: ")
"""A server's address before what it said; it is nobody's business who reads the rejects."""

LEAST_YIELD = 0.2
"""Least share of kept samples that the size of a round is computed with: after a bad start, the next round has five
times the prompts that are missing, not hundreds of times."""

HOPELESS = 32
"""Answers after which a run ends if none follows the schema; no more are asked for before the first that does."""

LEAST_ALIKE = 3
"""Prompts without an answer that end a run which has no answer at all; before that, the next documents are tried."""

PILOT = 16
"""Prompts from which a run with a budget learns what a prompt costs."""


@dataclass
class RunResult:
    """What a run has given so far; complete once the run has ended."""

    samples: list[Sample] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    funnel: list[Stage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    index: Mapping[str, JSON] = field(default_factory=dict)
    embedder: Embedder | None = None
    coverage: Coverage | None = None
    balance: Balance = field(default_factory=Balance)
    overlaps: Sequence[Overlap] = ()
    review: str = ""


def execute(run: ResolvedRun, fresh: bool = False) -> RunResult:
    """Do a run to its end; see `steps`."""
    result = RunResult()
    for _ in steps(run, result, fresh):
        pass
    return result


def steps(run: ResolvedRun, result: RunResult, fresh: bool = False) -> Iterator[Sample | Reject]:
    """Retrieve, generate and check until the wanted number of samples is kept or the documents run out.

    Closing the iterator ends the run; every answer that has arrived is in the journal, and nothing more is asked.

    Args:
        run: what to do.
        result: empty; what is yielded has just been added to it.
        fresh: ask the model again also where the journal has an answer.

    Yields:
        What became of each document, in the order of retrieval.

    Raises:
        CraftError: see the stages; every answer given before is in the journal.
    """
    with Activity("Loading the index"):
        index = open_index(run.settings.index)
    result.index = index_summary(index)
    wanted = run.settings.rows_wanted(run.task)
    documents = run.documents(index)
    if wanted:
        sampling = run.settings.sampling(run.task)
        with open_journal(run.generator, sampling, replay=not fresh) as journal, _people(run) as people:
            yield from _rounds(run, documents, journal, wanted, result, people)
        result.coverage, result.embedder = documents.coverage(), documents.embedder
    result.funnel = _funnel(run.task, result, len(index))


def _funnel(task: Task, result: RunResult, indexed: int) -> list[Stage]:
    """Count what was left after each stage; a check or setting that dropped nothing is no stage."""
    dropped = Counter(reject.check for reject in result.rejects)
    few_shot_texts = dropped[LEAKAGE]
    left = len(result.samples) + dropped.total() - few_shot_texts
    documents = len({s.hit.document.id for s in result.samples} | {r.document_id for r in result.rejects})
    stages = [Stage("index", "documents in the index", indexed)]
    if result.coverage and result.coverage.not_selected:
        stages.append(
            Stage("selected", "of the sources and licences asked for", indexed - result.coverage.not_selected)
        )
    if result.coverage and result.coverage.passed_over:
        stages.append(
            Stage("passed_over", "passed over, their source gave its most", result.coverage.passed_over, removed=True)
        )
    stages += [
        Stage("retrieved", "retrieved", documents),
        Stage("few_shot_texts", "few-shot texts left out", few_shot_texts, removed=True),
        Stage("prompted", "prompted", left),
    ]
    labels = {check.name: check.label for check in checks_for(task)} | {PEOPLE: "not rejected by people"}
    for name, label in labels.items():
        left -= dropped[name]
        if dropped[name]:
            stages.append(Stage(name, label, left))
    return [*stages, Stage("kept", "kept", len(result.samples))]


@contextmanager
def _people(run: ResolvedRun) -> Iterator[People | None]:
    """Open the run's review, if it has one."""
    if run.settings.review is None:
        yield None
        return
    with closing(People(Path(run.settings.review), run.task, run.decisions)) as people:
        yield people


def _rounds(
    run: ResolvedRun, documents: Documents, journal: Journal, wanted: int, result: RunResult, people: People | None
) -> Iterator[Sample | Reject]:
    """Work in rounds, each of as many prompts as are needed for what is missing, by the yield so far."""
    settings, usage, budget = run.settings, result.usage, run.settings.budget
    sampling = settings.sampling(run.task)
    with Activity("Loading the embedding model and the checks"):
        quality = open_quality(run, documents.embedder, usage)
    shuffle = Shuffle(run.task, settings.seed)
    result.balance, result.overlaps = shuffle.balance, quality.overlaps
    builder = PromptBuilder(run.task, settings.seed, settings.prefix_groups)
    seen, marked, each = 0, 0, settings.samples_per_document
    outcomes = Outcomes(settings.max_failed, LEAST_ALIKE)
    while (missing := wanted - len(result.samples)) > 0 and not budget.is_spent(usage):
        share = max(len(result.samples) / seen, LEAST_YIELD) if seen else 1.0
        size = min(math.ceil(missing / share), settings.prompts_per_sample * wanted - seen)
        if not quality.valid:
            if quality.answers >= HOPELESS:
                result.notes.append(_hopeless(result.rejects, quality.answers))
                break
            size = min(size, HOPELESS - quality.answers)
        if people:  # short rounds: samples are seen soon, and promotions are in prompts soon
            builder = PromptBuilder(run.task, settings.seed, settings.prefix_groups, people.apply_changes(seen))
            size = min(size, run.at_once, (people.next_change(seen) or size + seen) - seen)
        documents_wanted = math.ceil(max(0, min(size, budget.prompts_left(usage, PILOT))) / each)
        with Activity("Retrieving documents"):
            hits = documents.take(seen // each, documents_wanted)
        if not hits:
            result.notes.append(_shortfall(len(result.samples), wanted, seen, size, settings))
            break
        start, cut_before = (len(result.samples), len(result.rejects)), usage.cut_prompts
        prompted = builder.build_all(hits, each)
        prompts = [prompt for _, prompt in prompted]
        marked += sum(holds_chat_markers(hit.document.text) for hit in hits)
        answers = ask(
            run.generator, run.task.schema, sampling, prompts, journal, usage, lambda: not budget.is_spent(usage),
            outcomes,
        )  # fmt: skip
        for batch in _in_order(prompted, answers, run.at_once if run.judge else 1):
            seen += len(batch)
            checked = quality.check_all([a.hit.document for a in batch], [a.answer for a in batch])
            for (hit, prompt, answer), (fields, verdicts) in zip(batch, checked, strict=True):
                if people:
                    fields, verdicts = people.decide(hit.document, hit.similarity, fields, verdicts)
                if verdicts[-1].keep and len(result.samples) < wanted:
                    fields = shuffle.shuffled(hit.document.id, fields)
                    sample = Sample(fields, hit, prompt, answer, tuple(verdicts))
                    result.samples.append(sample)
                    yield sample
                else:
                    reject = _reject(hit, answer, fields, verdicts[-1])
                    result.rejects.append(reject)
                    yield reject
        if usage.cut_prompts and not cut_before:
            logger.warning(_cut_note(usage))
        if people:
            texts = {hit.document.id: hit.document for hit in hits}
            rejects = [(texts[reject.document_id], reject) for reject in result.rejects[start[1] :]]
            people.add_samples(result.samples[start[0] :], rejects)
    quality.finish()
    result.review = people.summary() if people else ""
    if len(result.samples) < wanted and budget.is_spent(usage):
        result.notes.append(
            f"Asked for {wanted} samples, gave {len(result.samples)}: max_budget of {budget} was spent on {seen} "
            "prompts. With a higher one the run goes on from here."
        )
    result.notes += _server_notes(usage)
    if marked:
        result.notes.append(
            f"{marked} documents hold chat markers such as <|im_end|>; in the prompts these are broken up by a blank."
        )
    for document_id, few_shot_id, overlap in documents.left_out:
        reason = "the document is nearly a few-shot's text"
        result.rejects.append(Reject(document_id, LEAKAGE, reason, overlap, few_shot_id))
        yield result.rejects[-1]


class _Answered(NamedTuple):
    """The answer to the prompt of a retrieved document."""

    hit: Hit
    prompt: Prompt
    answer: Answer


def _in_order(
    prompts: Sequence[tuple[Hit, Prompt]], answers: Iterable[tuple[Prompt, Answer]], most: int
) -> Iterator[list[_Answered]]:
    """Put answers, which arrive in any order, into that of their prompts; those that got no answer are left out.

    Args:
        prompts: with their documents.
        answers: to these prompts.
        most: answers that are waited for to be yielded together, at most. The first comes alone and then twice as many
            each time: the first sample is there soon, and a judge is asked about many at once.
    """
    waiting, arrived, ready, size = deque(prompts), dict[str, Answer](), list[_Answered](), 1
    for prompt, answer in answers:
        arrived[prompt.key] = answer
        while waiting and (found := arrived.get(waiting[0][1].key)) is not None:
            ready.append(_Answered(*waiting.popleft(), found))
        if len(ready) >= size:
            yield ready
            ready, size = [], min(2 * size, most)
    ready += [_Answered(hit, prompt, arrived[prompt.key]) for hit, prompt in waiting if prompt.key in arrived]
    if ready:
        yield ready


def _hopeless(rejects: Sequence[Reject], answers: int) -> str:
    """Say that no answer could be used, with two of them and what may help."""
    rejects = [reject for reject in rejects if reject.finish_reason not in UNANSWERED]
    reasons = Counter(reject.reason for reject in rejects).most_common(3)
    said = [reject.answer for reject in rejects if reject.answer][:2]
    shown = [f'"{textwrap.shorten(answer, 200, placeholder=" ...")}"' for answer in said]
    return (
        f"Stopped after {answers} answers, because none follows the task's schema ("
        + "; ".join(f"{reason}: {count}" for reason, count in reasons)
        + (f"). For instance: {' and '.join(shown)}. " if shown else "). ")
        + "Look at what is asked with `craft-hf estimate --show 2`; try another generator, one that can be held to a "
        "JSON Schema, a higher max_new_tokens if answers are cut or nothing but reasoning, or the server's own chat "
        "template. Where you changed the server alone, add --fresh: else the same answers come from the journal."
    )


def _server_notes(usage: Usage) -> list[str]:
    """Say what of the answers is not as it was asked for."""
    notes = [
        f"{count} of {usage.answers} answers were given without {left_out}, which the server does not take."
        for left_out, count in usage.left_out.items()
    ]
    if usage.cut_prompts:
        notes.append(_cut_note(usage))
    if usage.failed:
        notes.append(
            f"{usage.failed} prompts got no answer; why is in the rejects. They are asked again by a larger run."
        )
    return notes


def _cut_note(usage: Usage) -> str:
    return (
        f"The server seems to cut prompts: for {usage.cut_prompts} of {usage.answers} it counted fewer tokens than "
        "their text must have, so the model did not see all of it. Raise its context (num_ctx of Ollama, --ctx-size of "
        "llama.cpp), and generate with --fresh."
    )


def _shortfall(kept: int, wanted: int, seen: int, size: int, settings: RunSettings) -> str:
    if size > 0:
        used = seen // settings.samples_per_document
        return f"Asked for {wanted} samples, gave {kept}: all {used} documents that the index has for this were used."
    return (
        f"Asked for {wanted} samples, gave {kept}: stopped after {seen} prompts, {settings.prompts_per_sample} for "
        "each sample wanted (prompts_per_sample); see the reasons of the drops, and try a stronger generator."
    )


def open_quality(run: ResolvedRun, embedder: Embedder, usage: Usage, judged: bool = True) -> Quality:
    """Return the checks of a run; the judge's answers come from its journal, and are counted in `usage`."""
    settings, generator = run.settings, run.judge
    outcomes = Outcomes(settings.max_failed)

    def ask_judge(
        prompts: Sequence[Prompt], schema: Mapping[str, JSON], sampling: Sampling
    ) -> Iterator[tuple[Prompt, Answer]]:
        assert generator is not None
        with open_journal(generator, sampling) as journal:
            yield from ask(generator, schema, sampling, prompts, journal, usage, lambda: True, outcomes)

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
        last = Verdict(SURPLUS, False, "passed all checks, but enough samples were kept before it")
    return Reject(
        hit.document.id, last.check, last.reason, last.score, last.partner,
        answer.text or _ADDRESS.sub("", answer.error), answer.finish_reason, fields, hit.similarity,
    )  # fmt: skip
