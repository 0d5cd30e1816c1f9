"""`index.json`: what an index holds."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from craft_hf.base import JSON, InputError, StorageError, file_json, fingerprint, write_file
from craft_hf.corpus import Ledger
from craft_hf.retrieval.index.chunks import DOCUMENT
from craft_hf.retrieval.index.layout import COPY, INFO, half_written_in, shards_in
from craft_hf.retrieval.index.shard import FORMAT, HASH_BYTES, cannot_be_read, mending

_TUPLES = ("shards", "corpora", "builds", "removed_ids", "removed_sources")

_BROKEN = (ValueError, TypeError, KeyError, AttributeError)
"""What comes of reading JSON that is not what it should be."""


class OtherFormatError(InputError):
    """An index was built by a craft_hf of another format version."""


@dataclass(frozen=True)
class IndexInfo:
    """What `index.json` holds.

    Attributes:
        format: version of the format.
        embedding_name: the name that loads the embedding model.
        embedding_model: what the model is called.
        embedding_revision: its revision, at which it is opened again if it is a Hub model.
        embedding_identity: hash of its weights, tokenizer and pooling, see `Embedder.identity`.
        dimension: of the embeddings.
        vectors: what has an embedding: "chunks" of documents, or the "document" by its head.
        window: most tokens that the model reads at once, None without a limit.
        documents: how many there are.
        shards: "file", "documents", "chunks", "longer_than_window", "bytes", "fingerprint" and "documents_hash" of
            each.
        corpora: "source", "license" and "documents" of each.
        ledger: what was read, and what was left out and why; see `craft_hf.corpus.Ledger`.
        fingerprint: hash of the content.
        builds: the settings that the sources were opened with, as `craft_hf.build_index` takes them: one for the first
            build, and one for each that added to it; empty for rows in memory.
        removed_ids: ids of documents that were removed, and are not to come back from the sources.
        removed_sources: sources whose documents were all removed.
    """

    format: int
    embedding_name: str
    embedding_model: str
    embedding_revision: str
    embedding_identity: str
    dimension: int
    vectors: str
    window: int | None
    documents: int
    shards: tuple[Mapping[str, JSON], ...]
    corpora: tuple[Mapping[str, JSON], ...]
    ledger: Mapping[str, JSON]
    fingerprint: str
    builds: tuple[Mapping[str, JSON], ...] = ()
    removed_ids: tuple[str, ...] = ()
    removed_sources: tuple[str, ...] = ()

    @property
    def chunks(self) -> int:
        """Embeddings of all documents."""
        return sum(cast(int, shard["chunks"]) for shard in self.shards)

    @property
    def bytes(self) -> int:
        """Size of the shards, and of the hashes of their documents."""
        return sum(cast(int, shard["bytes"]) for shard in self.shards) + HASH_BYTES * self.documents

    @property
    def longer_than_window(self) -> int:
        """Documents of more tokens than the embedding model reads at once."""
        return sum(cast(int, shard["longer_than_window"]) for shard in self.shards)

    @property
    def embedded_text(self) -> str:
        """How much of the documents is embedded, in a sentence."""
        if self.window is None:
            return f"{self.chunks} embeddings, one a document; the model has no limit of tokens."
        longer = (
            f"{self.longer_than_window} of {self.documents} documents are longer than the {self.window} tokens that "
            "the model reads"
        )
        if self.vectors == DOCUMENT:
            return f"{self.chunks} embeddings, one a document; {longer}: what stands behind is not embedded."
        return f"{self.chunks} embeddings, one a chunk; {longer}: they are embedded in full, in several chunks."


def corpora_of(counts: Mapping[tuple[str, str], int]) -> tuple[Mapping[str, JSON], ...]:
    """Return `IndexInfo.corpora` of the number of documents by source and licence."""
    return tuple({"source": s, "license": text, "documents": n} for (s, text), n in sorted(counts.items()) if n)


def counts_of(corpora: Iterable[Mapping[str, JSON]]) -> Counter[tuple[str, str]]:
    """Return the number of documents by source and licence, of `IndexInfo.corpora`."""
    return Counter({(str(c["source"]), str(c["license"])): int(str(c["documents"])) for c in corpora})


def index_fingerprint(embedder: str, shards: Iterable[Mapping[str, JSON]]) -> str:
    """Return the hash of an index's content.

    Args:
        embedder: `Embedder.identity`.
        shards: as in `IndexInfo`.
    """
    return fingerprint([embedder, *(shard["fingerprint"] for shard in shards)])


def shard_names(info: IndexInfo) -> list[str]:
    """Return the file names of an index's shards, in order."""
    return [str(shard["file"]) for shard in info.shards]


