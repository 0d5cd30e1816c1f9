"""Reports: figures add up, files read back equal, and nothing in the data breaks the Markdown."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from craft_hf.base.errors import InputError, StorageError
from craft_hf.base.markdown import NOT_MEASURED, fenced, inline, number
from craft_hf.base.records import JSON, FewShot
from craft_hf.dataset import plots
from craft_hf.dataset.diversity import measure_diversity
from craft_hf.dataset.folder import DatasetFolder
from craft_hf.dataset.funnel import Stage, funnel_shares
from craft_hf.dataset.report import RunReport, make_report
from craft_hf.tasks.task import Task

HOSTILE = (
    "a | b\n\n# not a heading <script>alert(1)</script> ![x](http://x.invalid/p.png) [y](javascript:1) `c` **d** $e$ "
    "```\n</details>| \\| &lt;b&gt; \u202e\ud800\x00 $x_{$ ~~~ 1. - "
)
VERSIONS = {"python": "3.11.15", "craft_hf": "0.1.0"}


def choice_task(name: str = "cells", answer_field: str = "answer") -> Task:
    """A multiple-choice task with three few-shots."""
    options: Mapping[str, JSON] = {"type": "array", "items": {"type": "string"}}
    return Task(
        name=name,
        description="Questions on cells.",
        instructions=("Ask.",),
        schema={
            "type": "object",
            "properties": {
                "question": {"type": "string"},
                "options": options,
                "answer": {"enum": ["A", "B", "C", "D"]},
            },
        },
        prompt_template="{{ question }}",
        completion_template="{{ answer }}",
        max_new_tokens=64,
        few_shots=tuple(FewShot(f"cells-{i}", f"text {i}", {"question": "?", "answer": "A"}) for i in range(3)),
        options_field="options",
        answer_field=answer_field,
        categories=("question-answering", "multiple-choice"),
    )


def row(i: int, **changes: JSON) -> dict[str, JSON]:
    """A dataset row as a run makes it."""
    return {
        "question": f"What does organelle {i} do?",
        "options": ["A. It digests", "B. It divides", "C. It stores", "D. Nothing"],
        "answer": "ABAC"[i % 4],
        "is_few_shot": False,
        "document_id": f"openstax-{i}",
        "document": f"Organelle {i} digests what the cell has swallowed. " * 4,
        "source": "openstax" if i % 3 else "digital.gov",
        "title": "Organelles",
        "url": f"https://openstax.org/books/{i}",
        "license": "CC BY 4.0" if i % 3 else "CC0 1.0 / US public domain",
        "similarity": 0.4 + 0.01 * (i % 20),
        "retrieved_by": ["cells-0", "average"] if i % 2 else ["average"],
        "prompt_few_shots": ["cells-0", "cells-1", "cells-2"],
        "prompt_hash": "ab12",
        "generator": "SmolLM2-135M-Instruct@1",
        "finish_reason": "stop",
        **changes,
    }


def few_shot_row(i: int) -> dict[str, JSON]:
    """A few-shot as a dataset row."""
    lineage: dict[str, JSON] = {"similarity": None, "retrieved_by": [], "prompt_few_shots": [], "generator": ""}
    return row(i, is_few_shot=True, document_id=f"cells-{i}", source="written", license="CC BY 4.0", **lineage)


def reject(i: int, **changes: JSON) -> dict[str, JSON]:
    """A document that became no row."""
    check, reason = [("schema", "no valid JSON"), ("duplicate", "nearly a few-shot"), ("schema", "cut")][i % 3]
    score, partner = (91.0, "cells-1") if check == "duplicate" else (None, "")
    whole: dict[str, JSON] = {
        "document_id": f"d-{i}",
        "check": check,
        "reason": reason,
        "score": score,
        "partner": partner,
        "document": f"Text {i}.",
        "source": "openstax",
        "license": "CC BY 4.0",
    }
    return {**whole, "answer": '{"question": "What', "finish_reason": "stop", "sample": "", **changes}


def report_of(
    rows: Sequence[Mapping[str, JSON]],
    rejects: Sequence[Mapping[str, JSON]] = (),
    task: Task | None = None,
    **changes: object,
) -> RunReport:
    """The report of a run with these rows and rejects."""
    generated = sum(not r.get("is_few_shot") for r in rows)
    prompted = generated + len(rejects)
    report = make_report(
        task or choice_task(),
        config_id="cells-0123",
        created="2026-11-23T10:00:00+00:00",
        identity={"task": "f00", "seed": 0, "sampling": {"temperature": 0.7}, "generator": {"model": "SmolLM2"}},
        index={
            "documents": 499,
            "embedding_model": "all-MiniLM-L6-v2",
            "corpora": [{"name": "openstax", "license": "CC BY 4.0", "documents": 400}],
        },
        funnel=[
            Stage("index", "documents in the index", 499),
            Stage("retrieved", "retrieved", prompted + 2),
            Stage("few_shot_texts", "few-shot texts left out", 2, removed=True),
            Stage("prompted", "prompted", prompted),
            Stage("kept", "kept", generated),
        ],
        usage={"answers_generated": prompted, "prompt_tokens": 4567, "seconds_generating": 12.5},
        rows=rows,
        rejects=rejects,
        notes=["Asked for 100 rows, gave fewer: the index has nothing more."],
        versions=VERSIONS,
    )
    return dataclasses.replace(report, **changes)  # type: ignore[arg-type]


@pytest.fixture
def rows() -> list[dict[str, JSON]]:
    """Three few-shots and forty generated rows."""
    return [*(few_shot_row(i) for i in range(3)), *(row(i) for i in range(40))]


_RARELY = st.sampled_from(["", "a", "b|c", "\n", HOSTILE])


@given(
    drops=st.lists(st.tuples(_RARELY, _RARELY), max_size=20),
    kept=st.lists(st.tuples(st.booleans(), _RARELY, _RARELY, st.sampled_from("ABCD")), max_size=20),
)
def test_make_report_counts_add_up(drops: list[tuple[str, str]], kept: list[tuple[bool, str, str, str]]) -> None:
    """Reasons sum to the rejects, sources to all rows, answers to the generated rows, and the funnel ends in these."""
    rejects = [reject(0, check=check, reason=reason) for check, reason in drops]
    rows = [row(0, is_few_shot=f, source=s, license=x, answer=a) for f, s, x, a in kept]
    report = report_of(rows, rejects)
    assert sum(int(str(d["count"])) for d in report.drops) == report.rows["rejected"] == len(rejects)
    assert sum(int(str(s["rows"])) for s in report.sources) == report.rows["rows"] == len(rows)
    assert report.rows["rows"] == report.rows["few_shots"] + report.rows["generated"]
    assert sum(report.answers.values()) == report.rows["generated"] == report.funnel[-1].count
    assert report.funnel[3].count == report.rows["generated"] + report.rows["rejected"]
    assert len(report.notes) == 1


def test_make_report_orders_drops_by_count(rows: list[dict[str, JSON]]) -> None:
    """The most frequent reason comes first, ties in alphabetical order."""
    report = report_of(rows, [*(reject(i) for i in range(3)), reject(1)])
    assert [(d["reason"], d["count"]) for d in report.drops] == [
        ("nearly a few-shot", 2), ("cut", 1), ("no valid JSON", 1),
    ]  # fmt: skip


def test_make_report_derives_figures_from_generated_rows(rows: list[dict[str, JSON]]) -> None:
    """Lengths, similarity, answers and few-shot use leave the few-shots out and count what never occurs as 0."""
    report = report_of(rows)
    assert report.answers == {"A": 20, "B": 10, "C": 10, "D": 0}
    assert report.similarity == {
        "min": 0.4,
        "median": pytest.approx(0.495),
        "p95": pytest.approx(0.58),
        "max": pytest.approx(0.59),
    }
    assert report.few_shot_use["cells-0"] == {"prompted": 40, "retrieved": 20}
    assert report.few_shot_use["cells-2"] == {"prompted": 40, "retrieved": 0}
    assert report.few_shot_use["average"] == {"prompted": 0, "retrieved": 40}
    assert list(report.lengths) == ["question", "options", "answer", "document"]
    assert report.lengths["question"]["max"] == len("What does organelle 10 do?")


def test_make_report_says_where_the_funnel_does_not_fit(rows: list[dict[str, JSON]]) -> None:
    """A funnel that ends in another number than that of the rows is named, not hidden."""
    report = make_report(
        choice_task(), config_id="x", created="2026", identity={}, index={}, usage={},
        funnel=[Stage("kept", "kept", 41)], rows=rows, rejects=[], notes=[], versions={},
    )  # fmt: skip
    assert report.notes == ["The last stage, kept, counts 41, but the dataset has 40 generated rows."]


def test_report_without_generated_rows_or_answers(tmp_path: Path) -> None:
    """The few-shots alone, of a task without answers, make a report with a funnel plot only."""
    rows = [few_shot_row(i) for i in range(3)]
    report = report_of(rows, task=choice_task(answer_field=""))
    DatasetFolder(tmp_path).write_report(report, rows, [])
    assert (report.answers, report.similarity, report.lengths, report.drops) == ({}, {}, {}, [])
    assert sorted(p.name for p in (tmp_path / "assets").iterdir()) == ["funnel.png", "funnel.svg"]
    page = (tmp_path / "report.md").read_text()
    assert "Nothing." in page
    assert "No row was made by the model." in page


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(text=st.text(max_size=30) | st.just(HOSTILE))
def test_report_reads_back_equal(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is read equals what was written, whatever the texts are."""
    folder = tmp_path_factory.mktemp("run")
    rows = [row(0, source=text, license=text)]
    report = report_of(rows, [reject(0, reason=text, answer=text)], funnel=[], answers={})
    DatasetFolder(folder).write_report(
        dataclasses.replace(report, notes=[text]), [], [reject(0, reason=text, answer=text)]
    )
    assert DatasetFolder(folder).report == dataclasses.replace(report, notes=[text])


