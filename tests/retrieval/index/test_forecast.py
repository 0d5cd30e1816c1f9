"""What an index will take, said from a sample, beside what it takes."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import random
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import craft_hf
from craft_hf.base import Embedder, Workers
from craft_hf.base.errors import InputError
from craft_hf.cli.main import app
from craft_hf.corpus import sampling
from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.ledger import Ledger
from craft_hf.corpus.readers import LocatedRows, Place, Source
from craft_hf.retrieval.index import forecast as forecasting
from craft_hf.retrieval.index.build import build_index
from craft_hf.retrieval.index.forecast import Forecast, Range, forecast_index
from craft_hf.retrieval.index.info import read_info
from craft_hf.retrieval.index.layout import hashes_path
from craft_hf.retrieval.index.search import Index
from craft_hf.retrieval.index.shard import Shard, shard_bytes
from tests.embedding_server import EmbeddingServer
from tests.openai_server import serving
from tests.tiny_embedder import save_tiny_embedder
from tests.vectors import WordEmbedder, shard_paths

WORDS = "the cell plant water light energy river stone music house market bank child learns because"


class PlacedEmbedder(WordEmbedder):
    """Says where it is."""

    place = "nowhere"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasting, "CLOCK_S", 0.05)


def texts(seed: int, count: int, longest: int = 150) -> list[str]:
    """Texts of 40 and more words, in sentences."""
    rng = random.Random(seed)
    return [
        " ".join(rng.choice(WORDS.split()) + "." * (rng.random() < 0.15) for _ in range(rng.randint(40, longest)))
        for _ in range(count)
    ]


def write(path: Path, found: Sequence[str]) -> None:
    """Write texts as packed JSON lines."""
    path.write_bytes(gzip.compress("".join(json.dumps({"text": text}) + "\n" for text in found).encode()))


def holds(number: Range, truth: float) -> bool:
    """Whether the truth is within a range."""
    assert number.low is not None
    assert number.high is not None
    return number.low <= truth <= number.high


@pytest.mark.parametrize("vectors", ["chunks", "document"])
def test_of_a_small_corpus_everything_is_known(tmp_path: Path, vectors: str) -> None:
    """All of it is the sample: documents and chunks are those of the index, its size to some percent."""
    write(tmp_path / "a.jsonl.gz", texts(1, 300))
    found = forecast_index([Corpus(tmp_path / "a.jsonl.gz")], PlacedEmbedder(), vectors=vectors)
    build_index([Corpus(tmp_path / "a.jsonl.gz")], tmp_path / "i", PlacedEmbedder(), vectors=vectors)
    info = read_info(tmp_path / "i")
    assert found.total is not None
    assert found.total.documents == Range(300, 300, 300)
    assert found.total.chunks.value == pytest.approx(info.chunks, rel=0.05 if vectors == "chunks" else 0)
    size = sum(path.stat().st_size for path in shard_paths(tmp_path / "i"))
    assert found.total.gib.value * 2**30 == pytest.approx(size, rel=0.3)  # a small shard is padded to pages
    assert "documents  300" in found.lines()
    assert "known from 300 records in 1 of 1 files, 100.00% of the bytes on disk" in found.lines()[4]


@pytest.mark.long
def test_of_a_large_corpus_the_truth_is_in_the_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty files that differ, of which ten are read, and these in part."""
    total = 0
    for i in range(40):
        found = texts(i, 100 + 5 * (i % 7), longest=100 + 10 * (i % 11))
        total += len(found)
        write(tmp_path / f"{i:02}.jsonl.gz", found)
    monkeypatch.setattr(sampling, "PIECES", 10)
    monkeypatch.setattr(sampling, "PIECE_BYTES", 9000)
    said = forecast_index([Corpus(tmp_path)], PlacedEmbedder())
    build_index([Corpus(tmp_path)], tmp_path / "i", PlacedEmbedder())
    assert said.share is not None
    assert said.share < 0.25
    assert said.total is not None
    assert said.total.documents.value == pytest.approx(total, rel=0.15)
    assert holds(said.total.documents, total)
    assert said.total.chunks.value == pytest.approx(read_info(tmp_path / "i").chunks, rel=0.15)
    assert re.fullmatch(r"documents  about [\d,]+ \([\d,]+ to [\d,]+\)", said.lines()[0])
    assert (said.pieces, said.sampled) == (40, 10)


