"""The records that travel through the pipeline: plain, frozen, and free of any library's types.

In: nothing. Out: `FewShot`, `Document`, `Hit`, `Prompt`, `Answer`, `Sample`, `Verdict`, `Reject`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

JSON = None | bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"]
"""Anything that `json.dumps` takes."""


def fingerprint(value: JSON) -> str:
    """Return a short hash of plain data that is the same on every machine and in every process.

    Args:
        value: anything that `json.dumps` takes; the order of keys does not matter.

    Returns:
        The first 16 hexadecimal digits of a BLAKE2b digest (64 bits).

    Raises:
        TypeError: `value` holds something that JSON cannot say.
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class FewShot:
    """A human-written example of the task: a document, and the sample that a person made of it."""

    id: str
    text: str
    sample: Mapping[str, JSON]
    source: str = ""
    license: str = ""


@dataclass(frozen=True)
class Document:
    """A human-written text of the corpus, with where it came from."""

    id: str
    text: str
    source: str = ""
    title: str = ""
    url: str = ""
    license: str = ""


@dataclass(frozen=True)
class Hit:
    """A retrieved document, with the similarity that found it and who found it.

    `similarity` is the cosine similarity of the branch that placed the document: to one few-shot, or the mean over
    all few-shots for the branch "average" and for documents drawn at random. `retrieved_by` names few-shot ids and
    "average", the placing branch first; or it is "random" alone.
    """

    document: Document
    similarity: float
    retrieved_by: tuple[str, ...]


@dataclass(frozen=True)
class Prompt:
    """What the model is asked about one document.

    `messages` are chat turns with "role" and "content"; `key` is their hash and stands for the prompt in the rows
    (`prompt_hash`).
    """

    key: str
    document_id: str
    messages: tuple[Mapping[str, str], ...]
    few_shot_ids: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What the model gave back: its text, why it stopped, and the tokens that were paid for.

    `finish_reason` is "stop" for a finished answer, "length" for one that the token limit cut, "overlong" for one that
    was given up because a text in it is longer than the schema allows, "prompt_too_long" for a prompt that was never
    sent because it does not fit into the model's context. `cached_tokens` are those of the prompt's tokens that the
    model did not have to read again, because it had read them as the beginning of another prompt.
    """

    text: str
    finish_reason: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True)
class Verdict:
    """What a quality check says of a sample: keep it, or drop it with a reason.

    `score` is what was measured and `partner` the id of the few-shot or document that it was measured against, where
    there is one. A sample that is kept may have a reason too: a remark, such as "too easy".
    """

    check: str
    keep: bool
    reason: str = ""
    score: float | None = None
    partner: str = ""


@dataclass(frozen=True)
class Sample:
    """A sample of the task, made from one document, with all that is known of how it came about."""

    fields: Mapping[str, JSON]
    hit: Hit
    prompt: Prompt
    answer: Answer
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True)
class Reject:
    """A document that did not become a row, with the stage and the reason."""

    document_id: str
    check: str
    reason: str
    score: float | None = None
    partner: str = ""
    answer: str = ""
    finish_reason: str = ""
    fields: Mapping[str, JSON] = field(default_factory=dict)
    similarity: float | None = None
