"""API keys of servers: read from the environment at each request, and redacted from everything that is shown."""

from __future__ import annotations

import os
import re

from craft_hf.base import InputError

API_KEY_VARIABLES = ("CRAFT_HF_API_KEY", "OPENAI_API_KEY")
"""Environment variables of the API key for any server; the first one that is set is used."""

HUB_KEY_VARIABLE = "HF_TOKEN"
"""Environment variable of the Hub's token, which is sent only to the Hub's hosts (https://router.huggingface.co/v1)."""

_own_keys: dict[str, str] = {}
"""Keys of servers that this process has started, by their URLs: made up for them, and good for nothing else."""

_made_up: set[str] = set()
"""All keys that `_own_keys` has held; they are shown nowhere, also when their server is gone."""

_HUB = re.compile(r"(?i)https://([\w.-]+\.)?huggingface\.co(:443)?(/|$)")


def api_key_for(url: str) -> str:
    """Return the API key to send to a server, or "none" if no key is set.

    Args:
        url: the server's URL. One that this process has started gets the key made up for it, the Hub's hosts
            CRAFT_HF_API_KEY or HF_TOKEN, all others CRAFT_HF_API_KEY or OPENAI_API_KEY.
    """
    if url in _own_keys:
        return _own_keys[url]
    names = (API_KEY_VARIABLES[0], HUB_KEY_VARIABLE) if _HUB.match(url) else API_KEY_VARIABLES
    return next((key for name in names if (key := _read(name))), "none")


def keep_key(url: str, key: str) -> None:
    """Send a key to the server at a URL from now on, in place of those of the environment, and show it nowhere."""
    _own_keys[url] = key
    _made_up.add(key)


def forget_key(url: str) -> None:
    """Send the keys of the environment to a URL again: its server is gone."""
    _own_keys.pop(url, None)


def check_api_keys() -> None:
    """Refuse keys that cannot be sent.

    Raises:
        InputError: a key holds characters that an HTTP header cannot hold.
    """
    for name in (*API_KEY_VARIABLES, HUB_KEY_VARIABLE):
        if not ((key := _read(name)).isascii() and key.isprintable()):
            raise InputError(f"{name} holds characters that an HTTP header cannot; expected printable ASCII.")


def holds_api_key(text: str) -> bool:
    """Whether one of the keys in the environment is a part of URLs, other than a host's name, for which many servers
    have their own name as key ("ollama"); a key such as "local" in another word is none.
    """
    parts = re.split(r"[/?&=,:@]", re.sub(r"://[^/?@,]*(?=[/?,]|$)", "", text))
    return any(key in parts for name in (*API_KEY_VARIABLES, HUB_KEY_VARIABLE) if (key := _read(name)))


def redact(text: str, max_characters: int = 200) -> str:
    """Return the first `max_characters` of a text, on one line, with each key replaced by its variable's name."""
    for name in (*API_KEY_VARIABLES, HUB_KEY_VARIABLE):
        if key := _read(name):
            text = text.replace(key, f"<{name}>")
    for key in list(_made_up):
        text = text.replace(key, "<key>")
    return " ".join(text.split())[:max_characters]


def _read(name: str) -> str:
    return os.environ.get(name, "").strip()
