"""A prompt's chat completion, sent to the servers until one gives an answer, or it is clear that none will.

What becomes of a request is one of four: it is answered; this prompt cannot be answered, and the run goes on without
it; it is tried again; or no server is left, and the run cannot go on. That is decided by the HTTP status, the shape of
the body, and by what other prompts get meanwhile (see `ConnectionPool`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from craft_hf.base import (
    CUT,
    FAILED,
    FILTERED,
    JSON,
    PROMPT_TOO_LONG,
    REFUSED,
    Answer,
    GeneratorError,
    Prompt,
    fingerprint,
)
from craft_hf.generation.generator import Sampling
from craft_hf.generation.server.dialect import Dialect
from craft_hf.generation.server.endpoints import ChatEndpoint
from craft_hf.generation.server.responses import parse_answer
from craft_hf.generation.server.structured_output import MAX_REASKS, VAIN_REASKS, reask_messages
from craft_hf.servers import Connection, ConnectionPool, Failure, Request
from craft_hf.tasks import AnswerReader

MOST_CHARACTERS_A_TOKEN = 7
"""Characters of a prompt for each of its tokens, more than which no text has on average: English has four to five,
other languages have fewer."""

_REFUSALS = (400, 422, 500)
"""HTTP statuses with which servers refuse a request because of its parameters; 500 is llama-cpp-python's."""

_OF_THE_SEED = (
    "If it is vLLM on a CPU, start it with --no-enable-chunked-prefill, without which it dies of the seed of a request."
)


@dataclass(eq=False)
class PromptRequest(Request):
    """A prompt that is being answered.

    Attributes:
        prompt: what is asked.
        invalid_answer: the last answer that was not valid under the schema, with the tokens of all answers so far.
        problem: why it was invalid.
        reasks: how often the prompt was asked again because of an invalid answer.
        trials: dialects to try at a server that refuses the prompt, and has answered none so far.
        tried_at: that server.
        refusal: the words in which it refused.
    """

    prompt: Prompt
    invalid_answer: Answer | None = None
    problem: str = ""
    reasks: int = 0
    trials: list[Dialect] = field(default_factory=list)
    tried_at: ChatEndpoint | None = None
    refusal: str = ""

    @property
    def is_repeated(self) -> bool:
        """Whether it was sent before."""
        return super().is_repeated or self.invalid_answer is not None

    @property
    def affinity(self) -> tuple[str, ...]:
        """The few-shots, which stand before everything else."""
        return self.prompt.few_shot_ids


@dataclass(frozen=True)
class CompletionSettings:
    """What all requests of one call of `generate` have in common."""

    model: str
    schema: Mapping[str, JSON]
    sampling: Sampling
    reader: AnswerReader
    _parameters: dict[Dialect, Mapping[str, Any]] = field(default_factory=dict)

    async def send(
        self, connection: Connection[ChatEndpoint], request: PromptRequest, dialect: Dialect
    ) -> Answer | Failure:
        """Send a request once; the seed follows from the prompt and the number of reasks."""
        messages = [dict(message) for message in request.prompt.messages]
        if request.invalid_answer:
            messages = reask_messages(messages, request.invalid_answer.text, request.problem, self.schema)
        if dialect not in self._parameters:
            self._parameters[dialect] = dialect.parameters(self.schema, self.sampling)
        body = {"model": self.model, "messages": messages, **self._parameters[dialect]}
        if "seed" not in dialect.without:
            parts: list[JSON] = [request.prompt.key, self.sampling.seed]
            body["seed"] = int(fingerprint([*parts, request.reasks] if request.reasks else parts), 16) % 2**31
        response = await connection.client.post("/chat/completions", body, parse_answer)
        if not isinstance(response, Answer):
            return response
        characters = sum(len(message["content"]) for message in messages)
        is_cut = not request.reasks and 0 < response.prompt_tokens < characters / MOST_CHARACTERS_A_TOKEN
        return replace(response, left_out=dialect.left_out, prompt_is_cut=is_cut)


