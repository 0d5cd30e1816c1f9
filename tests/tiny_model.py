"""A random model of two layers that learns in seconds, with the tokenizer of the embedded weights."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from craft_hf.base.models import generator_weights


def save_tiny_model(folder: Path) -> Path:
    """Write the model and return its folder; LoRA freezes `lm_head`, which is scaled up so that the loss can fall."""
    tokenizer = AutoTokenizer.from_pretrained(generator_weights().location)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight *= 25
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
