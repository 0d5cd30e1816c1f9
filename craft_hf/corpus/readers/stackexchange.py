"""Reads unpacked Stack Exchange dumps: one row for each question, with its answers.

An answer can be anywhere after its question, in the largest dump tens of gigabytes later. So Posts.xml is read twice:
first all answers are put into a temporary SQLite database on disk, then each question, in the file's order, gets its
own. Memory does not grow with the dump (a 16 MiB cache); $TMPDIR needs space for the HTML of one site's answers. The
database is an unnamed file, so nothing is left when the process is killed.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from xml.parsers import expat

from craft_hf.base import InputError, StorageError
from craft_hf.corpus.readers import LocatedRows, Row, Source
from craft_hf.corpus.readers.html import html_to_text

_QUESTION, _ANSWER = 1, 2
_CHUNK = 1 << 20
_OTHER_TABLES = re.compile(r"-(Badges|Comments|PostHistory|PostLinks|Tags|Users|Votes)\.7z$")
_EXPECTED = "a folder for each site, named like ai.stackexchange.com, with its Posts.xml"


class StackExchange(Source):
    """The questions of some sites, each with its answers: the accepted one, then the rest by score, then by id.

    Args:
        path: a folder of site folders, one site's folder, or a Posts.xml (its folder names the site).
        name: documents get "NAME:SITE" as their source.

    A row's licence is that of its posts, which differ by their dates; several are joined by ", ". A site without
    questions is counted in `skipped`.

    Raises:
        InputError: at once if there is no Posts.xml or a site is still packed; while iterating if XML is broken.
    """

    def __init__(self, path: Path, name: str = "stackexchange") -> None:
        self._path, self.name = path, name
        self._files = _posts_files(path)

    def rows(self, skipped: Counter[str]) -> LocatedRows:
        """Read site by site, in sorted order."""
        for file in self._files:
            site = file.resolve().parent.name.removesuffix("-Posts")
            empty = True
            try:
                for row in _site_rows(file, site, skipped):
                    empty = False
                    yield f"{file}, question {row['id']}", {**row, "source": f"{self.name}:{site}"}
            except sqlite3.Error as e:
                raise StorageError(
                    f"{file}: its answers cannot be stored in a temporary file ({e}), which takes up to the size of "
                    "that file; set TMPDIR to a folder with more free space."
                ) from e
            if empty:
                skipped["site without questions"] += 1


def hub_row(row: Row, name: str = "stackexchange") -> Row:
    """Convert a row of HuggingFaceGECLM/StackExchange_Mar2023, which holds posts as "USER: HTML", the best answer last.

    Args:
        row: a row of the dataset.
        name: the document gets "NAME:SITE" as its source.

    Raises:
        InputError: the row has other fields.
    """
    posts, links = row.get("original_text"), row.get("metadata")
    if not isinstance(posts, list) or not posts or not isinstance(links, list) or not links:
        raise InputError(f"expected fields original_text and metadata, but a row has {', '.join(row)}.")
    question, *answers = (html_to_text(str(post).partition(": ")[2]) for post in posts)
    url = str(links[0])
    site = url.removeprefix("https://").partition("/")[0]
    return {
        "id": f"{site}:{row.get('question_id')}",
        "text": _document("", question, answers[::-1]),
        "source": f"{name}:{site}",
        "url": url,
    }


def _posts_files(path: Path) -> list[Path]:
    if path.name.endswith(".7z"):
        raise InputError(f"{path} is packed; unpack it first (7z x, into a folder named like the site); expected "
                         f"{_EXPECTED}.")  # fmt: skip
    if path.is_file():
        if path.name != "Posts.xml":
            raise InputError(f"{path} is not Posts.xml, the only file of a site's dump that is read.")
        return [path]
    if (path / "Posts.xml").is_file():
        return [path / "Posts.xml"]
    files = sorted(path.glob("*/Posts.xml"))
    sites = {file.parent.name.removesuffix("-Posts") for file in files}
    packed = sorted(
        p.name
        for p in path.glob("*.7z")
        if not _OTHER_TABLES.search(p.name) and p.name.removesuffix(".7z").removesuffix("-Posts") not in sites
    )
    if packed:
        raise InputError(
            f"the folder {path} holds {len(packed)} packed sites, the first {packed[0]}; unpack each into a folder "
            f"named like it (7z x {packed[0]} -o{packed[0].removesuffix('.7z')}), or move it away."
        )
    if not files:
        raise InputError(f"the folder {path} holds no Posts.xml; expected {_EXPECTED}.")
    return files


def _site_rows(file: Path, site: str, skipped: Counter[str]) -> Iterator[dict[str, str]]:
    with closing(sqlite3.connect("", isolation_level=None)) as answers:
        for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -16384"):
            answers.execute(f"PRAGMA {setting}")
        answers.execute("CREATE TABLE answer (question INTEGER, id INTEGER, score INTEGER, license TEXT, html TEXT)")
        answers.execute("BEGIN")
        answers.executemany("INSERT INTO answer VALUES (?, ?, ?, ?, ?)", _answers(file, skipped))
        answers.execute("COMMIT")
        answers.execute("CREATE INDEX by_question ON answer (question)")
        (alone,) = answers.execute("SELECT count(*) FROM answer").fetchone()
        for where, post in _posts(file):
            if _number(post, "PostTypeId", where) == _QUESTION:
                number = _number(post, "Id", where)
                found = answers.execute(
                    "SELECT license, html FROM answer WHERE question = ? ORDER BY id = ? DESC, score DESC, id",
                    (number, _number(post, "AcceptedAnswerId", where, 0)),
                ).fetchall()
                alone -= len(found)
                licenses = {post.get("ContentLicense", ""), *(license for license, _ in found)} - {""}
                question = html_to_text(post.get("Body", ""))
                yield {
                    "id": f"{site}:{number}",
                    "title": post.get("Title", ""),
                    "text": _document(post.get("Title", ""), question, [html_to_text(html) for _, html in found]),
                    "url": f"https://{site}/questions/{number}",
                    "license": ", ".join(sorted(licenses)),
                }
        if alone:
            skipped["answer without its question"] += alone


def _document(title: str, question: str, answers: list[str]) -> str:
    return "\n\n".join(part for part in (title.strip(), question, *(f"Answer:\n{a}" for a in answers if a)) if part)


def _answers(file: Path, skipped: Counter[str]) -> Iterator[tuple[int, int, int, str, str]]:
    for where, post in _posts(file):
        kind = _number(post, "PostTypeId", where)
        if kind == _ANSWER:
            numbers = (_number(post, "ParentId", where), _number(post, "Id", where), _number(post, "Score", where, 0))
            yield *numbers, post.get("ContentLicense", ""), post.get("Body", "")
        elif kind != _QUESTION:
            skipped["neither question nor answer"] += 1


def _posts(file: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield location and attributes of each <row>, with a mebibyte of the file in memory at a time."""
    found: list[tuple[str, Mapping[str, str]]] = []
    parser = expat.ParserCreate("utf-8")  # all dumps are UTF-8, whatever a damaged first line says

    def start(tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "row":
            found.append((f"{file}, line {parser.CurrentLineNumber}", attributes))

    parser.StartElementHandler = start
    with file.open("rb") as xml:
        chunk = b" "
        while chunk:
            chunk = xml.read(_CHUNK)
            try:
                parser.Parse(chunk, not chunk)
            except expat.ExpatError as e:
                raise InputError(
                    f"{file}, line {e.lineno}, column {e.offset}: broken XML ({expat.ErrorString(e.code)}). The file "
                    "may be truncated: unpack or download the site again, or leave it out."
                ) from e
            yield from found
            found.clear()


def _number(post: Mapping[str, str], field: str, where: str, default: int | None = None) -> int:
    value = post.get(field)
    if value is None and default is not None:
        return default
    if value is None or not re.fullmatch(r"-?[0-9]{1,18}", value):
        raise InputError(f"{where}: the row has {field} {value!r}, expected a number; is it a dump's Posts.xml?")
    return int(value)
