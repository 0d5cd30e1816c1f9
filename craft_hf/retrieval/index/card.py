"""The card of an index: its README.md on the Hub."""

from __future__ import annotations

from huggingface_hub import DatasetCardData

from craft_hf.base import __version__, render
from craft_hf.corpus import Ledger
from craft_hf.retrieval.index.info import IndexInfo


def index_card(info: IndexInfo, repo_id: str) -> str:
    """Render the card of an index: YAML front matter for the Hub, and Markdown for people.

    The licence is "other", because each corpus has its own; these are listed, as "not stated" where none is known.

    Args:
        info: what the index holds.
        repo_id: the repository that the card is for.
    """
    data = DatasetCardData(license="other", tags=["craft_hf", "embeddings", "retrieval"], viewer=False)
    ledger = Ledger.from_json(info.ledger)
    body = render("index_card.md.j2", info=info, ledger=ledger, repo_id=repo_id, version=__version__, bytes=info.bytes)
    return f"---\n{data.to_yaml()}\n---\n\n{body}"
