"""Reads unpacked Stack Exchange dumps: one row for each question, with its answers.

An answer can be anywhere after its question, in the largest dump tens of gigabytes later. So Posts.xml is read twice:
first all answers are put into a temporary SQLite database on disk, then each question, in the file's order, gets its
own. Memory does not grow with the dump (a 16 MiB cache); $TMPDIR needs space for the HTML of one site's answers. The
database is an unnamed file, so nothing is left when the process is killed.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from xml.parsers import expat

from craft_hf.base import InputError, StorageError
from craft_hf.corpus.ledger import Ledger, Reason
from craft_hf.corpus.readers import LocatedRows, Piece, Place, Row
from craft_hf.corpus.readers.file import File
from craft_hf.corpus.readers.files import FilePiece, FilesSource, read_file
from craft_hf.corpus.readers.html import html_to_text

_QUESTION, _ANSWER = 1, 2
_CHUNK = 1 << 20
_FORBIDDEN = bytes({*range(32), 127} - {9, 10, 13})
_FORBIDDEN_REFERENCE = re.compile(
    rb"&#(?:x0*(?:[0-8bcef]|1[0-9a-f]|d[89a-f][0-9a-f]{2}|fff[ef])|0*(?:[0-8]|1[1245-9]|2[0-9]|3[01]));", re.IGNORECASE
)
"""A reference to a character that XML 1.0 forbids: controls, half characters, and two that are none."""
_LONGEST_REFERENCE = 16
_OTHER_TABLES = re.compile(r"-(Badges|Comments|PostHistory|PostLinks|Tags|Users|Votes)\.7z$")
_EXPECTED = "a folder for each site, named like ai.stackexchange.com, with its Posts.xml"


class StackExchange(FilesSource):
    """The questions of some sites, each with its answers: the accepted one, then the rest by score, then by id.

    Args:
        path: a folder of site folders, one site's folder, or a Posts.xml (its folder names the site).
        name: documents get "NAME:SITE" as their source.
        min_score: questions and answers with a lower score are left out; None takes all.

    A record's licence is that of its posts, which differ by their dates; several are joined by " and ". Its author are
    those who wrote the posts, as the licence asks for: by the names in Users.xml if that is beside Posts.xml, else by
    their pages on the site.

    Raises:
        InputError: at once if there is no Posts.xml or a site is still packed.
    """

    def __init__(self, path: Path, name: str = "stackexchange", min_score: int | None = None) -> None:
        self._path, self.name, self._min_score = path, name, min_score
        self._files = _posts_files(path)

    def files(self, ledger: Ledger) -> list[File]:
        """Return the Posts.xml of each site, in sorted order."""
        names = [path.resolve().parent.name.removesuffix("-Posts") for path in self._files]
        return [File(path, f"{site}/{path.name}") for path, site in zip(self._files, names, strict=True)]

    def file_rows(self, file: File, ledger: Ledger) -> LocatedRows:
        """Read a site; one whose XML is broken, or without questions, is counted."""
        site = file.name.rpartition("/")[0]
        yield from read_file(self._site(file, site, ledger), file, ledger)

    def pieces(self) -> Sequence[Piece]:
        """Return the sites; an answer may stand anywhere, so that each is read whole."""
        return [FilePiece(file, self.file_rows, is_streamed=False) for file in self.files(Ledger())]

    def _site(self, file: File, site: str, ledger: Ledger) -> LocatedRows:
        empty = True
        try:
            for place, row in _site_rows(file, site, self._min_score, ledger):
                empty = False
                yield place, {**row, "source": f"{self.name}:{site}"}
        except sqlite3.Error as e:
            raise StorageError(
                f"{file.path}: its answers cannot be stored in a temporary file ({e}), which takes up to the size of "
                "that file; set TMPDIR to a folder with more free space."
            ) from e
        if empty:
            ledger.leave_out(Reason.NO_QUESTIONS, file.name)


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
    users, _, html = zip(*(str(post).partition(": ") for post in posts), strict=True)
    question, *answers = map(html_to_text, html)
    url = str(links[0])
    site = url.removeprefix("https://").partition("/")[0]
    return {
        "id": f"{site}:{row.get('question_id')}",
        "text": _document("", question, answers[::-1]),
        "source": f"{name}:{site}",
        "url": url,
        "author": _authors(_user_page(site, user) for user in (users[0], *users[:0:-1])),
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


def _site_rows(file: File, site: str, min_score: int | None, ledger: Ledger) -> LocatedRows:
    with closing(sqlite3.connect("", isolation_level=None)) as answers:
        for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -16384"):
            answers.execute(f"PRAGMA {setting}")
        answers.execute("CREATE TABLE user (id TEXT PRIMARY KEY, name TEXT) WITHOUT ROWID")
        answers.execute(
            "CREATE TABLE answer (question INTEGER, id INTEGER, score INTEGER, license TEXT, user TEXT, name TEXT, "
            "html TEXT)"
        )
        answers.execute("BEGIN")
        answers.executemany("INSERT OR REPLACE INTO user VALUES (?, ?)", _users(file))
        answers.executemany("INSERT INTO answer VALUES (?, ?, ?, ?, ?, ?, ?)", _answers(file, min_score, ledger))
        answers.execute("COMMIT")
        answers.execute("CREATE INDEX by_question ON answer (question)")
        (alone,) = answers.execute("SELECT count(*) FROM answer").fetchone()

        def author(user: str, name: str) -> str:
            found = answers.execute("SELECT name FROM user WHERE id = ?", (user,)).fetchone() if user else None
            return found[0] if found else name or _user_page(site, user)

        for place, post in _posts(file):
            try:
                if _number(post, "PostTypeId") != _QUESTION:
                    continue
                number, score = _number(post, "Id"), _number(post, "Score", 0)
                accepted = _number(post, "AcceptedAnswerId", 0)
            except ValueError as e:
                if post.get("PostTypeId") == str(_QUESTION):  # others were counted with the answers
                    ledger.leave_out(Reason.BROKEN, f"{place}: {e}")
                continue
            found = answers.execute(
                "SELECT license, user, name, html FROM answer WHERE question = ? ORDER BY id = ? DESC, score DESC, id",
                (number, accepted),
            ).fetchall()
            alone -= len(found)
            if min_score is not None and score < min_score:
                ledger.leave_out(Reason.LOW_SCORE, str(place), 1 + len(found))
                continue
            licenses = {post.get("ContentLicense", ""), *(license for license, *_ in found)} - {""}
            users = [(post.get("OwnerUserId", ""), post.get("OwnerDisplayName", ""))]
            users += [(user, name) for _, user, name, _ in found]
            question = html_to_text(post.get("Body", ""))
            yield (
                Place(file.name, "question", number),
                {
                    "id": f"{site}:{number}",
                    "title": post.get("Title", ""),
                    "text": _document(post.get("Title", ""), question, [html_to_text(html) for *_, html in found]),
                    "url": f"https://{site}/questions/{number}",
                    "license": " and ".join(sorted(licenses)),
                    "author": _authors(author(user, name) for user, name in users),
                },
            )
        if alone:
            (number,) = answers.execute("SELECT min(question) FROM answer").fetchone()
            ledger.leave_out(Reason.NO_QUESTION, f"{file.name}, an answer to question {number}", alone)


def _document(title: str, question: str, answers: list[str]) -> str:
    return "\n\n".join(part for part in (title.strip(), question, *(f"Answer:\n{a}" for a in answers if a)) if part)


def _authors(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(filter(None, names)))


def _user_page(site: str, user: str) -> str:
    """Return the page of a user by number; those with negative numbers are no persons and have none."""
    return f"https://{site}/users/{user}" if user.isdecimal() else ""


def _users(posts: File) -> Iterator[tuple[str, str]]:
    """Yield id and name of the users in the Users.xml beside a Posts.xml, if there is one."""
    path = posts.path.with_name("Users.xml")
    if path.is_file():
        for _, user in _posts(File(path, posts.name.replace(posts.path.name, path.name))):
            if name := user.get("DisplayName", "").strip():
                yield user.get("Id", ""), name


def _answers(file: File, min_score: int | None, ledger: Ledger) -> Iterator[tuple[int, int, int, str, str, str, str]]:
    for place, post in _posts(file):
        try:
            kind = _number(post, "PostTypeId")
            if kind == _ANSWER:
                question, number, score = (_number(post, "ParentId"), _number(post, "Id"), _number(post, "Score", 0))
        except ValueError as e:
            ledger.leave_out(Reason.BROKEN, f"{place}: {e}")
            continue
        if kind != _ANSWER:
            if kind != _QUESTION:
                ledger.leave_out(Reason.NEITHER, str(place))
        elif min_score is not None and score < min_score:
            ledger.leave_out(Reason.LOW_SCORE, str(place))
        else:
            users = post.get("OwnerUserId", ""), post.get("OwnerDisplayName", "")
            yield question, number, score, post.get("ContentLicense", ""), *users, post.get("Body", "")


def _posts(file: File) -> Iterator[tuple[Place, Mapping[str, str]]]:
    """Yield place and attributes of each <row>, with a mebibyte of the file in memory at a time.

    Characters that XML 1.0 forbids, which the dumps hold nevertheless, are left out.
    """
    found: list[tuple[Place, Mapping[str, str]]] = []
    parser = expat.ParserCreate("utf-8")  # all dumps are UTF-8, whatever a damaged first line says

    def start(tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "row":
            found.append((Place(file.name, "line", parser.CurrentLineNumber), attributes))

    parser.StartElementHandler = start
    with file.reading(), file.open() as xml:
        chunk, begun = b" ", b""
        while chunk:
            chunk = xml.read(_CHUNK)
            whole = begun + chunk.translate(None, _FORBIDDEN)
            cut = whole.rfind(b"&", -_LONGEST_REFERENCE) if chunk else -1
            begun = whole[cut:] if cut >= 0 and b";" not in whole[cut:] else b""
            whole = whole[: len(whole) - len(begun)]
            try:
                parser.Parse(_FORBIDDEN_REFERENCE.sub(b"", whole), not chunk)
            except expat.ExpatError as e:
                raise InputError(
                    f"{file.name}, line {e.lineno}, column {e.offset}: broken XML ({expat.ErrorString(e.code)}). The "
                    "file may be truncated: unpack or download the site again, or leave it out."
                ) from e
            yield from found
            found.clear()


def _number(post: Mapping[str, str], field: str, default: int | None = None) -> int:
    value = post.get(field)
    if value is None and default is not None:
        return default
    if value is None or not re.fullmatch(r"-?[0-9]{1,18}", value):
        raise ValueError(f"the row has {field} {value!r}, expected a number; is it a dump's Posts.xml?")
    return int(value)
