"""Estimation of a run's prompts, tokens, time and price.

A few of the run's own prompts are sent as a pilot. Their answers are in the journal afterwards, so the run does not pay
for them again.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from craft_hf.base import Answer, Document, InputError, Prompt
from craft_hf.generation import Outcomes, PromptBuilder, Usage, ask, open_journal, running_engines
from craft_hf.retrieval import Documents, open_index
from craft_hf.review import promoted_few_shots
from craft_hf.run.pipeline import open_quality
from craft_hf.run.resolution import ResolvedRun
from craft_hf.tasks import sample_json

MAX_PROMPTS_BUILT = 1_000
"""Most prompts that are built to measure their length; any others are assumed to be as long."""

CHARACTERS_PER_TOKEN = 4.0
"""Assumed for English text if no model was called; a rule of thumb from OpenAI's documentation."""


@dataclass(frozen=True)
class Estimate:
    """Expected size and price of a run.

    Attributes:
        samples: generated rows requested.
        prompts: needed for them, at the share `kept`.
        prompt_tokens: of all prompts.
        shared_tokens: prompt tokens of few-shots with which an earlier prompt begins too; a model with a prefix cache
            does not compute them again.
        completion_tokens: of all answers.
        kept: share of the pilot's answers that the checks keep; None without a pilot, when every prompt is assumed to
            give a sample.
        seconds: of generating; None without a pilot.
        cost: in the currency of the prices; None without prices.
        pilot_prompts: prompts sent for the estimate.
        notes: warnings, as sentences.
        shown: messages of the first prompts, as many as were asked for.
    """

    samples: int
    prompts: int
    prompt_tokens: int
    shared_tokens: int
    completion_tokens: int
    kept: float | None
    seconds: float | None
    cost: float | None
    pilot_prompts: int
    notes: Sequence[str] = ()
    shown: Sequence[Sequence[Mapping[str, str]]] = ()


def estimate(run: ResolvedRun, pilot: int = 8, show: int = 0) -> Estimate:
    """Build the run's prompts, send some of them, and extrapolate.

    Args:
        run: the run to estimate.
        pilot: prompts to send; with 0 no model is called, and time and share of kept answers remain unknown.
        show: prompts whose messages to return, to read them before they are paid for.

    Raises:
        InputError: pilot or show is below 0.
        CraftError: see `pipeline.steps`.
    """
    for name, value in (("pilot", pilot), ("show", show)):
        if value < 0:
            raise InputError(f"{name} is {value}, expected 0 or more.")
    samples = run.settings.rows_wanted(run.task)
    documents = run.documents(open_index(run.settings.index))
    promoted = promoted_few_shots(run.settings.review, run.task) if run.settings.review else []
    builder = PromptBuilder(run.task, run.settings.seed, run.settings.prefix_groups, promoted)
    each = run.settings.samples_per_document
    chosen = _prompts(documents, builder, max(samples, pilot), each)[:pilot] if samples else []
    sent = [prompt for _, prompt in chosen]
    usage, answers, outcomes = Usage(), dict[str, Answer](), Outcomes(run.settings.max_failed)
    if sent:
        sampling = run.settings.sampling(run.task)
        with open_journal(run.generator, sampling) as journal, running_engines(run.logs, run.generator):
            asked = ask(run.generator, run.task.schema, sampling, sent, journal, usage, lambda: True, outcomes)
            answers = {prompt.key: answer for prompt, answer in asked}
    answered = [(document, answers[prompt.key]) for document, prompt in chosen if prompt.key in answers]
    kept = _kept(run, documents, answered) if answered else None
    wanted = math.ceil(samples / max(kept if kept is not None else 1.0, 1 / run.settings.prompts_per_sample))
    prompts = [prompt for _, prompt in _prompts(documents, builder, wanted, each)]
    shown = [prompt.messages for _, prompt in builder.build_all(documents.take(0, show), each)[:show]] if show else []
    needed, notes = wanted, []
    if len(prompts) < min(wanted, MAX_PROMPTS_BUILT):
        needed = len(prompts)
        notes.append(f"The index has only {needed} documents for this run; {wanted} are needed.")
    if kept == 0:
        notes.append("The checks kept no answer of the pilot: try a stronger generator before you pay for a run.")
    per_token = sum(map(_characters, sent)) / usage.prompt_tokens if usage.prompt_tokens else CHARACTERS_PER_TOKEN
    read = needed * _mean(map(_characters, prompts)) / per_token
    per_answer = usage.completion_tokens / usage.answers if usage.answers else _few_shot_characters(run) / per_token
    written = needed * per_answer
    budget = run.settings.budget
    cost = budget.prices.cost(read, written) if budget.prices else None
    if budget.limit is not None and (read + written if cost is None else cost) > budget.limit:
        notes.append(f"max_budget of {budget} will end the run before it has {samples} samples.")
    seconds = needed * usage.seconds_generating / usage.answers_generated if usage.answers_generated else None
    if usage.answers and not usage.answers_generated:
        notes.append("All answers of the pilot came from the journal, so the time could not be measured.")
    return Estimate(
        samples, needed, round(read), round(_shared(prompts, needed) / per_token), round(written), kept,
        seconds, cost, len(answers), tuple(notes), shown,
    )  # fmt: skip


