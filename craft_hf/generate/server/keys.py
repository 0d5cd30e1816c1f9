"""Which API key an address is sent, read from the environment when it is sent; and texts without any of them."""

from __future__ import annotations

import os
import re

from craft_hf.base import InputError

KEYS = ("CRAFT_HF_API_KEY", "OPENAI_API_KEY")
"""Variables whose key goes to any address that a user names, the first that is set."""

HUB_KEY = "HF_TOKEN"
"""The Hub's key goes to no other host than the Hub's own, such as https://router.huggingface.co/v1."""

_HUB = re.compile(r"(?i)https://([\w.-]+\.)?huggingface\.co(:443)?(/|$)")


def key_for(url: str) -> str:
    """Return the key to send to an address; without any, a word that is no secret.

    Args:
        url: the address. The Hub's hosts get CRAFT_HF_API_KEY or HF_TOKEN, all others CRAFT_HF_API_KEY or
            OPENAI_API_KEY.
    """
    names = (KEYS[0], HUB_KEY) if _HUB.match(url) else KEYS
    return next((key for name in names if (key := _read(name))), "none")


def check_keys() -> None:
    """Refuse keys that cannot be sent.

    Raises:
        InputError: a key holds what no HTTP header can.
    """
    for name in (*KEYS, HUB_KEY):
        if not ((key := _read(name)).isascii() and key.isprintable()):
            raise InputError(f"{name} holds characters that no HTTP header can; expected printable ASCII.")


def scrubbed(text: str, shown: int = 200) -> str:
    """Return the first `shown` characters, on one line, without the keys."""
    for name in (*KEYS, HUB_KEY):
        if key := _read(name):
            text = text.replace(key, f"<{name}>")
    return " ".join(text.split())[:shown]


def _read(name: str) -> str:
    return os.environ.get(name, "").strip()
