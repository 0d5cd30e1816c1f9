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

from craft_hf.base.errors import StorageError
from craft_hf.base.records import JSON
from craft_hf.dataset.card import CardConfig, dataset_card, limits_of, redact_locations
from craft_hf.dataset.diversity import measure_diversity
from craft_hf.dataset.folder import DatasetFolder
from craft_hf.dataset.funnel import Stage
from craft_hf.dataset.rows import task_features
from craft_hf.tasks.task import NAMES, load_task
from tests.dataset.test_report import HOSTILE, choice_task, few_shot_row, reject, report_of, row

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
        "At a glance", "How to load", "How to train on it", "Fields", "How it was made",
        "Sources and licences", "What was measured, and what was not", "Limits and risks", "To repeat it", "Citation",
    ]  # fmt: skip
    for text in (
        "| made by the model | 40 |",
        "| generator | SmolLM2-135M-Instruct@1 |",
        "| overlap with test sets (contamination) | not measured |",
        "| review by people | not measured |",
        "| openstax | CC BY 4.0 | CC-BY-4.0 | 26 | 4 |",
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
    DatasetFolder(folder).write_card(report_of(ROWS, REJECTS), ROWS)
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
    paths: list[JSON] = [
        private,
        f"vllm:{private}",
        "~/x/y",
        "C:\\Users\\jo\\x",
        "file:///srv/x",
        "\\\\nas\\jo",
        "../jo/x",
    ]
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
        [reject(0, reason=f"read from {paths[2]}")],
        identity={"index": paths, "generator": {"urls": hosts, "home": "https://example.org/a/b"}, str(paths[4]): 1},
        notes=[f"The index at {host} was used." for host in [*paths[2:], *hosts]],
        versions={"torch": str(paths[5])},
        index={"embedding_model": private, "documents": 3},
    )
    card = dataset_card(report, rows)
    assert not re.search(r"\bjo\b|/home|/srv|localhost|10\.0\.0\.7|gpubox|corpora|~/", card)
    assert "https://example.org/a/b" in card
    assert card.count("[local path]") >= 10


@given(st.text(alphabet="ab /~.:\\-0") | st.text())
def test_public_is_stable(text: str) -> None:
    """What was made public once stays as it is."""
    assert redact_locations(redact_locations(text)) == redact_locations(text)


@pytest.mark.parametrize(
    "text",
    ["CC0 1.0 / US public domain", "and/or", "24/7", "https://openstax.org/books/a-b_c/~x", "2.13.0+cu128", "a: b"],
)
def test_public_leaves_ordinary_text(text: str) -> None:
    """Licences, addresses of public sites and versions are no local paths."""
    assert redact_locations(text) == text


def test_public_leaves_the_options_of_a_command() -> None:
    """Of a command that begins with a path only paths are left out, those with blanks whole."""
    command = "'/home/jo doe/bin/python' -m sglang.launch_server --quantization fp8 --lora-paths mine=/home/jo/x"
    shown = "[local path] -m sglang.launch_server --quantization fp8 --lora-paths mine=[local path]"
    assert redact_locations(command) == shown
    assert redact_locations("/home/jo -doe/x '") == "[local path]"


def test_card_survives_hostile_rows() -> None:
    """Text from documents and models adds no column, heading, image, link or HTML, and leaves the YAML valid."""
    counts = []
    for text in ("word", HOSTILE):
        changes: dict[str, JSON] = dict.fromkeys(("document_id", "document", "source", "license", "generator"), text)
        rows = [row(0, question=text, options=[text], answer=text, **changes)]
        rejects = [reject(0, check=text, reason=text)]
        funnel = [Stage("prompted", text, 3)]
        report = report_of(rows, rejects, notes=[text], funnel=funnel, measured={text: text}, versions={text: text})
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
    assert not {"html_inline", "link_open", "image"} & counts[1].keys()
    assert counts[1]["html_block"] == 4  # what the card itself folds away