async def complete(
    pool: ConnectionPool[ChatEndpoint],
    settings: CompletionSettings,
    request: PromptRequest,
    should_send: Callable[[Prompt], bool],
    may_repeat: Callable[[Prompt], bool],
) -> Answer | None:
    """Send a request until there is an answer; return None if `should_send` says no when its turn comes.

    Before each further time that it is sent, `may_repeat` is asked in its place.

    Returns:
        The answer. If there is none for this prompt, its finish_reason is `FAILED`, `FILTERED` or `PROMPT_TOO_LONG`.

    Raises:
        GeneratorError: every server refuses all requests, cannot be reached, or has been too busy for minutes.
    """
    sent = False
    while (connection := await pool.acquire(request)) is not None:
        if not (may_repeat if sent else should_send)(request.prompt):
            pool.release(connection)
            return request.invalid_answer
        endpoint, sent, sent_at = connection.endpoint, True, time.monotonic()
        asked_in = endpoint.dialect
        is_trial = bool(request.trials) and request.tried_at is endpoint
        dialect = request.trials[0] if is_trial else asked_in
        response = await settings.send(connection, request, dialect)
        if isinstance(response, Answer):
            if is_trial and asked_in == endpoint.dialect and not endpoint.has_answered:
                endpoint.adopt(dialect, request.refusal)
            request.trials.clear()
            endpoint.has_answered |= endpoint.dialect == dialect
            pool.release_answered(connection)
            answer = _checked(response, endpoint, settings.reader, request)
            if answer is not None:
                return answer
        elif response.is_too_long:
            pool.release(connection)
            return request.invalid_answer or Answer("", PROMPT_TOO_LONG)
        elif response.is_filtered:
            pool.release(connection)
            return request.invalid_answer or Answer("", FILTERED, error=response.message(endpoint.url))
        elif response.status in _REFUSALS and _ask_in_another_way(
            endpoint, request, asked_in, dialect, response, settings.schema
        ):
            pool.release(connection)
        elif response.retryable:
            await asyncio.sleep(pool.release_failed(connection, request, response, sent_at))
        else:
            pool.release_refused(connection, request, response)
    if request.invalid_answer:
        return request.invalid_answer
    if pool.is_stopped:
        return None
    if pool.is_unreachable or not request.last_failures:
        raise GeneratorError(pool.failure_message(request) + (f". {_OF_THE_SEED}" if pool.has_ended else ""))
    return Answer("", FAILED, error=pool.failure_message(request) if pool.is_down else request.failure_message)


def _ask_in_another_way(
    endpoint: ChatEndpoint,
    request: PromptRequest,
    asked_in: Dialect,
    dialect: Dialect,
    failure: Failure,
    schema: Mapping[str, JSON],
) -> bool:
    """Tell whether a refused request is worth another try with other parameters, and choose these.

    Args:
        endpoint: the server.
        request: what was refused.
        asked_in: the server's dialect when it was sent.
        dialect: in which it was sent.
        failure: the refusal.
        schema: JSON Schema of an answer.
    """
    if asked_in != endpoint.dialect:  # another request has learned meanwhile
        request.trials.clear()
        return True
    if endpoint.has_answered or request.invalid_answer:
        return False
    named = dialect.refused(failure)
    if failure.status == 500 and not named:
        return False
    if request.trials and request.tried_at is endpoint:
        request.trials.pop(0)
    else:
        request.trials, request.tried_at = list(dialect.simpler(schema)), endpoint
        request.refusal = failure.body
    if named:
        request.trials.insert(0, named)
    return bool(request.trials)


def _checked(response: Answer, endpoint: ChatEndpoint, reader: AnswerReader, request: PromptRequest) -> Answer | None:
    """The answer to return, with the tokens of all tries; None if the prompt has to be asked again."""
    previous = request.invalid_answer or Answer("", "")
    answer = replace(
        response,
        prompt_tokens=response.prompt_tokens + previous.prompt_tokens,
        completion_tokens=response.completion_tokens + previous.completion_tokens,
        cached_tokens=response.cached_tokens + previous.cached_tokens,
        prompt_is_cut=response.prompt_is_cut or previous.prompt_is_cut,
    )
    if not answer.is_answer:
        return request.invalid_answer or answer
    if answer.finish_reason in (CUT, REFUSED):
        return answer
    found = reader.read(answer)
    if not found.problem:
        if request.reasks:
            endpoint.reasks_in_vain = None
        return answer
    endpoint.warn_invalid_answer()
    vain = endpoint.reasks_in_vain
    if request.reasks == MAX_REASKS:
        endpoint.reasks_in_vain = None if vain is None else vain + 1
        return answer
    if vain is not None and vain >= VAIN_REASKS:
        return answer
    request.invalid_answer, request.problem, request.reasks = answer, found.detail or found.problem, request.reasks + 1
    return None
