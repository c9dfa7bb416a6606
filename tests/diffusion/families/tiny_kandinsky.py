"""Kandinsky 2.2 of some ten thousand weights: a decoder, and its prior."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    KandinskyV22Pipeline,
    KandinskyV22PriorPipeline,
    PriorTransformer,
    UnCLIPScheduler,
    UNet2DConditionModel,
    VQModel,
)

from diffusion.families.loading import load_model
from diffusion.families.model import PretrainedDiffusion
from diffusion.families.specification import ModelSpecification
from tests.diffusion.families.tiny_clip import (
    tiny_clip_text,
    tiny_clip_tokenizer,
    tiny_clip_vision,
)

WIDTH = 24
"""Of image embeddings."""


def tiny_kandinsky(seed: int = 0, **told) -> KandinskyV22Pipeline:
    """Sides are multiples of 4; `told` goes into the scheduler's configuration."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=8,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=16,
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="image",
        encoder_hid_dim_type="image_proj",
        encoder_hid_dim=WIDTH,
    ).eval()
    movq = VQModel(
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        block_out_channels=(32, 32),  # its norm is of 32 groups, whatever is asked
        norm_num_groups=8,
        latent_channels=4,
        num_vq_embeddings=12,
        vq_embed_dim=4,
        norm_type="spatial",
    ).eval()
    with torch.no_grad():
        movq.decoder.conv_out.weight *= 0.3  # grey, however far a walk goes
    return KandinskyV22Pipeline(unet=unet, scheduler=tiny_scheduler(**told), movq=movq)


def tiny_scheduler(**told) -> DDPMScheduler:
    """As the decoder was trained, and with the clipping that is published with it."""
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "linear"}
    clipping = {"clip_sample": True, "thresholding": True, "sample_max_value": 2.0}
    return DDPMScheduler(**{**betas, **clipping, "variance_type": "learned_range", **told})


def tiny_prior(width: int = WIDTH, seed: int = 0) -> KandinskyV22PriorPipeline:
    torch.manual_seed(seed)
    prior = PriorTransformer(
        num_attention_heads=2, attention_head_dim=8, num_layers=1, embedding_dim=width
    ).eval()
    with torch.no_grad():
        prior.clip_std.fill_(1.0)
    image_encoder, image_processor = tiny_clip_vision(width, seed)
    return KandinskyV22PriorPipeline(
        prior=prior,
        image_encoder=image_encoder,
        text_encoder=tiny_clip_text(width, projection=width, seed=seed),
        tokenizer=tiny_clip_tokenizer(),
        scheduler=UnCLIPScheduler(
            variance_type="fixed_small_log", prediction_type="sample", clip_sample_range=5.0
        ),
        image_processor=image_processor,
    )


def save_kandinsky(folder: Path, prior_width: int = WIDTH, **told) -> None:
    """A decoder's folder with its prior inside."""
    tiny_kandinsky(**told).save_pretrained(folder)
    tiny_prior(prior_width).save_pretrained(folder / "prior")


def load_kandinsky(folder: Path, **told) -> PretrainedDiffusion:
    """What was saved as `base` in this folder."""
    base = {
        "name": "tiny",
        "family": "kandinsky22",
        "source": "base",
        "licence": "none",
        "sizes": ((32, 32), (48, 24)),
        "steps": 5,
        "guidance": 4.0,
        "shopper": {"kind": "blend", "scale": 0.6},
        "product": {"preserve": [], "restyle": ["image"], "image_strength": 0.5},
    }
    return load_model(ModelSpecification(**{**base, **told}, folder=folder))


def stock_pipeline(kind: Any = KandinskyV22Pipeline) -> Any:
    """A stock pipeline with DDIM, which for eta = 0 takes Euler's steps; none that clips."""
    pipe = tiny_kandinsky()
    config = {**pipe.scheduler.config, "clip_sample": False, "thresholding": False}
    del config["variance_type"]  # it makes the pipeline hand the variance to the scheduler
    scheduler = DDIMScheduler.from_config(config, set_alpha_to_one=True)
    pipe = kind(unet=pipe.unet, scheduler=scheduler, movq=pipe.movq)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def rotate(start, end, share):
    """Along the great circle, by hand: in the plane of both, in double precision."""
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    lengths = np.linalg.norm(start), np.linalg.norm(end)
    x = start / lengths[0]
    y = end / lengths[1] - (end / lengths[1] @ x) * x
    angle = share * np.arctan2(np.linalg.norm(y), end @ x / lengths[1])
    length = (1 - share) * lengths[0] + share * lengths[1]
    return length * (np.cos(angle) * x + np.sin(angle) * y / np.linalg.norm(y))
