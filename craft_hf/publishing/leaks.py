"""What must not be published: files come in, and an error goes out that says where a secret or a local name stands."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from huggingface_hub import get_token

from craft_hf.base import JSON, InputError

_TOKENS = {  # as their issuers describe them; the lengths keep ordinary words out
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}\b",
    "an OpenAI or Anthropic key": r"\bsk-[A-Za-z0-9_-]{32,}",
    "an AWS key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "a GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_\w{40,}",
    "a Google key": r"\bAIza[A-Za-z0-9_-]{35}\b",
    "a Slack token": r"\bxox[abeprs]-[A-Za-z0-9-]{10,}",
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
}
_PATTERNS = {name: re.compile(pattern) for name, pattern in _TOKENS.items()}
_SECRET_NAME = re.compile(r"(?i)token|secret|passw|api_?key|credential")
_SHORTEST = 8
"""Characters of a variable's value from which it can be a secret, and is not a word that texts hold."""


def check_texts(texts: Iterable[tuple[str, str]], what: str) -> None:
    """Refuse texts with a secret: a token of a known kind, this machine's own, or what a variable like API_KEY holds.

    Args:
        texts: pairs of where it stands (a file, a row) and the text.
        what: a sentence without an end that says what cannot be done.

    Raises:
        InputError: names the place and the kind of secret, never the secret.
    """
    own = _own_secrets()
    for place, text in texts:
        for name, value in own.items():
            if value in text:
                raise InputError(f"{what}: {place} holds {name}; take it out, and replace it where it is used.")
        for name, pattern in _PATTERNS.items():
            if pattern.search(text):
                raise InputError(f"{what}: {place} holds what looks like {name}; take it out, and revoke it.")


def check_places(texts: Iterable[tuple[str, str]], what: str) -> None:
    """Refuse texts that we wrote and that name this machine or the user's folders on it.

    Raises:
        InputError: names the file, and what it holds.
    """
    home, host = str(Path.home()), platform.node()
    for place, text in texts:
        if len(home) > 1 and f"{home}/" in text:
            raise InputError(f"{what}: {place} names a folder of this machine, below {home}; remove that part of it.")
        if host and host != "localhost" and re.search(rf"\b{re.escape(host)}\b", text):
            raise InputError(f"{what}: {place} names this machine, {host}; remove that part of it.")


def texts_of(value: JSON, place: str) -> Iterator[tuple[str, str]]:
    """Yield each text in a row, or in any list or mapping, with its place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from texts_of(item, f"{place}, {key}")
    elif isinstance(value, Sequence):
        for item in value:
            yield from texts_of(item, place)


def _own_secrets() -> dict[str, str]:
    """What this machine knows and nobody else should, by a name for it."""
    found = {f"the value of {name}": value.strip() for name, value in os.environ.items() if _SECRET_NAME.search(name)}
    token = get_token()
    if token:
        found["your Hub token"] = token
    return {name: value for name, value in found.items() if len(value) >= _SHORTEST}