def test_kinds_of_files_are_extrapolated_each_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A packed file says nothing of texts, and a large one nothing of small ones."""
    for i, text in enumerate(texts(1, 60)):
        (tmp_path / f"{i}.txt").write_text(text)
    for i in range(6):
        write(tmp_path / f"{i}.jsonl.gz", texts(i, 400))
    monkeypatch.setattr(sampling, "PIECES", 5)
    said = forecast_index([Corpus(tmp_path)], PlacedEmbedder())
    assert said.total is not None
    assert said.total.documents.value == pytest.approx(2460, rel=0.1)


def test_of_the_beginning_of_one_file_no_range_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of how far the rest differs; that is what it says."""
    write(tmp_path / "a.jsonl.gz", texts(1, 800))
    monkeypatch.setattr(sampling, "PIECE_BYTES", 30_000)
    said = forecast_index([Corpus(tmp_path / "a.jsonl.gz")], PlacedEmbedder())
    assert said.total is not None
    assert said.total.documents.value == pytest.approx(800, rel=0.2)
    assert (said.total.documents.low, said.total.hours.high) == (None, None)
    assert re.fullmatch(r"documents  about \d+", said.lines()[0])
    assert "how far the rest differs is not known" in said.lines()[5]


class Rows(Source):
    """A stream whose length nobody knows."""

    def __init__(self, found: Sequence[str], name: str = "stream") -> None:
        self._texts, self.name, self.given = found, name, 0

    def rows(self, ledger: Ledger) -> LocatedRows:
        """Yield the texts."""
        for number, text in enumerate(self._texts, 1):
            self.given = number
            yield Place(self.name, "row", number), {"text": text}


