"""The options of a multiple-choice sample: "A. text" comes in, its letter and its text go out."""

from __future__ import annotations

import re

_LABEL = re.compile(r"^\s*([A-Z])[.)]\s*")


def label_of(option: str) -> str:
    """Return the letter in front of an option, "" if it has none."""
    return found[1] if (found := _LABEL.match(option)) else ""


def without_label(option: str) -> str:
    """Return an option's text without its letter."""
    return _LABEL.sub("", option)


def relabelled(option: str, label: str) -> str:
    """Return an option with another letter, punctuation and blanks as they were."""
    found = _LABEL.match(option)
    return f"{label}{option[found.end(1) :]}" if found else option
