"""Tokens and keys of known formats, which must not be written down."""

from __future__ import annotations

import re

_FORMATS = {  # formats as documented by the issuers; the minimum lengths exclude ordinary words
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}\b",
    "an OpenAI or Anthropic key": r"\bsk-[A-Za-z0-9_-]{32,}",
    "an AWS key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "a GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_\w{40,}",
    "a Google key": r"\bAIza[A-Za-z0-9_-]{35}\b",
    "a Slack token": r"\bxox[abeprs]-[A-Za-z0-9-]{10,}",
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
}
_PATTERNS = {name: re.compile(pattern) for name, pattern in _FORMATS.items()}


def token_kind(text: str) -> str:
    """Return what kind of token a text contains, such as "a Hugging Face token"; "" for none."""
    return next((name for name, pattern in _PATTERNS.items() if pattern.search(text)), "")
