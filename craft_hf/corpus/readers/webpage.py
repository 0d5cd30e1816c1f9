"""Reads web pages: the main text of each, without navigation and the like, by trafilatura."""

from __future__ import annotations

from craft_hf.base import require
from craft_hf.corpus.fields import WholeFile
from craft_hf.corpus.ledger import Ledger
from craft_hf.corpus.readers import LocatedRows, Place
from craft_hf.corpus.readers.file import File


def webpage_rows(file: File, ledger: Ledger) -> LocatedRows:
    """Yield the document, with the title, author, address and licence that the page states.

    Raises:
        InputError: the file cannot be read.
        MissingExtra: trafilatura is not installed.
    """
    trafilatura = require("trafilatura", "documents")
    with file.reading(), file.open() as stream:
        content = stream.read()
    with file.parsing("a web page"):
        page = trafilatura.bare_extraction(content, include_comments=False, with_metadata=True, url=None)
    found = {name: getattr(page, name, None) for name in ("title", "url", "author", "license", "text")}
    yield Place(file.name), WholeFile({**found, "id": file.id, "title": found["title"] or file.stem})
