"""One prompt's way: a request comes in, is sent until there is an answer, and that goes out.

What a server refuses by name is left out from then on; an answer that is no valid JSON is asked for again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from craft_hf.base import JSON, Answer, GeneratorError, Prompt, fingerprint
from craft_hf.generate.generator import Sampling
from craft_hf.generate.server.endpoints import Endpoint
from craft_hf.generate.server.pool import FOR_GOOD, Line, Pool, Request
from craft_hf.generate.server.replies import Fault, attempt, read_answer
from craft_hf.generate.server.structured import REASKS, Checker, asked_again


@dataclass(frozen=True)
class Call:
    """What all requests of one call of `generate` have in common."""

    model: str
    schema: Mapping[str, JSON]
    sampling: Sampling
    checker: Checker
    timeout_s: float

    async def send(self, line: Line, request: Request, options: Mapping[str, Any]) -> Answer | Fault:
        """Send a request once."""
        # Half of a surrogate pair, as cut web pages hold, cannot be sent: it goes as a question mark.
        turns = [{k: v.encode(errors="replace").decode() for k, v in turn.items()} for turn in request.prompt.messages]
        if request.bad:
            turns = asked_again(turns, request.bad.text, request.wrong, self.schema)
        s = self.sampling
        create = partial(
            line.client.chat.completions.with_raw_response.create,
            model=self.model,
            messages=turns,
            temperature=s.temperature,
            top_p=s.top_p,
            max_tokens=s.max_new_tokens,
            extra_body=options,
        )
        return await attempt(create, read_answer, self.timeout_s)

    def options(self, endpoint: Endpoint, request: Request) -> dict[str, Any]:
        """Return what a server may refuse of a request; each time that a prompt is asked it has another seed."""
        parts: list[JSON] = [request.prompt.key, self.sampling.seed]
        seed = int(fingerprint([*parts, request.reasks] if request.reasks else parts), 16) % 2**31
        return endpoint.options(self.schema, self.sampling, seed)


async def ask(pool: Pool, call: Call, request: Request, wanted: Callable[[Prompt], bool]) -> Answer | None:
    """Ask until there is an answer; return None if it is not wanted any more when its turn comes.

    Raises:
        GeneratorError: a server says that the request is wrong, or none is left to ask.
    """
    asked = False
    while (line := await pool.line(request)) is not None:
        if not asked and not wanted(request.prompt):
            pool.left(line)
            return None
        asked, sent_at, options = True, time.monotonic(), call.options(line.endpoint, request)
        got = await call.send(line, request, options)
        if isinstance(got, Answer):
            pool.answered(line)
            answer = _judged(got, line.endpoint, call.checker, request)
            if answer is not None:
                return answer
        elif line.endpoint.learn(got, options, call.schema):
            pool.left(line)
        elif got.is_too_long or not (got.passing or got.status in FOR_GOOD):
            pool.left(line)
            if request.bad:
                return request.bad
            if got.is_too_long:
                return Answer("", "prompt_too_long")
            raise GeneratorError(got.told(line.endpoint.url))
        else:
            await asyncio.sleep(pool.failed(line, request, got, sent_at))
    if request.bad:
        return request.bad
    raise GeneratorError(pool.told(request))


def _judged(got: Answer, endpoint: Endpoint, checker: Checker, request: Request) -> Answer | None:
    """The answer to give, with the tokens of all tries; None if the prompt has to be asked again."""
    text, wrong = checker.check(got.text)
    paid = request.bad or Answer("", "")
    answer = Answer(
        got.text if wrong and got.finish_reason != "stop" else text,
        got.finish_reason,
        got.prompt_tokens + paid.prompt_tokens,
        got.completion_tokens + paid.completion_tokens,
        got.cached_tokens + paid.cached_tokens,
    )
    if not wrong or got.finish_reason != "stop":
        return answer
    endpoint.disobeyed()
    if request.reasks == REASKS:
        return answer
    request.bad, request.wrong, request.reasks = answer, wrong, request.reasks + 1
    return None