@pytest.mark.slow
def test_write_report_same_input_same_bytes(rows: list[dict[str, JSON]], tmp_path: Path) -> None:
    """Writing twice gives the same files, plots included, and no file holds the present date."""
    report = report_of(rows, [reject(i, similarity=0.3 + i / 50) for i in range(9)])
    for name in ("a", "b"):
        DatasetFolder(tmp_path / name).write_report(
            report, rows, [reject(i, similarity=0.3 + i / 50) for i in range(9)]
        )
    written = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len(written) == 9
    for path in written:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()
        assert b"<dc:date>" not in (tmp_path / "a" / path).read_bytes()


def test_report_markdown_embeds_what_exists(rows: list[dict[str, JSON]], tmp_path: Path) -> None:
    """Every image that the Markdown shows is there, by relative path, and every reason has an example."""
    rejects = [reject(i) for i in range(6)]
    DatasetFolder(tmp_path).write_report(report_of(rows, rejects), rows, rejects)
    page = (tmp_path / "report.md").read_text()
    images = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page)
    assert images == ["assets/funnel.png", "assets/similarity.png", "assets/answers.png"]
    assert all((tmp_path / image).is_file() for image in images)
    assert page.count("Example of ") == 3
    assert "against cells-1, score 91." in page
    assert "| answers found in the journal | not measured |" in page


