"""Checkpoints of other families at toy sizes, saved to folders as their publishers would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPConfig,
    CLIPModel,
    GPT2Config,
    GPT2Model,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
    ViTConfig,
    ViTModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

TITLES = ("running shoe", "Laufschuh", "солнечные очки", "ไวโอลิน", "小提琴", "वायलिन")
NUM_TOKENS = 300
END = 0
LAYERS: dict[str, Any] = {
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def make_tokenizer(max_length: int, ends: bool = False, **options: Any) -> PreTrainedTokenizerFast:
    """Byte-level BPE; `ends` puts the end token after each text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=NUM_TOKENS,
        special_tokens=["<end>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(TITLES, trainer)
    if ends:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A <end>", special_tokens=[("<end>", END)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", model_max_length=max_length, **options
    )


def save_vit(folder: Path, width: int = 16, side: int = 32, seed: int = 0) -> str:
    torch.manual_seed(seed)
    config = ViTConfig(hidden_size=width, image_size=side, patch_size=16, **LAYERS)
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessorPil(
        size={"height": side, "width": side}, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4]
    ).save_pretrained(folder)
    return str(folder)


def save_gpt2(folder: Path, width: int = 16, seed: int = 0) -> str:
    """Without a padding token, as GPT-2 comes, and with a longer tokenizer than network."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=NUM_TOKENS,
        n_positions=24,
        n_embd=width,
        n_layer=2,
        n_head=2,
        bos_token_id=END,
        eos_token_id=END,
    )
    GPT2Model(config).save_pretrained(folder)
    make_tokenizer(1024).save_pretrained(folder)
    return str(folder)


def configure_clip(width: int = 16) -> CLIPConfig:
    text = {"vocab_size": NUM_TOKENS, "hidden_size": 20, "max_position_embeddings": 20}
    ends = {"bos_token_id": END, "eos_token_id": END, "pad_token_id": END}
    vision = {"hidden_size": 24, "image_size": 48, "patch_size": 16}
    return CLIPConfig(
        text_config=text | ends | LAYERS | {"projection_dim": width},
        vision_config=vision | LAYERS | {"projection_dim": width},
        projection_dim=width,
    )


def save_clip(folder: Path, width: int = 16, network: Any = None, seed: int = 0) -> str:
    """All of it, or a `network` of one side, with what both sides need beside it."""
    torch.manual_seed(seed)
    (network or CLIPModel(configure_clip(width))).save_pretrained(folder)
    sides = {"size": {"shortest_edge": 48}, "crop_size": {"height": 48, "width": 48}}
    CLIPImageProcessorPil(**sides).save_pretrained(folder)
    make_tokenizer(20, ends=True, pad_token="<end>").save_pretrained(folder)
    return str(folder)


def configure_siglip(width: int = 16) -> SiglipConfig:
    text = {"vocab_size": NUM_TOKENS, "hidden_size": width, "max_position_embeddings": 12}
    ends = {"bos_token_id": END, "eos_token_id": END, "pad_token_id": END, "projection_size": width}
    vision = {"hidden_size": width, "image_size": 32, "patch_size": 16}
    return SiglipConfig(text_config=text | ends | LAYERS, vision_config=vision | LAYERS)


def save_siglip(folder: Path, width: int = 16, network: Any = None, seed: int = 0) -> str:
    torch.manual_seed(seed)
    (network or SiglipModel(configure_siglip(width))).save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    names = ["input_ids"]  # no mask: its publishers' tokenizers say so as well
    tokenizer = make_tokenizer(12, ends=True, pad_token="<end>", model_input_names=names)
    tokenizer.save_pretrained(folder)
    return str(folder)
