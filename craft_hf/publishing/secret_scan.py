"""Scan of texts for secrets, local paths and this machine's name, which must not be published."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import get_token

from craft_hf.base import InputError, token_kind

_SECRET_NAME = re.compile(r"(?i)token|secret|passw|api_?key|credential")
_ESCAPED = re.compile(r"\\[bfnrt]")  # in JSON, letters that belong to no word

_MIN_SECRET_LENGTH = 8
"""Shorter values of environment variables are ignored, since ordinary texts contain them."""

_ORDINARY = re.compile(r"[A-Za-z]?[a-z]{1,11}|[A-Z]{1,12}|[\d.,:_-]{1,12}|[.~]?(?:/[a-z0-9._-]{1,30}){2,}")
"""Values that are none either: one word ("disabled", "password"), a number, a path."""

_UNMISTAKABLE = 16
"""Characters from which a value counts also as a part of a longer word."""


def check_secrets(texts: Iterable[tuple[str, str]], failure: str) -> None:
    """Refuse texts that contain a secret: a token of a known format, or the value of a variable such as API_KEY.

    Args:
        texts: pairs of location (a file, a row) and text.
        failure: beginning of error messages, such as "X cannot be published to Y".

    Raises:
        InputError: a secret was found; the message names location and kind, never the secret itself.
    """
    own = _own_secrets()
    for location, text in texts:
        for name, value in own.items():
            if value in text and (
                len(value) >= _UNMISTAKABLE
                or re.search(rf"(?<![A-Za-z0-9]){re.escape(value)}(?![A-Za-z0-9])", _ESCAPED.sub(" ", text))
            ):
                raise InputError(
                    f"{failure}: {location} contains {name}; remove it, and replace the secret wherever it is used."
                )
        if kind := token_kind(text):
            raise InputError(f"{failure}: {location} contains what looks like {kind}; remove it, and revoke it.")


def check_local_names(texts: Iterable[tuple[str, str]], failure: str) -> None:
    """Refuse generated texts, such as cards, that contain this machine's name or a path below the home folder.

    Arguments are those of `check_secrets`.

    Raises:
        InputError: such a name was found; the message names the file and the name.
    """
    home, host = str(Path.home()), platform.node()
    for location, text in texts:
        if len(home) > 1 and f"{home}/" in text:
            raise InputError(f"{failure}: {location} contains a local path, below {home}; remove it from the file.")
        if host and host != "localhost" and re.search(rf"\b{re.escape(host)}\b", text):
            raise InputError(
                f"{failure}: {location} contains the name of this machine, {host}; remove it from the file."
            )


def _own_secrets() -> dict[str, str]:
    """Return the secrets known on this machine, by a description: environment variables and the Hub token."""
    found = {f"the value of {name}": value.strip() for name, value in os.environ.items() if _SECRET_NAME.search(name)}
    token = get_token()
    if token:
        found["your Hub token"] = token
    return {
        name: value
        for name, value in found.items()
        if len(value) >= _MIN_SECRET_LENGTH and not _ORDINARY.fullmatch(value)
    }
