"""One run: a `ResolvedRun` comes in; retrieval, generation and quality fill its folder with rows and rejects.

Documents are taken in the order of retrieval, in rounds, until enough samples are kept. The order does not depend on
how many are wanted, so a run for more samples begins with the same prompts and pays for the new ones only.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from filelock import FileLock

from craft_hf.corpora import sample_corpus
from craft_hf.corpus import Corpus
from craft_hf.coverage import measure
from craft_hf.coverage.figures import Coverage
from craft_hf.embed import Embedder, Vectors
from craft_hf.errors import InputError
from craft_hf.generate import answer_key
from craft_hf.generate.journal import Journal
from craft_hf.index import Index, build_index, index_folder
from craft_hf.models import cache_folder
from craft_hf.progress import Progress
from craft_hf.prompt import Prompter
from craft_hf.quality import Quality
from craft_hf.records import JSON, Answer, Hit, Prompt, Reject, Sample, fingerprint
from craft_hf.retrieve import Retrieval, retrieve
from craft_hf.settings import ResolvedRun, index_identity
from craft_hf.tasks import Task
from craft_hf.usage import Usage

PROMPTS_PER_SAMPLE = 10
"""A run gives up when it has sent this many prompts for each sample wanted; CRAFT retrieves 2 documents a sample."""

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
    funnel: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    index: Mapping[str, JSON] = field(default_factory=dict)
    embedding_name: str = ""
    coverage: Coverage | None = None


def open_index(path: str | None) -> Index:
    """Open the index of a run: a folder, or one on the Hub, which is pulled.

    Without a path it is that of the sample corpus, which is built on first use (seconds).
    """
    if path is not None:
        return Index.open(index_folder(path))
    folder = cache_folder() / "indexes" / index_identity()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        try:
            return Index.open(folder)
        except InputError:  # not built yet, or damaged: only what is missing is embedded
            build_index([Corpus(sample_corpus())], folder, Embedder())
            return Index.open(folder)


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
    documents = Documents(run.task, index, run.settings.min_similarity)
    outcome.funnel = {"documents in the index": len(index)}
    if wanted:
        with open_journal(run, replay=not fresh) as journal:
            _rounds(run, documents, journal, wanted, outcome)
        outcome.coverage = documents.coverage()
    asked = len(outcome.samples) + sum(r.check != "leakage" for r in outcome.rejects)
    unanswered = sum(r.check == "context" for r in outcome.rejects)
    outcome.funnel |= {
        "retrieved": asked + len(documents.left_out),
        "few-shot texts left out": len(documents.left_out),
        "prompted": asked,
        "answered": asked - unanswered,
        "kept": len(outcome.samples),
    }
    return outcome


def open_journal(run: ResolvedRun, replay: bool = True) -> Journal:
    """Open the journal in which a run's answers are; runs of the same generator and sampling have the same one."""
    sampling = dataclasses.asdict(run.settings.sampling(run.task))
    folder = cache_folder() / "journal" / fingerprint([dict(run.generator.identity), sampling])
    return Journal(folder, replay=replay)


def look(task: Task, index: Index, k: int) -> Coverage:
    """Retrieve k documents for a task, and tell how they fit it; no generator is asked.

    Raises:
        InputError: k is below 1, or the index was built with another embedding model or is broken.
    """
    documents = Documents(task, index)
    documents.take(0, k)
    return documents.coverage()


class Documents:
    """The documents for a task in the order of retrieval, retrieved deeper as they are asked for."""

    def __init__(self, task: Task, index: Index, floor: float = -1.0) -> None:
        self._task, self._index, self._floor = task, index, floor
        self._found = Retrieval()

    @cached_property
    def _queries(self) -> Vectors:
        embedder = Embedder(self._index.info.embedding_name)
        self._index.check_embedder(embedder)
        return embedder.encode([self._task.query_text(shot) for shot in self._task.few_shots])

    @property
    def left_out(self) -> list[tuple[str, str, float]]:
        """Documents that nearly are the text of a few-shot: (document id, few-shot id, overlap)."""
        return self._found.left_out

    def coverage(self) -> Coverage:
        """Return how all documents that were taken fit the few-shots."""
        return measure(self._index, self._task.few_shots, self._queries, self._found)

    def take(self, start: int, count: int) -> list[Hit]:
        """Return the hits from `start` on, at most `count`; fewer when the index has no more."""
        if start + count > len(self._found.hits):
            self._found = retrieve(self._index, self._task.few_shots, self._queries, start + count, self._floor)
        return list(self._found.hits[start : start + count])