def _check(info: IndexInfo) -> None:
    """Raise ValueError, TypeError or KeyError if an `index.json` does not describe its shards."""
    _check_shards(info)
    documents = sum(cast(int, shard["documents"]) for shard in info.shards)
    if documents != info.documents:
        raise ValueError(f"the shards hold {documents} documents, expected {info.documents}")
    if (of_corpora := counts_of(info.corpora).total()) != info.documents:
        raise ValueError(f"the corpora have {of_corpora} documents, expected {info.documents}")


def _check_shards(info: IndexInfo) -> None:
    """Raise ValueError, TypeError or KeyError if an `index.json` does not name its shards."""
    for shard in info.shards:
        if not all(isinstance(shard[name], str) for name in ("file", "fingerprint", "documents_hash")):
            raise TypeError("a shard's name, fingerprint or hash of its documents is not a string")
        if not isinstance(shard["bytes"], int):
            raise TypeError("a shard's size is not a number")
        if not cast(int, shard["chunks"]) >= cast(int, shard["documents"]) >= cast(int, shard["longer_than_window"]):
            raise ValueError(f"the shard {shard['file']} has fewer chunks than documents")
    Ledger.from_json(info.ledger)


def info_json(info: IndexInfo) -> bytes:
    """Return the content of an index's `index.json`."""
    return file_json(asdict(info), indent=1)


def write_info(info: IndexInfo, folder: Path) -> None:
    """Replace an index's `index.json` atomically, and before it the copy of it, see `read_copy`.

    Raises:
        InputError: its numbers do not fit each other, because those of the old one did not; the old one stays.
        StorageError: the disk is full or the folder not writable; the old one stays.
    """
    try:
        _check(info)
    except _BROKEN as e:
        raise InputError(f"{folder / INFO} was not replaced: {e}; {mending(folder)}") from e
    for name in (COPY, INFO):
        write_note(folder / name, info_json(info))


def restore_info(folder: Path) -> None:
    """Replace an index's `index.json` by its copy.

    Raises:
        StorageError: the disk is full or the folder not writable.
    """
    write_note(folder / INFO, copy_path(folder).read_bytes())


def info_hash(info: IndexInfo) -> str:
    """Return the SHA-256 of the `index.json` that `write_info` writes."""
    return hashlib.sha256(info_json(info)).hexdigest()


def written_hash(folder: Path) -> str:
    """Return the SHA-256 of the `index.json` of a folder, or nothing if it cannot be read."""
    try:
        return hashlib.sha256((folder / INFO).read_bytes()).hexdigest()
    except OSError:
        return ""


def write_note(path: Path, content: bytes) -> None:
    """Replace a small file of an index atomically.

    Raises:
        StorageError: the disk is full or the folder not writable; the old one stays.
    """
    try:
        write_file(path, content)
    except OSError as e:
        raise StorageError(f"{path} cannot be written: {e}; free disk space and run the command again.") from e


def read_info(folder: Path) -> IndexInfo:
    """Read an index's `index.json`.

    Raises:
        InputError: the folder is missing, empty, not an index, unfinished, of another format, or cannot be read.
    """
    try:
        return _read_info(folder)
    except OSError as e:
        raise cannot_be_read(folder / INFO, e) from e