def test_report_markdown_survives_hostile_rows(tmp_path: Path) -> None:
    """Text from documents and models adds no column, heading, image, link or HTML to the page."""
    counts = {}
    for name, text in (("plain", "word"), ("hostile", HOSTILE)):
        changes: dict[str, JSON] = dict.fromkeys(("document_id", "source", "license", "title", "url"), text)
        rows = [row(0, answer=text, retrieved_by=[text], **changes)]
        rejects = [reject(0, check=text, reason=text, partner=text, answer=text, score=float("nan"))]
        funnel = [Stage("prompted", text, 3), Stage("kept", "kept", 1)]
        report = report_of(rows, rejects, notes=[text], funnel=funnel, measured={text: text})
        DatasetFolder(tmp_path / name).write_report(report, rows, rejects)
        tokens = MarkdownIt("commonmark").enable("table").parse((tmp_path / name / "report.md").read_text())
        kinds = [t.type for token in tokens for t in (token, *(token.children or ()))]
        counts[name] = {kind: kinds.count(kind) for kind in set(kinds) - {"text", "text_special", "softbreak"}}
    assert counts["hostile"] == counts["plain"]
    assert not {"html_inline", "html_block", "link_open"} & counts["hostile"].keys()


@given(st.text())
def test_inline_stays_in_its_cell(text: str) -> None:
    """Any text is one cell of one row, and reads as it is up to white space and unprintable characters."""
    tokens = MarkdownIt("commonmark").enable("table").parse(f"| a | b |\n|---|---|\n| {inline(text)} | end |\n")
    assert sum(t.type == "td_open" for t in tokens) == 2
    cell = [t for t in tokens if t.type == "inline"][2]
    assert not {c.type for c in cell.children or ()} - {"text", "text_special"}


