"""Which answer is better? A judge model sees each written answer beside the human one, in both orders.

A judge that prefers what it reads first, or last, contradicts itself when the order is turned: that is a tie.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from craft_hf.base import JSON, Answer, Prompt, fingerprint
from craft_hf.evaluate.items import Item
from craft_hf.evaluate.statistics import Scores, percentiles, summarize
from craft_hf.generate import Generator, Sampling, Usage, ask, open_journal

_SCHEMA: dict[str, JSON] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["better"],
    "properties": {"better": {"type": "string", "enum": ["A", "B"]}},
}

_ASK = (
    "Two assistants got the same request. Which answer is better: more helpful, more correct, and better written? "
    "Do not let the order of the answers or their length decide. Answer in JSON with the field better: A or B."
)

_LC_RESAMPLES = 1_000


def win_rate(
    items: Sequence[Item], answers: Sequence[Answer], judge: Generator, *, seed: int = 0, progress: bool = True
) -> list[Scores]:
    """Return how often the written answers beat the human ones; ties count as half.

    Four figures: "win_rate", where an item counts 1 if the judge prefers the written answer in both orders, 0 if the
    human one in both, and 0.5 if it contradicts itself or gives no answer; "win_rate_equal_length" (see there); and two
    about the judge: "same_in_both_orders", the share of items on which it did not contradict itself, and
    "prefers_first", the share of its verdicts for what stood first. An empty answer loses unasked.

    The rule of two orders is that of L. Zheng and others, Judging LLM-as-a-judge with MT-Bench and Chatbot Arena,
    NeurIPS 2023, section 3.4. The judge takes its likeliest tokens, and its answers are in the journal of its model.

    Args:
        items: with their references.
        answers: one for each item, in order.
        judge: any generator.
        seed: draws the bootstrap samples.
        progress: show a bar.

    Raises:
        GeneratorError: the judge cannot be reached.
    """
    asked = [
        (_prompt(item, answer.text, item.reference), _prompt(item, item.reference, answer.text))
        for item, answer in zip(items, answers, strict=True)
    ]
    wanted = [prompt for pair, answer in zip(asked, answers, strict=True) if answer.text for prompt in pair]
    verdicts = _verdicts(judge, wanted, progress)
    values, same, firsts = [], [], list[float]()
    for (ours_first, ours_last), answer in zip(asked, answers, strict=True):
        one, other = verdicts.get(ours_first.key, ""), verdicts.get(ours_last.key, "")
        wins = {("A", "B"): 1.0, ("B", "A"): 0.0}.get((one, other), 0.5)
        values.append(wins if answer.text else 0.0)
        same.append(float(wins != 0.5 or not answer.text))
        firsts += [float(verdict == "A") for verdict in (one, other) if verdict]
    ids, name = [item.id for item in items], str(judge.identity["model"])
    scores = [
        summarize(
            "win_rate", f"wins against the human answer, ties half, by {name}", ids, values, chance=0.5, seed=seed
        ),
        equal_length(items, answers, values, seed=seed),
        summarize(
            "same_in_both_orders", f"verdicts of {name} that stay when the order is turned", ids, same, seed=seed
        ),
    ]
    if len(firsts) > 1:
        what = f"verdicts of {name} for the answer that it read first; 0.5 is fair"
        numbers = [str(n) for n in range(len(firsts))]
        scores.append(summarize("prefers_first", what, numbers, firsts, higher_is_better=None, seed=seed))
    return scores


def equal_length(items: Sequence[Item], answers: Sequence[Answer], values: Sequence[float], *, seed: int = 0) -> Scores:
    """Return the win rate that is to be expected where both answers are of the same length.

    A logistic regression of the verdicts on tanh(d / s), where d is how many characters longer the written answer is
    and s the standard deviation of d, tells at d = 0 what is left without length; a simple form of Y. Dubois,
    B. Galambosi, P. Liang, T. B. Hashimoto, Length-controlled AlpacaEval, 2024, arXiv 2404.04475. Where all written
    answers are shorter, or all longer, the figure is read off beyond the data: look at "length" beside it.

    Args:
        items: with their references.
        answers: one for each item, in order.
        values: 1 for a win, 0 for a loss, 0.5 for a tie.
        seed: draws the bootstrap samples, of which there are 1,000.
    """
    longer = np.array([len(a.text) - len(i.reference) for i, a in zip(items, answers, strict=True)], float)
    wins = np.array(values, float)
    by_length = np.tanh(longer / (longer.std() or 1.0))
    draw, means = np.random.default_rng(seed), []
    for _ in range(_LC_RESAMPLES):
        rows = draw.integers(len(wins), size=len(wins))
        means.append(_at_zero(by_length[rows], wins[rows]))
    low, high = percentiles(np.array(means))
    what = "win rate to be expected at equal length, by logistic regression"
    value = _at_zero(by_length, wins)
    return Scores("win_rate_equal_length", what, value, low, high, "bootstrap", len(wins), chance=0.5)


def _at_zero(by_length: np.ndarray, wins: np.ndarray) -> float:
    """Chance of a win at equal length; each item is a win and a loss, weighted, so that a tie is half of both."""
    from sklearn.linear_model import LogisticRegression

    if wins.min() == wins.max():
        return float(wins[0])
    column = np.concatenate([by_length, by_length])[:, None]
    classes = np.concatenate([np.ones(len(wins)), np.zeros(len(wins))])
    fitted = LogisticRegression().fit(column, classes, sample_weight=np.concatenate([wins, 1 - wins]))
    return float(fitted.predict_proba([[0.0]])[0, 1])


def _verdicts(judge: Generator, prompts: Sequence[Prompt], progress: bool) -> dict[str, str]:
    """What the judge says of each prompt, by its key: "A" or "B"; no entry where it says nothing of use."""
    from datasets.utils import tqdm

    sampling, verdicts = Sampling(temperature=0.0, max_new_tokens=32), {}
    with (
        open_journal(judge, sampling) as journal,
        tqdm(total=len(prompts), desc="judged", unit=" verdicts", disable=not progress) as bar,
    ):
        for prompt, answer in ask(judge, _SCHEMA, sampling, prompts, journal, Usage(), lambda: True):
            if verdict := _better(answer.text):
                verdicts[prompt.key] = verdict
            bar.update()
    return verdicts


def _better(text: str) -> str:
    try:
        found = json.loads(text)
    except ValueError:
        return ""
    verdict = found.get("better") if isinstance(found, dict) else None
    return verdict if isinstance(verdict, str) and verdict in ("A", "B") else ""


def _prompt(item: Item, first: str, second: str) -> Prompt:
    text = f"{_ASK}\n\nRequest:\n{item.prompt}\n\nAnswer A:\n{first}\n\nAnswer B:\n{second}"
    messages = ({"role": "user", "content": text},)
    return Prompt(fingerprint([dict(m) for m in messages]), item.id, messages, ())
