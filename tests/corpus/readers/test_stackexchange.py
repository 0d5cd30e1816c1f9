"""Stack Exchange dumps: Posts.xml as the dumps write it, many sites in one run, and broken ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest

from craft_hf.base.errors import InputError
from craft_hf.base.records import Document
from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.readers.stackexchange import StackExchange, hub_row
from tests.corpus import left_out, opened_when_read_on


def post(**fields: str | int) -> str:
    """A post as the dumps write it: a line, everything in attributes, line breaks as &#xA;."""
    parts = (f"{name}={quoteattr(str(value), {chr(10): '&#xA;'})}" for name, value in fields.items())
    return f"  <row {' '.join(parts)} />\r\n"


def dump(folder: Path, *posts: str) -> Path:
    """Write Posts.xml with byte order mark and declaration, as the dumps have them, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    head = '\ufeff<?xml version="1.0" encoding="utf-8"?>\r\n<posts>\r\n'
    (folder / "Posts.xml").write_text(head + "".join(posts) + "</posts>", encoding="utf-8")
    return folder


def question(number: int, **fields: str | int) -> str:
    """A question with what every question has."""
    more = {"Title": f"Question {number}", "Body": "<p>Why?</p>", "ContentLicense": "CC BY-SA 4.0", **fields}
    return post(Id=number, PostTypeId=1, CreationDate="2019-01-02T03:04:05.067", Score=3, ViewCount=9, **more)


def answer(number: int, parent: int, score: int, body: str, license: str = "CC BY-SA 4.0") -> str:
    """An answer."""
    return post(Id=number, PostTypeId=2, ParentId=parent, Score=score, Body=body, ContentLicense=license)


def read(path: Path) -> tuple[list[Document], dict[str, int]]:
    """The documents of a dump, of any length, and what was left out."""
    corpus = Corpus(StackExchange(path), min_chars=1)
    return list(corpus), left_out(corpus.ledger)


POSTS = (
    answer(2, 1, 5, "<p>Second best.</p>", "CC BY-SA 3.0"),
    question(
        1, AcceptedAnswerId=9, Title='Why is x < 1 & "small"?', Body="<p>See</p>\n<pre><code>x = 0\n</code></pre>"
    ),
    answer(4, 1, 7, "<p>Best by score.</p>"),
    answer(3, 1, 5, "<p>Third, by its id.</p>"),
    question(5, Title="Alone"),
    post(Id=6, PostTypeId=5, Body="<p>A tag's wiki.</p>"),
    answer(7, 77, 1, "<p>Its question was deleted.</p>"),
    answer(9, 1, -2, "<p>Accepted.</p>"),
)
DOCUMENT = """Why is x < 1 & "small"?

See

```
x = 0
```

Answer:
Accepted.

Answer:
Best by score.

Answer:
Second best.

