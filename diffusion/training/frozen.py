"""The pretrained pipeline that an adapter is trained in, and that stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.folder import check_folder, find_folder
from diffusion.families.loading import UNREADABLE, check_memory, open_pipeline
from diffusion.families.specification import ModelSpecification, SpecificationInvalid
from diffusion.training.pictures import Size

PIPELINES = {"sd15": ("StableDiffusionPipeline",), "sdxl": ("StableDiffusionXLPipeline",)}
"""By family: those with a UNet, whose cross-attentions take image prompts."""


@dataclass(frozen=True)
class Base:
    """A pretrained pipeline in float32, its digest, and the size that it is trained in."""

    pipe: Any
    digest: str
    size: Size


def load_base(path: Path, specification: ModelSpecification, size: list[int] | None) -> Base:
    """Raises SpecificationInvalid and CheckpointUnusable."""
    family = specification.family
    if family not in PIPELINES:
        raise SpecificationInvalid(
            path,
            "family",
            f"{family} has no UNet, so no user adapter; one can be trained for "
            f"{' and '.join(PIPELINES)}",
        )
    if specification.schedule != "own":
        raise SpecificationInvalid(
            path,
            "schedule",
            f"{specification.schedule} is a distillation's: train on the model that it was made "
            "from, the adapter fits both",
        )
    try:
        folder = find_folder(specification.find(specification.source), specification.revision)
    except CheckpointUnusable as error:
        raise CheckpointUnusable(f"{path}: {error}") from error
    digest = check_folder(folder, PIPELINES[family], family)
    check_memory(folder, torch.float32, torch.device("cpu"))
    try:
        pipe = open_pipeline(folder, torch.float32)
    except UNREADABLE as error:
        raise CheckpointUnusable(f"{folder} does not load: {error}") from error
    if pipe.unet.config.in_channels != pipe.vae.config.latent_channels:
        raise CheckpointUnusable(
            f"{folder / 'unet' / 'config.json'}: in_channels is {pipe.unet.config.in_channels}: "
            "train on the family's text-to-image model, the adapter fits both"
        )
    return Base(pipe, digest, choose_size(path, specification, pipe, size))


def choose_size(
    path: Path, specification: ModelSpecification, pipe: Any, asked: list[int] | None
) -> Size:
    """What is asked for, else the specification's first, else what the model was trained in."""
    config, factor = pipe.unet.config, pipe.vae_scale_factor
    step, side = factor * 2 ** (len(config.block_out_channels) - 1), factor * config.sample_size
    own = specification.sizes[0] if specification.sizes else (side, side)
    width, height = asked or own
    if width % step or height % step:
        raise SpecificationInvalid(
            path, "sizes", f"{width} x {height} can't be trained in: want multiples of {step}"
        )
    return width, height
