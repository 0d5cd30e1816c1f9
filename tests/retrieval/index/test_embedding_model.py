"""Which model embedded an index: known by its content, opened where it was or where somebody says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import transformers
from typer.testing import CliRunner

import craft_hf
from craft_hf.base.embedder import Embedder
from craft_hf.base.errors import InputError
from craft_hf.base.models import embedder_fingerprint
from craft_hf.cli.main import app
from craft_hf.corpus.corpus import Corpus
from craft_hf.retrieval.index.build import build_index
from craft_hf.retrieval.index.info import read_info
from craft_hf.retrieval.index.repair import repair_index
from craft_hf.retrieval.index.search import Index
from craft_hf.retrieval.index.shard import Shard
from craft_hf.retrieval.index.verify import verify_index
from tests.hub_client import Client, hub_client
from tests.hub_server import File, HubServer, User, serving_hub
from tests.tiny_embedder import save_tiny_embedder
from tests.vectors import shard_paths

ROWS = [{"id": f"d{i}", "text": f"document {i} of words. " * 12, "license": "CC0 1.0"} for i in range(6)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, which tests copy."""
    return save_tiny_embedder(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def moved(model: Path, tmp_path: Path) -> tuple[Path, Path]:
    """An index, and the place that its model was moved to after that."""
    shutil.copytree(model, tmp_path / "models" / "mine")
    build_index([Corpus(ROWS)], tmp_path / "index", Embedder(str(tmp_path / "models" / "mine")), shard_documents=3)
    return tmp_path / "index", (tmp_path / "models" / "mine").rename(tmp_path / "elsewhere")


def changed(model: Path, place: Path, name: str, content: bytes) -> str:
    """The fingerprint of a copy of a model with a file of other content, or one more file."""
    shutil.copytree(model, place)
    (place / name).parent.mkdir(exist_ok=True)
    (place / name).write_bytes(content)
    return embedder_fingerprint(place)


@pytest.mark.parametrize(
    "name", ["README.md", "onnx/model.onnx", "onnx/config.json", "pytorch_model.bin", "data_config.json", "plot.png"]
)
def test_what_decides_no_vector_is_no_other_model(model: Path, tmp_path: Path, name: str) -> None:
    """A folder's name, a README, weights that are not loaded: the same model."""
    assert changed(model, tmp_path / "another name", name, b"x") == embedder_fingerprint(model)


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "tokenizer.json", "1_Pooling/config.json", "config.json", "sentence_bert_config.json",
     "config_sentence_transformers.json", "modules.json"],
)  # fmt: skip
def test_weights_tokenizer_and_pooling_are_the_model(model: Path, tmp_path: Path, name: str) -> None:
    """Other content in any of them is another model; a last byte that differs is enough."""
    content = (model / name).read_bytes() + b" "
    assert changed(model, tmp_path / "copy", name, content) != embedder_fingerprint(model)


def test_pooling_counts_beside_a_module_without_a_folder(model: Path, tmp_path: Path) -> None:
    """Git keeps no empty folder: that of a module without settings, as all-MiniLM-L6-v2 has one, is not there."""
    shutil.copytree(model, tmp_path / "with")
    modules = json.loads((model / "modules.json").read_text())
    (tmp_path / "with" / "modules.json").write_text(json.dumps([*modules, {"path": "2_Normalize"}]))
    other = (model / "1_Pooling" / "config.json").read_bytes() + b" "
    before = embedder_fingerprint(tmp_path / "with")
    assert changed(tmp_path / "with", tmp_path / "other", "1_Pooling/config.json", other) != before


def test_a_model_that_was_moved_is_found_where_one_says(moved: tuple[Path, Path]) -> None:
    """The error says how to tell the place, for search, runs and repair; doing that helps."""
    index, place = moved
    with pytest.raises(InputError, match=r"was built with mine, which cannot be opened: .*--embedding FOLDER"):
        craft_hf.search("words", index)
    assert len(craft_hf.search("words", index, k=2, embedding=place)) == 2
    search = ["index", "search", str(index), "words", "-k", "1", "--embedding", str(place)]
    assert CliRunner().invoke(app, search, catch_exceptions=False).stdout.startswith("0.")
    retrieved = CliRunner().invoke(
        app,
        ["retrieve", "bioqa", "--index", str(index), "--embedding", str(place), "-k", "2", "--json"],
        catch_exceptions=False,
    )
    assert '"embedding_model": "mine"' in retrieved.output


def test_repair_takes_the_model_from_where_one_says(moved: tuple[Path, Path], tmp_path: Path) -> None:
    """A shard whose embeddings are lost is embedded again by the model at its new place."""
    index, place = moved
    before = [shard.read_bytes() for shard in shard_paths(index)]
    data = bytearray(before[0])
    start, end, _, _ = Shard(shard_paths(index)[0])._layout["embedding"]
    data[start:end] = bytes(end - start)
    shard_paths(index)[0].write_bytes(data)
    with pytest.raises(InputError, match="--embedding FOLDER"):
        repair_index(index)
    assert repair_index(index, embedding=str(place)).embedded > 0
    assert verify_index(index) == []


def test_another_model_is_refused_wherever_it_lies(moved: tuple[Path, Path], tmp_path: Path) -> None:
    """The same architecture with other weights, or the same weights pooled in another way."""
    index, _ = moved
    for other in (
        save_tiny_embedder(tmp_path / "others" / "mine", seed=1),
        save_tiny_embedder(tmp_path / "pooled" / "mine", pooling="max"),
    ):
        with pytest.raises(InputError, match="whose weights, tokenizer or pooling are others"):
            craft_hf.search("words", index, embedding=other)
        with pytest.raises(InputError, match="holds the embeddings of one model only"):
            build_index([Corpus(ROWS[:1])], index, Embedder(str(other)), add=True)


