"""One shard: what is written is read back, and a broken file is refused."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from craft_hf.base.errors import InputError, StorageError
from craft_hf.base.records import Document
from craft_hf.retrieval.index.chunks import Chunks, chunks_of
from craft_hf.retrieval.index.shard import Shard, ShardContent, document_hashes, embedding_hashes, write_shard

DOCUMENTS = [
    Document("a", "Grüße, κόσμε 🙂 " * 20, "src", "Title", "https://a.example", "CC0"),
    Document("b", "", "", "", "", ""),
    Document("c", "plain " * 50, "src", "ü" * 300, "", "CC BY 4.0"),
]
FIELDS = [field.name for field in fields(Document)]
CHUNKS = chunks_of([[(0, 100), (100, 320)], [(0, 0)], [(0, 300)]], window=40)
VECTORS = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float16)


def content(documents: Sequence[Document], vectors: np.ndarray, chunks: Chunks = CHUNKS) -> ShardContent:
    """Documents and their vectors."""
    return ShardContent(documents, chunks, vectors, embedding_hashes(chunks.parts([d.text for d in documents]), "m"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A shard of DOCUMENTS."""
    return tmp_path / str(write_shard(tmp_path, content(DOCUMENTS, VECTORS), "model@1")["file"])


def test_documents_and_embeddings_come_back(path: Path) -> None:
    """Documents come back in any order and number, embeddings as float16 mapped from the file."""
    shard = Shard(path)
    assert (shard.rows, shard.chunks, shard.dimension, shard.longer_than_window) == (3, 4, 8, 1)
    assert shard.documents([2, 0, 0, 1]) == [DOCUMENTS[i] for i in (2, 0, 0, 1)]
    assert not shard.embeddings.flags.owndata
    assert not shard.embeddings.flags.writeable
    mapped = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(str(path))]
    assert [access[:3] for _, access, *_ in mapped] == ["r--"], "private and writable memory counts as committed"
    np.testing.assert_array_equal(shard.embeddings, VECTORS)
    assert shard.chunk_ends.tolist() == [2, 3, 4]
    assert shard.chunk_spans.tolist() == [[0, 100], [100, 320], [0, 0], [0, 300]]
    assert (shard.cut().vectors, shard.cut().window) == ("chunks", 40)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_mapped_shards_keep_no_files_open(tmp_path: Path) -> None:
    """A process may have only some 1,000 files open, and indexes have more shards."""
    names = [write_shard(tmp_path, content(DOCUMENTS, VECTORS), f"model@{i}")["file"] for i in range(20)]
    shards = [Shard(tmp_path / str(name)) for name in names]
    assert {shard.documents([0])[0].id for shard in shards} == {"a"}
    assert len({shard.codes.ctypes.data for shard in shards}) == 20
    assert not [path for path in _open_files() if path.startswith(str(tmp_path))]
    with (tmp_path / str(names[0])).open("rb"):
        assert len([path for path in _open_files() if path.startswith(str(tmp_path))]) == 1


def _open_files() -> list[str]:
    """The files that this process has open."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the listing itself
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return found


def test_a_shard_is_mapped_as_long_as_it_is_used(path: Path) -> None:
    """One that is not kept mapped is mapped once for all arrays, and let go with the last of them."""

    def mappings() -> int:
        return Path("/proc/self/maps").read_text().count(str(path))

    shard = Shard(path, keep_mapped=False)
    assert shard.documents([1]) == DOCUMENTS[1:2]
    assert mappings() == 0
    codes, scales = shard.codes[1:], shard.scales
    assert mappings() == 1
    del codes
    assert mappings() == 1
    del scales
    assert mappings() == 0
    kept = Shard(path)
    assert kept.documents([1]) == DOCUMENTS[1:2]
    assert mappings() == 1


def test_mapped_arrays_become_tensors_without_a_warning(path: Path) -> None:
    """Torch warns once in a process of arrays that are read-only; nobody can do anything about it."""
    code = f"""