def test_card_without_licences_rejects_or_answers() -> None:
    """Unknown licences stay unknown; a task without answers and a run without drops have their card too."""
    rows = [row(0, license=""), row(1, license="CC BY 4.0")]
    del rows[0]["license"]
    card = dataset_card(report_of(rows, task=choice_task(answer_field="")), rows)
    data = DatasetCard(card).data.to_dict()
    assert (data["license"], data["license_name"]) == ("other", "see-card")
    assert [c["config_name"] for c in data["configs"]] == ["default"]
    assert "| digital.gov | not stated | not recognised | 1 | 0 |" in card
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
    found = dataclasses.asdict(measure_diversity(["one two three", "one two four"], None))
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
    own = limits_of(name)
    assert len(re.findall("^- ", own, flags=re.M)) >= 2
    assert own in card


def test_limits_say_nothing_that_the_run_contradicts() -> None:
    """Where a judge looked at the rows, or options were shuffled, the card says so in place of the risk."""
    plain, measured = limits_of("bioqa"), limits_of("bioqa", judged=True, shuffled=True)
    assert "Nobody has answered" in plain
    assert "can be uneven" in plain
    assert "Nobody" not in measured
    assert "uneven" not in measured
    assert "nobody has compared" not in limits_of("terms", judged=True)


def test_card_with_a_gap_in_the_report_fails() -> None:
    """A value that a template needs is never blank: the card fails instead."""
    report = dataclasses.replace(report_of(ROWS), rows={"rows": 41, "generated": 40, "rejected": 0})
    with pytest.raises(UndefinedError, match="few_shots"):
        dataset_card(report, ROWS)


def test_write_card_names_the_folder_that_fails(tmp_path: Path) -> None:
    """A folder that is not there is a StorageError."""
    with pytest.raises(StorageError, match="cannot be written"):
        DatasetFolder(tmp_path / "none").write_card(report_of(ROWS), ROWS)


def test_card_describes_every_column() -> None:
    """No column of a row is left without a word on what it is."""
    fields = dataset_card(report_of(ROWS), ROWS).split("## Fields")[1].split("## How it was made")[0].replace("\\", "")
    for name in task_features(load_task("bioqa")):
        assert re.search(rf"\b{name}\b", fields), name


def test_card_says_how_to_do_it_again(tmp_path: Path) -> None:
    """The prompt with the task's instructions, the call with what was asked for, and the plots that are there."""
    task = dataclasses.replace(choice_task(), instructions=("Write a ``` question.",))
    settings = {"num_samples": 40, "seed": 3, "temperature": 0.5, "skip_checks": ["x"]}
    report = report_of(ROWS, task=task, settings=settings)
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "funnel.png").touch()
    DatasetFolder(tmp_path).write_card(report, ROWS)
    card = (tmp_path / "README.md").read_text()
    assert "[INSTRUCTION] = Write a ``` question." in card
    assert (
        f"load_dataset(\"craft\", task={task.name!r}, num_samples=40, seed=3, temperature=0.5, skip_checks=['x'])"
        in card
    )
    assert re.findall(r"!\[.+\]\((.+)\)", card) == ["assets/funnel.png"]


def test_card_lists_the_configurations_of_a_repository() -> None:
    """Front matter and table name them in order; the snippets name the repository."""
    card = dataset_card(report_of(ROWS, REJECTS), ROWS, [CardConfig("S", "S", 20)], "ann/rows")
    configs = DatasetCard(card).data.to_dict()["configs"]
    assert configs == [
        {"config_name": "default", "data_files": "data/train-*", "default": True},
        {"config_name": "S", "data_files": "S/train-*"},
        {"config_name": "rejected", "data_files": "rejected/train-*"},
    ]
    assert "| S | 20 | the first rows" in card
    assert 'load_dataset("ann/rows", split="train")' in card
    assert "user/name" not in card
