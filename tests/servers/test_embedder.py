"""Embeddings from OpenAI-compatible servers, each a real HTTP server on loopback with a small model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import craft_hf
from craft_hf.base.embedder import Embedder
from craft_hf.base.errors import EmbeddingError, InputError
from craft_hf.cli.main import app
from craft_hf.retrieval.index.shard import Shard
from craft_hf.retrieval.index.verify import verify_index
from craft_hf.servers import embedder as servers
from craft_hf.servers.embedder import LEAST_COSINE, ServerEmbedder, parse_embeddings, probes
from craft_hf.servers.urls import parse_urls
from tests.embedding_server import EmbeddingServer, Rows
from tests.openai_server import CUT_CONNECTION, HANG_UP, HTML, Reply, error, free_port, serving
from tests.tiny_embedder import save_tiny_embedder
from tests.vectors import shard_paths

KEY = "sk-canary-0123456789abcdef"
TEXTS = [f"text {i} tells of {'abcdefghij'[i % 10] * (1 + i % 50)} and more" for i in range(150)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_BACKOFF_S", 0.02)
    monkeypatch.setenv("CRAFT_HF_API_KEY", KEY)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of most servers."""
    return save_tiny_embedder(tmp_path_factory.mktemp("model") / "tiny")


def exact(model: Path, texts: Sequence[str]) -> np.ndarray:
    """The vectors of a model in float32, by sentence-transformers alone."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(model), device="cpu").encode(list(texts), normalize_embeddings=True)


def same(embedder: Embedder, model: Path, texts: Sequence[str] = TEXTS) -> bool:
    """Whether an embedder gives the vectors of a model in float32, each to its text."""
    return np.allclose(embedder.encode(texts), exact(model, texts), atol=1e-5)


def test_servers_give_the_vectors_of_the_local_model(model: Path) -> None:
    """Each to its text, as unit vectors, with the local identity; the key is sent, requests hold 32 texts at most."""
    with serving(EmbeddingServer(model, delay_s=0.1)) as fake:
        embedder, local = ServerEmbedder(fake.url, str(model)), Embedder(str(model))
        fake.requests.clear()
        made = embedder.encode(TEXTS)
        np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, atol=1e-6)
        assert same(embedder, model)
        assert not np.allclose(made[:-1], made[1:], atol=1e-3), "the texts are told apart"
        for name in ("identity", "name", "model", "revision", "dimension", "window"):
            assert getattr(embedder, name) == getattr(local, name)
        assert sorted(len(request["input"]) for request in fake.requests[:5]) == [22, 32, 32, 32, 32]
        assert {request["model"] for request in fake.requests} == {"tiny"}
        assert set(fake.keys) == {f"Bearer {KEY}"}
        assert fake.most_in_flight >= 3
        assert embedder.encode([]).shape == (0, 16)


def test_a_text_is_sent_as_far_as_the_model_reads_it(model: Path) -> None:
    """A server need not cut anything: 62 letters are sent."""
    with serving(EmbeddingServer(model)) as fake:
        embedder = ServerEmbedder(fake.url, str(model))
        fake.requests.clear()
        embedder.encode(["ab " * 500, "cd " * 40, "a" * 62, "short \ud800"])
        assert sorted(fake.texts) == ["a" * 62, ("ab " * 31).strip(), ("cd " * 31).strip(), "short ?"]


def test_the_models_own_prompt_is_sent(model: Path, tmp_path: Path) -> None:
    """Servers put none before texts, but sentence-transformers does."""
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(str(model), device="cpu", prompts={"doc": "passage: "}, default_prompt_name="doc")
    encoder.save(str(tmp_path / "prompted"))
    with serving(EmbeddingServer(model)) as fake:
        embedder = ServerEmbedder(fake.url, str(tmp_path / "prompted"))
        assert same(embedder, tmp_path / "prompted")
        assert all(text.startswith("passage: ") for text in fake.texts)


@pytest.mark.parametrize(
    "faults",
    [
        [error(429, "slow down"), None, error(500, "x"), error(503, "x")],
        [HANG_UP, CUT_CONNECTION, HTML],
        [Reply("{}"), Reply('{"data": [{"index": 0, "embedding": "!"}]}'), Reply('{"data": []}')],
    ],
)
def test_faults_now_and_then_cost_nothing(model: Path, faults: list[Reply | None]) -> None:
    """What a server refuses, breaks off or garbles is sent again."""
    with serving(EmbeddingServer(model)) as fake:
        embedder = ServerEmbedder(fake.url, str(model))
        fake.faults = list(faults)
        assert same(embedder, model)
        assert not fake.faults


def drop(rows: Rows) -> Rows:
    """One vector too few."""
    return rows[1:]


def repeat(rows: Rows) -> Rows:
    """One number twice."""
    return [{**row, "index": max(1, row["index"])} for row in rows]


def wider(rows: Rows) -> Rows:
    """Other dimensions."""
    return [{**row, "embedding": [1.0] * 17} for row in rows]


def not_a_number(rows: Rows) -> Rows:
    """One number is null."""
    return [{**row, "embedding": [None] + [1.0] * 15} if row["index"] == 7 else row for row in rows]


def zeros(rows: Rows) -> Rows:
    """One vector is nothing."""
    return [{**row, "embedding": [0.0] * 16} if row["index"] == 7 else row for row in rows]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop, r"(31|21) embeddings, numbered .*, for (32|22) texts"),
        (repeat, r"(32|22) embeddings, numbered 1, 2, 3, 4, 5 ..., for (32|22) texts"),
        (wider, "an embedding of 17 dimensions, expected 16.*does it serve another model"),
        (not_a_number, "NaN, infinity, or nothing but zeros for the text 'text"),
        (zeros, "NaN, infinity, or nothing but zeros for the text 'text"),
    ],
)
def test_unusable_answers_are_refused(model: Path, change: object, message: str) -> None:
    """A wrong number of vectors, of dimensions, or a vector without direction ends the build, and says what came."""
    with serving(EmbeddingServer(model)) as fake:
        embedder = ServerEmbedder(fake.url, str(model))
        fake.change = change  # type: ignore[assignment]
        with pytest.raises(EmbeddingError, match=message) as e:
            embedder.encode(TEXTS)
        assert "What was embedded is kept" in str(e.value)
        assert fake.url in str(e.value)


def test_infinity_is_refused() -> None:
    """JSON of Python's kind may hold it."""
    body = {"data": [{"index": 0, "embedding": [float("inf"), 1.0]}]}
    assert "infinity" in str(parse_embeddings(body, ["a"], 2))


