"""The rounds of a run: retrieve documents, ask for samples, check these, until enough are kept.

Documents are taken in the order of retrieval. The order does not depend on how many are wanted, so a run for more
samples begins with the same prompts and pays for the new ones only.

A round's prompts are answered in any order, but checked in the order of their documents: a check may compare with what
was kept before. So a sample comes out as soon as the answers to all prompts before it are there.
"""

from __future__ import annotations

import logging
import math
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from craft_hf.base import JSON, Activity, Answer, Hit, Prompt, Reject, Sample, Verdict, holds_chat_markers
from craft_hf.dataset import DrawnRows, RowVectors
from craft_hf.generation import Journal, Outcomes, PromptBuilder, ask
from craft_hf.quality import LEAKAGE, SURPLUS, Checked, Quality, Shuffle
from craft_hf.retrieval import Documents
from craft_hf.review import People
from craft_hf.run import notes
from craft_hf.run.resolution import ResolvedRun
from craft_hf.run.result import RunResult

logger = logging.getLogger(__name__)

_ADDRESS = re.compile(r"https?://\S+: ")
"""A server's address before what it said; it is nobody's business who reads the rejects."""

LEAST_YIELD = 0.2
"""Least share of kept samples that the size of a round is computed with: after a bad start, the next round has five
times the prompts that are missing, not hundreds of times."""

LARGEST = 8192
"""Prompts of a round at most: all of them are in memory."""

HOPELESS = 32
"""Answers after which a run ends if none follows the schema; no more are asked for before the first that does."""

LEAST_ALIKE = 3
"""Prompts without an answer that end a run which has no answer at all; before that, the next documents are tried."""

PILOT = 16
"""Prompts from which a run with a budget learns what a prompt costs."""

CHECKED_AT_ONCE = 32
"""Answers that are checked together at most: more of them cost no less."""


