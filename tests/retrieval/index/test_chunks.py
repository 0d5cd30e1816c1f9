"""Chunks: all of the text, at sentence ends, within the window, of similar length."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from craft_hf.base.embedder import Embedder
from craft_hf.base.errors import InputError
from craft_hf.base.segmentation import sentence_spans
from craft_hf.retrieval.index.chunks import Chunks, cut
from tests.vectors import HashEmbedder, WordEmbedder


def cut_texts(texts: list[str], window: int = 8, vectors: str = "chunks") -> tuple[Chunks, list[list[str]]]:
    """Cut texts with words as tokens; also return the texts of the chunks of each."""
    chunks = cut(texts, WordEmbedder(window=window), vectors)
    flat = iter(chunks.parts(texts))
    return chunks, [list(itertools.islice(flat, n)) for n in np.diff(chunks.ends, prepend=0)]


def sentence(words: int) -> str:
    """A sentence of so many words."""
    return " ".join(["word"] * words) + "."


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.integers(1, 25), max_size=12), min_size=1, max_size=4), st.integers(1, 9))
def test_chunks_are_the_whole_text_within_the_window(lengths: list[list[int]], window: int) -> None:
    """Whatever the sentences, chunks put together are the text, none has too many tokens, and none could be spared."""
    texts = [" ".join(map(sentence, of_text)) for of_text in lengths]
    chunks, parts = cut_texts(texts, window)
    assert ["".join(part) for part in parts] == texts
    assert len(chunks.spans) == chunks.ends[-1]
    for text, part in zip(texts, parts, strict=True):
        sizes = [len(chunk.split()) for chunk in part]
        assert max(sizes) <= window
        assert min(sizes) >= 1 or not text
        assert all(a + b > window for a, b in itertools.pairwise(sizes)), "two neighbours would fit into one"
    assert chunks.longer_than_window(texts) == sum(len(part) > 1 for part in parts)


def test_chunks_end_at_sentence_ends_and_are_alike_in_length() -> None:
    """Nine sentences of two words in a window of eight are three times three, not four, four and one."""
    _, ((*parts,),) = cut_texts([" ".join([sentence(2)] * 9)])
    assert [part.count(".") for part in parts] == [3, 3, 3]
    assert all(part.rstrip().endswith(".") for part in parts)
    _, ((*parts,),) = cut_texts([f"{sentence(7)} {sentence(2)}\n\n{sentence(6)}"])
    assert [len(part.split()) for part in parts] == [7, 8]


def test_tokens_may_begin_with_the_blank_before_the_word() -> None:
    """As those of byte-level tokenizers do: a chunk ends at a sentence end all the same."""

    class ByteLevel(WordEmbedder):
        def token_starts(self, texts: Sequence[str]) -> Iterator[list[int]]:
            for starts in super().token_starts(texts):
                yield [max(0, start - 1) for start in starts]

    text = " ".join([sentence(3)] * 5)
    chunks = cut([text], ByteLevel(window=8), "chunks")
    parts = chunks.parts([text])
    assert "".join(parts) == text
    assert [part.count(".") for part in parts] == [1, 2, 2]
    assert all(part.endswith(".") for part in parts)


def test_long_sentence_is_cut_into_equal_parts() -> None:
    """A sentence of 20 words in a window of eight is cut into 6, 7 and 7, and its neighbours stay whole."""
    _, ((*parts,),) = cut_texts([f"{sentence(8)} {sentence(20)} {sentence(8)}"])
    assert [len(part.split()) for part in parts] == [8, 6, 7, 7, 8]


def test_head_is_what_the_model_reads() -> None:
    """With one vector a document, its one chunk ends where the model stops reading; texts of any length, also of
    few words and many blanks."""
    texts = [sentence(20), sentence(8), "", "a" + " " * 1000 + sentence(20), sentence(9)]
    chunks, parts = cut_texts(texts, vectors="document")
    assert chunks.ends.tolist() == [1, 2, 3, 4, 5]
    assert [len(part.split()) for (part,) in parts] == [8, 8, 0, 8, 8]
    assert [part.rstrip() == text for (part,), text in zip(parts, texts, strict=True)] == [
        False,
        True,
        True,
        False,
        False,
    ]
    assert chunks.longer_than_window(texts) == 3


def test_model_without_a_limit_gets_whole_documents() -> None:
    """Where there is no window, there is nothing to cut; another word than the two is refused."""
    texts = [sentence(500), ""]
    assert cut(texts, HashEmbedder(), "chunks").spans.tolist() == [[0, 2500], [0, 0]]
    with pytest.raises(InputError, match="vectors is 'both', expected one of chunks, document"):
        cut(texts, HashEmbedder(), "both")


@pytest.mark.weights
def test_real_tokenizer_reads_every_chunk_in_full() -> None:
    """With the embedded model, no chunk has more word pieces than it reads, in any script; a head is read the same
    alone as with what follows."""
    embedder = Embedder()
    assert embedder.window == 254
    texts = [
        "The heart pumps blood. " * 200,
        "光合作用是植物的過程。" * 100,
        "x" * 3000,
        "é\ud800 🙂 word " * 300,
        "short",
    ]
    chunks = cut(texts, embedder)
    parts = chunks.parts(texts)
    starts = list(embedder.token_starts(parts))
    assert max(map(len, starts)) <= 254
    assert np.diff(chunks.ends).min() >= 1
    assert len(chunks.spans) > 8
    assert all(part.rstrip().endswith(".") for part in parts[: chunks.ends[0]])
    heads = [text[:end] for text, end in zip(texts, embedder.heads(texts), strict=True)]
    np.testing.assert_allclose(embedder.encode(heads), embedder.encode(texts), atol=2e-2)


def test_sentences_of_scripts_without_blanks_are_told_apart() -> None:
    """A full stop that is not followed by a blank ends a sentence in Chinese and Japanese, not in numbers."""
    assert [text[a:b] for text in ["一。二！ 3.5 三"] for a, b in sentence_spans(text)] == ["一。", "二！", "3.5 三"]
