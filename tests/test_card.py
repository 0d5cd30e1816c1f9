"""The dataset card: valid for the Hub, honest about licences and gaps, and silent about this machine."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from datasets import Dataset, load_dataset
from huggingface_hub import DatasetCard
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from markdown_it import MarkdownIt

from craft_hf.card import combined_license, dataset_card, public, write_card
from craft_hf.diversity import measure
from craft_hf.errors import StorageError
from craft_hf.records import JSON
from craft_hf.tasks import NAMES
from tests.test_report import HOSTILE, choice_task, few_shot_row, reject, report_of, row

ROWS = [few_shot_row(0), *(row(i) for i in range(40))]
REJECTS = [reject(i) for i in range(4)]


def test_card_front_matter_is_valid() -> None:
    """The Hub's own client reads the front matter, and writing it again changes nothing."""
    card = DatasetCard(dataset_card(report_of(ROWS, REJECTS), ROWS))
    data = card.data.to_dict()
    assert DatasetCard(str(card)).data.to_dict() == data
    assert data["license"] == "cc-by-4.0"
    assert data["language"] == ["en"]
    assert data["size_categories"] == ["n<1K"]
    assert data["task_categories"] == ["question-answering", "multiple-choice"]
    assert data["annotations_creators"] == ["machine-generated"]
    assert data["tags"] == ["synthetic", "craft"]
    assert [c["config_name"] for c in data["configs"]] == ["default", "rejected"]
    assert "source_datasets" not in data


def test_card_has_every_section() -> None:
    """What a reader looks for is there, with the run's figures."""
    card = dataset_card(report_of(ROWS, REJECTS), ROWS)
    headings = re.findall(r"^## (.+)$", card, flags=re.M)
    assert headings == [
        "At a glance", "How to load", "An example row", "Fields", "How it was made", "Sources and licences",
        "What was measured, and what was not", "Limits and risks", "To repeat it", "Citation",
    ]  # fmt: skip
    for text in (
        "| made by the model | 40 |",
        "| generator | SmolLM2-135M-Instruct@1 |",
        "| overlap with test sets (contamination) | not measured |",
        "| review by people | not measured |",
        "| openstax | CC BY 4.0 | 26 |",
        "| duplicate | nearly a few-shot | 1 |",
        "Asked for 100 rows, gave fewer",
        "arXiv:2409.02098",
        "not one that craft\\_hf ships",
    ):
        assert text in card


def test_card_snippet_loads_the_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code under "How to load" runs as it stands on the folder that the card lies in."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "user" / "name"
    for name, rows in (("data", ROWS), ("rejected", REJECTS)):
        (folder / name).mkdir(parents=True)
        Dataset.from_list(rows).to_parquet(folder / name / "train-00000-of-00001.parquet")
    write_card(report_of(ROWS, REJECTS), ROWS, folder)
    monkeypatch.chdir(tmp_path)
    snippet = re.findall(r"```python\n(.+?)```", (folder / "README.md").read_text(), flags=re.S)
    namespace: dict[str, object] = {}
    exec(snippet[0], namespace)
    made = namespace["made_by_the_model"]
    assert isinstance(made, Dataset)
    assert made.num_rows == 40
    assert load_dataset("user/name", "rejected", split="train").num_rows == 4


def test_card_names_no_machine() -> None:
    """Local paths and addresses in settings, notes and lineage do not get into the card; public addresses stay."""
    private = "/home/jo doe/corpora/x.jsonl"
    paths: list[JSON] = [private, "~/x/y", "C:\\Users\\jo\\x", "file:///srv/x", "\\\\nas\\jo", "../jo/x"]
    hosts: list[JSON] = [
        "http://localhost:8000/v1",
        "http://10.0.0.7/v1",
        "https://jo:pw@api.example.org",
        "http://gpubox:80",
        "http://[jo",
    ]
    changes: dict[str, JSON] = dict.fromkeys(("source", "url", "document_id", "generator", "license"), private)
    rows = [row(0, **changes)]
    report = report_of(
        rows,
        [reject(0, reason=f"read from {paths[1]}")],
        identity={"index": paths, "generator": {"urls": hosts, "home": "https://example.org/a/b"}, str(paths[3]): 1},
        notes=[f"The index at {host} was used." for host in [*paths[1:], *hosts]],
        versions={"torch": str(paths[4])},
        index={"embedding_model": private, "documents": 3},
    )
    card = dataset_card(report, rows)
    assert not re.search(r"\bjo\b|/home|/srv|localhost|10\.0\.0\.7|gpubox|corpora|~/", card)
    assert "https://example.org/a/b" in card
    assert card.count("[local path]") >= 10


