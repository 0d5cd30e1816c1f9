"""Values of any origin in Markdown, escaped so that they are shown as they are and cannot break the page."""

from __future__ import annotations

import json
import re

from craft_hf.base.records import JSON
from craft_hf.base.templates import template

NOT_MEASURED = "not measured"

# control characters, and those that change the writing direction
_INVISIBLE = re.compile(r"[^\S\n\t ]|[\x00-\x08\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def render(name: str, **values: object) -> str:
    """Render the template `name` with the values; it can call this module's functions to escape data."""
    functions = {"inline": inline, "fenced": fenced, "number": number, "json_text": json_text}
    return template(name).render(NOT_MEASURED=NOT_MEASURED, **functions, **values)


def inline(value: JSON) -> str:
    """Return a value as escaped text on one line, for a table cell, a list item or a sentence."""
    text = " ".join(clean(str(value)).split())
    text = re.sub(r"([\\`*_{}\[\]|~$#])", r"\\\1", text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"^(?:(\d+)(?=[.)](?:\s|$))|(?=[-+=]))", r"\1\\", text)  # no list or rule at the start of a line


def fenced(value: str, language: str = "text") -> str:
    """Return the text in a fenced code block, with a fence longer than any in the text."""
    text = clean(value)
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def clean(text: str) -> str:
    """Return text without lone surrogates, control characters and characters that change the writing direction."""
    return _INVISIBLE.sub(" ", text.replace("\r\n", "\n").encode("utf-8", "replace").decode())


def number(value: JSON) -> str:
    """Return a number with thousands separators and few digits, or "not measured" for None."""
    if value is None or value == "":
        return NOT_MEASURED
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() or abs(value) >= 100 else f"{value:,.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else inline(value)


def json_text(value: JSON) -> str:
    """Return data as indented JSON; letters beyond ASCII stay readable."""
    return json.dumps(value, indent=2, ensure_ascii=False)