def _read_info(folder: Path) -> IndexInfo:
    advice = "build one with: craft-hf index build CORPUS --out FOLDER"
    if not folder.is_dir():
        raise InputError(f"there is no index folder {folder}; {advice}, or give the name of one on the Hub: user/name")
    path = folder / INFO
    if not path.is_file():
        if read_copy(folder):
            raise InputError(f"{path} is missing; {mending(folder)}")
        if shards_in(folder) or half_written_in(folder):
            raise InputError(f"the index {folder} is unfinished; run the command that builds it again: it goes on.")
        seen = [p for p in folder.iterdir() if not p.name.startswith(".")]
        empty = "is not an index (it has no index.json)" if seen else "is empty"
        raise InputError(f"the folder {folder} {empty}; {advice}")
    content = path.read_bytes()
    try:
        return _info(json.loads(content), path)
    except OtherFormatError:
        raise
    except _BROKEN as e:
        what_to_do = (
            "bring the file back, or build the index again with --replace: what is embedded is not embedded again."
        )
        if read_shards(folder) or read_copy(folder):
            what_to_do = mending(folder)
        raise InputError(f"{path} is not an index of craft_hf ({type(e).__name__}: {e}); {what_to_do}") from e


def read_copy(folder: Path) -> IndexInfo | None:
    """Read the copy of `index.json`; None if there is none that can be used.

    The shards that it names are there, as those of `index.json` are. It is the newer one of the two if a writer was
    killed before it had written both.
    """
    path = copy_path(folder)
    with contextlib.suppress(OSError, OtherFormatError, *_BROKEN):
        return _info(json.loads(path.read_bytes()), path)
    return None


def copy_path(folder: Path) -> Path:
    """Return where the copy of an index's `index.json` lies."""
    return folder / COPY


def read_shards(folder: Path) -> IndexInfo | None:
    """Read an `index.json` whose numbers of documents need not be right, but that names its shards; None if it is none.

    Raises:
        OtherFormatError: it is of another format.
    """
    path = folder / INFO
    with contextlib.suppress(OSError, *_BROKEN):
        return _info(json.loads(path.read_bytes()), path, _check_shards)
    return None


def _info(data: Any, path: Path, check: Callable[[IndexInfo], None] | None = None) -> IndexInfo:
    """Return the info of a file's JSON, after checking it.

    Raises:
        OtherFormatError: it is of another format.
        ValueError, TypeError, KeyError, AttributeError: it is none.
    """
    if data["format"] != FORMAT:
        raise OtherFormatError(
            f"{path} has format {data['format']}, this craft_hf reads format {FORMAT}; build the index again into "
            f"another folder: {build_command(data.get('builds', ()), 'FOLDER')}"
        )
    info = IndexInfo(**{**data, **{name: tuple(data[name]) for name in _TUPLES}})
    (check or _check)(info)
    return info


def build_command(builds: Sequence[Mapping[str, JSON]], folder: str) -> str:
    """Return the commands that build an index from the same sources, as one line for a shell.

    Args:
        builds: as in `IndexInfo`; "SOURCE" stands where rows were in memory.
        folder: where to build it.
    """
    commands: list[str] = []
    for settings in builds or ({},):
        words = ["craft-hf", "index", "build", *_words(settings.get("sources") or ())]
        if not settings:
            words.append("SOURCE")
        words += ["--out", folder, *(["--add"] if commands else [])]
        for name, value in settings.items():
            if name != "sources":
                flag = "--" + name.replace("_", "-")
                words += [flag] if value is True else [word for text in _words(value) for word in (flag, text)]
        commands.append(shlex.join(words))
    return " && ".join(commands)


def _words(value: JSON) -> list[str]:
    if isinstance(value, list | tuple):
        return [str(v) for v in value]
    return [] if value is None or value is False or value == "" else [str(value)]
