"""Constrained decoding: xgrammar masks every token that would break the JSON of a schema."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
import xgrammar

from craft_hf.base import JSON, InputError
from craft_hf.tasks import engine_schema, without_keywords

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_LENGTHS = ("minLength", "maxLength")
"""Keywords that the grammar leaves out; the check of finished answers looks at them. With a length, xgrammar 0.2.8
refuses escaped quotes and line breaks in a text, and takes seconds to compile."""


class JsonConstraint:
    """A JSON Schema compiled for a tokenizer; compile it once and use it for all batches.

    Args:
        tokenizer: the model's.
        vocab_size: width of the model's logits, which may be larger than the tokenizer's vocabulary.
        schema: the JSON Schema that every answer must follow; keys come in the order of the schema.

    Attributes:
        max_string_length: the most characters that any string of the schema may have, or infinity.

    Raises:
        InputError: xgrammar cannot compile the schema.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, vocab_size: int, schema: Mapping[str, JSON]) -> None:
        info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocab_size)
        try:
            self._compiled = xgrammar.GrammarCompiler(info).compile_json_schema(
                json.dumps(engine_schema(without_keywords(schema, _LENGTHS))), any_whitespace=False
            )
        except RuntimeError as e:
            raise InputError(f"the schema cannot be turned into a grammar for constrained decoding: {e}") from e
        self._vocab_size = vocab_size
        self.max_string_length = max(_string_lengths(schema), default=math.inf)

    def start(self, count: int) -> GrammarState:
        """Return the state of a batch of `count` empty answers."""
        matchers = [xgrammar.GrammarMatcher(self._compiled, terminate_without_stop_token=True) for _ in range(count)]
        return GrammarState(matchers, self._vocab_size)


def _string_lengths(schema: JSON) -> Iterator[float]:
    """Yield the most characters that each string of a schema may have; infinity where there is no limit."""
    if isinstance(schema, Mapping):
        if schema.get("type") == "string" and "enum" not in schema and "const" not in schema:
            limit = schema.get("maxLength")
            yield float(limit) if isinstance(limit, int) else math.inf
        for value in schema.values():
            yield from _string_lengths(value)
    elif isinstance(schema, list | tuple):
        for item in schema:
            yield from _string_lengths(item)


class GrammarState:
    """How far each row of a batch has come in the grammar."""

    def __init__(self, matchers: list[xgrammar.GrammarMatcher], vocab_size: int) -> None:
        self._matchers = matchers
        self._vocab_size = vocab_size
        self._bitmask = xgrammar.allocate_token_bitmask(len(matchers), vocab_size)

    def mask(self, logits: torch.Tensor) -> None:
        """Set the logits, (rows, vocab_size), of tokens that would break the JSON to minus infinity, in place."""
        for row, matcher in enumerate(self._matchers):
            matcher.fill_next_token_bitmask(self._bitmask, row)
        bitmask = self._bitmask[: len(self._matchers)].to(logits.device)
        xgrammar.apply_token_bitmask_inplace(logits, bitmask, vocab_size=self._vocab_size)

    def accept(self, tokens: Sequence[int]) -> list[bool]:
        """Advance each row by its token; return which rows hold complete JSON now."""
        for matcher, token in zip(self._matchers, tokens, strict=True):
            matcher.accept_token(token)
        return [matcher.is_terminated() for matcher in self._matchers]

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these rows, in this order."""
        self._matchers = [self._matchers[row] for row in rows]
