"""Tests of corpora."""

from __future__ import annotations

import json
from collections.abc import Callable
from unittest import mock

from craft_hf.corpus.corpus import Corpus
from craft_hf.corpus.ledger import Ledger
from craft_hf.corpus.readers import Source
from craft_hf.corpus.readers.file import File


def left_out(ledger: Ledger) -> dict[str, int]:
    """How much was left out, by reason."""
    return {str(reason): found.count for reason, found in ledger.left_out.items()}


def opened_when_read_on(open_source: Callable[[], Source], count: int) -> list[str]:
    """Read some documents of a corpus, then the others by another, and return the names of the files that it opened.

    Documents and ledger are checked to be those of a reading without an interruption.
    """
    whole, begun, other = (Corpus(open_source(), min_chars=1) for _ in range(3))
    documents, reading = list(whole), begun.read()
    first = [next(reading) for _ in range(count)]
    other.resume(json.loads(json.dumps(begun.state())))
    with mock.patch.object(File, "open", autospec=True, side_effect=File.open) as opening:
        assert [*first, *other.read()] == documents
    assert other.ledger == whole.ledger
    return list(dict.fromkeys(call.args[0].name for call in opening.call_args_list))
