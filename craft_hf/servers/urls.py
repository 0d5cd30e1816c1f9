"""The addresses of servers."""

from __future__ import annotations

import re

from craft_hf.base import InputError, token_kind
from craft_hf.servers.api_keys import API_KEY_VARIABLES, holds_api_key

_URL = re.compile(r"(?i)(https?://(?:\[[\da-f:.]+\]|[\w.-]+)(?::\d{1,5})?)(/[^\s?#,]*)?")
_ROUTE = re.compile(r"/(chat/completions|embeddings)$")


def parse_urls(text: str, what: str) -> list[str]:
    """Split and normalise URLs, each up to /v1; no message shows what stands before an @ or after a ?.

    Args:
        text: "http://host:8000", "https://host/v1", or several of them, separated by commas.
        what: the servers are, such as "generator", for messages.

    Raises:
        InputError: one of them is not a URL, holds a password, a key or a query, or is given twice.
    """
    if "@" in text:
        raise InputError(
            f"the {what} URL holds a user or password (before @); expected none: set {API_KEY_VARIABLES[0]}."
        )
    if token_kind(text) or holds_api_key(text):
        raise InputError(f"the {what} URL holds an API key; expected none: set {API_KEY_VARIABLES[0]}.")
    urls = []
    for part in text.split(","):
        match = _URL.fullmatch(part.strip())
        if not match:
            shown = re.split(r"[?#]", part)[0]
            article = "an" if what[0] in "aeiou" else "a"
            raise InputError(
                f"{shown!r} is not {article} {what} URL; expected http://host:port/v1 or https://..., without query, "
                "or several, separated by commas."
            )
        urls.append(str(match[1]) + (_ROUTE.sub("", (match[2] or "").rstrip("/")) or "/v1"))
    if duplicate := next((url for url in urls if urls.count(url) > 1), None):
        raise InputError(f"the {what} URL names {duplicate} twice; name each server once.")
    return urls
