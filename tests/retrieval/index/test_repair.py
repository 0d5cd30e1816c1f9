"""`repair_index`: what can be brought back is, nothing is lost without a word, and little is embedded again."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
from typer.testing import CliRunner

from craft_hf.base import JSON
from craft_hf.base.errors import InputError
from craft_hf.cli.main import app
from craft_hf.corpus.corpus import Corpus
from craft_hf.retrieval.index.build import build_index
from craft_hf.retrieval.index.edit import compact_index, remove_documents
from craft_hf.retrieval.index.info import IndexInfo, info_json, read_info
from craft_hf.retrieval.index.repair import Repair, repair_index
from craft_hf.retrieval.index.search import Index
from craft_hf.retrieval.index.shard import Shard
from craft_hf.retrieval.index.sources import open_sources, without_local_places
from craft_hf.retrieval.index.verify import verify_index
from craft_hf.retrieval.index.writing import leftovers
from tests.vectors import HashEmbedder, Interrupted, WordEmbedder, parts_of, shard_paths, visible

ROWS = [
    {"id": f"d{i}", "text": f"document {i} " * 30, "license": "CC0" if i % 2 else "MIT", "source": "ab"[i % 2]}
    for i in range(10)
]


def write(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """Write rows as JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def built(folder: Path, source: Path, *, add: bool = False) -> IndexInfo:
    """Build an index of a file in shards of four, as `craft_hf.build_index` does."""
    settings = settings_of(source)
    corpora = open_sources(settings)
    return build_index(corpora, folder, HashEmbedder(), shard_documents=4, add=add, settings=[settings])


def settings_of(source: Path) -> dict[str, JSON]:
    """The settings with which a file is opened."""
    return {
        "sources": [str(source)], "preset": "", "field": [], "license": [], "name": "", "split": "train",
        "hub_config": None, "min_chars": 200, "max_chars": 25_000, "long": "split", "limit": None,
        "min_score": None, "strict": False,
    }  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The file that the index is built of."""
    return write(tmp_path / "notes.jsonl", ROWS)


@pytest.fixture
def folder(tmp_path: Path, source: Path) -> Path:
    """An index of three shards."""
    built(tmp_path / "index", source)
    return tmp_path / "index"


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> HashEmbedder:
    """What repairs embed with."""
    made = HashEmbedder()
    monkeypatch.setattr("craft_hf.retrieval.index.search.Embedder", lambda name, device, revision: made)
    return made


def flip(path: Path, position: int) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[position] ^= 4
    path.write_bytes(content)


def flip_in_vectors(path: Path) -> None:
    """Damage the vector of a shard's third document."""
    flip(path, Shard(path)._layout["embedding"][0] + 2 * 16 * 2)


def flip_in_spans(path: Path) -> None:
    """Damage what is embedded of a shard's third document."""
    flip(path, Shard(path)._layout["chunk_span"][0] + 2 * 2 * 4)


def flip_in_text(path: Path) -> None:
    """Damage the text of a shard's second document."""
    flip(path, path.read_bytes().index(b"document 5 document 5") + 40)


def flip_in_codes(path: Path) -> None:
    """Damage what follows from the vectors."""
    flip(path, Shard(path)._layout["code"][0] + 5)


def flip_in_fingerprint(path: Path) -> None:
    """Damage what a shard says of itself."""
    flip(path, path.read_bytes().index(Shard(path).fingerprint.encode()))


def cut(path: Path) -> None:
    """Cut a shard short."""
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "embedded", "read_again"),
    [
        (flip_in_vectors, 1, 0),
        (flip_in_spans, 0, 0),
        (flip_in_text, 0, 1),
        (flip_in_codes, 0, 0),
        (flip_in_fingerprint, 0, 0),
        (cut, 4, 4),
        (Path.unlink, 4, 4),
    ],
)
def test_damage_is_undone(
    folder: Path, embedder: HashEmbedder, damage: Callable[[Path], None], embedded: int, read_again: int
) -> None:
    """The index is what it was, to the last bit; only what is damaged is embedded, or read again."""
    info = read_info(folder)
    contents = [path.read_bytes() for path in shard_paths(folder)]
    damage(shard_paths(folder)[1])
    problems = verify_index(folder)
    assert len(problems) == 1
    assert repair_index(folder) == Repair(problems, embedded, read_again, 0)
    assert len(embedder.asked) == embedded
    assert read_info(folder) == info
    assert verify_index(folder) == []
    assert [path.read_bytes() for path in shard_paths(folder)] == contents
    assert repair_index(folder) == Repair([])


def flip_in_hash(path: Path, row: int) -> None:
    """Damage the hash of a shard's document."""
    flip(path, Shard(path)._layout["document_hash"][0] + row * 16)


def flip_in_title(path: Path, row: int) -> None:
    """Damage the title of a shard's document."""
    flip(path, path.read_bytes().index(f"title {row + 4} ".encode()) + 1)


