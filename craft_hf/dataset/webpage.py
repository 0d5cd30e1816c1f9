"""Renders Markdown with images as one HTML file that needs no network and runs no script."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Mapping

from markdown_it import MarkdownIt
from markdown_it.token import Token

from craft_hf.base import template
from craft_hf.dataset.layout import PLOTS


def webpage(markdown: str, images: Mapping[str, bytes]) -> str:
    """Render a Markdown page as HTML with its images embedded.

    Args:
        markdown: begins with its title as a heading; HTML in it is shown as text, never run.
        images: the content of every assets/NAME.png that the page shows, as NAME.svg, which is sharp in print.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    heading, rest = tokens[:3], tokens[3:]
    contents: list[tuple[str, str]] = []
    for token, inside in itertools.pairwise(rest):
        if token.type == "heading_open" and token.tag == "h2":
            contents.append((f"section-{len(contents) + 1}", _words(inside)))
            token.attrSet("id", contents[-1][0])
    for child in (child for token in tokens for child in token.children or () if child.type == "image"):
        name = str(child.attrs["src"]).removeprefix(f"{PLOTS}/").removesuffix(".png")
        child.attrSet("src", f"data:image/svg+xml;base64,{base64.b64encode(images[f'{name}.svg']).decode()}")
    body = parser.renderer.render(rest, parser.options, {})
    # a wide table scrolls in a box of its own; no "<table>" can come from the data, where < is &lt;
    body = body.replace("<table>", '<div class="wide" tabindex="0"><table>').replace("</table>", "</table></div>")
    return template("report.html.j2").render(title=_words(heading[1]), contents=contents, body=body)


def _words(inline: Token) -> str:
    """Return a heading's text without Markdown escapes."""
    return "".join(child.content for child in inline.children or ())
