"""The judge: it answers with and without the document, or gives points; models are stood in for by functions here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from craft_hf.base.records import JSON, Answer, Prompt
from craft_hf.generation.generator import Sampling
from craft_hf.quality.check import Ask
from craft_hf.quality.judge import JudgeCheck
from craft_hf.tasks.task import load_task
from tests.quality_samples import PLANTS, context, sample


def asking(reply: Callable[[str, Sampling], str], seen: list[tuple[Prompt, Sampling]] | None = None) -> Ask:
    """A model that answers by a function of the prompt's text; it stands in for one that understands."""

    def ask(
        prompts: Sequence[Prompt], schema: Mapping[str, JSON], sampling: Sampling
    ) -> Iterator[tuple[Prompt, Answer]]:
        for prompt in prompts:
            if seen is not None:
                seen.append((prompt, sampling))
            yield prompt, Answer(reply(prompt.messages[0]["content"], sampling), "stop")

    return ask


def knowing(text: str, _: Sampling) -> str:
    """Find the letter of carbon dioxide."""
    letter = next(line[0] for line in text.splitlines() if line.endswith(". Carbon dioxide"))
    return json.dumps({"answer": letter})


def reading(text: str, sampling: Sampling) -> str:
    """Know it only where the document is there."""
    return knowing(text, sampling) if PLANTS.text in text else json.dumps({"answer": "D"})


def guessing(text: str, _: Sampling) -> str:
    """Always say B."""
    return '{"answer": "B"}'


@pytest.mark.parametrize(
    ("reply", "draws", "keep", "reason", "score"),
    [
        (reading, 1, True, "", 1.0),
        (reading, 3, True, "", 1.0),
        (knowing, 1, True, "too easy: right without the document as well", 1.0),
        (guessing, 1, False, "answers otherwise with the document", 0.0),
        (guessing, 4, False, "answers otherwise with the document", 0.25),
        (lambda *_: "no JSON", 1, False, "gave no answer", None),
    ],
)
def test_a_sample_is_kept_if_the_judge_answers_it_with_the_document(
    reply: Callable[[str, Sampling], str], draws: int, keep: bool, reason: str, score: float | None
) -> None:
    """Right with the document: kept; without it as well: kept with a remark; liking a letter is not being right."""
    verdict = JudgeCheck(context(ask=asking(reply), judge_draws=draws)).check(sample())
    assert (verdict.check, verdict.keep, verdict.reason, verdict.score) == ("judge", keep, reason, score)


def test_draws_differ_in_seed_and_order_of_options() -> None:
    """One draw takes the likeliest token; several are drawn, with the options moved on."""
    seen: list[tuple[Prompt, Sampling]] = []
    JudgeCheck(context(ask=asking(reading, seen), seed=7)).check(sample())
    assert {sampling.temperature for _, sampling in seen} == {0.0}
    assert len(seen) == 2
    seen.clear()
    JudgeCheck(context(ask=asking(reading, seen), judge_draws=3, seed=7)).check(sample())
    assert sorted({sampling.seed for _, sampling in seen}) == [7, 8, 9]
    assert len({prompt.key for prompt, _ in seen}) == len(seen) == 6


def test_without_options_the_rubric_is_scored() -> None:
    """Three points of five are enough; the mean of the draws counts."""
    of = load_task("recipegen")
    recipe: dict[str, Any] = {"instruction": "Bake bread", "ingredients": ["flour"], "steps": ["Bake."]}
    for points, keep, reason in (([4, 2], True, ""), ([2, 3], False, "too few points by the rubric")):
        replies = {n: json.dumps({"points": p}) for n, p in enumerate(points)}
        asked = asking(lambda text, sampling, r=replies: r[sampling.seed] if of.rubric in text else "")  # type: ignore[misc]
        verdict = JudgeCheck(context(of, ask=asked, judge_draws=2)).check(sample(recipe))
        assert (verdict.keep, verdict.reason, verdict.score) == (keep, reason, sum(points) / 2)


def test_nothing_to_judge_asks_nobody() -> None:
    """No samples, no calls."""
    JudgeCheck(context(ask=asking(lambda *_: pytest.fail("asked")))).prepare([])
