"""Reads Markdown: one document each, as plain text, with what the front matter says of it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from craft_hf.base import JSON
from craft_hf.corpus.fields import WholeFile
from craft_hf.corpus.ledger import Ledger
from craft_hf.corpus.readers import LocatedRows, Place
from craft_hf.corpus.readers.file import File
from craft_hf.corpus.readers.html import html_to_text

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

_FRONT_MATTER = re.compile(r"\s*(---|\+\+\+)[^\S\n]*\n(.*?)\n\1[^\S\n]*(?:\n|\Z)", re.DOTALL)
_ABOUT = ("title", "url", "license", "author")


def markdown_rows(file: File, ledger: Ledger) -> LocatedRows:
    """Yield the document; its title is that of the front matter, or the first heading.

    Raises:
        InputError: the file is not text, not in UTF-8, UTF-16 or UTF-32, or nested deeper than can be read.
    """
    text, markdown = file.text(), _markdown()
    front = _FRONT_MATTER.match(text)
    with file.parsing("Markdown"):
        about = _front_matter(front[1], front[2]) if front else WholeFile()
        tokens = markdown.parse(text[front.end() :] if front else text)
        heading = next((n for n, token in enumerate(tokens) if token.type == "heading_open"), None)
        title = file.stem if heading is None else html_to_text(markdown.renderInline(tokens[heading + 1].content))
        plain = html_to_text(markdown.renderer.render(tokens, markdown.options, {}))
        said = {field: line for field in _ABOUT if (line := file.fields.line(about, field))}
    yield Place(file.name), WholeFile({"id": file.id, "title": title, **said, "text": plain})


@cache
def _markdown() -> MarkdownIt:
    from markdown_it import MarkdownIt  # takes a tenth of a second, which no other command should wait for

    return MarkdownIt("commonmark").enable("table")


def _front_matter(mark: str, text: str) -> Mapping[str, JSON]:
    """Return what the front matter says, in YAML or (between "+++") in TOML; what is neither says nothing."""
    import yaml

    try:
        found = yaml.safe_load(text) if mark == "---" else tomllib.loads(text)
    except (yaml.YAMLError, ValueError):
        return WholeFile()
    return WholeFile(found) if isinstance(found, Mapping) else WholeFile()
