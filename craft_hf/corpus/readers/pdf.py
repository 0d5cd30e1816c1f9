"""Reads PDF files: one document each, by PDFium."""

from __future__ import annotations

from craft_hf.base import require
from craft_hf.corpus.fields import WholeFile
from craft_hf.corpus.ledger import Ledger, Reason
from craft_hf.corpus.readers import LocatedRows, Place
from craft_hf.corpus.readers.file import File


def pdf_rows(file: File, ledger: Ledger) -> LocatedRows:
    """Yield the document, its pages apart by a blank line; pages without text, such as images, are counted.

    Raises:
        InputError: the file is no PDF, broken, or locked by a password.
        MissingExtra: PDFium is not installed.
    """
    pdfium = require("pypdfium2", "documents")
    with file.reading(), file.open() as stream:
        content = stream.read()
    with file.parsing("PDF"):
        pdf = pdfium.PdfDocument(content)
        try:
            about = pdf.get_metadata_dict()
            pages = [page.get_textpage().get_text_bounded().replace("\r\n", "\n").strip() for page in pdf]
        finally:
            pdf.close()
    # where a hyphen breaks a word over two lines, PDFium has a control character, which no text keeps
    with_text = list(filter(None, pages))
    if not with_text:
        ledger.leave_out(Reason.ONLY_IMAGES, f"{file.name}: {len(pages)} pages of images; recognize their text first.")
        return
    if empty := len(pages) - len(with_text):
        ledger.leave_out(Reason.EMPTY_PAGES, f"{file.name}: {empty} of {len(pages)} pages", empty)
    title, author = about.get("Title") or file.stem, about.get("Author")
    yield Place(file.name), WholeFile(id=file.id, title=title, author=author, text="\n\n".join(with_text))