@pytest.fixture
def titled(tmp_path: Path) -> Path:
    """An index of three shards whose documents have titles, of the file "titled.jsonl"."""
    rows = [{**row, "title": f"title {i} of {i}"} for i, row in enumerate(ROWS)]
    built(tmp_path / "titled", write(tmp_path / "titled.jsonl", rows))
    return tmp_path / "titled"


@pytest.mark.parametrize("in_title", [True, False])
def test_damage_in_two_places_is_told_apart(titled: Path, embedder: HashEmbedder, in_title: bool) -> None:
    """A document whose hash is damaged is whole, and only the one that is damaged itself is read again."""
    info, path = read_info(titled), shard_paths(titled)[1]
    flip_in_hash(path, 2)
    if in_title:
        flip_in_title(path, 1)
    else:
        flip_in_text(path)
    titled.with_suffix(".jsonl").rename(titled.with_name("away"))
    with pytest.raises(InputError, match=r"1 of the 4 of shard-\w+\.h5 \(d5\)\. They cannot"):
        repair_index(titled)
    titled.with_name("away").rename(titled.with_suffix(".jsonl"))
    assert repair_index(titled) == Repair([f"{path} was changed after it was written: {_DIGEST}"], 0, 1, 0)
    assert read_info(titled) == info


_DIGEST = "its SHA-256 is not the one at its end"


def test_hashes_that_are_damaged_in_the_shard_are_whole_beside_it(titled: Path, embedder: HashEmbedder) -> None:
    """Only what is damaged itself is read again; a document with another licence does not take its place."""
    info, path = read_info(titled), shard_paths(titled)[1]
    flip_in_text(path)
    for row in range(4):
        flip_in_hash(path, row)
    damaged = path.read_bytes()
    assert repair_index(titled).read_again == 1
    assert read_info(titled) == info
    path.write_bytes(damaged)
    source = titled.with_suffix(".jsonl")
    write(source, [{**json.loads(line), "license": "GPL"} for line in source.read_text().splitlines()])
    with pytest.raises(InputError, match=r"1 of the 4 of \S+ \(d5\).* hold the text of d5 with other fields"):
        repair_index(titled)
    assert repair_index(titled, drop_lost=True).lost == 1
    assert verify_index(titled) == []
    assert {d.license for d in Index.open(titled).documents(range(9))} == {"CC0", "MIT"}


@pytest.mark.parametrize("are_beside", [True, False])
def test_field_that_is_damaged_like_its_hash_is_not_taken_for_whole(
    titled: Path, embedder: HashEmbedder, are_beside: bool
) -> None:
    """It comes from the sources, if the hash is whole beside the shard; else nothing tells what it was."""
    info, path = read_info(titled), shard_paths(titled)[1]
    flip_in_title(path, 1)
    flip_in_hash(path, 1)
    if are_beside:
        assert repair_index(titled).read_again == 1
        assert read_info(titled) == info
        return
    path.with_suffix(".hashes").unlink()
    with pytest.raises(InputError, match=r"1 of the 4 of \S+ \(d5\)"):
        repair_index(titled)
    assert repair_index(titled, drop_lost=True).lost == 1
    assert verify_index(titled) == []


@pytest.mark.parametrize("same", ["id", "text"])
def test_document_that_took_the_place_of_a_removed_one_is_found(
    folder: Path, source: Path, tmp_path: Path, embedder: HashEmbedder, same: str
) -> None:
    """The sources still hold the removed one, which has the same id or text, before it."""
    remove_documents(folder, ["d3"])
    new = {**ROWS[3], "license": "GPL", **({"text": "another " * 50} if same == "id" else {"id": "new"})}
    info = built(folder, write(tmp_path / "b.jsonl", [new]), add=True)
    path = shard_paths(folder)[-1]
    flip(path, path.read_bytes().index(new["text"].encode()) + 40)
    assert repair_index(folder).read_again == 1
    assert read_info(folder) == info


def test_document_whose_id_was_taken_is_found_under_its_own(
    folder: Path, tmp_path: Path, embedder: HashEmbedder
) -> None:
    """Also when the other one is gone meanwhile, and its id would be free."""
    info = built(folder, write(tmp_path / "b.jsonl", [{"id": "d3", "text": "another " * 50}]), add=True)
    id = Index.open(folder).documents([10])[0].id
    assert id.startswith("d3~")
    remove_documents(folder, ["d3"])
    info = read_info(folder)
    path = shard_paths(folder)[-1]
    flip(path, path.read_bytes().index(b"another another") + 40)
    assert repair_index(folder).read_again == 1
    assert read_info(folder) == info
    assert Index.open(folder).documents([9])[0].id == id


@pytest.mark.parametrize("license", ["MIT", "GPL"])
def test_damaged_and_missing_shards_are_mended_together(tmp_path: Path, embedder: HashEmbedder, license: str) -> None:
    """Each by its hashes, also where a text repeats, or an id."""
    folder, source = tmp_path / "index", tmp_path / "notes.jsonl"
    rows = [*ROWS[:6], {"id": "again", "text": ROWS[5]["text"]}, *ROWS[6:9], {**ROWS[9], "id": "d5"}]
    info = built(folder, write(source, rows))
    ids = [d.id for d in Index.open(folder).documents(range(10))]
    assert ids[9].startswith("d5~")
    flip_in_text(shard_paths(folder)[1])
    shard_paths(folder)[2].unlink()
    if license == "MIT":
        assert repair_index(folder).read_again == 3
        assert read_info(folder) == info
        return
    write(source, [{**row, "license": license} if row is ROWS[5] else row for row in rows])
    done = repair_index(folder, drop_lost=True)
    assert (done.read_again, done.lost) == (2, 1)
    assert [d.id for d in Index.open(folder).documents(range(9))] == [*ids[:5], *ids[6:]]


