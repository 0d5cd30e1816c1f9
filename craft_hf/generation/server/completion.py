"""A prompt's chat completion, sent to the servers until one gives a usable answer.

Parameters that a server refuses by name are dropped from then on; an answer that is not valid JSON is asked for again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from craft_hf.base import JSON, Answer, GeneratorError, Prompt, fingerprint
from craft_hf.generation.generator import Sampling
from craft_hf.generation.server.endpoints import ChatEndpoint
from craft_hf.generation.server.responses import ADVICE, parse_answer
from craft_hf.generation.server.structured_output import MAX_REASKS, AnswerParser, reask_messages
from craft_hf.servers import PERMANENT_STATUSES, Connection, ConnectionPool, Failure, Request, send_request


@dataclass(eq=False)
class PromptRequest(Request):
    """A prompt that is being answered.

    Attributes:
        prompt: what is asked.
        invalid_answer: the last answer that was not valid under the schema, with the tokens of all answers so far.
        validation_error: why it was invalid.
        reasks: how often the prompt was asked again because of an invalid answer.
    """

    prompt: Prompt
    invalid_answer: Answer | None = None
    validation_error: str = ""
    reasks: int = 0

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
    parser: AnswerParser
    timeout_s: float

    async def send(
        self, connection: Connection[ChatEndpoint], request: PromptRequest, options: Mapping[str, Any]
    ) -> Answer | Failure:
        """Send a request once."""
        # Lone surrogates, as cut web pages hold, cannot be sent: each becomes a question mark.
        messages = [
            {name: value.encode(errors="replace").decode() for name, value in message.items()}
            for message in request.prompt.messages
        ]
        if request.invalid_answer:
            messages = reask_messages(messages, request.invalid_answer.text, request.validation_error, self.schema)
        create = partial(
            connection.client.chat.completions.with_raw_response.create,
            model=self.model,
            messages=messages,
            temperature=self.sampling.temperature,
            top_p=self.sampling.top_p,
            max_tokens=self.sampling.max_new_tokens,
            extra_body=options,
        )
        return await send_request(create, parse_answer, self.timeout_s, ADVICE)

    def options(self, endpoint: ChatEndpoint, request: PromptRequest) -> dict[str, Any]:
        """Return the parameters that a server may refuse; the seed follows from the prompt and the number of reasks."""
        parts: list[JSON] = [request.prompt.key, self.sampling.seed]
        seed = int(fingerprint([*parts, request.reasks] if request.reasks else parts), 16) % 2**31
        return endpoint.options(self.schema, self.sampling, seed)


async def complete(
    pool: ConnectionPool[ChatEndpoint],
    settings: CompletionSettings,
    request: PromptRequest,
    should_send: Callable[[Prompt], bool],
) -> Answer | None:
    """Send a request until there is an answer; return None if `should_send` says no when its turn comes.

    Raises:
        GeneratorError: a server says that the request is wrong, or no server is left to send it to.
    """
    sent = False
    while (connection := await pool.acquire(request)) is not None:
        if not sent and not should_send(request.prompt):
            pool.release(connection)
            return None
        endpoint = connection.endpoint
        sent, sent_at, options = True, time.monotonic(), settings.options(endpoint, request)
        response = await settings.send(connection, request, options)
        if isinstance(response, Answer):
            pool.release_answered(connection)
            answer = _validated(response, endpoint, settings.parser, request)
            if answer is not None:
                return answer
        elif endpoint.learn_unsupported(response, options, settings.schema):
            pool.release(connection)
        elif response.is_too_long or not (response.retryable or response.status in PERMANENT_STATUSES):
            pool.release(connection)
            if request.invalid_answer:
                return request.invalid_answer
            if response.is_too_long:
                return Answer("", "prompt_too_long")
            raise GeneratorError(response.message(endpoint.url))
        else:
            await asyncio.sleep(pool.release_failed(connection, request, response, sent_at))
    if request.invalid_answer:
        return request.invalid_answer
    raise GeneratorError(pool.failure_message(request))


def _validated(response: Answer, endpoint: ChatEndpoint, parser: AnswerParser, request: PromptRequest) -> Answer | None:
    """The answer to return, with the tokens of all tries; None if the prompt has to be asked again."""
    text, error = parser.parse(response.text)
    previous = request.invalid_answer or Answer("", "")
    answer = Answer(
        response.text if error and response.finish_reason != "stop" else text,
        response.finish_reason,
        response.prompt_tokens + previous.prompt_tokens,
        response.completion_tokens + previous.completion_tokens,
        response.cached_tokens + previous.cached_tokens,
    )
    if not error or response.finish_reason != "stop":
        return answer
    endpoint.warn_invalid_answer()
    if request.reasks == MAX_REASKS:
        return answer
    request.invalid_answer, request.validation_error, request.reasks = answer, error, request.reasks + 1
    return None