@given(st.text(alphabet="-+=#>*_`~|.)(123 ab:\t\n"))
def test_inline_starts_no_block(text: str) -> None:
    """At the start of a line, any text is a paragraph."""
    kinds = {t.type for t in MarkdownIt("commonmark").enable("table").parse(f"{inline(text)}\n")}
    assert kinds <= {"paragraph_open", "inline", "paragraph_close"}


@given(st.text(alphabet="`~ab\n "))
def test_fenced_holds_its_text(text: str) -> None:
    """No text ends its fence before the end."""
    tokens = MarkdownIt("commonmark").parse(fenced(text))
    assert [t.type for t in tokens] == ["fence"]
    assert tokens[0].content == f"{text}\n"


def test_number_shapes() -> None:
    """Numbers are grouped, long fractions cut, and None is said in words."""
    given = (1234567, 1234.5678, 0.123456, 2.0, None, True, "a|b")
    assert [number(v) for v in given] == ["1,234,567", "1,235", "0.123", "2", NOT_MEASURED, "True", "a\\|b"]


COVERAGE: Mapping[str, JSON] = {
    "hits": 30,
    "left_out": 2,
    "found_by_few_shots": 20,
    "both": 0.25,
    "few_shots": [{"id": "cells-0", "placed": 15, "found": 20, "alone": 20, "share": 1.0}],
    "sources": [{"source": "a|b", "hits": 30, "share": 1.0, "documents": 40, "index_share": 0.5, "ratio": 2.0}],
    "decay": {
        name: {
            "bands": [
                {
                    "first": 1 + 5 * i,
                    "last": 5 + 5 * i,
                    "low": top - i / 20,
                    "median": top - i / 25,
                    "high": top - i / 30,
                }
                for i in range(3)
            ],
            "random_median": 0.02,
            "random_high": 0.15,
        }
        for name, top in (("individual", 0.6), ("averaged", 0.3))
    },
    "near_duplicates": {"compared": 30, "pairs": 1, "repeats": 1, "examples": [["d2", "d1", 0.97]]},
    "random_documents": 80,
    "mean_similarity": 0.3,
    "random_similarity": 0.03,
    "few_shot_similarity": None,
    "vendi_score": 12.5,
    "warnings": ["The few-shot <b>cells-0</b> dominates."],
}
"""What `coverage.Coverage` gives for a task with one few-shot, as plain data."""


@pytest.mark.slow
def test_report_shows_coverage_with_its_plot(rows: list[dict[str, JSON]], tmp_path: Path) -> None:
    """Warnings, tables and the plot of similarity over rank are in the page; writing twice gives the same bytes."""
    report = report_of(rows, coverage=COVERAGE)
    for name in ("a", "b"):
        DatasetFolder(tmp_path / name).write_report(report, rows, [])
    page = (tmp_path / "a" / "report.md").read_text()
    assert "## How few-shots and index fit\n\n30 documents were retrieved" in page
    assert "2 were left out as nearly the text of a few-shot. Both halves found 25.0%." in page
    assert "> The few-shot &lt;b&gt;cells-0&lt;/b&gt; dominates." in page
    assert "| individual, 1 to 5 | 0.600 | 0.600 | 0.600 |" in page
    assert "| a\\|b | 30 | 100.0% | 50.0% | 2 |" in page
    assert "of two few-shots not measured" in page
    assert "- d2 and d1: 0.970" in page
    assert "![Lines: similarity over the rank, for the individual and the averaged half](assets/decay.png)" in page
    for name in ("decay.png", "decay.svg"):
        assert (tmp_path / "a" / "assets" / name).read_bytes() == (tmp_path / "b" / "assets" / name).read_bytes()
    assert DatasetFolder(tmp_path / "a").report == report