def test_of_a_stream_a_million_documents_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the total of what is known; only its first rows are read. With a limit, the total is known."""
    monkeypatch.setattr(sampling, "RECORDS", 100)
    write(tmp_path / "a.jsonl.gz", texts(1, 50))
    stream = Rows(texts(2, 500))
    said = forecast_index([Corpus(tmp_path / "a.jsonl.gz"), Corpus(stream)], PlacedEmbedder())
    assert stream.given == 101, "no more is streamed"
    assert said.total is not None
    assert said.total.documents.value == 50
    assert said.per_million["stream"].documents.value == pytest.approx(1e6)
    assert said.per_million["stream"].chunks.value > 5e6
    assert any(line.startswith("stream: how many documents it has is known only when") for line in said.lines())
    limited = forecast_index([Corpus(stream, limit=7000)], PlacedEmbedder())
    assert limited.per_million == {}
    assert limited.total is not None
    assert limited.total.documents.value == pytest.approx(7000)


def test_a_limit_counts(tmp_path: Path) -> None:
    """As when the index is built."""
    write(tmp_path / "a.jsonl.gz", texts(1, 300))
    said = forecast_index([Corpus(tmp_path / "a.jsonl.gz", limit=30)], PlacedEmbedder())
    assert said.total is not None
    assert said.total.documents == Range(pytest.approx(30), pytest.approx(30), pytest.approx(30))


def test_mistakes_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that can be read, nothing that becomes a document, a kind of vectors that there is not."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("short")
    (tmp_path / "b.txt").write_text("long " * 1000)
    for corpora, vectors, message in (
        ([Corpus(tmp_path / "empty")], None, "no file that can be read; expected .jsonl"),
        ([Corpus(tmp_path / "a.txt")], None, "none of the 1 records of the sample became a document"),
        ([], None, "no corpus was given"),
        ([Corpus(tmp_path / "a.txt")], "both", "vectors is 'both'"),
    ):
        with pytest.raises(InputError, match=message):
            forecast_index(corpora, PlacedEmbedder(), vectors=vectors)
    monkeypatch.setattr(sampling, "LARGEST_WHOLE", 1000)
    with pytest.raises(InputError, match="all 1 files can only be read whole"):
        forecast_index([Corpus(tmp_path / "b.txt")], PlacedEmbedder())
    write(tmp_path / "c.jsonl.gz", texts(1, 5))
    said = forecast_index([Corpus(tmp_path / "b.txt"), Corpus(tmp_path / "c.jsonl.gz")], PlacedEmbedder())
    assert (
        "1 files are not sampled, because they can only be read whole, and .txt is not in these numbers" in said.lines()
    )


def test_size_is_that_of_a_shard(tmp_path: Path) -> None:
    """But for what fills up pages."""
    found = texts(3, 3000)
    build_index([Corpus([{"text": text} for text in found])], tmp_path / "i", WordEmbedder(64, window=30))
    shard = Shard(shard_paths(tmp_path / "i")[0])
    strings = sum(len(f"{d.text}{d.id}{d.title}{d.url}{d.author}".encode()) for d in shard.documents(range(shard.rows)))
    said = shard_bytes(shard.rows, shard.chunks, 64, strings)
    size = sum(path.stat().st_size for path in (shard.path, hashes_path(shard.path)))
    assert 0 <= size - said < 80_000


def test_the_command_writes_nothing(tmp_path: Path) -> None:
    """It prints the forecast; servers embed the sample if they are to embed the corpus."""
    model = save_tiny_embedder(tmp_path / "tiny")
    write(tmp_path / "a.jsonl.gz", texts(1, 40))
    build = [
        *("index", "build", str(tmp_path / "a.jsonl.gz"), "--out", str(tmp_path / "i"), "--forecast"),
        *("--embedding-model", str(model)),
    ]
    here = CliRunner().invoke(app, build, catch_exceptions=False).stdout.splitlines()
    assert [line.split()[0] for line in here] == ["documents", "chunks", "time", "on", "known", "equal"]
    assert "chunks were embedded on cpu, " in here[4]
    with serving(EmbeddingServer(model)) as fake:
        there = CliRunner().invoke(app, [*build, "--embedding-server", fake.url], catch_exceptions=False).stdout
        assert "chunks were embedded by 1 server, " in there
        assert len(fake.texts) > 16
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl.gz", "tiny", "tiny-plain"]
    assert isinstance(craft_hf.forecast_index(tmp_path / "a.jsonl.gz", embedding_model=str(model)), Forecast)
    with pytest.raises(TypeError, match="unexpected keyword argument 'minchars'"):
        craft_hf.forecast_index(tmp_path / "a.jsonl.gz", minchars=3)


@pytest.mark.long
@pytest.mark.slow
def test_workers_are_timed_together(tmp_path: Path) -> None:
    """Each is given a part of what is embedded with the clock, as large as that of the other."""
    sizes = list[int]()

    class Recorder(ProcessPoolExecutor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            sizes.append(len(args[0]))
            return super().submit(fn, *args, **kwargs)

    model = save_tiny_embedder(tmp_path / "tiny")
    write(tmp_path / "a.jsonl.gz", texts(1, 40))
    with Recorder(2, multiprocessing.get_context("spawn")) as executor:
        said = forecast_index([Corpus(tmp_path / "a.jsonl.gz")], Embedder(str(model)), workers=Workers(executor, 2))
    assert said.place == "with 2 workers"
    assert said.chunks_per_second > 0
    assert sizes
    assert all(abs(a - b) <= 1 for a, b in zip(sizes[::2], sizes[1::2], strict=True))


def test_a_real_build_takes_about_as_many_chunks(tmp_path: Path) -> None:
    """With a model's own tokenizer, of texts of which a part was cut."""
    model = save_tiny_embedder(tmp_path / "tiny")
    write(tmp_path / "a.jsonl.gz", texts(5, 200))
    said = craft_hf.forecast_index(tmp_path / "a.jsonl.gz", embedding_model=str(model))
    index = craft_hf.build_index(tmp_path / "a.jsonl.gz", tmp_path / "i", embedding_model=str(model))
    assert isinstance(index, Index)
    assert said.total is not None
    assert said.total.chunks.value == pytest.approx(index.info.chunks, rel=0.05)
