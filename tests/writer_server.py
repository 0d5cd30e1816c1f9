"""A server that writes a bioqa sample from the document in the prompt: a stand-in where a test counts model calls.

It is real HTTP, but no model: answers are made from the document's words, so that tests know which are good, which
are broken and which repeat each other.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

from tests.openai_server import FakeServer, Reply, error, ok


class WriterServer(FakeServer):
    """Answers every prompt; every `bad_every`-th document, by a hash of its text, gets a refusal, which is no JSON.

    Each request counts 7 and 3 tokens, or, with `counts`, one for every four characters of the prompt and the answer.
    """

    def __init__(self, bad_every: int = 0, delay_s: float = 0.0) -> None:
        super().__init__(models=("writer-1",))
        self.bad_every, self.delay_s, self.counts = bad_every, delay_s, False
        self.fail_after = 0  # from this request on, `failure` is what everybody gets; 0 for never
        self.failure = ok()
        self.answered = 0

    def reply_to(self, body: dict[str, Any]) -> Reply:
        """The reply to a chat request: a sample made of the document's words."""
        with self.lock:
            self.requests.append(body)
            for name in self.refuses:
                if name in body:
                    return error(400, f"Unrecognized request argument supplied: {name}")
            if self.fail_after and len(self.requests) > self.fail_after:
                return self.failure
            self.answered += 1
        document = body["messages"][-1]["content"].split("Text:\n", 1)[1]
        if self.bad_every and zlib.crc32(document.encode()) % self.bad_every == 0:
            refusal = "I cannot do that."
            return ok(None, refusal=refusal, delay_s=self.delay_s, tokens=self._tokens(body, refusal))
        words = list(dict.fromkeys(w.lower() for w in re.findall(r"[A-Za-z]{5,}", document)))
        middle = len(words) // 2
        sample = {
            "question": f"What is said of {' and '.join(words[:12])} in relation to {words[-1]}?",
            "options": [f"{letter}. {word}" for letter, word in zip("ABCD", words[middle : middle + 4], strict=True)],
            "answer": "ABCD"[len(words) % 4],
        }
        text = json.dumps(sample)
        return ok(text, delay_s=self.delay_s, tokens=self._tokens(body, text))

    def _tokens(self, body: dict[str, Any], text: str) -> tuple[int, int]:
        return (sum(len(m["content"]) for m in body["messages"]) // 4, len(text) // 4) if self.counts else (7, 3)

    @property
    def documents(self) -> list[str]:
        """The documents that were asked about, in order."""
        return [r["messages"][-1]["content"].split("Text:\n", 1)[1] for r in self.requests]
