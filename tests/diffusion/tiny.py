"""The embedded default's networks at toy sizes, with random weights: real, and quick to run."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from transformers import GPT2Config, GPT2Model, ViTConfig, ViTModel

from diffusion.autoencoder import Autoencoder
from diffusion.encoders import MAX_TOKENS, DualEncoder
from diffusion.model import ProductDiffusion, save_index, save_student_index
from diffusion.training.corpus import Product
from diffusion.training.encoders import train_tokenizer
from diffusion.transformer import ProductTransformer

WIDTH = 16
LATENT_SIDE = 4
LATENT_CHANNELS = 8
PRODUCTS = [
    Product("shoe", "clothing", {"en": "running shoe", "de": "Laufschuh"}, held_out=False),
    Product("drum", "instruments", {"en": "drum", "de": "Trommel"}, held_out=False),
    Product("kite", "sports", {"en": "secret kite", "de": "Drachen"}, held_out=True),
]


def make_encoders(seed: int = 0) -> DualEncoder:
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(PRODUCTS, vocab_size=300)
    image = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=16,
    )
    text = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=MAX_TOKENS,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=1,
        eos_token_id=1,
        pad_token_id=0,
    )
    network = DualEncoder(
        ViTModel(image, add_pooling_layer=False), GPT2Model(text), tokenizer, WIDTH
    )
    network.mean.copy_(0.1 * torch.randn(WIDTH))
    return network.eval()


def make_transformer(seed: int = 0) -> ProductTransformer:
    """With weights in its last layer, which a fresh one starts without."""
    torch.manual_seed(seed)
    network = ProductTransformer(
        latent_channels=LATENT_CHANNELS,
        latent_side=LATENT_SIDE,
        width=32,
        depth=2,
        num_heads=2,
        embedding_width=WIDTH,
    )
    nn.init.normal_(network.unembed.weight, std=0.2)
    nn.init.normal_(network.null_packshot, std=0.2)
    return network.eval()


def make_autoencoder(seed: int = 0) -> Autoencoder:
    """With weights in its last layer, which a fresh one starts without."""
    torch.manual_seed(seed)
    network = Autoencoder(LATENT_CHANNELS, widths=(16, 8), num_blocks=(1, 1))
    nn.init.normal_(network.mend[-2].weight, std=0.05)
    return network.eval()


def save_checkpoint(folder: Path, seed: int = 0) -> Path:
    """A whole model as `python -m diffusion.training` leaves one."""
    make_encoders(seed).save(folder / "encoders")
    make_autoencoder(seed).save_pretrained(folder / "autoencoder")
    make_transformer(seed).save_pretrained(folder / "transformer")
    save_index(folder, "tiny")
    return folder


def load_model(folder: Path) -> ProductDiffusion:
    return ProductDiffusion.load(save_checkpoint(folder))


def save_student(folder: Path, teacher: ProductDiffusion) -> Path:
    """A student as `python -m diffusion.training student` leaves one, never taught."""
    make_transformer(seed=5).save_pretrained(folder / "transformer")
    card = {"shift": 4.0, "intervals": {"preserve": {"product": 12.5, "guidance": [0.0, 12.5]}}}
    save_student_index(folder, "tiny-fast", card, teacher)
    return folder