Answer:
Third, by its id."""


@pytest.mark.parametrize("given", [".", "ai.stackexchange.com", "ai.stackexchange.com/Posts.xml"])
def test_question_and_answers_are_one_document(tmp_path: Path, given: str) -> None:
    """The accepted answer comes first, then by score, then by id; where they stand in the file plays no part."""
    dump(tmp_path / "ai.stackexchange.com", *POSTS)
    documents, skipped = read(tmp_path / given)
    site = "ai.stackexchange.com"
    assert documents == [
        Document(
            f"{site}:1", DOCUMENT, f"stackexchange:{site}", 'Why is x < 1 & "small"?', f"https://{site}/questions/1",
            "CC BY-SA 3.0 and CC BY-SA 4.0",
        ),
        Document(
            f"{site}:5", "Alone\n\nWhy?", f"stackexchange:{site}", "Alone", f"https://{site}/questions/5",
            "CC BY-SA 4.0",
        ),
    ]  # fmt: skip
    assert skipped == {"neither question nor answer": 1, "answer without its question": 1}


def test_a_name_of_its_own_and_the_folder_of_a_part(tmp_path: Path) -> None:
    """Another name goes before the site; stackoverflow.com-Posts, as its archive unpacks, is stackoverflow.com."""
    dump(tmp_path / "stackoverflow.com-Posts", question(1))
    (document,) = Corpus(StackExchange(tmp_path, "forum"), min_chars=1)
    assert (document.source, document.url) == ("forum:stackoverflow.com", "https://stackoverflow.com/questions/1")


def test_many_sites_are_one_run_and_empty_ones_are_counted(tmp_path: Path) -> None:
    """173 sites come in sorted order; those without a question are skipped with a count."""
    for number in range(173):
        dump(tmp_path / f"site{number:03d}.stackexchange.com", *([question(1)] if number % 50 else []))
    documents, skipped = read(tmp_path)
    assert [d.source[18:21] for d in documents] == [f"{n:03d}" for n in range(173) if n % 50]
    assert skipped == {"site without questions": 4}


def test_reading_goes_on_without_the_sites_before(tmp_path: Path) -> None:
    """Also those without questions."""
    for name in "abcd":
        dump(tmp_path / f"{name}.org", *([] if name == "b" else [*POSTS, question(10)]))
    assert opened_when_read_on(lambda: StackExchange(tmp_path), 4) == ["c.org/Posts.xml", "d.org/Posts.xml"]


def test_old_dump_without_licences_gets_the_given_one(tmp_path: Path) -> None:
    """Dumps of before 2020 name no licence with a post; the corpus's own is taken."""
    dump(tmp_path / "old.stackexchange.com", post(Id=1, PostTypeId=1, Title="Old", Body="<p>Text</p>"))
    (document,) = Corpus(StackExchange(tmp_path), license="CC BY-SA", min_chars=1)
    assert document.license == "CC BY-SA"


def test_no_question_at_all_is_an_error(tmp_path: Path) -> None:
    """A site without rows, given alone, is refused."""
    with pytest.raises(InputError, match=r"nothing became a document: 1 site without questions, such as empty\.stack"):
        read(dump(tmp_path / "empty.stackexchange.com"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("</posts>", ""), r"Posts\.xml, line 11, column 0: broken XML \(no element found\)"),
        (('<row Id="6"', '<row &nbsp; Id="6"'), r"Posts\.xml, line 8, column \d+: broken XML \(not well-formed"),
        (("A tag's", "A&nbsp;tag's"), r"Posts\.xml, line 8, column \d+: broken XML \(undefined entity\)"),
        (('row Id="6" ', "row "), None),
        (('"utf-8"', '"utf-9"'), None),
        (('row Id="5" ', "row "), r"Posts\.xml, line 7: the row has Id None, expected a number"),
        (('ParentId="77"', 'ParentId="x"'), r"line 9: the row has ParentId 'x', expected a number"),
        (('Score="7"', f'Score="{"9" * 30}"'), r"line 5: the row has Score '9{30}', expected a number"),
        (("PostTypeId", "Type"), r"line 3: the row has PostTypeId None, .* is it a dump's Posts\.xml"),
    ],
    ids=["cut", "syntax", "entity", "unread", "encoding", "id", "parent", "score", "other-table"],
)
def test_broken_xml_names_file_and_place(tmp_path: Path, change: tuple[str, str], message: str | None) -> None:
    """Cut files, bad entities and rows of other tables are faults with file, line and what to do."""
    file = dump(tmp_path / "ai.stackexchange.com", *POSTS) / "Posts.xml"
    text = file.read_bytes().decode("utf-8")
    file.write_bytes(text.replace(*change).encode())
    if message is None:
        assert len(read(tmp_path)[0]) == 2
        return
    with pytest.raises(InputError, match=message):
        list(Corpus(StackExchange(tmp_path), min_chars=1, strict=True))


def test_file_cut_within_a_row_gives_no_document(tmp_path: Path) -> None:
    """A file that ends within a row is noticed before the first of its documents goes out."""
    file = dump(tmp_path / "ai.stackexchange.com", *POSTS) / "Posts.xml"
    file.write_bytes(file.read_bytes()[:-60])
    with pytest.raises(InputError, match="unpack or download the site again, or leave it out"):
        next(iter(Corpus(StackExchange(tmp_path), min_chars=1)))


