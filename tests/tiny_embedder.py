"""A small random sentence-transformers model, with a tokenizer that reads single letters."""

from __future__ import annotations

import string
from pathlib import Path

import torch


def save_tiny_embedder(folder: Path, seed: int = 0, pooling: str = "mean") -> Path:
    """Write a model of one layer and 16 dimensions, which reads 62 letters."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    letters = [*string.ascii_lowercase, *string.digits]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    plain = folder.with_name(f"{folder.name}-plain")
    plain.mkdir(parents=True)
    (plain / "vocab.txt").write_text("\n".join(pieces))
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64,
    )  # fmt: skip
    BertModel(config).save_pretrained(plain)
    BertTokenizerFast(str(plain / "vocab.txt")).save_pretrained(plain)
    modules = [Transformer(str(plain), max_seq_length=64), Pooling(16, pooling)]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder))
    return folder
