"""The presets: raw files in, documents with their licences out; Hub datasets as folders laid out like theirs."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow
import pyarrow.parquet
import pytest

from craft_hf.base.errors import InputError
from craft_hf.base.records import Document
from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.presets import PRESETS, open_corpora, preset_corpus
from craft_hf.corpus.readers.hub import HubDataset

TEXT = "Cells divide to grow, and to mend what was hurt. " * 6
PAGE = {"text": TEXT, "timestamp": "2019-04-25T12:57:54Z", "url": "https://e.org"}
ARTICLE = {"id": "12", "url": "https://en.wikipedia.org/wiki/Cell", "title": "Cell", "text": TEXT}
SITE = "ai.stackexchange.com"


def write(path: Path, content: str | bytes) -> Path:
    """Write a file with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def table(path: Path, *rows: dict[str, object]) -> None:
    """Write rows as Parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)


def raw(folder: Path, preset: str) -> Path:
    """A document in the raw format of each preset; what is returned is what a user would give."""
    if preset == "c4":
        write(folder / "c4-train.00000-of-01024.json.gz", gzip.compress(json.dumps(PAGE).encode() + b"\n"))
    elif preset == "wikipedia":
        write(folder / "AA" / "wiki_00", json.dumps({**ARTICLE, "revid": "4"}) + "\n")
    elif preset == "stackexchange":
        row = f'Id="1" PostTypeId="1" Title="Cells" Body="&lt;p&gt;{TEXT}&lt;/p&gt;" ContentLicense="CC BY-SA 3.0"'
        write(folder / SITE / "Posts.xml", f"<posts>\n  <row {row} />\n</posts>")
    else:
        write(folder / "wikihowAll.csv", f'headline,title,text\n"\nDivide.",How to Grow,"{TEXT}"\n')
    return folder


DOCUMENTS = {
    "c4": Document("c4:1", TEXT, "c4", "", "https://e.org", "ODC-BY"),
    "wikipedia": Document("12", TEXT, "wikipedia", "Cell", "https://en.wikipedia.org/wiki/Cell", "CC BY-SA 4.0"),
    "stackexchange": Document(
        f"{SITE}:1", f"Cells\n\n{TEXT.strip()}", f"stackexchange:{SITE}", "Cells", f"https://{SITE}/questions/1",
        "CC BY-SA 3.0",
    ),
    "wikihow": Document(
        "wikihow:1", f"How to Grow\n\nDivide.\n\n{TEXT.strip()}", "wikihow", "How to Grow", "", "CC BY-NC-SA 3.0"
    ),
}  # fmt: skip


@pytest.mark.parametrize("preset", PRESETS)
def test_raw_files_are_read(tmp_path: Path, preset: str) -> None:
    """Each preset reads its raw format, with the corpus's name and licence."""
    assert list(preset_corpus(preset, raw(tmp_path, preset))) == [DOCUMENTS[preset]]


@pytest.mark.parametrize("preset", PRESETS)
def test_name_and_licence_may_be_given(tmp_path: Path, preset: str) -> None:
    """A name of one's own is the source; a licence goes to documents that have none of their own."""
    (document,) = preset_corpus(preset, raw(tmp_path, preset), name="mine", license="as given")
    assert document.source.split(":")[0] == "mine"
    assert document.license == ("CC BY-SA 3.0" if preset == "stackexchange" else "as given")


