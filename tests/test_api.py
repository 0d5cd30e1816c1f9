"""The public face: what `import craft_hf` offers."""

from __future__ import annotations

import ast
import contextlib
import gzip
import inspect
import io
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import craft_hf
from craft_hf.base import Hit, InputError
from craft_hf.corpus import sample_corpus
from tests import ROOT
from tests.hub_client import hub_client
from tests.hub_server import HubServer, User, serving_hub
from tests.writer_server import WriterServer

PACKAGE = ROOT / "craft_hf"
STUB = ast.parse((PACKAGE / "__init__.pyi").read_text())
NAMES = [alias.name for node in STUB.body if isinstance(node, ast.ImportFrom) for alias in node.names]
FUNCTIONS = [
    "build_index",
    "estimate",
    "evaluate",
    "forecast_index",
    "generate",
    "load_task",
    "publish",
    "retrieve",
    "search",
]
USER = "hf_canaryOfUser"
TEXTS = ["Plants make sugar from light, water and carbon dioxide. ", "Lysosomes are the recycling centres of cells. "]


def test_all_names_are_there_and_in_the_docs() -> None:
    """Each name can be had, has a docstring, and stands in docs/python.md."""
    docs = (ROOT / "docs" / "python.md").read_text()
    assert sorted(NAMES) == sorted(set(NAMES)) == sorted(craft_hf.__all__)
    assert [name for name in NAMES if inspect.isfunction(getattr(craft_hf, name))] != []
    for name in NAMES:
        value = getattr(craft_hf, name)
        if name != "__version__":
            assert inspect.getdoc(value), name
            assert re.search(rf"\b{name}\b", docs), f"docs/python.md does not say what {name} is"
    assert {name for name in NAMES if inspect.isfunction(getattr(craft_hf, name))} == set(FUNCTIONS)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "load_task"])
def test_docstrings_explain_every_argument(name: str) -> None:
    """A function's docstring has an example, and a line for each argument."""
    function = getattr(craft_hf, name)
    doc = inspect.getdoc(function) or ""
    assert f"craft_hf.{name}(" in doc
    for argument in inspect.signature(function).parameters:
        assert re.search(rf"^ +{argument}: ", doc, re.M), f"{name} does not explain {argument}"


