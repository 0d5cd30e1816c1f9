"""The win rate: both orders, ties, and length control, with judges that are functions, and one that is a server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from craft_hf.base.records import JSON, Answer, Prompt
from craft_hf.evaluation.items import Item
from craft_hf.evaluation.judge import length_controlled_win_rate, score_win_rate
from craft_hf.evaluation.statistics import Scores
from craft_hf.generation.generator import Sampling, ignore_answer, send_all
from craft_hf.generation.server.generator import ServerGenerator
from tests.openai_server import FakeServer, Reply, ok, serving

Choose = Callable[[str, str], str]


class Judge:
    """A judge whose verdict is a function of the two answers shown, in place of a model."""

    def __init__(self, choose: Choose) -> None:
        self.choose, self.asked = choose, 0
        self.identity: Mapping[str, JSON] = {"model": "judge", "revision": choose.__name__, "weights": "none"}

    def generate(
        self,
        prompts: Sequence[Prompt],
        schema: Mapping[str, JSON],
        sampling: Sampling,
        should_send: Callable[[Prompt], bool] = send_all,
        on_answer: Callable[[Prompt, Answer], None] = ignore_answer,
    ) -> Iterator[tuple[Prompt, Answer]]:
        """Answer the prompts that should be sent."""
        assert sampling.temperature == 0
        for prompt in filter(should_send, prompts):
            self.asked += 1
            answer = Answer(self.choose(*shown(prompt.messages[0]["content"])), "stop")
            on_answer(prompt, answer)
            yield prompt, answer


def shown(text: str) -> tuple[str, str]:
    """Return the two answers in a prompt."""
    first, second = text.split("\n\nAnswer A:\n", 1)[1].split("\n\nAnswer B:\n")
    return first, second


def best(first: str, second: str) -> str:
    """Prefer the answer with the higher number."""
    return json.dumps({"better": "A" if int(first.split()[0]) > int(second.split()[0]) else "B"})


def first(_first: str, _second: str) -> str:
    """Always prefer the first answer."""
    return '{"better": "A"}'


def nothing(_first: str, _second: str) -> str:
    """Give no valid verdict."""
    return '{"better": "both"}'


ITEMS = [Item(str(n), f"Say {n}.", "5 human") for n in range(4)]
ANSWERS = [Answer(text, "stop") for text in ("9 good", "1 bad", "8 good", "")]


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("craft_hf.evaluation.judge._RESAMPLES", 100)


def by_name(scores: list[Scores]) -> dict[str, Scores]:
    """Return scores by measure."""
    return {s.measure: s for s in scores}


def test_a_consistent_judge_gives_wins_and_losses(home: Path) -> None:
    """Both orders agree; an empty answer loses without a call; a second evaluation sends nothing."""
    judge = Judge(best)
    found = by_name(score_win_rate(ITEMS, ANSWERS, judge))
    assert found["win_rate"].values == (1, 0, 1, 0)
    assert found["same_in_both_orders"].value == 1
    assert found["prefers_first"].value == 0.5
    assert judge.asked == 6
    again = by_name(score_win_rate(ITEMS, ANSWERS, judge))
    assert (judge.asked, again) == (6, found)


def test_a_judge_that_prefers_a_position_gives_ties(home: Path) -> None:
    """Verdicts that disagree count as a tie, and show in the figures on the judge."""
    found = by_name(score_win_rate(ITEMS, ANSWERS, Judge(first)))
    assert found["win_rate"].values == (0.5, 0.5, 0.5, 0)
    assert found["same_in_both_orders"].values == (0, 0, 0, 1)
    assert found["prefers_first"].value == 1


def test_a_judge_without_verdicts_gives_ties(home: Path) -> None:
    """A missing verdict counts as a tie, and there is no figure on the judge's preferred position."""
    found = by_name(score_win_rate(ITEMS, ANSWERS, Judge(nothing)))
    assert found["win_rate"].values == (0.5, 0.5, 0.5, 0)
    assert "prefers_first" not in found


def test_any_generator_can_judge(home: Path) -> None:
    """A server gets one request with the schema for each order."""

    class Choosing(FakeServer):
        def reply_to(self, body: dict[str, JSON]) -> Reply:
            super().reply_to(body)
            messages = body["messages"]
            assert isinstance(messages, list)
            return ok(best(*shown(messages[-1]["content"])))  # type: ignore[call-overload, index]

    with serving(Choosing()) as server:
        found = by_name(score_win_rate(ITEMS, ANSWERS, ServerGenerator(server.url)))
    assert found["win_rate"].values == (1, 0, 1, 0)
    assert found["win_rate"].description == "win rate against the human answer, ties count half, judged by tiny"
    assert len(server.requests) == 6


def test_length_controlled_win_rate_removes_the_effect_of_length() -> None:
    """If verdicts depend on length alone, the rate is one half, although most answers are longer and win."""
    rng = np.random.default_rng(4)
    sizes = rng.normal(120, 60, 400).clip(10).astype(int)
    items = [Item(str(n), "", "x" * 100) for n in range(400)]
    answers = [Answer("x" * int(size), "stop") for size in sizes]
    verdicts = (rng.random(400) < 1 / (1 + np.exp(-2 * np.tanh((sizes - 100) / (sizes - 100).std())))).astype(float)
    plain = float(verdicts.mean())
    found = length_controlled_win_rate(items, answers, verdicts.tolist())
    assert plain > 0.6
    assert found.low < 0.5 < found.high
    assert abs(found.value - 0.5) < 0.08 < plain - 0.5
    assert (found.n, found.values) == (400, ())


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_length_controlled_win_rate_of_equal_verdicts_is_the_win_rate(value: float) -> None:
    """With only wins, losses or ties, and answers as long as the human ones, there is nothing to control for."""
    answers = [Answer("x" * 7, "stop") for _ in ITEMS]
    found = length_controlled_win_rate(ITEMS, answers, [value] * 4)
    assert (found.value, found.low, found.high) == pytest.approx((value, value, value))
