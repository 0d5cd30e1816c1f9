"""Contents of the dataset repository for an index: its shards, `index.json` without local places, and a card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

from craft_hf.base import Bar, InputError
from craft_hf.dataset import allows_copies, alternatives, spdx_expression
from craft_hf.publishing.repository import Repository
from craft_hf.publishing.secret_scan import check_local_names, check_secrets
from craft_hf.retrieval import Index, index_files, is_index_file, mending, verify_index

_BATCH = 4096
"""Documents that are read at once, for the scan."""


def index_repository(folder: Path, repo_id: str, failure: str, *, private: bool = True) -> Repository:
    """Return the repository for an index, after checks of its shards, its documents and its card.

    Each document keeps its own licence, so different ones are no conflict.

    Args:
        folder: an index.
        repo_id: name of the repository, for the card.
        failure: beginning of error messages, such as "X cannot be published to Y".
        private: whether the repository will be private.

    Raises:
        InputError: the index is broken, a text contains a secret, or documents without a licence would become public.
    """
    index = Index.open(folder)
    if problems := verify_index(folder):
        raise InputError(f"{failure}: {problems[0]}; {mending(folder)}.")
    corpora = index.info.corpora
    closed = [corpus for corpus in corpora if not _may_be_public(str(corpus["license"]))]
    if closed and not private:
        listed = "; ".join(
            f"{c['source'] or 'not stated'} ({c['license'] or 'no licence stated'}): {c['documents']} documents"
            for c in closed
        )
        raise InputError(
            f"{failure}: not every source states a licence that is known to let one give its texts on. Build the index "
            "again with --license, remove the source (craft-hf index remove), or publish it privately. In the way are: "
            f"{listed}."
        )
    check_secrets(_texts(index), failure)
    files = index_files(folder, index.info, repo_id)
    written = [(name, content.decode()) for name, content in files.items() if isinstance(content, bytes)]
    check_secrets(written, failure)
    check_local_names(written, failure)
    message = f"Index of {index.info.documents} documents, fingerprint {index.info.fingerprint}"
    return Repository("dataset", files, is_index_file, message)


def _may_be_public(license: str) -> bool:
    return any(all(map(allows_copies, way)) for way in alternatives(spdx_expression(license)))


def _texts(index: Index) -> Iterator[tuple[str, str]]:
    """Yield each document's fields as one text, with the place of the document."""
    with Bar("Looking for secrets", total=index.info.documents, unit="documents") as bar:
        for start in range(0, index.info.documents, _BATCH):
            documents = index.documents(range(start, min(start + _BATCH, index.info.documents)))
            for document in documents:
                yield f"the document {document.id}", "\n".join(map(str, astuple(document)))
            bar.update(len(documents))
