"""Converts HTML of forum posts to plain text, with paragraphs, lists and code."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_BLOCKS = frozenset(("p", "div", "blockquote", "pre", "hr", "table", "ul", "ol", "dl", *(f"h{n}" for n in range(1, 7))))
_OWN_LINE = frozenset(("li", "tr", "dt", "dd"))
_HIDDEN = frozenset(("script", "style"))
_SIGNS = {"sup": "^", "sub": "_"}


def html_to_text(html: str) -> str:
    """Return the text of a piece of HTML; unclosed and unknown tags are tolerated.

    Blocks are separated by a blank line. <pre> becomes a fenced block with its lines untouched, <code> is put in
    backticks, list items get "- " or their number, cells are joined by " | ". Links keep their text, images
    are dropped.
    """
    parser = _Text()
    parser.feed(html)
    return parser.finish()


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._out: list[str] = []
        self._breaks = 0
        self._marker = ""
        self._lists: list[int | None] = []
        self._code: list[str] | None = None
        self._hidden = ""

    def finish(self) -> str:
        self.close()
        self._end_code()
        return "".join(self._out).strip("\n ")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._separate(tag)
        if tag in _HIDDEN:
            self._hidden = tag
        elif tag == "pre" and self._code is None:
            self._code = []
        elif self._code is not None:
            self._code.append("\n" if tag == "br" else "")
        elif tag == "br":
            self._break(1)
        elif tag in ("code", "kbd"):
            self._write("`")
        elif tag in _SIGNS:
            self._write(_SIGNS[tag])
        elif tag in ("ul", "ol"):
            self._lists.append(0 if tag == "ol" else None)
        elif tag == "li":
            self._marker = self._next_marker()
        elif tag in ("td", "th") and self._out and not self._breaks:
            self._out[-1] = self._out[-1].rstrip(" ")
            self._write(" | ")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._hidden:
            self._hidden = ""
        elif tag == "pre":
            self._end_code()
        elif tag in ("code", "kbd") and self._code is None:
            self._write("`")
        elif tag in ("ul", "ol") and self._lists:
            self._lists.pop()
        self._separate(tag)

    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        if self._code is not None:
            self._code.append(data)
            return
        text = re.sub(r"\s+", " ", data)
        if self._breaks or not self._out or self._out[-1].endswith((" ", "\n")):
            text = text.lstrip(" ")
        if text:
            self._write(text)

    def parse_marked_section(self, i: int, report: int = 1) -> int:
        """Treat "<![" as text, because the library fails at an unknown section."""
        self.handle_data("<![")
        return i + 3

    def _separate(self, tag: str) -> None:
        if self._code is None:
            self._break(2 if tag in _BLOCKS else 1 if tag in _OWN_LINE else 0)

    def _break(self, count: int) -> None:
        self._breaks = max(self._breaks, count)

    def _write(self, text: str) -> None:
        if self._breaks and self._out:
            self._out[-1] = self._out[-1].rstrip(" ")
            self._out.append("\n" * self._breaks)
        self._out.append(self._marker + text)
        self._breaks, self._marker = 0, ""

    def _next_marker(self) -> str:
        indent = "  " * (len(self._lists) - 1)
        if not self._lists or (count := self._lists[-1]) is None:
            return f"{indent}- "
        self._lists[-1] = count + 1
        return f"{indent}{count + 1}. "

    def _end_code(self) -> None:
        if self._code is not None:
            text, self._code = "".join(self._code).strip("\n"), None
            self._break(2)
            self._write(f"```\n{text}\n```")
            self._break(2)
