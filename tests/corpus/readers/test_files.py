"""Files of every kind: what each gives, what is counted, and what a folder of them holds."""

from __future__ import annotations

import gzip
import json
import os
import sys
from pathlib import Path

import docx
import pytest

from craft_hf.base.errors import InputError
from craft_hf.base.records import Document
from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.ledger import Reason
from craft_hf.corpus.readers.file import PACKED
from craft_hf.corpus.readers.files import READERS, FileSource, ending_of
from tests.corpus import left_out, opened_when_read_on

TEXT = "Lichens are fungi that live together with algae. " * 6
PLAIN = TEXT.strip()


def read(path: Path, **fields: str) -> tuple[list[Document], dict[str, int]]:
    """The documents of a file or folder, and what was left out."""
    corpus = Corpus(path, fields=fields)
    return list(corpus), left_out(corpus.ledger)


def example(path: Path, reason: Reason) -> str:
    """Read a file beside one that is good, and return the example of a reason."""
    (path.parent / "good.txt").write_text(TEXT)
    corpus = Corpus(path.parent)
    assert [d.id for d in corpus] == ["good.txt"]
    assert (corpus.ledger.files, corpus.ledger.files_read) == (2, 1)
    return corpus.ledger.left_out[reason].example


def pdf(*pages: list[str]) -> bytes:
    """A PDF whose pages hold lines of text, with a title and an author."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Title (Lichens) /Author (Ann Lee) >>"]
    objects.append("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    kids = []
    for lines in pages:
        stream = f"BT /F1 12 Tf 50 750 Td 14 TL {' '.join(f'({line}) Tj T*' for line in lines)} ET"
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
        font = f"/Contents {len(objects)} 0 R /Resources << /Font << /F1 4 0 R >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] {font} >>")
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    content, offsets = "%PDF-1.4\n", []
    for number, entry in enumerate(objects, 1):
        offsets.append(f"{len(content):010d} 00000 n \n")
        content += f"{number} 0 obj\n{entry}\nendobj\n"
    size = len(objects) + 1
    table = f"xref\n0 {size}\n0000000000 65535 f \n{''.join(offsets)}"
    trailer = f"trailer\n<< /Size {size} /Root 1 0 R /Info 3 0 R >>\nstartxref\n{len(content)}\n%%EOF\n"
    return (content + table + trailer).encode()


def test_every_ending_has_a_reader_in_any_case_and_packed() -> None:
    """Upper case and packing change nothing about which reader takes a file."""
    for ending in READERS:
        for packed in ("", *PACKED):
            assert ending_of(f"a{ending}{packed}") == ending_of(f"a{ending}{packed}".upper()) == ending
    assert ending_of("a.gz") == ending_of("a.odt") == ending_of("txt") == ""


@pytest.mark.parametrize("name", ["NOTES.JSONL", "NOTES.JSONL.GZ", "Notes.ndjson", "notes.Json"])
def test_the_case_of_an_ending_does_not_matter(tmp_path: Path, name: str) -> None:
    """Windows and old exports write endings in capitals."""
    content = json.dumps({"id": "a", "text": TEXT}).encode() + b"\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("GZ") else content)
    corpus = Corpus(tmp_path / name)
    assert [d.id for d in corpus] == ["a"]
    assert corpus.name.lower() == "notes"


def test_a_folder_of_all_kinds_passes_over_nothing_in_silence(tmp_path: Path) -> None:
    """Each file is read, or named under a reason."""
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "b.md").write_text("# Second\n\n" + TEXT)
    (tmp_path / "c.TXT").write_text(TEXT)
    (tmp_path / "d.csv").write_text(f'id,text\n1,"{TEXT}"\n')
    (tmp_path / "e.html").write_text(f"<html><body><p>{TEXT}</p></body></html>")
    (tmp_path / "f.odt").touch()
    (tmp_path / "g.ndjson").write_text(json.dumps({"id": "g", "text": TEXT}))
    documents, counts = read(tmp_path)
    assert [d.id for d in documents] == ["a.txt", "b.md", "c.TXT", "1", "e.html", "g"]
    assert counts == {"unknown ending": 1}


def test_reading_goes_on_without_the_files_before(tmp_path: Path) -> None:
    """What was counted of them stays."""
    for name in ("a.jsonl", "b.txt", "c.odt", "d.jsonl", "e.txt"):
        content = json.dumps({"text": TEXT}) + "\n{\n" + json.dumps({"text": TEXT}) if "json" in name else TEXT
        (tmp_path / name).write_text(content)
    for count, first in ((3, "b.txt"), (5, "d.jsonl"), (6, "e.txt")):
        opened = opened_when_read_on(lambda: FileSource(tmp_path), count)
        assert opened[0] == f"{tmp_path.name}/{first}"


def test_what_macos_leaves_and_what_is_hidden_is_counted(tmp_path: Path) -> None:
    """._ files, __MACOSX, hidden files and hidden folders are not read, and end nothing."""
    for folder in ("__MACOSX", ".git"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "b.jsonl").write_text("{}")
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": "a", "text": TEXT}))
    (tmp_path / "._a.jsonl").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    (tmp_path / ".notes.txt").write_text(TEXT)
    documents, counts = read(tmp_path)
    assert [d.id for d in documents] == ["a"]
    assert counts == {"hidden file or folder": 4}


def test_links_and_folders_without_leave_are_counted(tmp_path: Path) -> None:
    """A link to a folder, which may lead in circles, and one to nothing are told; a link to a file is read."""
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "b.txt").symlink_to(tmp_path / "a.txt")
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nothing")
    documents, counts = read(tmp_path)
    assert [d.id for d in documents] == ["a.txt", "b.txt"]
    assert counts == {"unreadable or broken file": 2}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_leave_is_counted(tmp_path: Path) -> None:
    """The reason is told without the place of the file."""
    (tmp_path / "a.txt").write_text(TEXT)
    (tmp_path / "a.txt").chmod(0)
    assert example(tmp_path / "a.txt", Reason.UNREADABLE).endswith(
        "/a.txt: the file cannot be read (Permission denied)."
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.json", "a.csv", "a.tsv", "a.md"])
def test_unicode_with_a_mark_is_read(tmp_path: Path, name: str, encoding: str) -> None:
    """UTF-8 with and without a byte order mark, UTF-16 and UTF-32 give the same text, in every format."""
    text = "Flechten sind Pilze, die mit Algen leben; 地衣 \u2028 🙂. " * 6
    content = {
        "a.txt": text, "a.md": text, "a.csv": f'id;text\n1;"{text}"\n', "a.tsv": f'id\ttext\n1\t"{text}"\n',
        "a.jsonl": json.dumps({"id": "1", "text": text}, ensure_ascii=False) + "\n",
        "a.json": json.dumps([{"id": "1", "text": text}], ensure_ascii=False),
    }[name]  # fmt: skip
    (tmp_path / name).write_bytes(content.encode(encoding))
    (document,) = Corpus(tmp_path / name)
    assert "".join(document.text.split()) == "".join(text.split())
    assert document.id in ("1", name)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("é".encode("latin-1") * 300, "not UTF-8 text"),
        (b"text\0" * 100, "holds NUL characters"),
        (TEXT.encode("utf-16-le"), "holds NUL characters"),
    ],
    ids=["latin-1", "binary", "utf-16 without a mark"],
)
def test_what_is_no_text_is_counted(tmp_path: Path, content: bytes, why: str) -> None:
    """Other encodings and binary files with the ending .txt are named, with what is wrong."""
    (tmp_path / "a.txt").write_bytes(content)
    assert f"/a.txt: {why}" in example(tmp_path / "a.txt", Reason.UNREADABLE)


def test_an_array_in_another_encoding_is_told_as_such(tmp_path: Path) -> None:
    """And not as broken JSON."""
    (tmp_path / "a.json").write_bytes('[{"text": "é"}]'.encode("latin-1"))
    assert "/a.json: not UTF-8 text" in example(tmp_path / "a.json", Reason.UNREADABLE)


def test_line_ends_of_text_are_one_kind(tmp_path: Path) -> None:
    """Windows and old Macs end lines otherwise; control characters go."""
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\rthree\x07 " + TEXT.encode())
    assert next(iter(Corpus(tmp_path))).text.startswith("one\ntwo\nthree Lichens")


A, B = (json.dumps({"id": name, "text": TEXT}) for name in "ab")
LARGE, BACKSLASH, QUOTE = '{"n": 1e999, "t": "%s"}', chr(92), chr(34)


@pytest.mark.parametrize(
    ("content", "ids", "counts"),
    [
        (f"[{A},\n3,\n{B}]", "ab", {"broken record": 1}),
        (json.dumps({"id": "a", "text": TEXT}, indent=1), "a", {}),
        (A.replace(",", ",\n") + "\n" + B.replace(",", ",\n"), "ab", {}),
        (f"[{A},{B}]"[:-40], "a", {"unreadable or broken file": 1}),
        (f"[{A},{B}", "ab", {"unreadable or broken file": 1}),
        (f"[{A}\n{B}]", "a", {"unreadable or broken file": 1}),
        (f"[{A}]{B}", "a", {"unreadable or broken file": 1}),
        (f"[{A}][]\n[{B}]", "ab", {}),
        (f"[{A},]", "a", {"unreadable or broken file": 1}),
        (f"[{A}, {' ' * (65_536 - len(A) - 5)}1.5, {B}]", "ab", {"broken record": 1}),
        (f'[{A.replace("}", "")}, "score": NaN}},{B}]', "ab", {}),
        (f"[{A}, {'[' * 5000}]", "a", {"unreadable or broken file": 1}),
        (f"[{A}, {'[' * 5000}{']' * 5000}, {B}]", "ab", {"broken record": 1}),
        (f"[{A}, {LARGE % (']}' + BACKSLASH + QUOTE + '}' * 70_000)}, 1e999, {B}]", "ab", {"broken record": 2}),
        (f"[{A}, {' ' * (65_496 - len(A))}{LARGE % (BACKSLASH * 198)}, {B}]", "ab", {"broken record": 1}),
        (f'{{"n":\n1e999}}\n{A}\n{{"n": {"1" * 5000}}}', "a", {"broken record": 2}),
        (f"[{A}, {LARGE % 't'}"[:-2], "a", {"unreadable or broken file": 1}),
        (f"[{A}, 12{' ' * 70_000}, {B}]", "ab", {"broken record": 1}),
        (f"[{A.replace('lichen', 'lichen' * 20_000)}, {B}]", "ab", {}),
        ("[]", "", {}),
        ("3", "", {"broken record": 1}),
        (f"{A}\n{{\n{B}", "ab", {"broken record": 1}),
    ],
    ids=[
        "array", "object", "objects", "cut", "no end", "no comma", "rest", "pages", "no item", "number on the edge",
        "NaN", "deep without end", "deep", "large", "large on the edge", "large objects", "large without end", "blanks",
        "long", "empty", "number", "lines",
    ],
)  # fmt: skip
def test_json_files_of_all_shapes_are_read(tmp_path: Path, content: str, ids: str, counts: dict[str, int]) -> None:
    """An array, one object, several over many lines, and lines; what is no object is counted, a cut array told."""
    (tmp_path / "a.json").write_text(content)
    (tmp_path / "z.txt").write_text(TEXT)
    documents, found = read(tmp_path)
    assert [d.id for d in documents] == [*ids, "z.txt"]
    assert found == counts


def test_an_item_of_an_array_that_cannot_be_taken_is_told_by_its_number(tmp_path: Path) -> None:
    """As a line would be."""
    (tmp_path / "a.json").write_text(f"[{A}, {LARGE % TEXT}, {B}]")
    corpus = Corpus(tmp_path / "a.json")
    assert [d.id for d in corpus] == ["a", "b"]
    assert corpus.ledger.left_out[Reason.BROKEN].example == (
        "a.json, record 2: not valid JSON (1e999 is no number in JSON)."
    )


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_tables_name_their_columns_and_count_odd_rows(tmp_path: Path, separator: str) -> None:
    """Quotes, line breaks in fields and any usual separator; rows of another length are counted by line."""
    rows = f'id{separator}Text{separator}licence\n1{separator}"say ""x""{separator}\n{TEXT}"{separator}CC0\n\n'
    (tmp_path / "a.csv").write_text(f"\n{rows}2{separator}x\n")
    corpus = Corpus(tmp_path / "a.csv")
    assert list(corpus) == [Document("1", f'say "x"{separator}\n{TEXT}', "a", license="CC0")]
    assert left_out(corpus.ledger) == {"broken record": 1}
    assert corpus.ledger.left_out[Reason.BROKEN].example == "a.csv, line 6: 2 columns, but 3 have names."
    assert (corpus.ledger.files_read, corpus.ledger.records) == (1, 2)


@pytest.mark.parametrize(
    ("rows", "texts"),
    [
        (["1\t'one", "2\ttwo", "3\t'three"], ["'one", "two", "'three"]),
        (["1\t'one", "2\ttwo'", "3\tthree"], ["'one", "two'", "three"]),
        (["1\t'a' and 'b'", "2\t'a'", "'3\tthree"], ["'a' and 'b'", "a", "three"]),
        (["1\t'one\ttab'", "2\t'x''y\nline'", "3\t'three"], ["one\ttab", "x'y\nline", "'three"]),
        (["1\t'one\n\nline'", "2\ttwo", "3\t'three\n"], ["one\n\nline", "two", "'three"]),
        (["1,'one", "2,two", "3,'th, ree'"], ["'one", "two", "th, ree"]),
        (["1,'one, two\nli, ne'", "2,5' pipe", "3,'three'"], ["one, two\nli, ne", "5' pipe", "three"]),
        (["1,one", "2,'two", "3,three\n\n"], ["one", "'two", "three"]),
        (["'1\tone'", "2\ttwo", "3\tthree"], ["one'", "two", "three"]),
        (["1,one", "2,'a' and 'b'", "3,'a'\n"], ["one", "'a' and 'b'", "a"]),
    ],
)
def test_a_quote_that_opens_no_field_swallows_no_row(tmp_path: Path, rows: list[str], texts: list[str]) -> None:
    """Texts that begin with a quote, as in MS MARCO, stand beside fields that are quoted, as pandas and Excel do."""
    head = f"id{rows[0].lstrip(chr(39))[1]}text\n"
    (tmp_path / "a.tsv").write_text((head + "\n".join(rows)).replace("'", '"'))
    corpus = Corpus(tmp_path / "a.tsv", min_chars=1)
    assert [d.text for d in corpus] == [text.replace("'", '"') for text in texts]
    assert not corpus.ledger.left_out
    assert corpus.ledger.records == 3


@pytest.mark.parametrize("end", ["", "\n", "\nmore\n", "\n" + (TEXT * 4000 + "\n") * 16 + '"\n3,x\n'])
def test_a_quoted_field_without_an_end_is_told(tmp_path: Path, end: str) -> None:
    """A table that was cut, or whose field is endless: what stands before is taken."""
    (tmp_path / "a.csv").write_text(f'id,text\n1,"{TEXT}"\n2,"{TEXT}{end}')
    corpus = Corpus(tmp_path / "a.csv")
    assert [d.id for d in corpus] == ["1"]
    assert left_out(corpus.ledger) == {"unreadable or broken file": 1}
    assert "a.csv, line 3: a quoted field begins, but does not end" in corpus.ledger.left_out[Reason.UNREADABLE].example


MARKDOWN = f"""# Lichens & *algae*

