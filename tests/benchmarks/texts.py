"""Real texts for the duplicates' benchmark: questions and sentences of a data folder, with reworded copies."""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

QUESTIONS = ("eval_bioqa", "eval_csqa", "eval_medqa", "retrieval_squad")
SENTENCES = "corpus_textbooks"
_COMMON = {
    "which": "what", "large": "big", "because": "since", "usually": "often", "show": "demonstrate", "many": "several",
    "also": "too", "use": "employ", "used": "employed", "such": "like", "help": "aid", "begin": "start",
    "small": "tiny",
    "important": "essential", "called": "named", "however": "but", "different": "various", "form": "shape",
}  # fmt: skip


def read(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """Yield the records of one file of the data folder."""
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def reworded(text: str, rng: random.Random) -> str:
    """Say a text a little differently: one to four changes of words, endings, letters or their order."""
    words = text.split()
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(words))
        kind = rng.randrange(7)
        word = words[at]
        if kind == 0 and len(words) > 4:
            del words[at]
        elif kind == 1:
            words.insert(at, rng.choice(["also", "the", "often", "in fact", "most", "please"]))
        elif kind == 2:
            words[at] = word.removesuffix("s") if word.endswith("s") else f"{word}s"
        elif kind == 3 and len(word) > 4:
            cut = rng.randrange(1, len(word) - 1)
            words[at] = word[:cut] + word[cut + 1 :]
        elif kind == 4:
            words = words[at:] + words[:at]
        elif kind == 5:
            words = [_COMMON.get(w.lower(), w) for w in words]
        else:
            words[at] = word.upper()
    return " ".join(words)


def with_reworded(folder: Path, count: int, seed: int = 0) -> list[str]:
    """Return distinct real texts, half questions and half sentences where there are enough, a fifth of them reworded.

    Args:
        folder: where the files are.
        count: how many texts in all.
        seed: draws the texts and the changes.
    """
    rng = random.Random(seed)
    questions = list(dict.fromkeys(row["question"] for name in QUESTIONS for row in read(folder, name)))
    parts = (s for row in read(folder, SENTENCES) for s in re.split(r"(?<=[.!?])\s+|\n+", row["text"]))
    sentences = list(dict.fromkeys(s for s in parts if 40 < len(s) < 300))
    originals = count * 4 // 5
    texts = rng.sample(questions, min(originals // 2, len(questions)))
    texts += rng.sample(sentences, originals - len(texts))
    rng.shuffle(texts)
    for text in rng.choices(texts, k=count - len(texts)):  # anywhere, also before what they are made from
        texts.insert(rng.randrange(len(texts) + 1), reworded(text, rng))
    return texts
