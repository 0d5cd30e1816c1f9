"""An OpenAI-compatible server on loopback that really embeds, and whose faults a test writes down as a list."""

from __future__ import annotations

import base64
import json
import random
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.openai_server import FakeServer, Reply, error

Rows = list[dict[str, Any]]


class EmbeddingServer(FakeServer):
    """Answers POST /v1/embeddings by a sentence-transformers model; vectors come in a random order, and not normalised.

    Args:
        model: its folder.
        replies: what the first requests get in place of an answer; None for an answer.
        change: takes the rows of an answer, and returns those that are sent.
        edit: changes each text before it is embedded.
        formats: values of encoding_format that it does not refuse.
        always_float: vectors are lists, whatever was asked for.
        delay_s: seconds before an answer.
        options: see `FakeServer`.
    """

    path = "/v1/embeddings"

    def __init__(
        self,
        model: Path,
        replies: Sequence[Reply | None] = (),
        change: Callable[[Rows], Rows] = lambda rows: rows,
        edit: Callable[[str], str] = lambda text: text,
        formats: Sequence[str] = ("float", "base64"),
        always_float: bool = False,
        delay_s: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        from sentence_transformers import SentenceTransformer

        self.faults, self.change, self.edit, self.formats = list(replies), change, edit, formats
        self.always_float, self.delay_s = always_float, delay_s
        self._encoder = SentenceTransformer(str(model), device="cpu")
        self._encoding = threading.Lock()

    @property
    def texts(self) -> list[str]:
        """The texts of all requests."""
        return [text for request in self.requests for text in request["input"]]

    def reply_to(self, body: dict[str, Any]) -> Reply:
        """Embed, or fail."""
        with self.lock:
            self.requests.append(body)
            fault = self.faults.pop(0) if self.faults else None
        if fault:
            return fault
        if body["encoding_format"] not in self.formats:
            return error(400, f"encoding_format {body['encoding_format']!r} is not supported")
        with self._encoding:
            made = 3 * self._encoder.encode([self.edit(text) for text in body["input"]]).astype("<f4")
        as_text = body["encoding_format"] == "base64" and not self.always_float
        rows: Rows = [
            {"object": "embedding", "index": i, "embedding": _base64(vector) if as_text else vector.tolist()}
            for i, vector in enumerate(made)
        ]
        random.shuffle(rows)
        return Reply(json.dumps({"object": "list", "data": self.change(rows)}), delay_s=self.delay_s)


def _base64(vector: np.ndarray) -> str:
    return base64.b64encode(vector.tobytes()).decode()
