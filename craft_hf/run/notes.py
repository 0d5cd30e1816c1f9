"""What a run says of itself, for the log and the report."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence

from craft_hf.base import UNANSWERED, Reject
from craft_hf.generation import Usage
from craft_hf.run.settings import RunSettings


def hopeless(rejects: Sequence[Reject], answers: int) -> str:
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


def of_servers(usage: Usage) -> list[str]:
    """Say what of the answers is not as it was asked for."""
    notes = [
        f"{count} of {usage.answers} answers were given without {left_out}, which the server does not take."
        for left_out, count in usage.left_out.items()
    ]
    if usage.cut_prompts:
        notes.append(cut_prompts(usage))
    if usage.failed:
        notes.append(
            f"{usage.failed} prompts got no answer; why is in the rejects. They are asked again by a larger run."
        )
    return notes


def cut_prompts(usage: Usage) -> str:
    """Say that the server cuts prompts."""
    return (
        f"The server seems to cut prompts: for {usage.cut_prompts} of {usage.answers} it counted fewer tokens than "
        "their text must have, so the model did not see all of it. Raise its context (num_ctx of Ollama, --ctx-size of "
        "llama.cpp), and generate with --fresh."
    )


def no_more_documents(kept: int, wanted: int, seen: int, settings: RunSettings) -> str:
    """Say that the index has no more."""
    used = seen // settings.samples_per_document
    return f"Asked for {wanted} samples, gave {kept}: all {used} documents that the index has for this were used."


def too_many_prompts(kept: int, wanted: int, seen: int, settings: RunSettings) -> str:
    """Say that too many answers were dropped."""
    return (
        f"Asked for {wanted} samples, gave {kept}: stopped after {seen} prompts, {settings.prompts_per_sample} for "
        "each sample wanted (prompts_per_sample); see the reasons of the drops, and try a stronger generator."
    )


def budget_spent(kept: int, wanted: int, seen: int, settings: RunSettings) -> str:
    """Say that the budget ended the run."""
    return (
        f"Asked for {wanted} samples, gave {kept}: max_budget of {settings.budget} was spent on {seen} prompts. With a "
        "higher one the run goes on from here."
    )


def chat_markers(marked: int) -> str:
    """Say that documents hold chat markers."""
    return f"{marked} documents hold chat markers such as <|im_end|>; in the prompts these are broken up by a blank."


def forecast(kept: int, wanted: int, seen: int, usage: Usage, settings: RunSettings) -> str:
    """Say how many prompts, and how much of the budget, the whole run will take by what came so far.

    Args:
        kept: samples so far, 1 or more.
        wanted: samples in all.
        seen: prompts so far.
        usage: so far.
        settings: of the run.
    """
    budget = settings.budget
    spent, scale = budget.spent(usage), wanted / kept
    said = f"{kept:,} of {wanted:,} samples from {seen:,} prompts; at this rate {seen * scale:,.0f} prompts in all"
    said += f", {spent * scale:,.2f} in money" if budget.prices else f", {spent * scale:,.0f} tokens"
    if budget.limit is not None and spent * scale > budget.limit:
        said += f": max_budget of {budget} will end the run after about {kept * budget.limit / spent:,.0f} samples"
    return said + "."
