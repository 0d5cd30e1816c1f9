"""Reads Wikipedia: the output of WikiExtractor, or files of the Hub dataset, one record for each article."""

from __future__ import annotations

import re
from functools import cached_property, partial
from pathlib import Path

from craft_hf.base import InputError
from craft_hf.corpus.ledger import Ledger, Reason
from craft_hf.corpus.readers import LocatedRows
from craft_hf.corpus.readers.file import File
from craft_hf.corpus.readers.files import FileSource, Reader
from craft_hf.corpus.readers.jsonl import json_line_rows

_REDIRECT = re.compile(
    r"\s*(?:(?-i:REDIRECT\s)|[#＃]\s*(?:\w+\s*:?\s*\[\[|(?:redirect|weiterleitung|redirecci[oó]n|redirection|rinvia|rinvio"
    r"|rimando|doorverwijzing|patrz|przekieruj|tam|redirecionamento|перенаправление|перенапр|перенаправлення|перанакіраваньне"
    r"|omdirigering|ohjaus|uudelleenohjaus|suuna|přesměruj|átirányítás|preusmjeri|преусмери|пренасочване|виж|yönlendir"
    r"|ανακατευθυνση|đổi|alih|alidirektu|birzuzendu|転送|リダイレクト|重定向|넘겨주기|تحويل|تغییر_?مسیر|הפניה|अनुप्रेषित|पुनर्प्रेषित)"
    r"(?!\w)))",
    re.IGNORECASE,
)
"""A redirect of any language while the brackets of its link are there, else by its word: `redirect` in $magicWords of
MediaWiki's languages/messages, of the larger Wikipedias."""

_EXTRACTED = re.compile(r"wiki_\d+(\.bz2|\.gz|\.zst)?")


class Wikipedia(FileSource):
    """The output of `wikiextractor --json` (AA/wiki_00, AA/wiki_01.bz2, ...), or other corpus files, such as Parquet.

    Args:
        path: a file, or a folder that is read with its subfolders.

    Redirects are left out and counted.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.name = "wikipedia"

    def reader_of(self, path: Path) -> Reader | None:
        """Return what reads a file; beside those of WikiExtractor, nothing reads others."""
        if not self._is_extracted:
            reader = super().reader_of(path)
        else:
            reader = _extracted_rows if _EXTRACTED.fullmatch(path.name) else None
        return reader and partial(_article_rows, reader)

    @cached_property
    def _is_extracted(self) -> bool:
        files = self._path.rglob("wiki_*") if self._path.is_dir() else [self._path]
        return any(_EXTRACTED.fullmatch(path.name) for path in files)


def _article_rows(reader: Reader, file: File, ledger: Ledger) -> LocatedRows:
    for place, row in reader(file, ledger):
        if is_redirect(str(row.get("text") or "")):
            ledger.leave_out(Reason.REDIRECT, str(place))
        else:
            yield place, row


def is_redirect(text: str) -> bool:
    """Return whether an article is only a redirect to another."""
    return _REDIRECT.match(text) is not None


def _extracted_rows(file: File, ledger: Ledger) -> LocatedRows:
    first = next((line for _, line in file.lines()), b"")
    if first.lstrip().startswith(b"<doc"):
        raise InputError(f"{file.name} holds <doc> markup, expected JSON lines; run wikiextractor again with --json.")
    yield from json_line_rows(file, ledger)