class Rounds:
    """Works in rounds, each of as many prompts as are needed for what is missing, by the yield so far.

    Args:
        run: what to do.
        documents: in the order of retrieval.
        journal: of the generator's answers.
        wanted: samples to keep.
        result: is filled.
        quality: the checks.
        people: the reviewers, if there are any.
    """

    def __init__(
        self,
        run: ResolvedRun,
        documents: Documents,
        journal: Journal,
        wanted: int,
        result: RunResult,
        quality: Quality,
        people: People | None,
    ) -> None:
        self._run, self._settings, self._documents, self._journal = run, run.settings, documents, journal
        self._wanted, self._result, self._people, self._quality = wanted, result, people, quality
        self._shuffle = Shuffle(run.task, run.settings.seed)
        result.balance, result.overlaps = self._shuffle.balance, quality.overlaps
        self._builder = PromptBuilder(run.task, run.settings.seed, run.settings.prefix_groups)
        self._outcomes = Outcomes(run.settings.max_failed, LEAST_ALIKE)
        self._drawn: DrawnRows[tuple[np.ndarray, str]] = DrawnRows()
        self._seen = self._marked = 0
        self._document = ""

    def __iter__(self) -> Iterator[Sample | Reject]:
        """Yield what became of each document, which has just been added to the result."""
        result, usage, budget = self._result, self._result.usage, self._settings.budget
        while len(result.samples) < self._wanted and not budget.is_spent(usage):
            if self._is_hopeless:
                result.notes.append(notes.hopeless(result.rejects, self._quality.answers))
                break
            hits = self._retrieve()
            if not hits:
                break
            cut_before, came = usage.cut_prompts, list[Sample | Reject]()
            for outcome in self._round(hits):
                if self._people:
                    came.append(outcome)
                yield outcome
            if usage.cut_prompts and not cut_before:
                logger.warning(notes.cut_prompts(usage))
            if self._people:
                self._people.add(came)
            if 0 < len(result.samples) < self._wanted:
                logger.info(notes.forecast(*self._so_far, usage, self._settings))
        yield from self._finish()

    @property
    def _so_far(self) -> tuple[int, int, int]:
        return len(self._result.samples), self._wanted, self._seen

    @property
    def _is_hopeless(self) -> bool:
        return not self._quality.valid and self._quality.answers >= HOPELESS

    def _retrieve(self) -> list[Hit]:
        """Return the documents of the next round; none, with a note, if there is to be no other."""
        seen, settings, each = self._seen, self._settings, self._settings.samples_per_document
        kept = len(self._result.samples)
        share = max(kept / seen, LEAST_YIELD) if seen else 1.0
        size = min(math.ceil((self._wanted - kept) / share), settings.prompts_per_sample * self._wanted - seen)
        if size <= 0:
            self._result.notes.append(notes.too_many_prompts(*self._so_far, settings))
            return []
        size = min(size, LARGEST)
        if not self._quality.valid:
            size = min(size, HOPELESS - self._quality.answers)
        if self._people:  # short rounds: samples are seen soon, and promotions are in prompts soon
            promoted = self._people.apply_changes(seen)
            self._builder = PromptBuilder(self._run.task, settings.seed, settings.prefix_groups, promoted)
            size = min(size, self._run.at_once, (self._people.next_change(seen) or size + seen) - seen)
        documents = math.ceil(max(0, min(size, settings.budget.prompts_left(self._result.usage, PILOT))) / each)
        with Activity("Retrieving documents"):
            hits = self._documents.take(seen // each, documents)
        if not hits:
            self._result.notes.append(notes.no_more_documents(*self._so_far, settings))
        return hits

    def _round(self, hits: Sequence[Hit]) -> Iterator[Sample | Reject]:
        """Ask for samples of some documents, and yield what becomes of them."""
        run, usage, budget = self._run, self._result.usage, self._settings.budget
        prompted = self._builder.build_all(hits, self._settings.samples_per_document)
        self._marked += sum(holds_chat_markers(hit.document.text) for hit in hits)
        answers = ask(
            run.generator, run.task.schema, self._settings.sampling(run.task), [prompt for _, prompt in prompted],
            self._journal, usage, lambda: not budget.is_spent(usage), self._outcomes,
        )  # fmt: skip
        at_once = run.at_once if run.judge else CHECKED_AT_ONCE
        with closing(answers):
            for batch in in_order(prompted, answers, self._outcomes, at_once):
                self._seen += len(batch)
                checked = self._quality.check_all([a.hit.document for a in batch], [a.answer for a in batch])
                for answered, found in zip(batch, checked, strict=True):
                    yield self._judged(answered, found)

    def _judged(self, answered: Answered, found: Checked) -> Sample | Reject:
        """Add a sample to those that are kept, or to the rejects."""
        (hit, prompt, answer), fields, verdicts = answered, found.fields, list(found.verdicts)
        self._result.documents += hit.document.id != self._document
        self._document = hit.document.id
        if self._people:
            fields, verdicts = self._people.decide(hit.document, hit.similarity, fields, verdicts)
        if not verdicts[-1].keep or len(self._result.samples) >= self._wanted:
            return self._result.reject(_reject(hit, answer, fields, verdicts[-1]))
        before, fields = fields, self._shuffle.shuffled(hit.document.id, fields)
        reasoning = found.reasoning if self._settings.keep_reasoning else ""
        sample = Sample(fields, hit, replace(prompt, messages=()), answer, tuple(verdicts), reasoning)
        self._result.samples.append(sample)
        vector = found.vector if before is found.fields else self._quality.vector_of(before)
        if vector is not None:
            self._drawn.add(prompt.key, (vector.copy(), hit.document.id))
        return sample

    def _finish(self) -> Iterator[Reject]:
        """Add what can be said at the end."""
        result, usage, documents = self._result, self._result.usage, self._documents
        self._quality.finish()
        result.review = self._people.summary() if self._people else ""
        if len(result.samples) < self._wanted and self._settings.budget.is_spent(usage):
            result.notes.append(notes.budget_spent(*self._so_far, self._settings))
        result.notes += notes.of_servers(usage)
        if self._marked:
            result.notes.append(notes.chat_markers(self._marked))
        for document, few_shot_id, overlap in documents.left_out:
            reason = "the document is nearly a few-shot's text"
            yield result.reject(Reject(document, LEAKAGE, reason, overlap, few_shot_id))
        if drawn := self._drawn.rows:
            samples = np.stack([vector for vector, _ in drawn])
            of_documents = documents.vectors([document_id for _, document_id in drawn])
            result.vectors = RowVectors(samples, of_documents, self._quality.few_shot_vectors)


class Answered(NamedTuple):
    """The answer to the prompt of a retrieved document."""

    hit: Hit
    prompt: Prompt
    answer: Answer


def in_order(
    prompts: Sequence[tuple[Hit, Prompt]], answers: Iterable[tuple[Prompt, Answer]], outcomes: Outcomes, most: int
) -> Iterator[list[Answered]]:
    """Put answers, which arrive in any order, into that of their prompts; those that got no answer are left out.

    Args:
        prompts: with their documents.
        answers: to these prompts.
        outcomes: tell whether more answers are at hand.
        most: answers that are yielded together, at most. The first comes alone and then twice as many each time, as
            long as they are at hand: nothing is held back until another one comes, or an error.
    """
    waiting, arrived, ready, size = deque(prompts), dict[str, Answer](), list[Answered](), 1
    for prompt, answer in answers:
        arrived[prompt.key] = answer
        while waiting and (found := arrived.get(waiting[0][1].key)) is not None:
            ready.append(Answered(*waiting.popleft(), found))
        if len(ready) >= size or (ready and outcomes.arrived <= outcomes.taken):
            yield ready
            ready, size = [], min(2 * size, most)
    ready += [Answered(hit, prompt, arrived[prompt.key]) for hit, prompt in waiting if prompt.key in arrived]
    if ready:
        yield ready


def _reject(hit: Hit, answer: Answer, fields: Mapping[str, JSON], last: Verdict) -> Reject:
    if last.keep:
        last = Verdict(SURPLUS, False, "passed all checks, but enough samples were kept before it")
    return Reject(
        hit.document, last.check, last.reason, last.score, last.partner,
        answer.text or _ADDRESS.sub("", answer.error), answer.finish_reason, fields, hit.similarity,
    )  # fmt: skip