@pytest.mark.parametrize("case", ["weights", "pooling", "prompt", "truncation"])
def test_other_vectors_are_refused_before_anything_is_embedded(model: Path, tmp_path: Path, case: str) -> None:
    """Another model, pooling, a prompt or a smaller window: the error names server and cosine."""
    served, edit = model, lambda text: text
    if case == "weights":
        served = save_tiny_embedder(tmp_path / "other", seed=1)
    elif case == "pooling":
        served = save_tiny_embedder(tmp_path / "other", pooling="max")
    elif case == "prompt":
        edit = lambda text: f"query: {text}"  # noqa: E731
    else:
        edit = lambda text: text if "Knead" not in text else text[:8]  # noqa: E731
    with serving(EmbeddingServer(model)) as good, serving(EmbeddingServer(served, edit=edit)) as bad:
        with pytest.raises(InputError, match=r"their cosine is -?0\.\d{4}, expected 0\.997 or more") as e:
            ServerEmbedder(f"{good.url},{bad.url}", str(model))
        assert f"{bad.url}/v1 (tiny) gives other vectors than tiny@" in str(e.value)
        assert ("cut texts" in str(e.value)) == (case == "truncation")


@pytest.mark.parametrize(("formats", "always_float"), [(("float",), False), (("float", "base64"), True)])
def test_vectors_come_as_numbers_where_base64_is_not_known(
    model: Path, formats: tuple[str, ...], always_float: bool
) -> None:
    """A server that refuses base64 is asked for numbers from then on; one that ignores it is understood."""
    with serving(EmbeddingServer(model, formats=formats, always_float=always_float)) as fake:
        assert same(ServerEmbedder(fake.url, str(model)), model)
        asked = [request["encoding_format"] for request in fake.requests]
        assert asked.count("base64") == (len(asked) if always_float else 1)


