"""One shard: what is written is read back, and a broken file is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from craft_hf.base.errors import InputError, StorageError
from craft_hf.base.records import Document
from craft_hf.retrieval.index.shard import Shard, input_hash, write_shard

DOCUMENTS = [
    Document("a", "Grüße, κόσμε 🙂 " * 20, "src", "Title", "https://a.example", "CC0"),
    Document("b", "", "", "", "", ""),
    Document("c", "plain " * 50, "src", "ü" * 300, "", "CC BY 4.0"),
]
VECTORS = np.random.default_rng(0).standard_normal((3, 8), dtype=np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A shard of DOCUMENTS."""
    write_shard(tmp_path / "shard-00000.h5", DOCUMENTS, VECTORS, "model@1")
    return tmp_path / "shard-00000.h5"


def test_documents_and_embeddings_come_back(path: Path) -> None:
    """Documents come back in any order and number, embeddings as float16 mapped from the file."""
    shard = Shard(path)
    assert (shard.rows, shard.dimension) == (3, 8)
    assert shard.documents([2, 0, 0, 1]) == [DOCUMENTS[i] for i in (2, 0, 0, 1)]
    assert not shard.embeddings.flags.owndata
    assert str(path) in Path("/proc/self/maps").read_text()
    np.testing.assert_array_equal(shard.embeddings, VECTORS.astype(np.float16))
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_single_documents_are_read_alone(tmp_path: Path) -> None:
    """Few rows of a large shard are the same as many of it."""
    documents = [Document(f"d{i}", f"text {i} " * (i % 7), f"s{i % 3}") for i in range(500)]
    write_shard(tmp_path / "s.h5", documents, np.zeros((500, 2), dtype=np.float32), "m")
    shard = Shard(tmp_path / "s.h5")
    assert shard.documents([499, 0]) == [documents[499], documents[0]]
    assert shard.documents(range(500)) == documents


def test_layout_is_the_designed_one(path: Path) -> None:
    """Another HDF5 program finds contiguous float16 embeddings and the texts as one blob with their ends."""
    with h5py.File(path) as file:
        assert file["embedding"].dtype == np.float16
        assert file["embedding"].chunks is None
        np.testing.assert_array_equal(file["embedding"][:], Shard(path).embeddings)
        assert file["text"][:].tobytes().decode() == "".join(d.text for d in DOCUMENTS)
        assert file["text_end"].dtype == np.int64
        assert list(file["id"].asstr()) == ["a", "b", "c"]


def test_fingerprint_depends_on_content_only(tmp_path: Path) -> None:
    """Equal content gives an equal fingerprint; another text, id, licence, vector or model another one."""
    count = iter(range(100))

    def written(documents: list[Document], vectors: np.ndarray, model: str = "m") -> str:
        return write_shard(tmp_path / f"{next(count)}.h5", documents, vectors, model)

    same = written(DOCUMENTS, VECTORS)
    assert written(DOCUMENTS, VECTORS) == same
    other = [
        written([Document("x", *(DOCUMENTS[0].text,)), *DOCUMENTS[1:]], VECTORS),
        written([*DOCUMENTS[:2], Document("c", "other")], VECTORS),
        written(DOCUMENTS[::-1], VECTORS),
        written(DOCUMENTS, -VECTORS),
        written(DOCUMENTS, VECTORS, "other"),
    ]
    assert len({same, *other}) == 6


def test_input_hash_keeps_fields_apart() -> None:
    """Moving a letter from one field to the next changes the hash."""
    assert input_hash([Document("ab", "c")], "m") != input_hash([Document("a", "bc")], "m")


@pytest.mark.parametrize("size", [0, 10, 900, -1])
def test_truncated_shard_is_refused(path: Path, size: int) -> None:
    """A cut file is named, with what to do."""
    content = path.read_bytes()
    path.write_bytes(content[:size])
    with pytest.raises(InputError, match=r"shard .*shard-00000\.h5 is .*truncated.*build the index again"):
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


def test_unwritable_place_is_a_storage_error(tmp_path: Path) -> None:
    """A folder that is not there cannot be written to."""
    with pytest.raises(StorageError, match=r"cannot be written.*free disk space"):
        write_shard(tmp_path / "no" / "s.h5", DOCUMENTS, VECTORS, "m")


def test_interrupted_write_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a shard is written leaves the earlier shard of that name, and no partial file."""
    path = tmp_path / "shard-00000.h5"
    fingerprint = write_shard(path, DOCUMENTS, VECTORS, "m")

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        write_shard(path, DOCUMENTS, -VECTORS, "m")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert Shard(path).fingerprint == fingerprint


def test_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    """When the system refuses to write on, the error says what is whole, and no partial file stays."""
    code = f"""
import resource, signal, sys
from pathlib import Path
import numpy as np
from craft_hf.base import StorageError
from craft_hf.retrieval.index.shard import Shard, write_shard
from craft_hf.base import Document
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
folder = Path({str(tmp_path)!r})
write_shard(folder / "shard-00000.h5", [Document("a", "x" * 500)], np.zeros((1, 8)), "m")
try:
    write_shard(folder / "shard-00001.h5", [Document("b", "x" * 500_000)], np.zeros((1, 8)), "m")
except StorageError as e:
    print(e)
    print(sorted(p.name for p in folder.iterdir()), Shard(folder / "shard-00000.h5").rows)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "shard-00001.h5 cannot be written" in done.stdout
    assert "The shards before it are complete" in done.stdout
    assert done.stdout.endswith("['shard-00000.h5'] 1\n")