import warnings
warnings.simplefilter("error")
from pathlib import Path
from craft_hf.retrieval.index.shard import Shard, mapped_tensor
print(mapped_tensor(Shard(Path({str(path)!r})).codes).shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("torch.Size([4, 8])\n", 0), done.stderr


def test_single_documents_are_read_alone(tmp_path: Path) -> None:
    """Few rows of a large shard are the same as many of it."""
    documents = [Document(f"d{i}", f"text {i} " * (i % 7), f"s{i % 3}", license=f"l{i % 5}") for i in range(500)]
    written = write_shard(tmp_path, content(documents, np.zeros((500, 2)), chunks_of([[(0, 1)]] * 500)), "m")
    shard = Shard(tmp_path / str(written["file"]))
    assert shard.documents([499, 0]) == [documents[499], documents[0]]
    assert shard.documents(range(500)) == documents
    assert [shard.corpora[number] for number in shard.corpus] == [(d.source, d.license) for d in documents]
    assert len(shard.corpora) == 15


def test_layout_is_the_designed_one(path: Path) -> None:
    """Another HDF5 program finds contiguous float16 embeddings, and the strings as blobs with their ends."""
    with h5py.File(path, locking=False) as file:
        assert file["embedding"].dtype == np.float16
        assert file["embedding"].chunks is None
        np.testing.assert_array_equal(file["embedding"][:], Shard(path).embeddings)
        assert file["text"][:].tobytes().decode() == "".join(d.text for d in DOCUMENTS)
        assert file["text_end"].dtype == np.int64
        assert (file["id"][:].tobytes(), file["id_end"][:].tolist()) == (b"abc", [1, 2, 3])
        assert file["corpus"][:].tolist() == [0, 1, 2]
        assert file["corpus_license"][:].tobytes() == b"CC0CC BY 4.0"
        assert file["corpus_license_end"][:].tolist() == [3, 3, 12]
        assert all(dataset.id.get_offset() % 4096 == 0 for dataset in file.values() if dataset.nbytes >= 4096)


def test_arrays_that_are_mapped_start_at_pages(tmp_path: Path) -> None:
    """Embeddings, codes and their scales are aligned, so that a scan reads whole pages and machine code whole words."""
    many = content([Document("a", "x")] * 2000, np.zeros((2000, 3)), chunks_of([[(0, 1)]] * 2000))
    with h5py.File(tmp_path / str(write_shard(tmp_path, many, "m")["file"]), locking=False) as file:
        names = ("embedding", "code", "scale", "residual", "chunk_end", "chunk_span")
        assert [file[name].id.get_offset() % 4096 for name in names] == [0] * 6


def test_content_is_taken_and_joined_with_its_chunks(path: Path) -> None:
    """Some documents of a shard keep their chunks, vectors and hashes; two contents make one that holds both."""
    whole = Shard(path).content()
    some = whole.take([2, 0])
    assert some.chunks.parts([d.text for d in some.documents]) == [
        whole.chunks.parts([d.text for d in whole.documents])[chunk] for chunk in (3, 0, 1)
    ]
    np.testing.assert_array_equal(some.embeddings, whole.embeddings[[3, 0, 1]])
    np.testing.assert_array_equal(some.hashes, whole.hashes[[3, 0, 1]])
    joined = ShardContent.join([some, whole])
    assert [d.id for d in joined.documents] == ["c", "a", "a", "b", "c"]
    assert joined.chunks.ends.tolist() == [1, 3, 5, 6, 7]
    np.testing.assert_array_equal(joined.chunks.spans, np.concatenate([some.chunks.spans, whole.chunks.spans]))
    assert joined.chunks.window == 40


def test_fingerprint_depends_on_content_only(tmp_path: Path) -> None:
    """Equal content gives an equal fingerprint; another text, id, licence, vector, model or cut another one."""

    def written(documents: list[Document], vectors: np.ndarray, model: str = "m", chunks: Chunks = CHUNKS) -> str:
        return str(write_shard(tmp_path, content(documents, vectors, chunks), model)["fingerprint"])

    same = written(DOCUMENTS, VECTORS)
    assert written(DOCUMENTS, VECTORS) == same
    other = [
        *(written([replace(DOCUMENTS[0], **{name: "x"}), *DOCUMENTS[1:]], VECTORS) for name in FIELDS),
        written(DOCUMENTS[::-1], VECTORS),
        written(DOCUMENTS, -VECTORS),
        written(DOCUMENTS, VECTORS, "other"),
        written(DOCUMENTS, VECTORS, chunks=chunks_of([[(0, 99), (99, 320)], [(0, 0)], [(0, 300)]], window=40)),
        written(DOCUMENTS, VECTORS, chunks=chunks_of([[(0, 100)], [(100, 320), (0, 0)], [(0, 300)]], window=40)),
        written(DOCUMENTS, VECTORS, chunks=CHUNKS._replace(window=41)),
        written(DOCUMENTS, VECTORS, chunks=CHUNKS._replace(vectors="document")),
    ]
    assert len({same, *other}) == 1 + len(FIELDS) + 7


def test_hashes_keep_fields_apart() -> None:
    """Moving a letter from one field to the next, or from the model to the text, changes the hash."""
    assert document_hashes([Document("ab", "c")]).tolist() != document_hashes([Document("a", "bc")]).tolist()
    assert embedding_hashes(["bc"], "a").tolist() != embedding_hashes(["c"], "ab").tolist()


@pytest.mark.parametrize("size", [0, 10, 900, -1])
def test_truncated_shard_is_refused(path: Path, size: int) -> None:
    """A cut file is named, with what to do."""
    content = path.read_bytes()
    path.write_bytes(content[:size])
    with pytest.raises(InputError, match=r"shard .*shard-\w+\.h5 is .*truncated.*craft-hf index repair"):
        Shard(path)


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    """A missing file, one that is not HDF5 and HDF5 of another making are refused."""
    (tmp_path / "text.h5").write_text("not HDF5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = [1]
    with h5py.File(tmp_path / "groups.h5", "w") as file:
        file.create_group("embedding")
    for name in ("missing.h5", "text.h5", "other.h5", "groups.h5"):
        with pytest.raises(InputError, match=rf"{name} is missing, truncated or not a shard"):
            Shard(tmp_path / name)


@pytest.mark.parametrize("name", ["format", "fingerprint", "longest"])
def test_damage_in_what_a_shard_says_of_itself_is_refused(path: Path, name: str) -> None:
    """It is JSON in a dataset: an attribute of HDF5 with a flipped bit can crash the process that reads it."""
    with h5py.File(path) as file:
        assert not file.attrs
    data = path.read_bytes()
    path.write_bytes(data.replace(f'"{name}"'.encode(), f'"{name[:-1]}~"'.encode()))
    with pytest.raises(InputError, match=rf"not a shard of craft_hf \('{name}'\); mend it with: craft-hf index repair"):
        Shard(path)
    path.write_bytes(data.replace(b'{"format"', b'["format"'))
    with pytest.raises(InputError, match=r"not a shard of craft_hf .*; mend it with: craft-hf index repair"):
        Shard(path)


def test_older_shard_is_read(path: Path, tmp_path: Path) -> None:
    """One that says in attributes what it is."""
    older = tmp_path / "older.h5"
    with h5py.File(path) as file, h5py.File(older, "w") as copy:
        for name in file:
            if name != "about":
                copy.create_dataset(name, data=file[name][()])
        about = json.loads(bytes(file["about"][()]))
        copy.attrs.update({**about, "window": about["window"] or 0})
    data = older.read_bytes()
    older.write_bytes(data + len(data).to_bytes(8, "little") + hashlib.sha256(data).digest())
    found, wanted = Shard(older), Shard(path)
    assert found.is_intact()
    assert found.documents(range(found.rows)) == wanted.documents(range(wanted.rows))
    for name in ("fingerprint", "embedder", "vectors", "window", "longest", "longer_than_window"):
        assert getattr(found, name) == getattr(wanted, name)


def test_unwritable_place_is_a_storage_error(tmp_path: Path) -> None:
    """A folder that is not there cannot be written to."""
    with pytest.raises(StorageError, match=r"cannot be written.*free disk space"):
        write_shard(tmp_path / "no", content(DOCUMENTS, VECTORS), "m")


def test_interrupted_write_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a shard is written leaves the earlier shard of that name, and no partial file."""
    path = tmp_path / str(write_shard(tmp_path, content(DOCUMENTS, VECTORS), "m")["file"])

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    damaged = path.read_bytes()[:-1]
    path.write_bytes(damaged)
    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path, content(DOCUMENTS, VECTORS), "m")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == damaged
    monkeypatch.undo()
    write_shard(tmp_path, content(DOCUMENTS, VECTORS), "m")
    assert Shard(path).is_intact()


def test_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    """When the system refuses to write on, the error says what is whole, and no partial file stays."""
    code = f"""
import resource, signal, sys
from pathlib import Path
import numpy as np
from craft_hf.base import StorageError
from craft_hf.retrieval.index.chunks import chunks_of
from craft_hf.retrieval.index.shard import Shard, ShardContent, write_shard
from craft_hf.base import Document
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
folder = Path({str(tmp_path)!r})
zeros = chunks_of([[(0, 500)]]), np.zeros((1, 8)), np.zeros((1, 2), dtype=np.uint64)
first = write_shard(folder, ShardContent([Document("a", "x" * 500)], *zeros), "m")["file"]
try:
    write_shard(folder, ShardContent([Document("b", "x" * 500_000)], *zeros), "m")
except StorageError as e:
    print(e)
    print([p.name for p in folder.iterdir()] == [first], Shard(folder / first).rows)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"shard-\w+\.h5 cannot be written.*What was embedded is kept", done.stdout)
    assert done.stdout.endswith("True 1\n")
