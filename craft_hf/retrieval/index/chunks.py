"""Cuts texts into chunks, each of which the embedding model reads in full.

Of 700 textbook documents, the one that holds a given sentence from beyond the window is the first for 52% of the
sentences if documents are found by their heads, for 76% by the means of their chunks, for 86% by their best chunks; a
title before each chunk changes nothing (tests/benchmarks/bench_chunks.py).
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from craft_hf.base import Embedder, InputError, Vectors, sentence_spans

CHUNKS, DOCUMENT = VECTORS = ("chunks", "document")
"""What has a vector: every chunk of a document, so that all of its text counts, or the document alone, by its head."""


class Chunks(NamedTuple):
    """The chunks of some texts, one text after the other; every text has one or more.

    Attributes:
        ends: int64 (texts,), chunks up to and including those of each text.
        spans: int32 (chunks, 2), start and end in the text, in characters.
        vectors: what they are, one of `VECTORS`.
        window: most tokens that the model reads at once, None without a limit.
    """

    ends: np.ndarray
    spans: np.ndarray
    vectors: str = CHUNKS
    window: int | None = None

    @property
    def starts(self) -> np.ndarray:
        """First chunk of each text, int64 (texts,)."""
        return np.concatenate([[0], self.ends])[:-1]

    def parts(self, texts: Sequence[str]) -> list[str]:
        """Return what is to be embedded: the text of each chunk."""
        owners = np.repeat(np.arange(len(texts)), self.ends - self.starts)
        return [texts[i][start:end] for i, (start, end) in zip(owners.tolist(), self.spans.tolist(), strict=True)]

    def take(self, rows: Sequence[int]) -> tuple[Chunks, np.ndarray]:
        """Return the chunks of some texts, and which of all chunks these are, int64."""
        chosen, ends = chunks_at(self.ends, np.asarray(rows, dtype=np.int64))
        return self._replace(ends=ends, spans=self.spans[chosen]), chosen

    @staticmethod
    def join(parts: Sequence[Chunks]) -> Chunks:
        """Return the chunks of the texts of one or more, one behind the other."""
        before = np.cumsum([0, *(len(part.spans) for part in parts)])
        ends = np.concatenate([part.ends + start for part, start in zip(parts, before, strict=False)])
        return parts[0]._replace(ends=ends, spans=np.concatenate([part.spans for part in parts]))

    def longer_than_window(self, texts: Sequence[str]) -> int:
        """Return how many texts are longer than what the model reads at once."""
        first_ends = self.spans[self.starts, 1].tolist()
        return sum(end < len(text) for end, text in zip(first_ends, texts, strict=True))


def cut(texts: Sequence[str], embedder: Embedder, vectors: str = CHUNKS) -> Chunks:
    """Cut texts into what is embedded.

    With `vectors` "chunks" these are as few chunks as possible, of similar length, which end at sentence ends; a
    sentence that is longer than the model's window is cut into parts of similar length, too. Together they are the
    whole text. With "document" it is the part of the text that the model reads.

    Raises:
        InputError: `vectors` is neither.
    """
    if vectors not in VECTORS:
        raise InputError(f"vectors is {vectors!r}, expected one of {', '.join(VECTORS)}.")
    if embedder.window is None:
        spans = [[(0, len(text))] for text in texts]
    elif vectors == DOCUMENT:
        spans = [[(0, end)] for end in embedder.heads(texts)]
    else:
        window = embedder.window
        starts = embedder.token_starts(texts)
        spans = [_chunk_spans(text, tokens, window) for text, tokens in zip(texts, starts, strict=True)]
    return chunks_of(spans, vectors, embedder.window)


def starts_at(ends: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return where the parts of some rows start: where those of the row before end, and 0 for the first row."""
    starts: np.ndarray = np.where(rows > 0, ends[rows - 1], 0)
    return starts


def chunks_at(ends: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the chunks of some texts, in the order given, and where those of each end among them.

    Args:
        ends: see `Chunks.ends`.
        rows: which texts, int64.
    """
    starts = starts_at(ends, rows)
    counts = ends[rows] - starts
    new_ends = np.cumsum(counts, dtype=np.int64)
    return np.repeat(starts - (new_ends - counts), counts) + np.arange(counts.sum()), new_ends


def chunks_of(spans: Sequence[Sequence[tuple[int, int]]], vectors: str = CHUNKS, window: int | None = None) -> Chunks:
    """Return the chunks with these spans for each text."""
    ends = np.cumsum([len(of_text) for of_text in spans], dtype=np.int64)
    flat = [span for of_text in spans for span in of_text]
    return Chunks(ends, np.array(flat, dtype=np.int32).reshape(-1, 2), vectors, window)


def mean_vectors(embeddings: Vectors, starts: np.ndarray) -> Vectors:
    """Return one vector for each text: of a single chunk its embedding, of several their mean as a unit vector.

    Args:
        embeddings: of the chunks, float32 (chunks, dimension).
        starts: first chunk of each text.
    """
    sums = np.add.reduceat(embeddings, starts, axis=0)
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    alone = np.diff(np.append(starts, len(embeddings))) == 1
    vectors: Vectors = np.where(alone[:, None], sums, sums / np.where(lengths > 0, lengths, 1))
    return vectors


def _chunk_spans(text: str, tokens: Sequence[int], window: int) -> list[tuple[int, int]]:
    """Return the chunks' spans of one text, which follow each other without a gap.

    Args:
        text: of the document.
        tokens: where its tokens start.
        window: most tokens of a chunk.
    """
    if len(tokens) <= window:
        return [(0, len(text))]
    cuts = _balanced(_units(text, tokens, window), window)
    places = [0, *(tokens[cut] for cut in cuts[1:-1]), len(text)]
    return list(itertools.pairwise(places))


def _units(text: str, tokens: Sequence[int], window: int) -> list[int]:
    """Return the tokens at which a chunk may end or start, from 0 to the number of tokens.

    These are the first tokens of sentences, and in sentences longer than the window the ends of equal parts.
    """
    sentences = {_token_at(text, tokens, start) for start, _ in sentence_spans(text)[1:]}
    bounds = sorted({0, len(tokens)} | sentences)
    places = [0]
    for start, end in itertools.pairwise(bounds):
        parts = -(-(end - start) // window)
        places += [start + (end - start) * part // parts for part in range(1, parts + 1)]
    return places


def _token_at(text: str, tokens: Sequence[int], start: int) -> int:
    """Return the token with which a sentence starts; those of some tokenizers begin with the blank before the word."""
    token = bisect_left(tokens, start)
    return token - 1 if token and text[tokens[token - 1] : start].isspace() else token


def _balanced(places: Sequence[int], window: int) -> list[int]:
    """Choose among the places those where chunks meet, so that there are few chunks, and these are similar in length.

    Of all ways with the fewest chunks, this is the one with the least sum of squared lengths.
    """
    best = [(0, 0)]  # chunks and squared lengths up to each place
    previous = [0]
    for number, place in enumerate(places[1:], 1):
        options = []
        for before in range(number - 1, -1, -1):
            if (length := place - places[before]) > window:
                break
            options.append((best[before][0] + 1, best[before][1] + length * length, before))
        chunks, squares, before = min(options)
        best.append((chunks, squares))
        previous.append(before)
    chosen = [len(places) - 1]
    while chosen[-1]:
        chosen.append(previous[chosen[-1]])
    return [places[number] for number in reversed(chosen)]
