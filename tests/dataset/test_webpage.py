"""The HTML page: one file that fetches nothing, runs nothing, and shows what the Markdown says."""

from __future__ import annotations

import base64
import dataclasses
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from craft_hf.base.records import JSON
from craft_hf.dataset.diversity import RowVectors, measure_diversity
from craft_hf.dataset.folder import DatasetFolder
from craft_hf.dataset.funnel import Stage
from craft_hf.dataset.webpage import webpage
from tests.dataset.test_report import COVERAGE, HOSTILE, few_shot_row, reject, report_of, row

NO_END = ("meta", "link")


class Reader(HTMLParser):
    """Collects the elements of a page with their attributes, and makes sure that each one is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in NO_END:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that ends where it starts."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """An end belongs to the last element that is open."""
        assert self.open.pop() == tag

    def values(self, name: str) -> list[str]:
        """All values of an attribute."""
        return [str(attributes[name]) for _, attributes in self.elements if name in attributes]


def vectors() -> RowVectors:
    """Two rows, two documents and three few-shots, as unit vectors."""
    lines = np.eye(7, 8, dtype=np.float32)
    return RowVectors(lines[:2], lines[2:4], lines[4:])


@pytest.mark.slow
def test_page_of_hostile_rows_runs_and_fetches_nothing(tmp_path: Path) -> None:
    """Text from documents and models adds no element; there is no script, no handler, and no address to be fetched."""
    counts = {}
    for name, text in (("plain", "word"), ("hostile", HOSTILE + '"><img src=x onerror=alert(1)>')):
        changes: dict[str, JSON] = dict.fromkeys(("document_id", "source", "license", "title", "url"), text)
        rows = [row(0, answer=text, retrieved_by=[text], **changes), few_shot_row(0)]
        rejects = [reject(0, check=text, reason=text, partner=text, answer=text)]
        funnel = [Stage("prompted", text, 3), Stage("kept", "kept", 1)]
        report = report_of(rows, rejects, notes=[text], funnel=funnel, measured={text: text})
        report = dataclasses.replace(report, coverage={**COVERAGE, "warnings": [text]})
        report = dataclasses.replace(report, diversity=dataclasses.asdict(measure_diversity([text, text], vectors())))
        DatasetFolder(tmp_path / name).write_report(report, rows, rejects, vectors())
        reader = Reader((tmp_path / name / "report.html").read_text())
        tags = [tag for tag, _ in reader.elements]
        counts[name] = {tag: tags.count(tag) for tag in set(tags)}
        assert not {"script", "iframe", "object", "embed", "form", "link", "base", "svg"} & set(tags)
        assert not [a for _, attributes in reader.elements for a in attributes if a.startswith("on")]
        assert all(value.startswith("data:image/svg+xml;base64,") for value in reader.values("src"))
        assert all(value.startswith("#section-") for value in reader.values("href"))
        assert "http" not in " ".join(reader.values("style"))
    assert counts["hostile"] == counts["plain"]
    assert counts["plain"]["img"] == 6
    policy = next(a["content"] for tag, a in reader.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_page_has_contents_that_lead_to_its_headings() -> None:
    """Each second-level heading is linked to by its own words; the title reads without what escapes it."""
    page = webpage("# Run report: a\\_b & c\n\n## One & two\n\nText.\n\n## Three\n", {})
    reader = Reader(page)
    assert reader.values("href") == ["#section-1", "#section-2"]
    assert [a["id"] for tag, a in reader.elements if tag == "h2"] == ["section-1", "section-2"]
    assert "<title>Run report: a_b &amp; c</title>" in page
    assert page.count("<h1>Run report: a_b &amp; c</h1>") == 1
    assert '<a href="#section-1">One &amp; two</a>' in page


def test_page_holds_its_images_and_lets_tables_scroll() -> None:
    """An image is in the page as SVG; a table has a box of its own that the keyboard reaches."""
    page = webpage("# T\n\n![A plot](assets/x.png)\n\n| a |\n|---|\n| <table> |\n", {"x.svg": b"<svg/>"})
    assert f'src="data:image/svg+xml;base64,{base64.b64encode(b"<svg/>").decode()}" alt="A plot"' in page
    assert page.count('<div class="wide" tabindex="0"><table>') == page.count("</table></div>") == 1
    assert "<td>&lt;table&gt;</td>" in page