@pytest.mark.parametrize("reference", ["&#x0E;", "&#x0;", "&#14;", "&#xB;", "&#xFFFE;", "&#xd83d;", "\x0e", "\0"])
def test_characters_that_xml_forbids_are_left_out(tmp_path: Path, reference: str) -> None:
    """Real dumps hold them; they end nothing, wherever the mebibytes in which a file is read begin."""
    file = dump(tmp_path / "ai.stackexchange.com", question(1, Body="<p>One MARK two.</p>"), *POSTS[2:]) / "Posts.xml"
    text = file.read_text(encoding="utf-8").replace("MARK", reference)
    for before in (0, *(-text.index("One ") + position for position in ((1 << 20) - 8, (1 << 20) - 4))):
        padded = text.replace("<posts>", f"<posts>{' ' * before}")
        file.write_text(padded, encoding="utf-8", newline="")
        documents, _ = read(tmp_path)
        assert "One  two." in documents[0].text.replace("One two.", "One  two.")
        assert len(documents) == 2


def test_line_breaks_and_other_references_stay(tmp_path: Path) -> None:
    """References to characters that XML allows are what they stand for."""
    body = "<pre><code>a\n&#9;b&#x1F642;&#128578;&#31;</code></pre>"
    file = dump(tmp_path / "ai.stackexchange.com", question(1, Body="MARK")) / "Posts.xml"
    escaped = body.replace("<", "&lt;").replace("\n", "&#xA;")
    file.write_text(file.read_text(encoding="utf-8").replace("MARK", escaped), encoding="utf-8")
    assert "a\n\tb🙂🙂" in read(tmp_path)[0][0].text


def test_posts_below_the_least_score_are_left_out(tmp_path: Path) -> None:
    """An answer goes alone, a question with its answers; both are counted, and no sum breaks."""
    posts = (
        question(1, AcceptedAnswerId=3), answer(2, 1, 0, "<p>Bad.</p>"), answer(3, 1, 5, "<p>Good.</p>"),
        post(Id=4, PostTypeId=1, Title="Low", Body="<p>Why?</p>", Score=-3), answer(5, 4, 9, "<p>Lost.</p>"),
    )  # fmt: skip
    dump(tmp_path / "ai.stackexchange.com", *posts)
    corpus = Corpus(StackExchange(tmp_path, min_score=1), min_chars=1)
    (document,) = corpus
    assert document.text == "Question 1\n\nWhy?\n\nAnswer:\nGood."
    assert left_out(corpus.ledger) == {"low score": 3}
    assert (corpus.ledger.files, corpus.ledger.records) == (1, 4)
    assert len(read(tmp_path)[0]) == 2


def test_authors_are_named_as_the_licence_asks(tmp_path: Path) -> None:
    """By the names of Users.xml if it is there, else by their pages; names of deleted users stand with the posts."""
    posts = (
        question(1, OwnerUserId=7, AcceptedAnswerId=4),
        post(Id=3, PostTypeId=2, ParentId=1, Score=9, Body="<p>So.</p>", OwnerDisplayName="gone user"),
        post(Id=4, PostTypeId=2, ParentId=1, Score=1, Body="<p>Thus.</p>", OwnerUserId=8),
        post(Id=5, PostTypeId=2, ParentId=1, Score=0, Body="<p>Or.</p>", OwnerUserId=7),
        post(Id=6, PostTypeId=2, ParentId=1, Score=0, Body="<p>Nobody.</p>", OwnerUserId=-1),
    )
    site = dump(tmp_path / "ai.stackexchange.com", *posts)
    page = "https://ai.stackexchange.com/users/"
    assert read(tmp_path)[0][0].author == f"{page}7, {page}8, gone user"
    (site / "Users.xml").write_text(f"<users>{post(Id=7, DisplayName='Ann Lee')}{post(Id=8, DisplayName=' ')}</users>")
    assert read(tmp_path)[0][0].author == f"Ann Lee, {page}8, gone user"