def test_what_the_servers_call_the_model(model: Path) -> None:
    """The only one listed, the one called like the local model, the local name if none is listed, or what one says."""
    names = {("tiny",): "tiny", ("any",): "any", ("big", "org/Tiny"): "org/Tiny"}
    for listed, name in names.items():
        with serving(EmbeddingServer(model, models=listed)) as fake:
            ServerEmbedder(fake.url, str(model))
            assert {request["model"] for request in fake.requests} == {name}
    with serving(EmbeddingServer(model, model_replies=[error(404, "no")])) as fake:
        ServerEmbedder(fake.url, str(model))
        assert fake.requests[0]["model"] == "tiny"
    with serving(EmbeddingServer(model, models=["a", "b"])) as fake:
        with pytest.raises(InputError, match=r"lists 2 models \(a, b\), and which of them is tiny .*_server_model="):
            ServerEmbedder(fake.url, str(model))
        ServerEmbedder(fake.url, str(model), server_model="b")
        assert {request["model"] for request in fake.requests} == {"b"}


def test_servers_share_the_texts_and_one_may_die(model: Path) -> None:
    """What a killed server had is embedded by the other, and nothing is missing."""
    texts = TEXTS * 4
    with (
        serving(EmbeddingServer(model, delay_s=0.05)) as one,
        serving(EmbeddingServer(model, delay_s=0.05)) as two,
    ):
        embedder = ServerEmbedder(f"{one.url},{two.url}", str(model))
        one.requests.clear()
        two.requests.clear()
        assert same(embedder, model, texts)
        assert min(len(one.requests), len(two.requests)) >= 4
        made = embedder.encode_batches(texts)
        rows = list(next(made)[0])
        one.kill()
        for batch, _ in made:
            rows += batch
        assert sorted(rows) == list(range(len(texts)))


def test_a_server_that_cannot_be_reached_is_named(model: Path) -> None:
    """At once, with what to do; a key that it echoes is not shown."""
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(EmbeddingError, match=rf"{url}/v1: no connection .*is the server running"):
        ServerEmbedder(url, str(model))
    for fake, message in (
        (
            EmbeddingServer(model, model_replies=[error(401, f"the key {KEY} is not mine")]),
            "the key <CRAFT_HF_API_KEY> is not mine",
        ),
        (EmbeddingServer(model, replies=[error(400, "the input is too long")]), "the local model reads 62 tokens"),
    ):
        with serving(fake), pytest.raises(EmbeddingError, match=message):
            ServerEmbedder(fake.url, str(model))
    for wrong, message in (
        ("localhost:8000", "is not an embedding server URL"),
        ("http://me:pw@host", "the embedding server URL holds a user or password"),
    ):
        with pytest.raises(InputError, match=message):
            ServerEmbedder(wrong, str(model))


def test_an_index_from_servers_is_the_one_from_here(model: Path, tmp_path: Path) -> None:
    """Chunks, model and shards are the same, and no URL or key is in the folder; a build that failed goes on."""
    rows = [
        {"id": f"d{i}", "text": " ".join(f"item {i * j}" for j in range(1, 41)), "license": "CC0"} for i in range(90)
    ]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    here = craft_hf.build_index(tmp_path / "c.jsonl", tmp_path / "here", embedding_model=str(model), shard_documents=40)
    with serving(EmbeddingServer(model)) as fake:
        build = [
            *("index", "build", str(tmp_path / "c.jsonl"), "--out", str(tmp_path / "there"), "--shard-documents", "40"),
            *("--embedding-model", str(model), "--embedding-server", fake.url),
        ]
        ServerEmbedder(fake.url, str(model))
        probed, real = set(fake.texts), fake.reply_to
        fake.requests.clear()

        def fail_later(body: dict[str, object]) -> Reply:
            return error(401, "the key has expired") if len(fake.requests) > 8 else real(body)

        fake.reply_to = fail_later  # type: ignore[method-assign]
        failed = CliRunner().invoke(app, build)
        assert isinstance(failed.exception, EmbeddingError)
        before = len(fake.texts)
        fake.reply_to = real  # type: ignore[method-assign]
        assert CliRunner().invoke(app, build).exit_code == 0
        asked = set(fake.texts) - probed
        hashes = [Shard(path).embedding_hashes for path in shard_paths(tmp_path / "there")]
        assert len(asked) == len(np.unique(np.concatenate(hashes), axis=0))
        assert len(fake.texts) - before < len(asked), "what was embedded is not embedded again"
    there = craft_hf.Index.open(tmp_path / "there")
    assert verify_index(tmp_path / "there") == []
    for name in ("embedding_name", "embedding_identity", "window", "chunks", "documents", "corpora", "builds"):
        assert getattr(there.info, name) == getattr(here.info, name)
    cosines = (there.embeddings(range(90)) * here.embeddings(range(90))).sum(axis=1)
    assert cosines.min() >= LEAST_COSINE
    for path in (tmp_path / "there").iterdir():
        assert KEY.encode() not in path.read_bytes()
        assert fake.url.removeprefix("http://").encode() not in path.read_bytes()


