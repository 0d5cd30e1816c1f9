"""Reads Word files (.docx): one document each, by python-docx."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from craft_hf.base import require
from craft_hf.corpus.fields import WholeFile
from craft_hf.corpus.ledger import Ledger
from craft_hf.corpus.readers import LocatedRows, Place
from craft_hf.corpus.readers.file import File

if TYPE_CHECKING:
    from docx.oxml.xmlchemy import BaseOxmlElement

_CHARACTERS = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_UNSEEN = frozenset(("del", "moveFrom", "Fallback", "rt"))
"""What is deleted or moved away, says again what stands before it, or how a word is pronounced."""


def docx_rows(file: File, ledger: Ledger) -> LocatedRows:
    """Yield the document: its paragraphs and tables in order, tables as lines with " | " between cells.

    It is read as Word shows it, with tracked changes accepted; a text box stands behind the paragraph that holds it.

    Raises:
        InputError: the file is no Word file, or broken.
        MissingExtra: python-docx is not installed.
    """
    docx = require("docx", "documents")
    with file.reading(), file.open() as stream:
        content = io.BytesIO(stream.read())
    with file.parsing("a Word file"):
        document = docx.Document(content)
        text = "\n\n".join(_blocks(document.element.body))
        about = document.core_properties
    title = about.title or file.stem
    yield Place(file.name), WholeFile(id=file.id, title=title, author=about.author, text=text)


def _blocks(outer: BaseOxmlElement) -> Iterator[str]:
    """Yield the text of each paragraph and table in a document, a cell or a text box."""
    for block in _inside(outer, "p", "tbl"):
        if _name(block) == "p":
            parts = list(_inside(block, "t", "txbxContent", *_CHARACTERS))
            words = ((part.text or "") if _name(part) == "t" else _CHARACTERS.get(_name(part), "") for part in parts)
            found = ["".join(words)]
            found += [text for part in parts if _name(part) == "txbxContent" for text in _blocks(part)]
        else:
            rows = (["\n".join(_blocks(cell)) for cell in _inside(row, "tc")] for row in _inside(block, "tr"))
            found = ["\n".join(" | ".join(cells) for cells in rows if any(cells))]
        yield from filter(None, map(str.strip, found))


def _inside(outer: BaseOxmlElement, *names: str) -> Iterator[BaseOxmlElement]:
    """Yield the outermost elements of these names that are seen, through content controls, links, changes and so on."""
    for element in outer:
        name = _name(element)
        if name in names:
            yield element
        elif name not in _UNSEEN:
            yield from _inside(element, *names)


def _name(element: BaseOxmlElement) -> str:
    return str(element.tag).rpartition("}")[2]