def test_an_index_without_index_json_knows_its_model(moved: tuple[Path, Path]) -> None:
    """The shards tell name, revision and identity."""
    index, place = moved
    before = read_info(index)
    (index / "index.json").unlink()
    repair_index(index)
    after = read_info(index)
    assert (after.embedding_model, after.embedding_revision) == ("mine", before.embedding_revision)
    assert after.embedding_identity == before.embedding_identity
    assert craft_hf.search("words", index, embedding=place)


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    """A Hub."""
    with serving_hub({"hf_ann": User("ann")}) as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client's cache."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def client(hub: HubServer, home: Path) -> Iterator[Client]:
    """A client of it."""
    with hub_client(hub.url, home) as running:
        yield running


def model_files(folder: Path) -> dict[str, File]:
    """The files of a model's repository."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p.relative_to(folder)): File(p.read_bytes(), is_large=p.suffix == ".safetensors") for p in paths}


def _identity(name: str, revision: str | None = None) -> tuple[str, str]:
    embedder = Embedder(name, revision=revision)
    return embedder.identity, embedder.revision


def _build(model: str, folder: Path) -> None:
    build_index([Corpus(ROWS)], folder, Embedder(model))


def _search(folder: Path) -> tuple[str, float]:
    index = Index.open(folder)
    return index.open_embedder().revision, craft_hf.search("words", index, k=1)[0].similarity


@pytest.mark.slow
def test_a_hub_model_is_opened_at_the_commit_that_embedded(
    hub: HubServer, client: Client, model: Path, home: Path, tmp_path: Path
) -> None:
    """A commit to the README changes nothing; after one to the weights an index keeps its model, and needs no Hub."""
    repo = hub.add_repo("ann/tiny", kind="model", private=False)
    files = model_files(model)
    repo.commit("first", {**files, "onnx/model.onnx": File(b"onnx", is_large=True)})
    first = client.call("hf_ann", _identity, "ann/tiny")
    assert first[0] == embedder_fingerprint(model)
    client.call("hf_ann", _build, "ann/tiny", tmp_path / "index")
    assert not list(home.rglob("*.onnx")), "what is not needed is not fetched"
    repo.commit("README", {**files, "README.md": File(b"another text", is_large=False)})
    second = client.call("hf_ann", _identity, "ann/tiny")
    assert second[0] == first[0]
    assert second[1] != first[1]
    found = client.call("hf_ann", _search, tmp_path / "index")
    assert found[0] == first[1]
    other = save_tiny_embedder(tmp_path / "other", seed=1)
    repo.commit("weights", model_files(other))
    assert client.call("hf_ann", _identity, "ann/tiny")[0] == embedder_fingerprint(other)
    assert client.call("hf_ann", _search, tmp_path / "index") == found
    hub.repos.pop(("model", "ann/tiny"))
    assert client.call("hf_ann", _search, tmp_path / "index") == found, "from the cache"
    with pytest.raises(InputError, match="at 0123 is neither a model folder nor a Hub model"):
        client.call("hf_ann", _identity, "ann/tiny", "0123")


@pytest.mark.slow
def test_weights_in_several_files_are_fetched(hub: HubServer, client: Client, model: Path, tmp_path: Path) -> None:
    """With the list of the parameters in each, without which they cannot be loaded."""
    several = shutil.copytree(model, tmp_path / "several")
    transformers.AutoModel.from_pretrained(model).save_pretrained(several, max_shard_size="2KB")
    (several / "model.safetensors").unlink()
    assert len(list(several.glob("*.safetensors"))) > 1
    hub.add_repo("ann/several", kind="model", private=False).commit("first", model_files(several))
    assert client.call("hf_ann", _identity, "ann/several")[0] == embedder_fingerprint(several)


def _plain(name: str) -> None:
    transformers.AutoModel.from_pretrained(name)


@pytest.mark.slow
@pytest.mark.parametrize("is_whole", [True, False])
def test_what_another_library_fetched_is_not_taken_for_the_model(
    hub: HubServer, client: Client, model: Path, is_whole: bool
) -> None:
    """Out of reach of the Hub, a copy in the cache without its pooling would give other vectors."""
    name = f"ann/fetched{is_whole}"
    hub.add_repo(name, kind="model", private=False).commit("first", model_files(model))
    client.call("hf_ann", _plain, name)
    identity = client.call("hf_ann", _identity, name) if is_whole else None
    hub.repos.pop(("model", name))
    if is_whole:
        assert client.call("hf_ann", _identity, name) == identity
    else:
        with pytest.raises(InputError, match=r"does not tell whether the model has modules\.json: another"):
            client.call("hf_ann", _identity, name)


@pytest.mark.slow
def test_a_model_without_modules_is_used_from_the_cache(hub: HubServer, client: Client, model: Path) -> None:
    """The cache knows that it has none."""
    files = {path: file for path, file in model_files(model).items() if path != "modules.json"}
    hub.add_repo("ann/plain", kind="model", private=False).commit("first", files)
    identity = client.call("hf_ann", _identity, "ann/plain")
    hub.repos.pop(("model", "ann/plain"))
    assert client.call("hf_ann", _identity, "ann/plain") == identity


def test_a_changed_weight_is_another_model_wherever_it_lies(tmp_path: Path) -> None:
    """Also in a file so large that its hash is kept."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(9 << 20))
    (tmp_path / "config.json").write_text("{}")
    before = embedder_fingerprint(tmp_path)
    assert embedder_fingerprint(tmp_path) == before
    with path.open("r+b") as file:
        file.seek(5_000_001)
        file.write(b"x")
    assert embedder_fingerprint(tmp_path) != before