def test_a_name_without_servers_is_a_mistake(model: Path, tmp_path: Path) -> None:
    """It would change nothing."""
    (tmp_path / "c.txt").write_text("words " * 50)
    with pytest.raises(InputError, match="no embedding server was given"):
        craft_hf.build_index(tmp_path / "c.txt", tmp_path / "i", embedding_model=str(model), embedding_server_model="m")


@pytest.mark.long
@pytest.mark.slow
def test_workers_send_to_servers(model: Path, tmp_path: Path) -> None:
    """Each process keeps its own requests in flight."""
    texts = [" ".join(f"item {i * j}" for j in range(1, 41)) for i in range(60)]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    with serving(EmbeddingServer(model)) as fake:
        index = craft_hf.build_index(
            tmp_path / "c.jsonl", tmp_path / "i", embedding_model=str(model), embedding_server=fake.url, workers=2,
            shard_documents=20,
        )  # fmt: skip
        assert len(index) == 60
        assert len(fake.texts) > 0.9 * index.info.chunks


@pytest.mark.long
@pytest.mark.weights
def test_what_the_probes_tell_apart() -> None:
    """Of all-MiniLM-L6-v2, bfloat16 and float16 pass; a prompt before texts and seven eighths of the window do not."""
    import torch

    embedder = Embedder()
    encoder = embedder._encoder
    texts = probes(embedder)
    assert len(next(embedder.token_starts(texts[-1:]))) > 254

    def cosines(texts: Sequence[str], dtype: torch.dtype = torch.float32) -> np.ndarray:
        made = encoder.to(dtype).encode(list(texts), convert_to_tensor=True).float()
        return (exact * torch.nn.functional.normalize(made).numpy()).sum(axis=1)

    before, exact = encoder.dtype, np.zeros(1)
    try:
        exact = encoder.float().encode(texts, normalize_embeddings=True)
        assert cosines(texts, torch.bfloat16).min() >= LEAST_COSINE
        assert cosines(texts, torch.float16).min() >= LEAST_COSINE
        assert cosines([f"passage: {text}" for text in texts]).min() < LEAST_COSINE
        encoder.float()
        encoder.max_seq_length = 224
        assert cosines(texts)[-1] < LEAST_COSINE
    finally:
        encoder.max_seq_length = 256
        encoder.to(before)


def test_a_slow_server_gets_many_requests(model: Path) -> None:
    """The number of requests in flight rises with what the server takes."""
    with serving(EmbeddingServer(model, delay_s=0.2)) as fake:
        embedder = ServerEmbedder(fake.url, str(model))
        fake.most_in_flight = 0
        embedder.encode([f"{i} {text}" for i in range(14) for text in TEXTS])
        assert fake.most_in_flight > 8


def test_a_url_that_holds_a_key_is_refused_without_showing_it() -> None:
    """It would stand in every message."""
    with pytest.raises(InputError, match=r"^the embedding server URL holds an API key; expected none: set ") as error:
        ServerEmbedder("http://gateway/hf_abcdefghijklmnopqrstuvwxyz012345/v1", "no such model")
    assert "hf_abc" not in str(error.value)


def test_a_host_may_be_called_like_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """As servers are whose key does not matter; in a path it would be shown."""
    monkeypatch.setenv("OPENAI_API_KEY", "ollama")
    assert parse_urls("http://ollama:11434,http://b/v1", "generator") == ["http://ollama:11434/v1", "http://b/v1"]
    for url in ("http://b/ollama/v1", "http://ollama:11434,http://b/ollama"):
        with pytest.raises(InputError, match="holds an API key"):
            parse_urls(url, "generator")
