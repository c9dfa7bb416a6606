"""A T5 encoder of a few thousand weights, with a tokenizer that reads letter by letter."""

from __future__ import annotations

import string

import torch
from transformers import T5Config, T5EncoderModel, T5Tokenizer

SPECIAL = ("<pad>", "</s>", "<unk>")
WORDS = [*SPECIAL, "▁", *string.ascii_lowercase, *string.digits, ",", "."]


def tiny_t5_tokenizer() -> T5Tokenizer:
    scores = [(word, 0.0 if word in SPECIAL else -2.0) for word in WORDS]
    return T5Tokenizer(vocab=scores, extra_ids=0, model_max_length=512)


def tiny_t5(width: int = 32, seed: int = 0) -> T5EncoderModel:
    torch.manual_seed(seed)
    config = T5Config(
        vocab_size=len(WORDS),
        d_model=width,
        d_kv=8,
        d_ff=2 * width,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
    )
    return T5EncoderModel(config).eval()
