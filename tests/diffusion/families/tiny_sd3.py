"""Stable Diffusion 3 of a few thousand weights, and an image-prompt adapter for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from diffusers.models.attention_processor import SD3IPAdapterJointAttnProcessor2_0
from diffusers.models.embeddings import IPAdapterTimeImageProjection
from safetensors.torch import save_file

from diffusion.families.model import PretrainedDiffusion
from diffusion.families.sd3 import StableDiffusion3
from diffusion.families.specification import ModelSpecification
from tests.diffusion.families.tiny_clip import tiny_clip_text, tiny_clip_tokenizer
from tests.diffusion.families.tiny_t5 import tiny_t5, tiny_t5_tokenizer

HEADS, HEAD_WIDTH, NUM_LAYERS = 2, 16, 2
WIDTH = HEADS * HEAD_WIDTH
FILE = "adapter.safetensors"
KINDS = {"3": {}, "3 without T5": {"has_t5": False}, "3.5": {"has_dual_attention": True}}
NUM_ATTENTIONS = {"3": 2, "3 without T5": 2, "3.5": 3}
HIDDEN = 64
"""Of the adapter's resampler, whose heads are 64 wide."""


def tiny_sd3(
    has_t5: bool = True, has_dual_attention: bool = False, seed: int = 0
) -> StableDiffusion3Pipeline:
    transformer_told = {"dual_attention_layers": (0,), "qk_norm": "rms_norm"}
    torch.manual_seed(seed)
    transformer = SD3Transformer2DModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        num_layers=NUM_LAYERS,
        attention_head_dim=HEAD_WIDTH,
        num_attention_heads=HEADS,
        joint_attention_dim=32,
        caption_projection_dim=WIDTH,
        pooled_projection_dim=24,
        pos_embed_max_size=16,
        **(transformer_told if has_dual_attention else {}),
    )
    return StableDiffusion3Pipeline(
        transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=tiny_vae(),
        text_encoder=tiny_clip_text(16, 16, seed=1),
        tokenizer=tiny_clip_tokenizer(),
        text_encoder_2=tiny_clip_text(16, 8, seed=2),
        tokenizer_2=tiny_clip_tokenizer(),
        text_encoder_3=tiny_t5(32) if has_t5 else None,
        tokenizer_3=tiny_t5_tokenizer() if has_t5 else None,
    )


def tiny_vae(seed: int = 0) -> AutoencoderKL:
    """Four latents for each 2 x 2 pixels, shifted and scaled as these families' are."""
    torch.manual_seed(seed)
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=2,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=0.8,
        shift_factor=0.1,
    )
    return vae.eval()


def save_adapter(
    folder: Path,
    width: int = 12,
    hidden: int = WIDTH,
    num_attentions: int = NUM_LAYERS,
    name: str = FILE,
    seed: int = 0,
    head_width: int = HEAD_WIDTH,
) -> str:
    """An adapter for vectors of this width and a transformer of `hidden`; the file's name."""
    torch.manual_seed(seed)
    projection = IPAdapterTimeImageProjection(
        width, hidden, hidden_dim=HIDDEN, heads=1, num_queries=4, timestep_in_dim=16
    )
    tensors = {f"image_proj.{key}": value for key, value in projection.state_dict().items()}
    for number in range(num_attentions):
        attention = SD3IPAdapterJointAttnProcessor2_0(hidden, hidden, head_width, HIDDEN)
        for linear in (attention.to_k_ip, attention.to_v_ip):
            torch.nn.init.normal_(linear.weight, std=0.5)
        own = {f"ip_adapter.{number}.{key}": value for key, value in attention.state_dict().items()}
        tensors |= own
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / name)
    return name


def specify(folder: Path | None = None, **told: Any) -> ModelSpecification:
    """With the adapter in this folder, if any; products enter by nothing but their titles."""
    adapter = {"kind": "ip_adapter", "source": str(folder), "weights": FILE}
    given = {
        "name": "tiny",
        "family": "sd3",
        "source": "nowhere",
        "licence": "none",
        "steps": 5,
        "guidance": 4.0,
        "sizes": ((32, 32), (48, 32)),
        "prompt": "a picture of {title}",
        "negative_prompt": "blue",
        "max_prompt_tokens": 40,
        "product": {"preserve": (), "restyle": ()},
        "shopper": None if folder is None else adapter,
    }
    return ModelSpecification(**{**given, **told})


def build(kind: str = "3", folder: Path | None = None, **told: Any) -> PretrainedDiffusion:
    specification = specify(folder, **told)
    family = StableDiffusion3(tiny_sd3(**KINDS[kind]), specification)
    return PretrainedDiffusion(family, specification, "0" * 16)


def with_adapter(kind: str, folder: Path, strength: float = 1.0) -> StableDiffusion3Pipeline:
    """The stock pipeline with its own processors."""
    pipe = tiny_sd3(**KINDS[kind])
    pipe.load_ip_adapter(folder, weight_name=FILE, subfolder="", image_encoder_folder=None)
    pipe.set_ip_adapter_scale(strength)
    return pipe


def draw_stock(pipe: StableDiffusion3Pipeline, noise: torch.Tensor, **told: Any) -> np.ndarray:
    """By the stock pipeline, from noise [1, 4, 16, 16]: [32, 32, 3] in 0..255."""
    pipe.set_progress_bar_config(disable=True)
    pictures = pipe(
        prompt="a picture of red shoe",
        negative_prompt="blue",
        height=32,
        width=32,
        num_inference_steps=5,
        guidance_scale=4.0,
        max_sequence_length=40,
        latents=noise,
        output_type="np",
        **told,
    ).images
    return pictures[0] * 255
