"""Overlap of written answers with the human reference answers: ROUGE and the cosine similarity of embeddings."""

from __future__ import annotations

from collections.abc import Sequence

from craft_hf.base import Answer, Embedder, require
from craft_hf.evaluation.items import Item
from craft_hf.evaluation.statistics import Scores, summarize

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL")


def score_rouge(items: Sequence[Item], answers: Sequence[Answer], *, seed: int = 0) -> list[Scores]:
    """Return ROUGE-1, ROUGE-2 and ROUGE-L F-measures, with stemming, of the answers against the references.

    Computed by the package rouge-score, which reproduces the original Perl script (C.-Y. Lin, ROUGE: a package for
    automatic evaluation of summaries, 2004). Its tokenizer keeps a-z and 0-9 only, so the scores suit English.

    Args:
        items: with their references.
        answers: one for each item, in the same order.
        seed: of the bootstrap.

    Raises:
        MissingExtra: rouge-score is not installed.
    """
    scorer = require("rouge_score.rouge_scorer", "evaluate").RougeScorer(list(ROUGE_TYPES), use_stemmer=True)
    rouge = [scorer.score(item.reference, answer.text) for item, answer in zip(items, answers, strict=True)]
    ids = [item.id for item in items]
    return [
        summarize(
            name, f"{name} F-measure of the written answers", ids, [scores[name].fmeasure for scores in rouge],
            seed=seed,
        )
        for name in ROUGE_TYPES
    ]  # fmt: skip


def score_embedding_similarity(
    items: Sequence[Item], answers: Sequence[Answer], embedder: Embedder, *, seed: int = 0
) -> list[Scores]:
    """Return the cosine similarity of the embeddings of written answers and references; an empty answer scores 0.

    Like BERTScore it recognises paraphrases, but it compares whole texts instead of tokens, and it ignores whatever
    exceeds the embedder's context (256 tokens for all-MiniLM-L6-v2).

    Args:
        items: with their references.
        answers: one for each item, in the same order.
        embedder: embeds both sides.
        seed: of the bootstrap.
    """
    written = embedder.encode([answer.text or "-" for answer in answers])
    references = embedder.encode([item.reference for item in items])
    cosines = (written * references).sum(1).tolist()
    values = [cosine if answer.text else 0.0 for cosine, answer in zip(cosines, answers, strict=True)]
    description = f"cosine similarity of written and human answers by {embedder.model}"
    return [summarize("embedding_similarity", description, [item.id for item in items], values, seed=seed)]
