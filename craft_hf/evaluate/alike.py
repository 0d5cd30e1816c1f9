"""How near written answers are to the human ones: texts come in, ROUGE and the similarity of embeddings go out."""

from __future__ import annotations

from collections.abc import Sequence

from craft_hf.base import Answer, Embedder, require
from craft_hf.evaluate.items import Item
from craft_hf.evaluate.statistics import Scores, summarize

ROUGES = ("rouge1", "rouge2", "rougeL")


def rouge(items: Sequence[Item], answers: Sequence[Answer], *, seed: int = 0) -> list[Scores]:
    """Return ROUGE-1, ROUGE-2 and ROUGE-L of the answers against the human ones, as F-measures with stemming.

    By the package rouge-score, which repeats the original Perl script (C.-Y. Lin, ROUGE: a package for automatic
    evaluation of summaries, 2004); it knows words of a-z and 0-9 only, so it suits English.

    Args:
        items: with their references.
        answers: one for each item, in order.
        seed: draws the bootstrap samples.

    Raises:
        MissingExtra: rouge-score is not installed.
    """
    scorer = require("rouge_score.rouge_scorer", "evaluate").RougeScorer(list(ROUGES), use_stemmer=True)
    found = [scorer.score(item.reference, answer.text) for item, answer in zip(items, answers, strict=True)]
    ids = [item.id for item in items]
    return [
        summarize(name, f"{name} (F) of written and human answers", ids, [f[name].fmeasure for f in found], seed=seed)
        for name in ROUGES
    ]


def similarity(items: Sequence[Item], answers: Sequence[Answer], embedder: Embedder, *, seed: int = 0) -> list[Scores]:
    """Return the cosine similarity of the embeddings of written and human answers; an empty answer has 0.

    Like BERTScore it sees another wording of the same, but it compares whole texts, not their tokens, and only as far
    as the embedder reads (256 tokens for all-MiniLM-L6-v2).

    Args:
        items: with their references.
        answers: one for each item, in order.
        embedder: of the texts.
        seed: draws the bootstrap samples.
    """
    written = embedder.encode([answer.text or "-" for answer in answers])
    human = embedder.encode([item.reference for item in items])
    cosines = (written * human).sum(1).tolist()
    values = [cosine if answer.text else 0.0 for cosine, answer in zip(cosines, answers, strict=True)]
    what = f"cosine similarity of written and human answers by {embedder.model}"
    return [summarize("embedding_similarity", what, [item.id for item in items], values, seed=seed)]
