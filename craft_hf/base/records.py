"""The frozen records that the steps of the pipeline exchange; they hold no types of other libraries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

JSON = None | bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"]
"""Any value that `json.dumps` takes."""


def fingerprint(value: JSON) -> str:
    """Return a short hash of plain data, the same on every machine and in every process.

    Args:
        value: anything that `json.dumps` takes; the order of keys does not matter.

    Returns:
        The first 16 hexadecimal digits of a BLAKE2b digest (64 bits).

    Raises:
        TypeError: `value` holds something that JSON cannot represent.
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class FewShot:
    """A human-written example of the task: a text, and the sample that a person wrote for it."""

    id: str
    text: str
    sample: Mapping[str, JSON]
    source: str = ""
    license: str = ""


@dataclass(frozen=True)
class Document:
    """A human-written text of the corpus, with its provenance."""

    id: str
    text: str
    source: str = ""
    title: str = ""
    url: str = ""
    license: str = ""
    author: str = ""


@dataclass(frozen=True)
class Hit:
    """A retrieved document, with its similarity and the branches of retrieval that found it.

    Attributes:
        document: what was retrieved.
        similarity: cosine similarity in the branch that placed the document: to one few-shot, or the mean over all
            few-shots for the branch "average" and for documents drawn at random.
        retrieved_by: few-shot ids and "average", the branch that placed the document first; or "random" alone.
    """

    document: Document
    similarity: float
    retrieved_by: tuple[str, ...]


@dataclass(frozen=True)
class Prompt:
    """The prompt for one document.

    Attributes:
        key: hash of the messages; `prompt_hash` in the rows.
        document_id: of the document.
        messages: chat turns with "role" and "content".
        few_shot_ids: the few-shots that are shown, in order.
    """

    key: str
    document_id: str
    messages: tuple[Mapping[str, str], ...]
    few_shot_ids: tuple[str, ...]


CUT, OVERLONG, REFUSED = "length", "overlong", "refusal"
"""Why an answer is none of the task: the limit of new tokens cut it, a text in it was longer than the schema allows, so
that it was given up, or the model declined."""

PROMPT_TOO_LONG, FILTERED, FAILED = "prompt_too_long", "content_filter", "request_failed"
"""Why there is no answer: the prompt does not fit into the model's context, the server's filter stopped it, or every
request for this prompt failed."""

UNANSWERED = (PROMPT_TOO_LONG, FILTERED, FAILED)
"""All of these."""


@dataclass(frozen=True)
class Answer:
    """A model's answer, or why there is none.

    Attributes:
        text: what the model wrote.
        finish_reason: "stop" for a finished answer, or one of the constants above; servers may give others.
        prompt_tokens: of the prompt.
        completion_tokens: of the answer.
        cached_tokens: those of the prompt's tokens that were in the model's prefix cache.
        reasoning: what a server gave as the model's reasoning, apart from the text.
        left_out: parameters of the request that the server does not take, separated by commas.
        prompt_is_cut: the server counted fewer tokens of the prompt than its text must have.
        error: why the request failed, for `FAILED`.
    """

    text: str
    finish_reason: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning: str = ""
    left_out: str = ""
    prompt_is_cut: bool = False
    error: str = ""

    @property
    def is_answer(self) -> bool:
        """Whether the model answered at all; otherwise nothing is to be kept, for the next request may be answered."""
        return self.finish_reason not in UNANSWERED


@dataclass(frozen=True)
class Verdict:
    """What a quality check says of a sample: keep it, or drop it with a reason.

    Attributes:
        check: name of the check.
        keep: whether the sample passes.
        reason: why it is dropped; a sample that is kept may have one too, as a remark, such as "too easy".
        score: what was measured, if anything.
        partner: id of the few-shot or document that it was measured against, if any.
    """

    check: str
    keep: bool
    reason: str = ""
    score: float | None = None
    partner: str = ""


@dataclass(frozen=True)
class Sample:
    """A sample of the task, generated from one document, with its whole provenance.

    `reasoning` is what the model wrote before it.
    """

    fields: Mapping[str, JSON]
    hit: Hit
    prompt: Prompt
    answer: Answer
    verdicts: tuple[Verdict, ...] = ()
    reasoning: str = ""


@dataclass(frozen=True)
class Reject:
    """What became no row, with its document, the stage and the reason."""

    document: Document
    check: str
    reason: str
    score: float | None = None
    partner: str = ""
    answer: str = ""
    finish_reason: str = ""
    fields: Mapping[str, JSON] = field(default_factory=dict)
    similarity: float | None = None

    @property
    def document_id(self) -> str:
        """The id of the document."""
        return self.document.id