def test_a_broken_site_ends_no_build(tmp_path: Path) -> None:
    """Other sites are read; the broken one, and rows that are broken in others, are counted by place."""
    dump(tmp_path / "a.stackexchange.com", question(1))
    broken = dump(tmp_path / "b.stackexchange.com", question(1)) / "Posts.xml"
    broken.write_bytes(broken.read_bytes()[:-30])
    dump(
        tmp_path / "c.stackexchange.com",
        question("x"),
        question(2),
        answer(3, 2, 1, "<p>So.</p>").replace('"2"', '"?"'),
    )  # type: ignore[arg-type]
    documents, counts = read(tmp_path)
    assert [d.id for d in documents] == ["a.stackexchange.com:1", "c.stackexchange.com:2"]
    assert counts == {"unreadable or broken file": 1, "broken record": 2}


def test_packed_sites_are_refused_with_the_command(tmp_path: Path) -> None:
    """A .7z, alone or among sites, is to be unpacked first; one that is unpacked, or holds no posts, may lie there."""
    dump(tmp_path / "ai.stackexchange.com", question(1))
    for name in ("ai.stackexchange.com.7z", "stackoverflow.com-Badges.7z"):
        (tmp_path / name).touch()
    assert len(read(tmp_path)[0]) == 1
    with pytest.raises(InputError, match=r"ai\.stackexchange\.com\.7z is packed; unpack it first"):
        StackExchange(tmp_path / "ai.stackexchange.com.7z")
    (tmp_path / "bio.stackexchange.com.7z").touch()
    with pytest.raises(InputError, match=r"1 packed sites.*7z x bio\.stackexchange\.com\.7z -obio\.stackexchange\.com"):
        StackExchange(tmp_path)


def test_foreign_files_and_folders_are_refused(tmp_path: Path) -> None:
    """A folder without Posts.xml and another table of a dump are named."""
    with pytest.raises(InputError, match=r"holds no Posts\.xml; expected a folder for each site"):
        StackExchange(tmp_path)
    (tmp_path / "Users.xml").touch()
    with pytest.raises(InputError, match=r"Users\.xml is not Posts\.xml"):
        StackExchange(tmp_path / "Users.xml")


def test_full_disk_says_what_to_do(tmp_path: Path) -> None:
    """When the temporary database cannot grow, as on a full disk, the error names the way out."""
    body = "<p>" + "x" * 100_000 + "</p>"
    dump(tmp_path / "ai.stackexchange.com", question(1), *(answer(n, 1, 0, body) for n in range(2, 300)))
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from craft_hf.corpus.readers.stackexchange import StackExchange\n"
        "from craft_hf.corpus import Ledger; from craft_hf.base import StorageError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "try: list(StackExchange(Path(sys.argv[1])).rows(Ledger()))\n"
        "except StorageError as e: print(e)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert "set TMPDIR to a folder with more free space" in done.stdout


def test_row_of_the_hub_dataset_is_a_document() -> None:
    """Users' numbers go, HTML becomes text, the best answer comes first; other rows are refused."""
    row = {
        "question_id": 2,
        "text": "user4: How?\nuser29: So.",
        "metadata": [
            "https://ai.stackexchange.com/questions/2",
            "https://ai.stackexchange.com",
            "https://a.b/users/4/",
        ],
        "date": "2016/08/02",
        "original_text": ["4: <p>How: with <code>x</code>?</p>", "29: <p>So.</p>", "-1: <p>Better so.</p>"],
    }
    assert hub_row(row) == {
        "id": "ai.stackexchange.com:2",
        "text": "How: with `x`?\n\nAnswer:\nBetter so.\n\nAnswer:\nSo.",
        "source": "stackexchange:ai.stackexchange.com",
        "url": "https://ai.stackexchange.com/questions/2",
        "author": "https://ai.stackexchange.com/users/4, https://ai.stackexchange.com/users/29",
    }
    with pytest.raises(InputError, match="expected fields original_text and metadata, but a row has text"):
        hub_row({"text": "t"})