def test_report_says_of_how_many_rows_its_diversity_is(rows: list[dict[str, JSON]], tmp_path: Path) -> None:
    """Figures of drawn rows are told from those of all rows, and what was not measured is said."""
    drawn = measure_diversity([f"sample {i}" for i in range(60)], None)
    report = report_of(
        rows, diversity={**dataclasses.asdict(drawn), "embedded": 20, "nearest_few_shot": {"median": 0.5}}
    )
    DatasetFolder(tmp_path).write_report(report, rows, [])
    page = (tmp_path / "report.md").read_text()
    assert (
        "## How varied the rows are\n\n| of 60 rows | |\n|---|--:|\n| different words, of all words (distinct-1) | "
        in page
    )
    assert "| self-BLEU of 50 rows drawn at random | 0." in page
    assert "| different triples of words, of all (distinct-3) | not measured |" in page
    assert "| the nearest few-shot | not measured | 0.5 | not measured | not measured |" in page
    assert "These and the plots are of 20 rows drawn at random." in page
    assert "assets/map" not in page
    assert "\n\n\n" not in page


def test_decay_is_drawn_of_the_halves_that_there_are() -> None:
    """One half alone is drawn, with or without the line of the few-shots; without hits nothing is."""
    half = COVERAGE["decay"]["averaged"]  # type: ignore[index, call-overload]
    empty = {**half, "bands": []}
    for decay in ({"individual": half, "averaged": empty}, {"individual": empty, "averaged": half}):
        for each_other in (None, 0.2):
            coverage = {**COVERAGE, "decay": decay, "few_shot_similarity": each_other}
            assert len(plots.draw_all([], [], [], {}, coverage)) == 2
    assert plots.draw_all([], [], [], {}, {**COVERAGE, "hits": 0}) == {}


def test_funnel_shares_pass_over_what_was_left_out() -> None:
    """A stage's share is that of the stage before; what was left out is none."""
    counts = {"retrieved": 200, "gone": 10, "prompted": 100, "left out": 0, "x": 1}
    funnel = [Stage(name, name, count, removed=name == "gone") for name, count in counts.items()]
    assert [share for _, share in funnel_shares(funnel)] == ["", "5.0%", "50.0%", "0.0%", ""]


def test_draw_all_leaves_the_users_style_alone() -> None:
    """Drawing changes no setting of matplotlib, draws any label, and opens no window."""
    import matplotlib

    before = dict(matplotlib.rcParams)
    funnel = [Stage("index", HOSTILE, 10**9), Stage("a", "$x_{$", 3, removed=True), Stage("b", "b", 0)]
    files = plots.draw_all(funnel, [0.5], [], {"$x_{$": 1, "y": 0})
    assert dict(matplotlib.rcParams) == before
    assert len(files) == 6
    assert all(files.values())
    assert plots.draw_all([], [], [], {"A": 0}) == {}


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", "7", '{"format": 1, "task": "x", "later": 1}'])
def test_report_refuses_what_is_none(content: str | None, tmp_path: Path) -> None:
    """A missing, broken or foreign report.json is an error that names the file."""
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(InputError, match=r"report\.json"):
        str(DatasetFolder(tmp_path).report)


def test_write_report_names_the_folder_that_fails(rows: list[dict[str, JSON]], tmp_path: Path) -> None:
    """A folder that cannot be written is a StorageError, and no report.json says that all is there."""
    (tmp_path / "assets").write_text("a file in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        DatasetFolder(tmp_path).write_report(report_of(rows), rows, [])
    assert not (tmp_path / "report.json").exists()