{TEXT}

- one [link](https://e.org)
- two ![image](i.png)

| a | b |
|---|---|
| 1 | 2 |
"""
PLAIN_MARKDOWN = f"Lichens & algae\n\n{PLAIN}\n\n- one link\n- two\n\na | b\n1 | 2"


@pytest.mark.parametrize(
    ("front", "title", "url", "license", "author"),
    [
        ("", "Lichens & algae", "", "", ""),
        ("---\ntitle: Mine\nlicence: CC0\nauthors: [A, B]\nlink: u\nday: 1\n---\n", "Mine", "u", "CC0", "A, B"),
        ('+++\ntitle = "Mine"\nlicense = "CC0"\n+++\n', "Mine", "", "CC0", ""),
        ("---\n: [broken\n---\n", "Lichens & algae", "", "", ""),
        ("---\njust words\n---\n", "Lichens & algae", "", "", ""),
    ],
    ids=["none", "yaml", "toml", "broken", "words"],
)  # fmt: skip
def test_markdown_is_plain_text_with_what_its_front_matter_says(
    tmp_path: Path, front: str, title: str, url: str, license: str, author: str
) -> None:
    """Markup goes, lists and tables stay; title, link, licence and authors are taken from the front matter."""
    (tmp_path / "a.md").write_text(front + MARKDOWN)
    want = Document("a.md", PLAIN_MARKDOWN, tmp_path.name, title, url, license, author)
    assert read(tmp_path) == ([want], {})


@pytest.mark.parametrize("front", ["a: " + "[" * 3000, "title: &a [*a]"], ids=["deep", "in itself"])
def test_markdown_that_is_nested_without_end_is_counted(tmp_path: Path, front: str) -> None:
    """It ends no build."""
    (tmp_path / "a.md").write_text(f"---\n{front}\n---\n{TEXT}")
    assert "/a.md: not readable as Markdown (RecursionError" in example(tmp_path / "a.md", Reason.UNREADABLE)


def test_web_pages_give_their_main_text(tmp_path: Path) -> None:
    """Navigation and footer go; title, author, address and licence are those that the page states."""
    head = (
        '<title>Lichens</title><meta name="author" content="Ann Lee"><link rel="canonical" href="https://e.org/l">'
        '<meta charset="iso-8859-1">'
    )
    licensed = '<a rel="license" href="https://creativecommons.org/licenses/by/4.0/">CC BY 4.0</a>'
    body = f"<nav><a href='/'>Home</a></nav><article><p>Käse. {TEXT}</p></article><footer>{licensed}</footer>"
    page = f"<html><head>{head}</head><body>{body}</body></html>"
    (tmp_path / "a.htm").write_bytes(page.encode("latin-1"))
    (document,) = Corpus(tmp_path)
    assert document.text == f"Käse. {PLAIN}"
    assert (document.title, document.author, document.url) == ("Lichens", "Ann Lee", "https://e.org/l")
    assert document.license == "CC BY 4.0"
    (tmp_path / "empty.html").write_text("<html><body><script>x()</script></body></html>")
    assert read(tmp_path)[1] == {"no text": 1}


def test_pdf_files_are_read_page_by_page(tmp_path: Path) -> None:
    """Words broken over two lines are whole again; title and author are the file's."""
    lines = ["Lichens are fungi that live to-", "gether with algae."]
    (tmp_path / "a.pdf").write_bytes(pdf(lines * 3, lines * 3))
    page = "\n".join(["Lichens are fungi that live together with algae."] * 3)
    assert read(tmp_path)[0] == [Document("a.pdf", f"{page}\n\n{page}", tmp_path.name, "Lichens", author="Ann Lee")]


def test_pages_of_a_pdf_that_hold_no_text_are_counted(tmp_path: Path) -> None:
    """Such as those that were scanned: the document is taken without them."""
    lines = ["Lichens are fungi that live together with algae."] * 3
    (tmp_path / "a.pdf").write_bytes(pdf(lines, [], lines, []))
    corpus = Corpus(tmp_path, name="notes")
    assert [document.text.count("Lichens") for document in corpus] == [6]
    assert left_out(corpus.ledger) == {"page without text of a PDF with others": 2}
    assert corpus.ledger.left_out[Reason.EMPTY_PAGES].example.endswith("/a.pdf: 2 of 4 pages")
    assert (corpus.ledger.files, corpus.ledger.records) == (1, 1)


def test_pdf_files_of_images_and_broken_ones_are_counted(tmp_path: Path) -> None:
    """A PDF whose pages hold no text is told apart from one that is broken."""
    (tmp_path / "a.pdf").write_bytes(pdf([], []))
    assert "/a.pdf: 2 pages of images; recognize their text first" in example(tmp_path / "a.pdf", Reason.ONLY_IMAGES)
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4 nothing")
    assert "/a.pdf: not readable as PDF" in example(tmp_path / "a.pdf", Reason.UNREADABLE)


def test_word_files_are_read_with_their_tables(tmp_path: Path) -> None:
    """Paragraphs and tables stand in their order; what is no Word file is counted."""
    word = docx.Document()
    word.add_heading("Lichens")
    table = word.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "a", "b"
    word.add_paragraph(TEXT)
    word.core_properties.author, word.core_properties.title = "Ann Lee", "On lichens"
    word.save(tmp_path / "a.docx")
    want = Document("a.docx", f"Lichens\n\na | b\n\n{PLAIN}", tmp_path.name, "On lichens", author="Ann Lee")
    assert read(tmp_path) == ([want], {})
    whole = (tmp_path / "a.docx").read_bytes()
    (tmp_path / "good.txt").write_text(TEXT)
    for place in range(30, len(whole), len(whole) // 40):
        (tmp_path / "a.docx").write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        assert set(read(tmp_path)[1]) <= {"unreadable or broken file", "no text", "too short"}
    (tmp_path / "a.docx").write_bytes(b"PK no")
    assert "/a.docx: not readable as a Word file" in example(tmp_path / "a.docx", Reason.UNREADABLE)


def test_word_files_are_read_as_word_shows_them(tmp_path: Path) -> None:
    """With what stands in content controls, changes, text boxes and tables in tables; without what was deleted."""

    def run(text: str, tag: str = "t") -> str:
        return f'<w:r><w:{tag} xml:space="preserve">{text}</w:{tag}></w:r>'

    def cell(*blocks: str) -> str:
        return f"<w:tc>{''.join(blocks)}</w:tc>"

    def paragraph(*parts: str) -> str:
        return f'<w:p><w:pPr><w:tabs><w:tab w:val="left" w:pos="9"/></w:tabs></w:pPr>{"".join(parts)}</w:p>'

    def control(content: str) -> str:
        return f"<w:sdt><w:sdtPr><w:text/></w:sdtPr><w:sdtContent>{content}</w:sdtContent></w:sdt>"

    def table(*rows: str) -> str:
        return f"<w:tbl>{''.join(f'<w:tr>{row}</w:tr>' for row in rows)}</w:tbl>"

    gone = f'<w:del w:id="1">{run("gone", "delText")}<w:r><w:tab/></w:r></w:del><w:moveFrom>{run("gone")}</w:moveFrom>'
    box = f"<w:txbxContent>{control(paragraph(run('in a box')))}</w:txbxContent>"
    ruby = f"<w:r><w:ruby><w:rt>{run('kanji')}</w:rt><w:rubyBase>{run('漢字')}</w:rubyBase></w:ruby></w:r>"
    blocks = [
        control(paragraph(run("In a control")) + control(table(cell(paragraph(run("deep")))))),
        paragraph(run("One "), f"<w:ins>{run('two')}</w:ins>", gone, f"<w:moveTo>{run(' three')}</w:moveTo>"),
        f"<w:ins>{paragraph(ruby)}</w:ins>",
        table(
            cell(control(paragraph(run("a")))) + control(cell(paragraph(f"<w:ins>{run('b')}</w:ins>"), paragraph())),
            cell(paragraph(gone)) + cell(paragraph()),
            cell(paragraph(run("c")), table(cell(paragraph(run("d"))) + cell(paragraph(run("e"))))) + cell(paragraph()),
        ),
        paragraph(
            run("Beside"), control(run(" a link")), f"<w:r><mc:AlternateContent><mc:Choice>{box}</mc:Choice>",
            f"<mc:Fallback><w:pict>{box}</w:pict></mc:Fallback></mc:AlternateContent></w:r>", "<!-- no text -->",
        ),
        paragraph("<m:oMath><m:r><m:t>x</m:t></m:r></m:oMath>", "<w:r><w:br/><w:noBreakHyphen/><w:t>y</w:t></w:r>"),
        paragraph(run(TEXT)),
    ]  # fmt: skip
    spaces = "".join(
        f' xmlns:{name}="http://schemas.openxmlformats.org/{space}/2006{rest}"'
        for name, space, rest in (
            ("w", "wordprocessingml", "/main"), ("mc", "markup-compatibility", ""), ("m", "officeDocument", "/math")
        )
    )  # fmt: skip
    word = docx.Document()
    body = docx.oxml.parse_xml(f"<w:body{spaces}>{''.join(blocks)}</w:body>")
    word.element.replace(word.element.body, body)
    word.save(tmp_path / "a.docx")
    want = ["In a control", "deep", "One two three", "漢字", "a | b\nc\nd | e |", "Beside a link", "in a box"]
    assert read(tmp_path)[0][0].text.split("\n\n") == [*want, "x\n-y", PLAIN]


def test_a_name_that_is_not_utf8_is_written_as_escapes(tmp_path: Path) -> None:
    """Files of other systems: whether read or left out."""
    folder = tmp_path / "notes"
    folder.mkdir()
    for name in (b"caf\xe9.txt", b"caf\xe9.png", b".caf\xe9"):
        Path(os.fsdecode(bytes(folder / "") + b"/" + name)).write_text(TEXT)
    documents, _ = read(folder)
    assert [(d.id, d.title) for d in documents] == [("caf\\udce9.txt", "caf\\udce9")]
    corpus = Corpus(folder)
    list(corpus)
    assert corpus.ledger.left_out[Reason.UNKNOWN_ENDING].example == "notes/caf\\udce9.png"
    assert corpus.ledger.left_out[Reason.HIDDEN].example == "notes/.caf\\udce9"


@pytest.mark.parametrize(("name", "module"), [("a.pdf", "pypdfium2"), ("a.docx", "docx"), ("a.html", "trafilatura")])
def test_a_reader_that_is_not_installed_is_told_with_its_command(
    tmp_path: Path, name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other files are read; the example holds the command to install what is missing."""
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_text("x")
    found = example(tmp_path / name, Reason.NOT_INSTALLED)
    assert f'/{name}: {module} is not installed; run: pip install "craft_hf[documents]"' in found
    with pytest.raises(InputError, match=r'1 reader not installed, .* pip install "craft_hf\[documents\]"'):
        list(Corpus(tmp_path / name))
