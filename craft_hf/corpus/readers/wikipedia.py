"""Reads Wikipedia: the output of WikiExtractor, or files of the Hub dataset, one record for each article."""

from __future__ import annotations

import re
from pathlib import Path

from craft_hf.base import InputError
from craft_hf.corpus.ledger import Ledger, Reason
from craft_hf.corpus.readers import LocatedRows, Source
from craft_hf.corpus.readers.file import File
from craft_hf.corpus.readers.files import FileSource, found_files, read_file
from craft_hf.corpus.readers.jsonl import json_line_rows

_REDIRECT = re.compile(
    r"\s*(?:REDIRECT\s|[#＃]\s*(?:\w+\s*:?\s*\[\[|(?:redirect|weiterleitung|redirecci[oó]n|redirection|rinvia|rinvio"
    r"|rimando|doorverwijzing|patrz|przekieruj|tam|redirecionamento|перенаправление|перенапр|перенаправлення|перанакіраваньне"
    r"|omdirigering|ohjaus|uudelleenohjaus|suuna|přesměruj|átirányítás|preusmjeri|преусмери|пренасочване|виж|yönlendir"
    r"|ανακατευθυνση|đổi|alih|alidirektu|birzuzendu|転送|リダイレクト|重定向|넘겨주기|تحويل|تغییر_?مسیر|הפניה|अनुप्रेषित|पुनर्प्रेषित)"
    r"(?!\w)))",
    re.IGNORECASE,
)
"""A redirect of any language while the brackets of its link are there, else by its word: `redirect` in $magicWords of
MediaWiki's languages/messages, of the larger Wikipedias."""

_EXTRACTED = re.compile(r"wiki_\d+(\.bz2|\.gz|\.zst)?")


class Wikipedia(Source):
    """The output of `wikiextractor --json` (AA/wiki_00, AA/wiki_01.bz2, ...), or other corpus files, such as Parquet.

    Args:
        path: a file, or a folder that is read with its subfolders.

    Redirects are left out and counted.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.name = path, "wikipedia"

    def rows(self, ledger: Ledger) -> LocatedRows:
        """Read the files in sorted order."""
        for place, row in self._all_rows(ledger):
            if is_redirect(str(row.get("text") or "")):
                ledger.leave_out(Reason.REDIRECT, str(place))
            else:
                yield place, row

    def _all_rows(self, ledger: Ledger) -> LocatedRows:
        if self._path.is_dir():
            extracted = any(_EXTRACTED.fullmatch(path.name) for path in self._path.rglob("wiki_*"))
            found = list(found_files(self._path, self.name, ledger)) if extracted else []
        else:
            extracted = bool(_EXTRACTED.fullmatch(self._path.name))
            found = [(self._path, self._path.name)] if extracted else []
        if not extracted:
            yield from FileSource(self._path).rows(ledger)
        for path, below in found:
            file = File(path, f"{self.name}/{below}")
            if _EXTRACTED.fullmatch(path.name):
                yield from read_file(_extracted_rows(file, ledger), file, ledger)
            else:
                ledger.leave_out(Reason.UNKNOWN_ENDING, file.name)


def is_redirect(text: str) -> bool:
    """Return whether an article is only a redirect to another."""
    return _REDIRECT.match(text) is not None


def _extracted_rows(file: File, ledger: Ledger) -> LocatedRows:
    first = next((line for _, line in file.lines()), b"")
    if first.lstrip().startswith(b"<doc"):
        raise InputError(f"{file.name} holds <doc> markup, expected JSON lines; run wikiextractor again with --json.")
    yield from json_line_rows(file, ledger)