def hub(folder: Path, preset: str) -> None:
    """Lay out a folder like the preset's repository on the Hub."""
    if preset == "c4":
        card = "configs:\n- config_name: en\n  data_files:\n  - split: train\n    path: en/c4-train.*.json.gz\n"
        write(folder / "README.md", f"---\n{card}---\n")
        raw(folder / "en", preset)
    elif preset == "wikipedia":
        card = "configs:\n- config_name: 20231101.en\n  data_files:\n  - split: train\n    path: 20231101.en/*\n"
        write(folder / "README.md", f"---\n{card}---\n")
        table(folder / "20231101.en" / "train-00000-of-00041.parquet", ARTICLE)
    elif preset == "stackexchange":
        for site in ("ai", "ai.meta"):
            links = [f"https://{site}.stackexchange.com/questions/1", f"https://{site}.stackexchange.com", "https://u"]
            posts = ["4: <p>Why?</p>", f"29: <p>{TEXT}</p>"]
            row = {"question_id": 1, "text": "...", "metadata": links, "date": "2016/08/02", "original_text": posts}
            table(folder / "data" / f"{site}-00000-of-00001-13f4581a5f7f2b26.parquet", row)
    else:
        with (folder / "wikihow-cleaned.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("title", "summary", "text"), ("How to Grow", "Divide.", TEXT)])


@pytest.mark.parametrize("preset", PRESETS)
def test_without_a_source_the_hub_dataset_is_streamed(
    tmp_path: Path, preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with the dataset's files stands for the Hub here; one of its name where one works is not read."""
    folder = tmp_path / "hub" / PRESETS[preset].repo
    folder.mkdir(parents=True)
    hub(folder, preset)
    load, revisions = datasets.load_dataset, []

    def load_folder(repo: str, *arguments: Any, revision: str, **options: Any) -> Any:
        revisions.append(revision)
        return load(str(tmp_path / "hub" / repo), *arguments, **options)

    monkeypatch.setattr(HubDataset, "_resolved", lambda self, commit: self.revision)
    monkeypatch.setattr(datasets, "load_dataset", load_folder)
    documents = list(preset_corpus(preset))
    assert list(preset_corpus(preset, PRESETS[preset].repo)) == documents
    assert list(preset_corpus(preset, f"{PRESETS[preset].repo}@v2")) == documents
    assert revisions == [*[PRESETS[preset].revision or None] * 2, "v2"]
    monkeypatch.undo()
    monkeypatch.chdir(folder.parents[1])
    with pytest.raises(InputError, match="would be read in place of the Hub dataset of that name; run this from anoth"):
        list(preset_corpus(preset))
    assert {d.license for d in documents} == {PRESETS[preset].hub_license}
    if preset == "stackexchange":
        sites = {d.source.removeprefix("stackexchange:") for d in documents}
        assert sites == {SITE, "ai.meta.stackexchange.com"}
        assert {d.text for d in documents} == {f"Why?\n\nAnswer:\n{TEXT.strip()}"}
    else:
        (document,) = documents
        assert (document.text, document.source) == (DOCUMENTS[preset].text, preset)


@pytest.mark.parametrize("preset", PRESETS)
def test_hub_datasets_are_asked_for_at_a_revision(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """C4 and Wikipedia are pinned to a commit. The Hub is replaced here: only what is asked of it is looked at."""
    asked = []
    monkeypatch.setattr(HubDataset, "_resolved", lambda self, commit: self.revision)
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: asked.append((*a, k["split"], k["revision"])) or [])
    with pytest.raises(InputError, match=f"{preset}: the source is empty"):
        list(preset_corpus(preset))
    assert asked == [
        {
            "c4": ("allenai/c4", "en", "train", "1588ec454efa1a09f29cd18ddd04fe05fc8653a2"),
            "wikipedia": ("wikimedia/wikipedia", "20231101.en", "train", "b04c8d1ceb2f5cd4588862100d08de323dccfbaa"),
            "stackexchange": ("HuggingFaceGECLM/StackExchange_Mar2023", None, "all", None),
            "wikihow": ("gursi26/wikihow-cleaned", None, "train", None),
        }[preset]
    ]


def test_unknown_preset_and_missing_files_are_named() -> None:
    """The errors list the presets, and what the preset reads."""
    with pytest.raises(
        InputError, match="there is no preset 'pile'; choose from c4, wikipedia, stackexchange, wikihow"
    ):
        preset_corpus("pile")
    with pytest.raises(
        InputError, match=r"there is no dump; the preset stackexchange reads a folder of .* HuggingFace"
    ):
        preset_corpus("stackexchange", "dump")


def test_sources_get_names_and_licences_of_their_own(tmp_path: Path) -> None:
    """NAME=SOURCE names one corpus, --name the others; licences go by the order, or one to all."""
    for name in ("a", "b"):
        write(tmp_path / f"{name}.txt", TEXT + name)
    sources = [f"first={tmp_path}/a.txt", f"{tmp_path}/b.txt"]
    read = [d for corpus in open_corpora(sources, licenses=["CC0", "MIT"], name="rest") for d in corpus]
    assert [(d.source, d.license) for d in read] == [("first", "CC0"), ("rest", "MIT")]
    read = [d for corpus in open_corpora(sources, licenses=["CC0"]) for d in corpus]
    assert [(d.source, d.license) for d in read] == [("first", "CC0"), ("b", "CC0")]


@pytest.mark.parametrize("preset", ["c4", ""])
def test_files_of_one_name_are_numbered_on(tmp_path: Path, preset: str) -> None:
    """Shards given one by one are one corpus, so that no id comes twice."""
    shards = [str(next(raw(tmp_path / name, "c4").iterdir())) for name in ("a", "b")]
    corpora = open_corpora([*shards, f"other={shards[0]}"], preset, name="" if preset else "c4", licenses=["CC0"])
    assert [[d.id for d in corpus] for corpus in corpora] == [["c4:1", "c4:2"], ["other:1"]]
    if not preset:
        assert [corpus.name for corpus in open_corpora(shards)] == ["c4-train.00000-of-01024"] * 2


def test_hub_datasets_of_several_configurations_stand_side_by_side() -> None:
    """Each source says its own configuration; nothing is read yet."""
    corpora = open_corpora(["allenai/c4:en", "wiki=wikimedia/wikipedia:20231101.simple:train"])
    assert [corpus.name for corpus in corpora] == ["allenai/c4:en", "wiki"]


@pytest.mark.parametrize(
    ("sources", "preset", "options", "message"),
    [
        ([], "", {}, "no source was given; name files, folders, Hub datasets, or a preset: c4"),
        (["a/b", "c/d", "e/f"], "", {"licenses": ["CC0", "MIT"]}, "2 licences were given for 3 sources"),
        ([], "c4", {"config": "de"}, "the preset c4 knows its fields, split and configuration"),
        (["=a/b"], "", {}, "'=a/b' names a corpus or a source, but not both; expected NAME=SOURCE"),
        (["name="], "c4", {}, "expected NAME=SOURCE"),
        (
            ["."],
            "wikihow",
            {"min_score": 1},
            "only the raw files of the preset stackexchange hold scores; leave it out",
        ),
        ([], "stackexchange", {"min_score": 1}, "only the raw files of the preset stackexchange hold scores"),
        (["a/b"], "", {"min_score": 1}, r"\(--min-score\) is for the preset stackexchange; leave it out"),
        (["a/b"], "", {"long": "cut"}, "long is 'cut', expected 'split' or 'drop'"),
        (["a/b"], "", {"min_chars": 9, "max_chars": 8}, "expected max_chars to be at least 1 and min_chars"),
        (["a/b"], "", {"limit": 0}, "a limit of at least 1"),
        (["name=missing"], "c4", {}, "there is no missing; the preset c4 reads shards"),
    ],
)
def test_what_does_not_fit_is_refused(sources: list[str], preset: str, options: dict[str, Any], message: str) -> None:
    """Nothing to read, licences that fit no source, and options that a preset settles are errors at once."""
    with pytest.raises(InputError, match=message):
        open_corpora(sources, preset, **options)


@pytest.mark.parametrize("preset", [*PRESETS, ""])
def test_a_limit_takes_the_first_documents_of_any_corpus(tmp_path: Path, preset: str) -> None:
    """The rest is not met: of what is read, the sums hold."""
    if preset == "":
        write(tmp_path / "a.jsonl", "".join(json.dumps({"text": f"{n} {TEXT}"}) + "\n" for n in range(5)))
    else:
        for number in range(3):
            raw(tmp_path / f"{number}", preset)
    sources = [str(tmp_path)] if preset == "" else [str(tmp_path / f"{number}") for number in range(3)]
    (corpus,) = open_corpora(sources, preset, name="c", limit=2)
    (whole,) = open_corpora(sources, preset, name="c")
    assert list(corpus) == list(whole)[:2]
    assert (corpus.ledger.documents, corpus.ledger.records) == (2, 2)


def test_a_limit_counts_passages() -> None:
    """It may end within a long document."""
    corpus = Corpus([{"text": TEXT * 100}], max_chars=1000, limit=3)
    assert [d.id for d in corpus] == ["documents:1#1", "documents:1#2", "documents:1#3"]
    assert (corpus.ledger.split, corpus.ledger.passages) == (1, 3)
