"""A CLIP of a few thousand weights, with a tokenizer that reads byte by byte."""

from __future__ import annotations

import torch
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

MAX_TOKENS = 77


def tiny_clip_tokenizer() -> CLIPTokenizer:
    letters = list(bytes_to_unicode().values())
    words = letters + [f"{letter}</w>" for letter in letters]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=MAX_TOKENS)


def tiny_clip_text(width: int = 16, projection: int | None = None, seed: int = 0):
    """A text encoder of this width; with a projection, one that pools into that many numbers."""
    torch.manual_seed(seed)
    config = CLIPTextConfig(
        vocab_size=514,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=MAX_TOKENS,
        projection_dim=projection or width,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
        hidden_act="gelu",
    )
    kind = CLIPTextModel if projection is None else CLIPTextModelWithProjection
    return kind(config).eval()


def tiny_clip_vision(projection: int = 24, seed: int = 0):
    """An image encoder [n, projection], and what prepares pictures of 32 px for it."""
    torch.manual_seed(seed)
    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        projection_dim=projection,
    )
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32)
    return CLIPVisionModelWithProjection(config).eval(), processor