def test_shard_in_the_place_of_another_is_not_taken_for_it(folder: Path, embedder: HashEmbedder) -> None:
    """Though it is whole."""
    info, paths = read_info(folder), shard_paths(folder)
    shutil.copy(paths[0], paths[1])
    assert repair_index(folder).read_again == 4
    assert read_info(folder) == info
    assert verify_index(folder) == []


def test_each_reason_is_given_once(folder: Path, source: Path, tmp_path: Path, embedder: HashEmbedder) -> None:
    """Many documents for one reason are one line, and what could not be read of the sources is among the reasons."""
    more = tmp_path / "more"
    more.mkdir()
    for name in ("a", "b"):
        rows = "".join(json.dumps({"id": f"{name}{i}", "text": f"{name} {i} " * 80}) + "\n" for i in range(4))
        (more / f"{name}.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    built(folder, more, add=True)
    for path in shard_paths(folder):
        content = path.read_bytes()
        for text in (b"document 0 d", b"document 1 d", b"document 4 d", b"document 5 d", b"document 8 d", b"b 2 b 2"):
            if text in content:
                flip(path, content.index(text) + 3)
    write(source, [{**row, "license": "GPL"} for row in ROWS])
    (more / "b.jsonl.gz").write_bytes((more / "b.jsonl.gz").read_bytes()[:20])
    with pytest.raises(InputError) as error:
        repair_index(folder)
    message = str(error.value)
    assert message.count("with other fields") == 1
    assert "the sources hold the text of d0 and 4 other documents with other fields, such as its licence" in message
    assert "1 unreadable or broken file, such as more/b.jsonl.gz" in message
    assert "do not hold them any more" not in message


def places(path: Path) -> Iterator[tuple[str, int]]:
    """Where a shard's datasets lie, in what it says of itself many, and in what follows the HDF5 content."""
    for name, (start, end, _, _) in Shard(path)._layout.items():
        yield name, start + (end - start) // 3
    content = path.read_bytes()
    start, end, _, _ = Shard(path)._layout["about"]
    for position in range(start, end, 11):
        yield "about", position
    for value in (Shard(path).fingerprint, Shard(path).embedder, Shard(path).vectors):
        yield f"about {value}", content.index(value.encode()) + 1
    for position in range(len(content) - 40, len(content), 3):
        yield "trailer", position


@pytest.mark.long
def test_any_flipped_bit_costs_what_it_hits_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the sources: in a document's fields it costs that document, two where these end; an embedding is made
    again; elsewhere it costs nothing. Nothing else is embedded again, not even if documents that are lost come back.
    """
    folder, model = tmp_path / "index", WordEmbedder()
    monkeypatch.setattr("craft_hf.retrieval.index.search.Embedder", lambda name, device, revision: model)
    rows = [
        {
            **row, "text": " ".join(f"w{i}.{word}" for word in range(60)), "title": f"title {i}", "url": f"http://x/{i}",
            "author": f"author {i}",
        }
        for i, row in enumerate(ROWS)
    ]  # fmt: skip
    info = build_index([Corpus(rows)], folder, WordEmbedder(), shard_documents=4)
    fields = ("id", "text", "title", "url", "author")
    for name, position in places(shard_paths(folder)[1]):
        costs = 1 if name in fields else 2 if name.removesuffix("_end") in fields else 0
        copy = shutil.copytree(folder, tmp_path / "copy", dirs_exist_ok=True)
        flip(shard_paths(copy)[1], position)
        model.asked.clear()
        done = repair_index(copy, drop_lost=True)
        where = f"{name} at {position}"
        assert done.lost == costs, where
        assert len(model.asked) == (name == "embedding"), where
        assert verify_index(copy) == []
        rest = WordEmbedder()
        build_index([Corpus(rows)], copy, rest, shard_documents=4, add=True)
        assert rest.asked == [], where
        if not costs:
            assert read_info(copy).shards == info.shards
        shutil.rmtree(copy)


@pytest.mark.parametrize("is_cut", [True, False])
def test_what_follows_the_content_is_no_loss(folder: Path, source: Path, embedder: HashEmbedder, is_cut: bool) -> None:
    """An appended byte, or an end that is missing: the content itself is whole, and nothing is read again."""
    info, path = read_info(folder), shard_paths(folder)[1]
    source.unlink()
    path.write_bytes(path.read_bytes()[:-1] if is_cut else path.read_bytes() + b"x")
    assert repair_index(folder).lost == 0
    assert read_info(folder) == info
    assert not embedder.asked


def test_file_of_which_not_even_the_size_can_be_read_is_a_problem_like_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard may be a link to a disk that fails; the index is not opened, and what to do is said."""
    path, plain = shard_paths(folder)[1], Path.stat

    def refused(self: Path, **options: bool) -> os.stat_result:
        if self == path:
            raise OSError(errno.EIO, "Input/output error")
        return plain(self, **options)

    monkeypatch.setattr(Path, "stat", refused)
    assert verify_index(folder) == [f"{path} cannot be read (Input/output error)"]
    with pytest.raises(InputError, match=rf"^the shard {path} cannot be read .*craft-hf index repair {folder}"):
        Index.open(folder)


@pytest.mark.parametrize("with_vector", [True, False])
def test_vectors_of_lost_texts_are_kept(folder: Path, source: Path, embedder: HashEmbedder, with_vector: bool) -> None:
    """Also where a vector beside is damaged; the damaged file stays until `compact`."""
    path, text = shard_paths(folder)[1], source.read_text()
    source.unlink()
    flip_in_text(path)
    if with_vector:
        flip_in_vectors(path)
    assert repair_index(folder, drop_lost=True) == Repair([ANY], int(with_vector), 0, 1)
    assert path in leftovers(folder, read_info(folder))
    source.write_text(text)
    rest = HashEmbedder()
    build_index(open_sources_of(source), folder, rest, add=True)
    assert rest.asked == []


@pytest.mark.parametrize(
    "wrong",
    [{"window": 7}, {"vectors": "document"}, {"embedding_identity": "other"}, {"dimension": 15}],
)
@pytest.mark.parametrize("in_copy", [True, False])
@pytest.mark.parametrize("flipped", [True, False])
def test_what_all_shards_are_made_with_is_settled_once(
    folder: Path, embedder: HashEmbedder, wrong: dict[str, JSON], in_copy: bool, flipped: bool
) -> None:
    """Whole shards know it better than index.json; a damaged one is mended with it."""
    info = read_info(folder)
    for name in ("index.json", ".index.json")[: 1 + in_copy]:
        (folder / name).write_bytes(info_json(replace(info, **wrong)))  # type: ignore[arg-type]
    if flipped:
        flip_in_codes(shard_paths(folder)[1])
    assert repair_index(folder).lost == 0
    assert read_info(folder) == info
    assert not embedder.asked


def test_repair_that_leaves_a_problem_is_no_success(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks at its own work."""
    flip_in_codes(shard_paths(folder)[1])
    monkeypatch.setattr("craft_hf.retrieval.index.repair.verify_index", lambda folder: ["the moon is missing"])
    with pytest.raises(InputError, match=r"1 problems of .* could not be mended, such as: the moon is missing"):
        repair_index(folder)


@pytest.mark.parametrize("name", ["shard-0123456789abcdef.h5", "that of another"])
def test_shard_that_index_json_names_wrongly_is_found(folder: Path, embedder: HashEmbedder, name: str) -> None:
    """By its fingerprint; nothing is read again, and no shard is taken twice."""
    info = read_info(folder)
    data = json.loads((folder / "index.json").read_text())
    data["shards"][1]["file"] = data["shards"][0]["file"] if name == "that of another" else name
    (folder / "index.json").write_text(json.dumps(data))
    assert repair_index(folder).read_again == 0
    assert read_info(folder) == info


@pytest.mark.parametrize("content", [None, b"{", b"other"])
def test_copy_of_index_json_is_checked_and_mended(folder: Path, source: Path, content: bytes | None) -> None:
    """Missing, broken, or of another index."""
    copy, info = folder / ".index.json", read_info(folder)
    if content is None:
        copy.unlink()
    else:
        copy.write_bytes(info_json(replace(info, embedding_name="x")) if content == b"other" else content)
    (problem,) = verify_index(folder)
    assert problem.startswith(f"{copy}, the copy from which index.json would come back, is ")
    assert repair_index(folder) == Repair([problem])
    assert copy.read_bytes() == (folder / "index.json").read_bytes()
    assert verify_index(folder) == []


def test_numbers_that_do_not_fit_are_counted_anew(folder: Path, embedder: HashEmbedder) -> None:
    """Also where the copy has the same ones."""
    info = read_info(folder)
    for name in ("index.json", ".index.json"):
        (folder / name).write_bytes(info_json(replace(info, documents=11)))
    with pytest.raises(InputError, match=rf"expected 11\); mend it with: craft-hf index repair {folder}$"):
        read_info(folder)
    assert repair_index(folder).lost == 0
    assert read_info(folder) == info


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), PermissionError(errno.EACCES, "No")])
def test_file_that_cannot_be_read_is_a_problem_like_others(
    folder: Path, source: Path, embedder: HashEmbedder, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    """A disk that fails, or another user's file: it is said, with what to do, and comes back from the sources."""
    info, path, plain = read_info(folder), shard_paths(folder)[1], Path.open

    def refused(self: Path, *arguments: object, **options: object) -> object:
        if self.exists() and state(self) in bad:
            raise error
        return plain(self, *arguments, **options)  # type: ignore[call-overload]

    def state(path: Path) -> tuple[int, int]:
        return path.stat().st_ino, path.stat().st_mtime_ns

    bad = {state(path)}
    monkeypatch.setattr(Path, "open", refused)
    assert verify_index(folder) == [f"{path} cannot be read ({error.strerror})"]
    monkeypatch.setattr("craft_hf.retrieval.index.salvage.open_hdf5", refused_hdf5)
    source.rename(source.with_suffix(".away"))
    with pytest.raises(InputError, match=rf"copy {path.name} back into {folder} .*, bring the sources back"):
        repair_index(folder)
    source.with_suffix(".away").rename(source)
    assert repair_index(folder).read_again == 4
    assert (verify_index(folder), read_info(folder)) == ([], info)
    bad.add(state(folder / "index.json"))
    with pytest.raises(InputError, match=rf"index\.json cannot be read \({error.strerror}\)"):
        verify_index(folder)


def refused_hdf5(path: Path) -> object:
    """Fail as h5py does."""
    raise OSError("Unable to open file")


def test_snapshot_of_the_hub_is_not_written_to(folder: Path, tmp_path: Path) -> None:
    """It has no copy of index.json; what is damaged in it is fetched again."""
    snapshot = tmp_path / "hub" / "datasets--user--name" / "snapshots" / "abc"
    (snapshot.parents[1] / "blobs").mkdir(parents=True)
    shutil.copytree(folder, snapshot)
    (snapshot / ".index.json").unlink()
    assert verify_index(snapshot) == []
    flip_in_codes(shard_paths(snapshot)[1])
    advice = f"delete {snapshot.parents[1]} and fetch it again: craft-hf index pull user/name@abc"
    done = CliRunner().invoke(app, ["index", "verify", str(snapshot)])
    assert advice[1:] in done.output
    before = {path.name: path.read_bytes() for path in snapshot.iterdir()}
    for use in (repair_index, compact_index, lambda folder: remove_documents(folder, ["d0"])):
        with pytest.raises(InputError, match=f"a copy in the Hub's cache, which must stay .* {advice}"):
            use(snapshot)
    assert {path.name: path.read_bytes() for path in snapshot.iterdir()} == before


def test_vectors_that_lie_elsewhere_are_taken(folder: Path, source: Path, embedder: HashEmbedder) -> None:
    """A shard whose vectors are in what an unfinished build left is not embedded again."""
    spare = Path(shutil.copy(shard_paths(folder)[1], folder / f"shard-{0:016}.h5"))
    flip_in_vectors(shard_paths(folder)[1])
    assert repair_index(folder).embedded == 0
    assert not embedder.asked
    assert verify_index(folder) == []
    assert not spare.exists()


@pytest.mark.parametrize("is_known", [True, False])
def test_without_sources_it_is_said_what_is_lost(
    folder: Path, source: Path, embedder: HashEmbedder, is_known: bool
) -> None:
    """Which documents, why they cannot be read again, and what to do; what is said works, and is counted."""
    if is_known:
        source.unlink()
    else:
        build_index(open_sources_of(source), folder, HashEmbedder(), shard_documents=4, replace=True)
    flip_in_text(shard_paths(folder)[1])
    shard_paths(folder)[2].unlink()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InputError) as error:
        repair_index(folder)
    message = str(error.value)
    assert message.startswith(f"3 documents of the index {folder} are lost: 1 of the 4 of ")
    assert "(d5); all 2 of shard-" in message
    assert (f"there is no corpus file {source}" if is_known else "it was built of rows in memory") in message
    assert f": craft-hf index repair {folder} --drop-lost. What the sources hold is then added by " in message
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    done = CliRunner().invoke(app, ["index", "repair", str(folder), "--drop-lost"])
    assert done.exit_code == 0, done.output
    assert "0 documents were embedded again, 0 read from the sources again, 3 lost" in done.output
    assert "3  left out: lost with a damaged shard" in done.output
    assert verify_index(folder) == []
    assert [d.id for d in Index.open(folder).documents(range(7))] == ["d0", "d1", "d2", "d3", "d4", "d6", "d7"]


def open_sources_of(source: Path) -> list[Corpus]:
    """The corpus of a file, as rows in memory."""
    return [Corpus([json.loads(line) for line in source.read_text().splitlines()])]


def test_sources_that_came_back_mend_it(folder: Path, source: Path, embedder: HashEmbedder) -> None:
    """The advice to bring the sources back helps, also when they have grown meanwhile."""
    info = read_info(folder)
    source.unlink()
    flip_in_text(shard_paths(folder)[1])
    with pytest.raises(InputError, match="bring the sources back to what they were"):
        repair_index(folder)
    write(source, [{"id": "new", "text": "a new one " * 30}, *ROWS, {"id": "newer", "text": "a newer one " * 30}])
    assert repair_index(folder).read_again == 1
    assert read_info(folder) == info


def in_half(path: Path) -> None:
    """Cut a shard in the middle."""
    os.truncate(path, path.stat().st_size // 2)


def flip_in_superblock(path: Path) -> None:
    """Make a shard one that HDF5 does not open."""
    flip(path, 1)


@pytest.mark.parametrize("damage", [Path.unlink, in_half, flip_in_superblock])
def test_lost_shard_comes_back_from_sources_that_hold_more(
    folder: Path, source: Path, tmp_path: Path, embedder: HashEmbedder, damage: Callable[[Path], None]
) -> None:
    """Its hashes tell its documents, whatever stands before and between them: new ones, some that repeat their ids or
    texts, and what was removed, which does not come back. All rows and hits are what they were.
    """
    remove_documents(folder, ["d5", "d8"])
    more = write(tmp_path / "more.jsonl", [{"id": "d4", "text": "the id of another " * 20}, {**ROWS[6], "id": "d6b"}])
    info = built(folder, more, add=True)
    index, queries = Index.open(folder), HashEmbedder().encode([row["text"] for row in ROWS])
    documents, hits = index.documents(range(9)), index.search(queries, 9)
    assert [d.id.partition("~")[0] for d in documents] == ["d0", "d1", "d2", "d3", "d4", "d6", "d7", "d9", "d4"]
    new = [{"id": f"n{i}", "text": f"a new one {i} " * 30} for i in range(3)]
    first = [new[0], {**ROWS[4], "id": "n9"}, {"id": "d7", "text": "its id " * 90}, ROWS[8], new[1]]
    write(source, [*first, *ROWS, new[2]])
    for path, rows in zip(shard_paths(folder), (4, 3, 1, 1), strict=True):
        copy = shutil.copytree(folder, tmp_path / "copy")
        damage(copy / path.name)
        embedder.asked.clear()
        assert repair_index(copy).read_again == rows
        assert len(embedder.asked) == rows
        assert (read_info(copy), verify_index(copy)) == (info, [])
        again = Index.open(copy)
        assert again.documents(range(9)) == documents
        for found, wanted in zip(again.search(queries, 9), hits, strict=True):
            np.testing.assert_array_equal(found, wanted)
        shutil.rmtree(copy)


def test_shard_that_is_lost_with_its_hashes_is_said_to_be(folder: Path, embedder: HashEmbedder) -> None:
    """The sources are there, but nothing tells which of their documents it held; what is added takes their place."""
    path, before = shard_paths(folder)[1], read_info(folder)
    path.unlink()
    path.with_suffix(".hashes").unlink()
    assert len(verify_index(folder)) == 2
    with pytest.raises(InputError, match=rf"^4 .* tells which documents {path.name} held, as their hashes are lost as"):
        repair_index(folder)
    assert read_info(folder) == before
    assert repair_index(folder, drop_lost=True).lost == 4
    assert verify_index(folder) == []


def cut_hashes(path: Path) -> None:
    """Cut a file short, within a hash."""
    os.truncate(path, path.stat().st_size - 5)


@pytest.mark.parametrize("damage", [Path.unlink, cut_hashes, lambda path: flip(path, 20)])
def test_hashes_beside_a_shard_are_checked_and_mended(folder: Path, damage: Callable[[Path], None]) -> None:
    """They come back from the shard, and nothing is embedded."""
    path = shard_paths(folder)[1].with_suffix(".hashes")
    content, info = path.read_bytes(), read_info(folder)
    damage(path)
    (problem,) = verify_index(folder)
    assert problem.startswith(f"{path}, which tells the documents of {path.stem}.h5 if that is lost, ")
    assert Index.open(folder).documents([4])[0].id == "d4"
    assert repair_index(folder) == Repair([problem])
    assert (path.read_bytes(), read_info(folder), verify_index(folder)) == (content, info, [])


@pytest.mark.parametrize("work", ["add", "remove", "compact"])
def test_every_writer_leaves_the_hashes_of_all_shards_and_no_others(folder: Path, tmp_path: Path, work: str) -> None:
    """Also of an index that had none, as those that were built before these files were."""
    for path in folder.glob("*.hashes"):
        path.unlink()
    (folder / "shard-0123456789abcdef.hashes").write_bytes(b"of a build that was killed")
    if work == "add":
        built(folder, write(tmp_path / "more.jsonl", [{"id": "n", "text": "new " * 90}]), add=True)
    elif work == "remove":
        remove_documents(folder, ["d5"])
    else:
        compact_index(folder)
    assert verify_index(folder) == []
    assert visible(folder) == parts_of(folder)


@pytest.mark.parametrize("content", [None, b"{"])
def test_lost_index_json_comes_back_with_all_that_it_said(
    folder: Path, source: Path, embedder: HashEmbedder, content: bytes | None
) -> None:
    """Builds, ledger, removed ids, and which shards there were, also if some of these are damaged."""
    remove_documents(folder, ["d0"])
    info = read_info(folder)
    cut(shard_paths(folder)[1])
    shard_paths(folder)[2].rename(folder / f".{shard_paths(folder)[2].name}.0.incomplete")
    (folder / "index.json").unlink()
    if content:
        (folder / "index.json").write_bytes(content)
    for use in (verify_index, Index.open, lambda folder: built(folder, source)):
        with pytest.raises(InputError, match=rf"index\.json is .*mend it with: craft-hf index repair {folder}$"):
            use(folder)
    assert repair_index(folder).read_again == 6
    assert read_info(folder) == info
    assert verify_index(folder) == []
    assert not list(folder.glob(".*.incomplete"))


@pytest.mark.parametrize("revision", ["1", "2"])
@pytest.mark.parametrize("is_older", [True, False])
def test_shards_of_other_builds_are_not_taken_for_the_index(
    tmp_path: Path, source: Path, embedder: HashEmbedder, revision: str, is_older: bool
) -> None:
    """Whether they are older or newer, of this model or another: only those come back that index.json named."""
    folder = tmp_path / "index"
    others = [{"id": f"o{i}", "text": f"other {i} " * 50} for i in range(9)]
    for step in (0, 1):
        if step == is_older:
            built(folder, source)
            continue
        with pytest.raises(KeyboardInterrupt):
            build_index([Corpus(others)], folder, Interrupted(5, revision), shard_documents=4, replace=not is_older)
    info = read_info(folder)
    assert len(list(folder.glob("*.h5"))) == 4
    (folder / "index.json").unlink()
    assert repair_index(folder).lost == 0
    assert read_info(folder) == info


@pytest.mark.parametrize("is_noted", [True, False])
def test_interrupted_first_build_is_no_index(tmp_path: Path, source: Path, is_noted: bool) -> None:
    """Also if it was killed before it noted down its first shard; it goes on by the command that began it."""
    with pytest.raises(KeyboardInterrupt):
        build_index(open_sources_of(source), tmp_path / "index", Interrupted(5), shard_documents=4)
    if not is_noted:
        (tmp_path / "index" / ".build.json").unlink()
    with pytest.raises(InputError, match=r"is unfinished; run the command that builds it again: it goes on\.$"):
        repair_index(tmp_path / "index")
    assert built(tmp_path / "index", source).documents == 10


def test_index_that_is_being_replaced_comes_back(folder: Path, source: Path, embedder: HashEmbedder) -> None:
    """A broken index.json is mended as told, also after a build was begun that would have replaced it."""
    info = read_info(folder)
    (folder / "index.json").write_bytes(b"{")
    with pytest.raises(KeyboardInterrupt):
        build_index(open_sources_of(source), folder, Interrupted(5, "2"), shard_documents=4, replace=True)
    with pytest.raises(InputError, match=f"mend it with: craft-hf index repair {folder}"):
        read_info(folder)
    assert repair_index(folder).lost == 0
    assert read_info(folder) == info


def test_without_the_copy_too_no_repair_is_advised(folder: Path, source: Path) -> None:
    """Nobody knows then which shards are the index; building it again embeds nothing, one build after the other."""
    more = write(source.with_name("more.jsonl"), [{"id": f"n{i}", "text": f"new {i} " * 60} for i in range(3)])
    info = built(folder, more, add=True)
    for name in ("index.json", ".index.json"):
        (folder / name).write_bytes(b"{")
    for use in (verify_index, repair_index):
        with pytest.raises(InputError, match=r"bring the file back, or build the index again with --replace: what"):
            use(folder)
    again = HashEmbedder()
    for file, how in ((source, {"replace": True}), (more, {"add": True})):
        settings = settings_of(file)
        found = build_index(open_sources(settings), folder, again, shard_documents=4, settings=[settings], **how)
    assert found == info
    assert not again.asked
    assert leftovers(folder, info) == []


def test_a_document_with_another_licence_is_not_the_one_that_was_lost(
    folder: Path, source: Path, embedder: HashEmbedder
) -> None:
    """The text alone does not make it the same."""
    flip_in_text(shard_paths(folder)[1])
    write(source, [{**row, "license": "GPL"} for row in ROWS])
    with pytest.raises(InputError, match="hold the text of d5 with other fields, such as its licence"):
        repair_index(folder)
    assert repair_index(folder, drop_lost=True).lost == 1


def test_file_of_the_same_name_is_not_taken_for_the_source(
    folder: Path, source: Path, embedder: HashEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A published index tells the names of its sources alone; a file here that is called like one is another."""
    (folder / "index.json").write_bytes(info_json(without_local_places(read_info(folder))))
    monkeypatch.chdir(source.parent)
    shard_paths(folder)[1].unlink()
    with pytest.raises(InputError, match=r"notes\.jsonl was a file of the machine that built the index"):
        repair_index(folder)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("/data/imdb", r"\./imdb was a file of the machine that built the index; where it lay is not published"),
        (
            "stanfordnlp/imdb",
            r"stanfordnlp/imdb in this folder would be read in place .* dataset .* elsewhere",
        ),
    ],
)
def test_names_of_local_and_of_hub_sources_are_told_apart(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, message: str
) -> None:
    """The Hub is not asked for a folder of the machine that published an index, nor a folder for a Hub dataset."""
    monkeypatch.chdir(tmp_path)
    Path("stanfordnlp/imdb").mkdir(parents=True)
    for name in ("craft_hf.base.hub_api", "datasets.load_dataset"):
        monkeypatch.setattr(name, lambda *_, **__: pytest.fail("the Hub was asked"))
    info = read_info(folder)
    info = replace(info, builds=({**info.builds[0], "sources": [place]},))
    (folder / "index.json").write_bytes(info_json(without_local_places(info)))
    shard_paths(folder)[1].unlink()
    with pytest.raises(InputError, match=message):
        repair_index(folder)


def test_removed_documents_do_not_come_back(folder: Path, source: Path, embedder: HashEmbedder) -> None:
    """What was removed by id or source is passed over when the sources are read again."""
    remove_documents(folder, ["d5"], ["a"])
    info = read_info(folder)
    for path in shard_paths(folder):
        path.unlink()
    assert repair_index(folder).read_again == 4
    assert [d.id for d in Index.open(folder).documents(range(4))] == ["d1", "d3", "d7", "d9"]
    assert (read_info(folder).documents, read_info(folder).corpora) == (info.documents, info.corpora)
    more = write(source.with_name("more.jsonl"), [ROWS[5], ROWS[0]])
    assert built(folder, more, add=True).removed_ids == ()
    assert read_info(folder).removed_sources == ()


def test_documents_of_several_builds_are_read_again(folder: Path, source: Path, embedder: HashEmbedder) -> None:
    """Each build's sources are opened with its settings."""
    more = write(source.with_name("more.jsonl"), [{"id": f"n{i}", "text": f"new {i} " * 60} for i in range(3)])
    info = built(folder, more, add=True)
    for path in shard_paths(folder):
        path.unlink()
    assert repair_index(folder).read_again == 13
    assert read_info(folder) == info


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fingerprint": "0123456789abcdef"}, "gives the fingerprint 0123456789abcdef, but the shards make"),
        ({"corpora": [{"source": "a", "license": "MIT", "documents": 10}]}, "10 of a .MIT. are not what they hold"),
        ({"dimension": 17}, "the dimension 17, but the shard says 16"),
        ({"shards": 0}, "the bytes 7, but the shard says"),
        ({"documents": 11}, "the shards hold 10 documents, expected 11"),
        (None, "is not an index of craft_hf"),
    ],
)
def test_index_json_that_is_wrong_is_found_and_mended(
    folder: Path, embedder: HashEmbedder, change: dict[str, object] | None, message: str
) -> None:
    """Whatever is wrong in index.json is said, and made anew from the shards; nothing is embedded."""
    info = read_info(folder)
    data = json.loads((folder / "index.json").read_text())
    if change == {"shards": 0}:
        data["shards"][1]["bytes"] = 7
        change = {}
    (folder / "index.json").write_text("{" if change is None else json.dumps({**data, **change}))
    try:
        problems = verify_index(folder)
    except InputError as e:
        problems = [str(e)]
        assert f"craft-hf index repair {folder}" in problems[0]
    assert any(message.replace(".MIT.", "(MIT)") in problem for problem in problems)
    assert repair_index(folder).lost == 0
    assert verify_index(folder) == []
    assert read_info(folder) == info
    assert not embedder.asked


def test_documents_of_one_id_get_their_own_ids_back(tmp_path: Path, embedder: HashEmbedder) -> None:
    """Whichever of them is lost, it comes back under the id that it had."""
    rows = [{"id": "same", "text": row["text"]} for row in ROWS]
    built(tmp_path / "index", write(tmp_path / "notes.jsonl", rows))
    before = read_info(tmp_path / "index")
    for number in range(3):
        shard_paths(tmp_path / "index")[number].unlink()
        assert repair_index(tmp_path / "index").lost == 0
        assert read_info(tmp_path / "index") == before


def test_another_model_is_not_mixed_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the index's model is another one now, the error says so, and the index stays as it was."""
    other = HashEmbedder(revision="2")
    monkeypatch.setattr("craft_hf.retrieval.index.search.Embedder", lambda name, device, revision: other)
    flip_in_vectors(shard_paths(folder)[1])
    before = (folder / "index.json").read_bytes()
    with pytest.raises(InputError, match=r"built with hash-model \(1\), but the .* is hash-model \(2\), whose weights"):
        repair_index(folder)
    assert (folder / "index.json").read_bytes() == before


def test_what_is_no_index_is_not_repaired(tmp_path: Path) -> None:
    """A missing or empty folder, and an index of another format, are refused, and nothing is written there."""
    for name in ("missing", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(InputError, match="build one with"):
            repair_index(tmp_path / name)
    assert list(tmp_path.iterdir()) == [tmp_path / "empty"]
    assert list((tmp_path / "empty").iterdir()) == []


def test_index_of_another_format_says_how_to_build_it_again(folder: Path, source: Path) -> None:
    """The command that the message gives builds the index again."""
    data = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({**data, "format": 2}))
    for use in (repair_index, verify_index, Index.open):
        with pytest.raises(InputError, match=r"format 2.* another folder: craft-hf index build \S+notes\.jsonl --out"):
            use(folder)
    with pytest.raises(InputError, match="into another folder"):
        build_index(open_sources_of(source), folder, HashEmbedder(), replace=True)
