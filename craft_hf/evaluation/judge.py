"""Win rate of written answers against the human ones, by a judge model that compares each pair in both orders.

A judge that prefers a position instead of an answer contradicts itself when the order is swapped: that counts as a tie.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from craft_hf.base import JSON, Answer, Bar, Prompt, chat_message, fingerprint
from craft_hf.evaluation.items import Item
from craft_hf.evaluation.statistics import Scores, percentile_interval, summarize
from craft_hf.generation import Generator, Sampling, Usage, ask, open_journal
from craft_hf.tasks import parse_json

_SCHEMA: dict[str, JSON] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["better"],
    "properties": {"better": {"type": "string", "enum": ["A", "B"]}},
}

_INSTRUCTION = (
    "Two assistants got the same request. Which answer is better: more helpful, more correct, and better written? "
    "Do not let the order of the answers or their length decide. Answer in JSON with the field better: A or B."
)

_RESAMPLES = 1_000


def score_win_rate(
    items: Sequence[Item], answers: Sequence[Answer], judge: Generator, *, seed: int = 0
) -> list[Scores]:
    """Return the win rate of the written answers against the human ones, with two figures on the judge itself.

    - "win_rate": an item counts 1 if the judge prefers the written answer in both orders, 0 if it prefers the human one
      in both, and 0.5 (a tie) if it contradicts itself or gives no verdict. An empty answer loses without a call.
    - "length_controlled_win_rate": see `length_controlled_win_rate`.
    - "same_in_both_orders": share of items on which the judge did not contradict itself.
    - "prefers_first": share of verdicts for the answer that was shown first; omitted where there are no verdicts.

    Swapping the order follows L. Zheng and others, Judging LLM-as-a-judge with MT-Bench and Chatbot Arena, NeurIPS
    2023, section 3.4. The judge decodes greedily, and its answers are kept in its model's journal.

    Args:
        items: with their references.
        answers: one for each item, in the same order.
        judge: the generator that compares the answers.
        seed: of the bootstrap.

    Raises:
        GeneratorError: the judge cannot be reached.
    """
    pairs = [
        (_prompt(item, answer.text, item.reference), _prompt(item, item.reference, answer.text))
        for item, answer in zip(items, answers, strict=True)
    ]
    prompts = [prompt for pair, answer in zip(pairs, answers, strict=True) if answer.text for prompt in pair]
    verdicts = _verdicts(judge, prompts)
    values, same, firsts = [], [], list[float]()
    for (written_first, human_first), answer in zip(pairs, answers, strict=True):
        one, other = verdicts.get(written_first.key, ""), verdicts.get(human_first.key, "")
        wins = {("A", "B"): 1.0, ("B", "A"): 0.0}.get((one, other), 0.5)
        values.append(wins if answer.text else 0.0)
        same.append(float(wins != 0.5 or not answer.text))
        firsts += [float(verdict == "A") for verdict in (one, other) if verdict]
    ids, name = [item.id for item in items], str(judge.identity["model"])
    scores = [
        summarize(
            "win_rate",
            f"win rate against the human answer, ties count half, judged by {name}",
            ids,
            values,
            chance=0.5,
            seed=seed,
        ),
        length_controlled_win_rate(items, answers, values, seed=seed),
        summarize("same_in_both_orders", f"items with the same verdict of {name} in both orders", ids, same, seed=seed),
    ]
    if len(firsts) > 1:
        description = f"verdicts of {name} for the answer shown first; 0.5 is unbiased"
        numbers = [str(n) for n in range(len(firsts))]
        scores.append(summarize("prefers_first", description, numbers, firsts, higher_is_better=None, seed=seed))
    return scores


def length_controlled_win_rate(
    items: Sequence[Item], answers: Sequence[Answer], values: Sequence[float], *, seed: int = 0
) -> Scores:
    """Return the win rate to be expected if both answers had the same length.

    The verdicts are regressed (logistic regression) on tanh(d / s), where d is the length of the written answer minus
    that of the human one, in characters, and s the standard deviation of d; the result is the prediction at d = 0. This
    is a simple form of Y. Dubois, B. Galambosi, P. Liang, T. B. Hashimoto, Length-controlled AlpacaEval, 2024, arXiv
    2404.04475. Where all written answers are shorter, or all are longer, the figure is an extrapolation: compare the
    measure "length".

    Args:
        items: with their references.
        answers: one for each item, in the same order.
        values: 1 for a win, 0 for a loss, 0.5 for a tie; one for each item.
        seed: of the bootstrap, which draws 1,000 resamples.
    """
    longer = np.array([len(a.text) - len(i.reference) for i, a in zip(items, answers, strict=True)], float)
    wins = np.array(values, float)
    by_length = np.tanh(longer / (longer.std() or 1.0))
    rng, means = np.random.default_rng(seed), []
    for _ in range(_RESAMPLES):
        rows = rng.integers(len(wins), size=len(wins))
        means.append(_at_zero(by_length[rows], wins[rows]))
    low, high = percentile_interval(np.array(means))
    description = "win rate expected at equal length, by logistic regression"
    value = _at_zero(by_length, wins)
    return Scores("length_controlled_win_rate", description, value, low, high, "bootstrap", len(wins), chance=0.5)


def _at_zero(by_length: np.ndarray, wins: np.ndarray) -> float:
    """Return the predicted win rate at equal length. Each item enters as a win and a loss, weighted 0.5 in a tie."""
    from sklearn.linear_model import LogisticRegression

    if wins.min() == wins.max():
        return float(wins[0])
    column = np.concatenate([by_length, by_length])[:, None]
    classes = np.concatenate([np.ones(len(wins)), np.zeros(len(wins))])
    fitted = LogisticRegression().fit(column, classes, sample_weight=np.concatenate([wins, 1 - wins]))
    return float(fitted.predict_proba([[0.0]])[0, 1])


def _verdicts(judge: Generator, prompts: Sequence[Prompt]) -> dict[str, str]:
    """Return the verdicts, "A" or "B", by prompt key, without those that cannot be parsed."""
    sampling, verdicts = Sampling(temperature=0.0, max_new_tokens=32), {}
    with open_journal(judge, sampling) as journal, Bar("Judging", len(prompts), "verdicts") as bar:
        for prompt, answer in ask(judge, _SCHEMA, sampling, prompts, journal, Usage(), lambda: True):
            if verdict := _parse_verdict(answer.text):
                verdicts[prompt.key] = verdict
            bar.update()
    return verdicts


def _parse_verdict(text: str) -> str:
    try:
        found = parse_json(text)
    except ValueError:
        return ""
    verdict = found.get("better") if isinstance(found, dict) else None
    return verdict if isinstance(verdict, str) and verdict in ("A", "B") else ""


def _prompt(item: Item, first: str, second: str) -> Prompt:
    text = f"{_INSTRUCTION}\n\nRequest:\n{item.prompt}\n\nAnswer A:\n{first}\n\nAnswer B:\n{second}"
    messages = (chat_message("user", text),)
    return Prompt(fingerprint([dict(m) for m in messages]), item.id, messages, ())