@pytest.mark.parametrize("order", ["sorted", "reversed"])
def test_names_are_the_same_whatever_is_imported(order: str) -> None:
    """No subpackage takes the place of a function: `import craft_hf.x` binds the name x in craft_hf."""
    folders = [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    modules = sorted(folders + [path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"])
    assert set(NAMES) & set(modules) == set()
    code = f"""
import importlib, inspect, craft_hf
for name in {order}({modules}):
    importlib.import_module("craft_hf." + name)
print([name for name in {FUNCTIONS} if not inspect.isfunction(getattr(craft_hf, name))])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.weights
def test_an_index_of_files_and_of_rows_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, a corpus in memory, or several; the index by its folder or as it is open; best hits first."""
    monkeypatch.chdir(tmp_path)
    Path("plants.txt").write_text(TEXTS[0] * 5)
    rows = [{"text": TEXTS[1] * 5, "title": "Cells"}]
    index = craft_hf.build_index("plants.txt", "index", license="CC0")
    assert (index.folder, len(index)) == (Path("index"), 1)
    index = craft_hf.build_index(["plants.txt", craft_hf.Corpus(rows, name="notes")], "both", license="CC0")
    with pytest.raises(InputError, match="license=, limit= would do nothing beside a Corpus"):
        craft_hf.build_index(craft_hf.Corpus(rows), "index", license="CC0", limit=1, replace=True)
    assert sorted(str(corpus["source"]) for corpus in index.info.corpora) == ["notes", "plants"]
    found = craft_hf.search("What do lysosomes do?", index=index, k=2)
    assert [type(hit) for hit in found] == [Hit, Hit]
    assert [hit.document.title for hit in found] == ["Cells", "plants"]
    assert found[0].similarity > found[1].similarity
    assert craft_hf.search("What do lysosomes do?", "both", 1) == found[:1]
    with pytest.raises(InputError, match="k is 0"):
        craft_hf.search("anything", index, 0)


@pytest.mark.parametrize("source", [Path("imdb"), [Path("stanfordnlp/imdb")]])
def test_a_path_is_no_hub_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Path | list[Path]) -> None:
    """A folder that is missing is an error, and the Hub is not asked whether it has a dataset of that name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("craft_hf.base.hub_api", lambda: pytest.fail("the Hub was asked"))
    for function in (craft_hf.build_index, craft_hf.forecast_index):
        with pytest.raises(InputError, match=rf"there is no corpus file {tmp_path}/\S*imdb; expected"):
            function(source, out="index")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.weights
def test_documents_of_a_task_come_with_their_coverage(home: Path) -> None:
    """The sample index is taken where none is named; fewer documents are the first of more."""
    found = craft_hf.retrieve("bioqa", k=7)
    assert (len(found.hits), found.coverage.hits, found.task.name) == (7, 7, "bioqa")
    assert found.index["documents"] == 452
    assert craft_hf.retrieve(craft_hf.RunSettings(task="bioqa"), k=3).hits == found.hits[:3]
    assert craft_hf.retrieve("bioqa", k=3, retrieval="random").hits != found.hits[:3]
    with pytest.raises(InputError, match="k is 0, expected 1 or more"):
        craft_hf.retrieve("bioqa", k=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_sample": 3}, "num_samples"),
        ({"temperature": "hot"}, "temperature is 'hot'"),
        ({"size": "XXL"}, "size is"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    """An unknown name, a wrong type and a value out of range are refused before anything is done."""
    for function in (craft_hf.retrieve, craft_hf.estimate):
        with pytest.raises(InputError, match=message):
            function("bioqa", **settings)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        craft_hf.generate("bioqa", tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_settings_are_given_once() -> None:
    """Beside `RunSettings`, a setting would have two values."""
    with pytest.raises(InputError, match="seed= was given beside RunSettings"):
        craft_hf.estimate(craft_hf.RunSettings(task="bioqa"), seed=3)


@pytest.fixture
def hub() -> Iterator[HubServer]:
    """A Hub on loopback where "user" may write."""
    with serving_hub({USER: User("user")}) as server:
        yield server


def run_blocks(blocks: list[str], folder: str) -> str:
    """Run the code of docs one block after the other, and return what it prints."""
    said, names = io.StringIO(), dict[str, object]()
    with contextlib.chdir(folder), contextlib.redirect_stdout(said):
        for block in blocks:
            exec(block, names)
    return said.getvalue()


@pytest.mark.slow
@pytest.mark.weights
def test_code_of_the_docs_runs(hub: HubServer, server: WriterServer, home: Path, tmp_path: Path) -> None:
    """Everything that docs/python.md shows, with real embeddings, a real model to measure, and servers on loopback."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.S)
    assert len(blocks) == 4
    with gzip.open(sample_corpus(), "rt", encoding="utf-8") as file:
        (tmp_path / "articles.jsonl").write_text("".join(itertools.islice(file, 30)))
    samples = [shot.sample for shot in craft_hf.load_task("bioqa").few_shots[:2]]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    blocks = [block.replace("http://localhost:8000/v1", server.url) for block in blocks]
    with hub_client(hub.url, tmp_path / "hub", CRAFT_HF_HOME=str(home)) as client:
        said = client.call(USER, run_blocks, blocks, str(tmp_path))
    assert re.search(r"^0\.\d{3} Biology: .* CC BY", said)
    assert "| letter | 2 |" in said
    assert said.endswith(f"{hub.url}/datasets/user/name\n")
    assert len(hub.repos["dataset", "user/name"].commits) >= 1