def _prompts(documents: Documents, builder: PromptBuilder, count: int, each: int) -> list[tuple[Document, Prompt]]:
    """Return the first prompts in the run's order with their documents; neighbours share few-shots."""
    count = min(count, MAX_PROMPTS_BUILT)
    built = builder.build_all(documents.take(0, math.ceil(count / each)), each)[:count]
    return sorted(((hit.document, prompt) for hit, prompt in built), key=lambda pair: pair[1].few_shot_ids)


def _kept(run: ResolvedRun, documents: Documents, sent: Sequence[tuple[Document, Answer]]) -> float:
    """Return the share of answers that the checks keep; the judge, which costs calls of its own, is left out."""
    quality = open_quality(run, documents.embedder, Usage(), judged=False)
    found = quality.check_all([document for document, _ in sent], [answer for _, answer in sent])
    return _mean(checked.verdicts[-1].keep for checked in found)


def _characters(prompt: Prompt) -> int:
    return sum(len(turn["content"]) for turn in prompt.messages)


def _few_shot_characters(run: ResolvedRun) -> float:
    """Return the mean characters of the few-shots' samples: what an answer will be like."""
    return _mean(len(sample_json(shot.sample)) for shot in run.task.few_shots)


def _shared(prompts: Sequence[Prompt], needed: int) -> float:
    """Return the characters of few-shots that an earlier one of `needed` prompts has brought already."""
    sizes = [_characters(prompt) - len(prompt.messages[-1]["content"]) for prompt in prompts]
    groups = {prompt.few_shot_ids: size for prompt, size in zip(prompts, sizes, strict=True)}
    return max(0.0, needed * _mean(sizes) - sum(groups.values()))


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return statistics.mean(found) if found else 0.0


def estimate_as_text(found: Estimate) -> str:
    """Return the estimate as lines for a person."""
    lines = [
        f"samples wanted      {found.samples:,}",
        f"prompts             {found.prompts:,}"
        + (f" (kept in the pilot: {found.kept:.0%})" if found.kept is not None else " (if every answer is kept)"),
        f"prompt tokens       {found.prompt_tokens:,}, {found.shared_tokens:,} of them few-shots sent before",
        f"completion tokens   {found.completion_tokens:,}",
        f"time                {_duration(found.seconds) if found.seconds is not None else 'not measured'}",
        f"price               {f'{found.cost:.2f}' if found.cost is not None else 'no --price-in, --price-out given'}",
        f"measured on         {found.pilot_prompts} prompts, which the run will not pay for again",
    ]
    for number, messages in enumerate(found.shown, 1):
        lines += ["", f"prompt {number} of {len(found.shown)} shown " + "-" * 60]
        lines += [f"[{message['role']}]\n{message['content']}" for message in messages]
    return "\n".join([*lines, *found.notes])


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def estimate_as_json(found: Estimate) -> str:
    """Return the estimate as JSON."""
    return json.dumps(asdict(found), indent=2)
