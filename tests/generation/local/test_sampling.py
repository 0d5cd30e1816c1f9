"""The sampler's draws against exact probabilities: temperature, top-k and top-p, alone, together, under a grammar."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from craft_hf.generation.generator import Sampling
from craft_hf.generation.local.decoding import sample_tokens

VOCABULARY, DRAWS, LEAST_P = 40, 40_000, 1e-4


def exact(logits: list[float], sampling: Sampling) -> list[float]:
    """Return the probability of each token, by sorting and adding in plain Python."""
    scaled = [value / sampling.temperature for value in logits]
    order = sorted(range(len(scaled)), key=lambda token: -scaled[token])
    order = [token for token in order[: sampling.top_k or len(order)] if scaled[token] > -math.inf]
    weights = {token: math.exp(scaled[token] - scaled[order[0]]) for token in order}
    total, before, kept = sum(weights.values()), 0.0, {}
    for token in order:
        if before >= sampling.top_p:
            break
        kept[token] = weights[token]
        before += weights[token] / total
    return [kept.get(token, 0.0) / sum(kept.values()) for token in range(len(logits))]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("temperature", "top_p", "top_k"),
    [(1.0, 1.0, 0), (0.5, 1.0, 0), (2.0, 1.0, 0), (1.0, 0.6, 0), (1.0, 1.0, 7), (0.7, 0.9, 40), (1.5, 0.8, 12),
     (1.0, 0.9, 1)],
)  # fmt: skip
def test_tokens_are_drawn_with_their_probabilities(temperature: float, top_p: float, top_k: int, masked: bool) -> None:
    """No token that is cut off or masked is ever drawn, and a chi-squared test finds no difference for the others."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, VOCABULARY).astype(np.float32)
    if masked:  # as the grammar does; the likeliest token is among them
        logits[[int(logits.argmax()), 3, 5, 8, 13, 21]] = -np.inf
    sampling = Sampling(temperature, top_p, top_k)
    expected = np.array(exact(logits.tolist(), sampling))
    drawn = sample_tokens(torch.from_numpy(logits).expand(DRAWS, -1), sampling, rng.random(DRAWS))
    counts = np.bincount(drawn, minlength=VOCABULARY)
    assert not counts[expected == 0].any()
    possible = expected > 0
    if possible.sum() > 1:
        assert chisquare(counts[possible], DRAWS * expected[possible]).pvalue > LEAST_P


def test_rows_do_not_depend_on_each_other() -> None:
    """The same row and number give the same token in whatever batch it is drawn."""
    rng = np.random.default_rng(1)
    logits, uniforms = torch.from_numpy(rng.normal(0, 1, (64, VOCABULARY)).astype(np.float32)), rng.random(64)
    together = sample_tokens(logits, Sampling(), uniforms)
    assert together == [sample_tokens(logits[i : i + 1], Sampling(), uniforms[i : i + 1])[0] for i in range(64)]
