"""The texts and embeddings of rows, on the embedded default weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from craft_hf.base.embedder import Embedder
from craft_hf.base.records import JSON
from craft_hf.dataset import row_vectors
from craft_hf.dataset.row_vectors import DrawnRows, GeneratedTexts, embed_rows, row_text
from tests.dataset.test_report import few_shot_row, row

pytestmark = pytest.mark.weights

FIELDS = ("question", "options", "answer")


def test_row_text_takes_all_texts_of_the_fields() -> None:
    """Lists and mappings are gone into; numbers, what is missing, and lineage are no text of the sample."""
    sample = {"a": "one", "b": ["two", {"c": "three"}], "n": 4, "none": None, "document": "not this"}
    assert row_text(sample, ("a", "b", "n", "none", "missing")) == "one\ntwo\nthree"
    assert list(GeneratedTexts([few_shot_row(0), row(1)], ("question",))) == ["What does organelle 1 do?"]


def test_embed_rows_has_a_line_for_each_row() -> None:
    """Samples and documents are in the order of the rows, few-shots apart, all of them unit vectors of real weights."""
    embedder = Embedder()
    rows = [few_shot_row(0), row(1, document="Bake it until golden."), row(2)]
    vectors = embed_rows(rows, FIELDS, embedder)
    assert (vectors.samples.shape, vectors.documents.shape, vectors.few_shots.shape) == ((2, 384), (2, 384), (1, 384))
    np.testing.assert_allclose(np.linalg.norm(vectors.samples, axis=1), 1, atol=1e-6)
    assert float(vectors.documents[0] @ embedder.encode(["Bake it until golden."])[0]) > 0.99
    assert float(vectors.samples[1] @ vectors.documents[1]) > float(vectors.samples[1] @ vectors.documents[0])


def test_embed_rows_draws_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more rows than are embedded, as many are drawn, and the few-shots are all there."""
    monkeypatch.setattr(row_vectors, "MOST_EMBEDDED", 3)
    vectors = embed_rows([*(few_shot_row(i) for i in range(4)), *(row(i) for i in range(9))], FIELDS, Embedder())
    assert (len(vectors.samples), len(vectors.documents), len(vectors.few_shots)) == (3, 3, 4)


def test_the_draw_follows_from_the_documents_alone() -> None:
    """Whatever else comes, in whatever order, the same documents are drawn; and they keep their order."""
    names = [f"d{number}" for number in range(50)]
    drawn = []
    for order in (names, names[::-1]):
        draw = DrawnRows[str](5)
        for name in order:
            draw.add(name, name.upper())
        drawn.append(draw.rows)
    assert drawn[0] == drawn[1][::-1] == sorted(drawn[0], key=lambda name: int(name[1:]))
    assert len(drawn[0]) == 5
    assert drawn[0] != [name.upper() for name in names[:5]]
    more = DrawnRows[str](6)
    for name in names:
        more.add(name, name.upper())
    assert set(drawn[0]) < set(more.rows)


def test_rows_of_one_document_may_all_be_drawn() -> None:
    """They do not take each other's place while there is room, and are never compared themselves."""
    draw = DrawnRows[dict[str, int]](3)
    for number in range(5):
        draw.add("same", {"row": number})
    assert draw.rows == [{"row": 0}, {"row": 1}, {"row": 2}]
    assert DrawnRows[int](0).rows == []


def test_embed_rows_of_few_shots_alone() -> None:
    """No generated row gives no vector of rows."""
    vectors = embed_rows([few_shot_row(0)], FIELDS, Embedder())
    assert vectors.samples.shape == vectors.documents.shape == (0, 384)


def test_texts_are_made_when_they_are_asked_for() -> None:
    """A dataset's texts are not kept beside its rows; they can be read again."""
    made: list[int] = []

    class Rows(list[dict[str, JSON]]):
        def __iter__(self) -> Iterator[dict[str, JSON]]:
            for number, value in enumerate(list.__iter__(self)):
                made.append(number)
                yield value

    texts = GeneratedTexts(Rows([few_shot_row(0), row(1), row(2)]), ("question",))
    assert next(iter(texts)) == "What does organelle 1 do?"
    assert made == [0, 1]
    assert len(texts) == 2
    assert "What does organelle 2 do?" in texts