@given(st.text(alphabet="ab /~.:\\-0") | st.text())
def test_public_is_stable(text: str) -> None:
    """What was made public once stays as it is."""
    assert public(public(text)) == public(text)


@pytest.mark.parametrize(
    "text",
    ["CC0 1.0 / US public domain", "and/or", "24/7", "https://openstax.org/books/a-b_c/~x", "2.13.0+cu128", "a: b"],
)
def test_public_leaves_ordinary_text(text: str) -> None:
    """Licences, addresses of public sites and versions are no local paths."""
    assert public(text) == text


def test_card_survives_hostile_rows() -> None:
    """Text from documents and models adds no column, heading, image, link or HTML, and leaves the YAML valid."""
    counts = []
    for text in ("word", HOSTILE):
        changes: dict[str, JSON] = dict.fromkeys(("document_id", "document", "source", "license", "generator"), text)
        rows = [row(0, question=text, options=[text], answer=text, **changes)]
        rejects = [reject(0, check=text, reason=text)]
        report = report_of(
            rows, rejects, notes=[text], funnel=[(text, 3)], measured={text: text}, versions={text: text}
        )
        about = {**report.about, "description": text, "language": text, "fields": [[text, text]]}
        page = dataset_card(dataclasses.replace(report, about=about, identity={text: text}), rows)
        card = DatasetCard(page.encode().decode())
        kinds = [
            t.type
            for token in MarkdownIt("commonmark").enable("table").parse(card.text)
            for t in (token, *(token.children or ()))
        ]
        counts.append({kind: kinds.count(kind) for kind in set(kinds) - {"text", "text_special", "softbreak"}})
    assert counts[0] == counts[1]
    assert not {"html_inline", "html_block", "link_open", "image"} & counts[1].keys()


def test_card_without_licences_rejects_or_answers() -> None:
    """Unknown licences stay unknown; a task without answers and a run without drops have their card too."""
    rows = [row(0, license=""), row(1, license="CC BY 4.0")]
    del rows[0]["license"]
    card = dataset_card(report_of(rows, task=choice_task(answer_field="")), rows)
    data = DatasetCard(card).data.to_dict()
    assert (data["license"], data["license_name"]) == ("other", "see-card")
    assert [c["config_name"] for c in data["configs"]] == ["default"]
    assert "| digital.gov | not stated | 1 |" in card
    assert "No document was dropped." in card
    assert "Right answers" not in card


def test_card_of_few_shots_alone() -> None:
    """A dataset without a generated row shows a few-shot and names no generator."""
    rows = [few_shot_row(i) for i in range(3)]
    card = dataset_card(report_of(rows, usage={}), rows)
    assert "none: the few-shots alone" in card
    assert '"is_few_shot": true' in card
    assert "| tokens read and written by the generator | not measured and not measured |" in card


def test_card_shows_what_later_stages_measured() -> None:
    """A measurement takes the place of "not measured", and a new one gets a line of its own."""
    measured = {"contamination": "2 of 40 rows share 13 words with ScienceQA.", "judge": "31 of 40 rows right."}
    card = dataset_card(report_of(ROWS, measured=measured), ROWS)
    assert "| overlap with test sets (contamination) | 2 of 40 rows share 13 words with ScienceQA. |" in card
    assert "| judge | 31 of 40 rows right. |" in card


def test_card_shows_how_varied_the_rows_are() -> None:
    """The figures of the report stand among what was measured; without them the card says so."""
    assert "| how varied the rows are | not measured |" in dataset_card(report_of(ROWS), ROWS)
    found = dataclasses.asdict(measure(["one two three", "one two four"], None))
    card = dataset_card(report_of(ROWS, diversity=found), ROWS)
    assert "(distinct-1, -2, -3) | 0.667, 0.75, 1 |" in card
    assert "| self-BLEU of 2 rows, 0 to 1 | 0." in card
    assert "to the nearest other row, median | not measured |" in card
    assert "how varied" not in card


def test_card_names_source_datasets_that_are_stated() -> None:
    """Only what the index says to be a Hub dataset is given as one."""
    corpora: list[JSON] = [{"name": "data/x"}, {"name": "wiki", "hub_id": "wikimedia/wikipedia"}]
    card = DatasetCard(dataset_card(report_of(ROWS, index={"corpora": corpora}), ROWS))
    assert card.data.to_dict()["source_datasets"] == ["wikimedia/wikipedia"]


