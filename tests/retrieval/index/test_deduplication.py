"""Exact duplicates: each text passes once, whatever the sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_hf.base.records import Document
from craft_hf.retrieval.index import deduplication
from craft_hf.retrieval.index.deduplication import Deduplicator, text_hashes


@given(st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=20))
def test_each_hash_is_new_once(batches: list[list[int]]) -> None:
    """What is called new is what a set calls new, in any batches."""
    seen, known = Deduplicator(), set[int]()
    for batch in batches:
        wanted = [number not in known and number not in batch[:i] for i, number in enumerate(batch)]
        assert seen.add(np.array(batch, dtype=np.uint64)).tolist() == wanted
        known |= set(batch)
    assert seen.dropped == sum(map(len, batches)) - len(known)


def test_first_of_equal_texts_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of equal texts the first document passes; id and title do not matter, a blank more does."""
    monkeypatch.setattr(deduplication, "_BATCH", 3)
    texts = ["a", "b", "a", "c", "b", "a ", "d", "a"]
    seen = Deduplicator()
    passed = [d.id for d in seen.filter(Document(str(i), text) for i, text in enumerate(texts))]
    assert passed == ["0", "1", "3", "5", "6"]
    assert seen.dropped == 3


def test_hashes_are_the_same_everywhere() -> None:
    """They are stored in shards, so they may not change with the platform or the process."""
    assert text_hashes([Document("x", "Grüße")]).tolist() == [10566448050427439878]
    assert text_hashes([]).dtype == np.uint64
