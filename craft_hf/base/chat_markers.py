"""Chat markers in texts: what a document says must not become a turn of the conversation in which it stands.

Chat templates paste texts between control tokens such as <|im_end|>, and tokenizers take these for control tokens
wherever they stand. So a document about chat models, or one that somebody prepared, could close its own turn and open
others. Markers are broken up by a blank, which a reader sees, and which no tokenizer takes for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_FAMILIES = re.compile(
    r"<(?=\|[^|<>\s]{1,40}\|>)"  # ChatML, Llama 3 and 4, Phi, gpt-oss, Granite, Cohere
    r"|<(?=\|[a-z_]{2,20}>)|<(?=[a-z_]{2,20}\|>)"  # Gemma 4
    r"|<(?=(?:BOS_TOKEN|EOS_TOKEN|sop|eop|seed:bos|seed:eos|end_of_utterance|extra_id_\d+|SPECIAL_\d+|unused\d+)>)"
    r"|<(?=｜[^｜<>\n]{1,40}｜>)"  # DeepSeek
    r"|<(?=/?(?:s|bos|eos|pad|unk|mask|cls|sep)>)"  # Llama 2, Mistral, Gemma, BERT
    r"|<(?=</?SYS>>)"  # Llama 2
    r"|<(?=(?:start|end)_of_turn>)"  # Gemma
    r"|<(?=/?(?:system|user|assistant|tool)>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|IMG|CLS|SEP|PAD|UNK|g?MASK)\])"
)


def chat_message(role: str, content: str) -> dict[str, str]:
    """Return a turn of a conversation, in whose content chat markers of the known families are broken up."""
    return {"role": role, "content": without_chat_markers(content)}


def holds_chat_markers(text: str) -> bool:
    """Return whether a text holds chat markers of the known families."""
    return bool(_FAMILIES.search(text))


def without_chat_markers(text: str) -> str:
    """Return a text with a blank behind the first character of each marker; a text without one stays as it is."""
    return _FAMILIES.sub(r"\g<0> ", text)


class ControlTokens:
    """Breaks up a tokenizer's control tokens, of any family, in the turns of conversations.

    They are looked up once: tokenizers may have thousands.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        tokens = sorted({token.content for token in tokenizer.added_tokens_decoder.values() if token.special})
        parts = [f"{re.escape(token[0])}(?={re.escape(token[1:])})" for token in tokens if len(token) > 1]
        self._pattern = re.compile("|".join(parts)) if parts else None

    def broken_up(self, messages: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
        """Return turns in whose contents control tokens, and markers of the known families, are broken up."""
        return [chat_message(turn["role"], self._broken_up(turn["content"])) for turn in messages]

    def _broken_up(self, text: str) -> str:
        return self._pattern.sub(r"\g<0> ", text) if self._pattern else text