def test_card_cuts_long_documents() -> None:
    """The example shows the beginning of a long document and says how much is missing."""
    rows = [row(0, document="x" * 700)]
    assert f'"{"x" * 600} ... (100 characters more)"' in dataset_card(report_of(rows), rows)


@pytest.mark.parametrize("name", NAMES)
def test_card_of_shipped_task_has_its_risks(name: str) -> None:
    """Each shipped task says what can go wrong with it."""
    card = dataset_card(report_of(ROWS, task=choice_task(name)), ROWS)
    assert "not one that craft" not in card
    own = (Path(__file__).parents[1] / "dataset_cards" / "tasks" / f"{name}.md").read_text()
    assert own.count("\n- ") >= 2
    assert own in card


def test_card_with_a_gap_in_the_report_fails() -> None:
    """A value that a template needs is never blank: the card fails instead."""
    report = dataclasses.replace(report_of(ROWS), rows={"rows": 41, "generated": 40, "rejected": 0})
    with pytest.raises(UndefinedError, match="few_shots"):
        dataset_card(report, ROWS)


def test_write_card_names_the_folder_that_fails(tmp_path: Path) -> None:
    """A folder that is not there is a StorageError."""
    with pytest.raises(StorageError, match="cannot be written"):
        write_card(report_of(ROWS), ROWS, tmp_path / "none")


@pytest.mark.parametrize(
    ("licenses", "expected"),
    [
        (["CC0 1.0", "cc0-1.0", "CC0 1.0 / US public domain"], "cc0-1.0"),
        (["Unlicense (public domain)", "CC0 1.0"], "cc0-1.0"),
        (["Public domain in the USA", "CC0 1.0"], "other"),
        (["CC BY 4.0", "CC BY 3.0", "Unlicense (public domain)", "Public domain in the USA"], "cc-by-4.0"),
        (["CC BY 3.0", "CC0 1.0"], "cc-by-3.0"),
        (["CC-BY"], "cc-by-4.0"),
        (["Creative Commons Attribution-ShareAlike 3.0 Unported", "cc-by-sa-4.0"], "cc-by-sa-4.0"),
        (["CC BY-SA 3.0"], "cc-by-sa-3.0"),
        (["CC BY-SA 1.0", "CC BY 4.0"], "other"),
        (["CC BY 4.0", "CC BY-SA 3.0"], "cc-by-sa-4.0"),
        (["CC BY-NC 4.0", "CC BY 4.0", "CC0"], "cc-by-nc-4.0"),
        (["CC BY-NC-SA 3.0", "CC BY 4.0"], "cc-by-nc-sa-4.0"),
        (["CC BY-NC 4.0", "CC BY-SA 4.0"], "other"),
        (["CC BY-NC-SA 4.0", "CC BY-SA 4.0"], "other"),
        (["CC BY-ND 4.0"], "other"),
        (["CC BY-NC-ND 4.0", "CC BY-NC 4.0"], "other"),
        (["Apache-2.0"], "apache-2.0"),
        (["MIT", "CC BY 4.0"], "other"),
        (["CC BY 4.0", ""], "other"),
        (["unknown"], "other"),
        (["CC BY 4.0, images all rights reserved"], "other"),
        (["not CC0"], "other"),
        ([], "other"),
    ],
)
def test_combined_license(licenses: list[str], expected: str) -> None:
    """The strictest licence that all others can join, and "other" where there is none or one is unknown."""
    found, explanation = combined_license(licenses)
    assert found == expected
    assert explanation.endswith(".")


_LICENSES = st.sampled_from(
    [
        "CC0 1.0",
        "Public domain in the USA",
        "CC BY 3.0",
        "CC BY 4.0",
        "CC BY-SA 4.0",
        "CC BY-NC 4.0",
        "CC BY-ND 4.0",
        "",
        "MIT",
        "x",
    ]
)


@given(st.lists(_LICENSES, max_size=5))
def test_combined_license_is_never_freer_than_a_part(licenses: list[str]) -> None:
    """Order and repetition do not matter, and no restriction of any text is lost."""
    found = combined_license(licenses)
    assert found == combined_license([*reversed(licenses), *licenses])
    if {"CC BY-ND 4.0", "", "x"} & {*licenses}:
        assert found[0] == "other"
    for word, mark in (("by", "CC BY"), ("sa", "-SA"), ("nc", "-NC")):
        if found[0] != "other" and any(mark in text for text in licenses):
            assert word in found[0].split("-")
