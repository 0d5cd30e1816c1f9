"""Reads text files: one document each."""

from __future__ import annotations

from craft_hf.corpus.fields import WholeFile
from craft_hf.corpus.ledger import Ledger
from craft_hf.corpus.readers import LocatedRows, Place
from craft_hf.corpus.readers.file import File


def text_rows(file: File, ledger: Ledger) -> LocatedRows:
    """Yield the document.

    Raises:
        InputError: the file is not text, or not in UTF-8, UTF-16 or UTF-32.
    """
    yield Place(file.name), WholeFile(id=file.id, title=file.stem, text=file.text())