def _rounds(run: ResolvedRun, documents: Documents, journal: Journal, wanted: int, outcome: Outcome) -> None:
    """Fill the outcome round by round; a round asks for what is missing, by the yield seen so far."""
    settings, usage = run.settings, outcome.usage
    prompter = Prompter(run.task, settings.seed, settings.prefix_groups)
    quality = Quality(run.task, settings.duplicate_threshold)
    budget, seen = settings.budget, 0
    with Progress(run.task.name, wanted, usage) as progress:
        while (missing := wanted - len(outcome.samples)) > 0 and not budget.is_spent(usage):
            share = max(len(outcome.samples) / seen, SMALLEST_YIELD) if seen else 1.0
            size = min(math.ceil(missing / share), PROMPTS_PER_SAMPLE * wanted - seen)
            hits = documents.take(seen, int(min(size, budget.prompts_left(usage, PILOT))))
            if not hits:
                outcome.notes.append(_shortfall(len(outcome.samples), wanted, seen, size))
                break
            prompts = [prompter.prompt(hit.document) for hit in hits]
            answers: dict[str, Answer] = {}
            for prompt, answer in ask(run, prompts, journal, usage, lambda: not budget.is_spent(usage)):
                answers[prompt.key] = answer
                progress.arrived(quality.would_keep(answer))
            for hit, prompt in zip(hits, prompts, strict=True):
                if prompt.key in answers:
                    seen += 1
                    _judge(quality, hit, prompt, answers[prompt.key], wanted, outcome)
            progress.judged(len(outcome.samples), Counter(reject.check for reject in outcome.rejects))
    if len(outcome.samples) < wanted and budget.is_spent(usage):
        outcome.notes.append(
            f"Asked for {wanted} samples, gave {len(outcome.samples)}: max_budget of {budget} was spent on {seen} "
            "prompts. With a higher one the run goes on from here."
        )
    for document_id, few_shot_id, overlap in documents.left_out:
        reason = "the document is nearly a few-shot's text"
        outcome.rejects.append(Reject(document_id, "leakage", reason, overlap, few_shot_id))


def _shortfall(kept: int, wanted: int, seen: int, size: int) -> str:
    if size:
        return f"Asked for {wanted} samples, gave {kept}: all {seen} documents that the index has for this were used."
    return (
        f"Asked for {wanted} samples, gave {kept}: stopped after {seen} prompts, {PROMPTS_PER_SAMPLE} for each sample "
        "wanted; see the reasons of the drops, and try a stronger generator."
    )


def ask(
    run: ResolvedRun, prompts: Sequence[Prompt], journal: Journal, usage: Usage, go_on: Callable[[], bool]
) -> Iterator[tuple[Prompt, Answer]]:
    """Yield every prompt's answer: from the journal, or from the model and then into the journal.

    Args:
        run: says which model, and how to draw its tokens.
        prompts: in any order; two with the same key get one answer.
        journal: is read and written.
        usage: is counted up.
        go_on: asked before each prompt is sent; from the first False on, what is not in flight gets no answer.
    """
    sampling = run.settings.sampling(run.task)
    # Prompts with the same few-shots one after the other: what they share, a server finds in its cache.
    prompts = sorted({prompt.key: prompt for prompt in prompts}.values(), key=lambda prompt: prompt.few_shot_ids)
    keys = {prompt.key: answer_key(run.generator, run.task.schema, sampling, prompt) for prompt in prompts}
    known = set()
    for prompt in prompts:
        if (answer := journal.get(keys[prompt.key])) is not None:
            known.add(prompt.key)
            usage.add(answer, from_journal=True)
            yield prompt, answer

    def wanted(prompt: Prompt) -> bool:
        return prompt.key not in known and go_on()

    if len(known) == len(prompts):
        return
    started = time.monotonic()
    for prompt, answer in run.generator.generate(prompts, run.task.schema, sampling, wanted):
        if answer.finish_reason != "prompt_too_long":  # nothing was paid, and the context may grow
            journal.put(keys[prompt.key], answer)
        usage.add(answer, from_journal=False)
        usage.seconds_generating += time.monotonic() - started
        yield prompt, answer
        started = time.monotonic()


def _judge(quality: Quality, hit: Hit, prompt: Prompt, answer: Answer, wanted: int, outcome: Outcome) -> None:
    """Put a document's answer among the samples or among the rejects."""
    fields, verdicts = quality.check(hit.document.id, answer)
    last = verdicts[-1]
    if last.keep and len(outcome.samples) < wanted:
        outcome.samples.append(Sample(fields, hit, prompt, answer))
        return
    if last.keep:
        check, reason = "surplus", "passed all checks, but enough samples were kept before it"
    else:
        check, reason = last.check, last.reason
    outcome.rejects.append(
        Reject(
            hit.document.id, check, reason, last.score, last.partner, answer.text, answer.finish_reason, fields,
            hit.similarity,
        )
    )  # fmt: skip


def index_summary(index: Index) -> dict[str, JSON]:
    """Return what report and card say about an index."""
    info = index.info
    return {
        "documents": len(index),
        "fingerprint": index.fingerprint,
        "embedding_model": info.embedding_model,
        "embedding_revision": info.embedding_revision,
        "corpora": [{"name": c["source"], "license": c["license"], "documents": c["documents"]} for c in info.corpora],
    }
