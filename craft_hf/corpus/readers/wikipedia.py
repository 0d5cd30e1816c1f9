"""Reads Wikipedia: the output of WikiExtractor, or files of the Hub dataset, one record for each article."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from craft_hf.base import InputError
from craft_hf.corpus.ledger import Ledger, Reason
from craft_hf.corpus.readers import LocatedRows, Piece, Source
from craft_hf.corpus.readers.file import File
from craft_hf.corpus.readers.files import FilePiece, FileSource, found_files, read_file
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
        found = self._extracted(ledger)
        if found is None:
            yield from _without_redirects(FileSource(self._path).rows(ledger), ledger)
            return
        for file in found:
            yield from _without_redirects(_file_rows(file, ledger), ledger)

    def pieces(self) -> Sequence[Piece]:
        """Return the files."""
        found = self._extracted(Ledger())
        if found is None:
            return [_WithoutRedirects(piece) for piece in FileSource(self._path).pieces()]
        return [_WithoutRedirects(FilePiece(file, _file_rows)) for file in found if _is_extracted(file.path)]

    def _extracted(self, ledger: Ledger) -> list[File] | None:
        """The files, if they are those of WikiExtractor."""
        if not self._path.is_dir():
            return [File(self._path, f"{self.name}/{self._path.name}")] if _is_extracted(self._path) else None
        if not any(_is_extracted(path) for path in self._path.rglob("wiki_*")):
            return None
        return [File(path, f"{self.name}/{below}") for path, below in found_files(self._path, self.name, ledger)]


class _WithoutRedirects(Piece):
    """A piece whose redirects are left out and counted."""

    def __init__(self, piece: Piece) -> None:
        self._piece, self.name, self.kind, self.size = piece, piece.name, piece.kind, piece.size
        self.is_file, self.is_streamed = piece.is_file, piece.is_streamed

    def rows(self, ledger: Ledger) -> LocatedRows:
        return _without_redirects(self._piece.rows(ledger), ledger)

    def share(self) -> float:
        return self._piece.share()

    def close(self) -> None:
        self._piece.close()


def _is_extracted(path: Path) -> bool:
    return _EXTRACTED.fullmatch(path.name) is not None


def _without_redirects(rows: LocatedRows, ledger: Ledger) -> LocatedRows:
    for place, row in rows:
        if is_redirect(str(row.get("text") or "")):
            ledger.leave_out(Reason.REDIRECT, str(place))
        else:
            yield place, row


def _file_rows(file: File, ledger: Ledger) -> LocatedRows:
    if _is_extracted(file.path):
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
