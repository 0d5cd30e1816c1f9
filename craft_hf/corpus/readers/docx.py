"""Reads Word files (.docx): one document each, by python-docx."""

from __future__ import annotations

import io

from craft_hf.base import require
from craft_hf.corpus.fields import WholeFile
from craft_hf.corpus.ledger import Ledger
from craft_hf.corpus.readers import LocatedRows, Place
from craft_hf.corpus.readers.file import File


def docx_rows(file: File, ledger: Ledger) -> LocatedRows:
    """Yield the document: its paragraphs and tables in order, tables as lines with " | " between cells.

    Raises:
        InputError: the file is no Word file, or broken.
        MissingExtra: python-docx is not installed.
    """
    docx = require("docx", "documents")
    with file.reading(), file.open() as stream:
        content = io.BytesIO(stream.read())
    with file.parsing("a Word file"):
        document = docx.Document(content)
        blocks = [
            block.text
            if hasattr(block, "text")
            else "\n".join(" | ".join(cell.text for cell in row.cells) for row in block.rows)
            for block in document.iter_inner_content()
        ]
        about = document.core_properties
    text = "\n\n".join(filter(None, (block.strip() for block in blocks)))
    title = about.title or file.stem
    yield Place(file.name), WholeFile(id=file.id, title=title, author=about.author, text=text)
