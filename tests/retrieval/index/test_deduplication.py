"""Exact duplicates and repeated ids: each text passes once, with an id of its own, whatever the sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_hf.base.records import Document
from craft_hf.retrieval.index import deduplication
from craft_hf.retrieval.index.deduplication import Deduplicator, SeenHashes, UniqueIds, text_hashes


@given(st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=20))
def test_each_hash_is_new_once(batches: list[list[int]]) -> None:
    """What is called new is what a set calls new, in any batches."""
    seen, known = SeenHashes(), set[int]()
    for batch in batches:
        wanted = [number not in known and number not in batch[:i] for i, number in enumerate(batch)]
        assert seen.add(np.array(batch, dtype=np.uint64)).tolist() == wanted
        known |= set(batch)


def test_first_of_equal_texts_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of equal texts the first document passes; id and title do not matter, a blank more does."""
    monkeypatch.setattr(deduplication, "_BATCH", 3)
    texts = ["a", "b", "a", "c", "b", "a ", "d", "a"]
    seen = Deduplicator()
    passed = [d.id for d in seen.filter(Document(str(i), text) for i, text in enumerate(texts))]
    assert passed == ["0", "1", "3", "5", "6"]
    assert (seen.dropped, seen.example) == (3, "2")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 99)), max_size=30, unique_by=lambda pair: pair[1]))
def test_each_document_gets_an_id_of_its_own(pairs: list[tuple[str, int]]) -> None:
    """The first of an id keeps it, the others get one that goes by their text, whatever comes before or behind."""
    documents = [Document(name, f"text {number}") for name, number in pairs]
    ids = UniqueIds()
    renamed = list(ids.rename(documents))
    assert len({d.id for d in renamed}) == len(documents)
    assert [d.text for d in renamed] == [d.text for d in documents]
    kept = {d.id for d in documents}
    assert ids.changed == len(documents) - len(kept) == sum("~" in d.id for d in renamed)
    for old, new in zip(documents, renamed, strict=True):
        assert new.id in (old.id, f"{old.id}~{int(text_hashes([old])[0]):016x}")
    assert list(UniqueIds().rename(documents[:7])) == renamed[:7]


def test_a_document_that_came_with_a_suffixed_id_is_told_apart() -> None:
    """Ids of another index, which have suffixes already, stay as they are where they come first."""
    repeated = Document("a", "text")
    suffixed = Document(f"a~{int(text_hashes([repeated])[0]):016x}", "other")
    for documents in ([Document("a", "first"), suffixed, repeated], [Document("a", "first"), repeated, suffixed]):
        assert len({d.id for d in UniqueIds().rename(documents)}) == 3


def test_hashes_are_the_same_everywhere() -> None:
    """They are stored in shards, so they may not change with the platform or the process."""
    assert text_hashes([Document("x", "Grüße")]).tolist() == [10566448050427439878]
    assert text_hashes([]).dtype == np.uint64
