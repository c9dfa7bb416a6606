"""Pictures as stock diffusers' own pipelines draw them, from our noise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler
from torch import Tensor

from diffusion.image_model import ShopperFacts
from diffusion.noise import derive_seed, draw_noise
from tests.diffusion.families.tiny_unet import FACTOR

PROMPT = "a product photograph of red shoe"
"""A specification's usual one for `walking.facts`."""


def draw_stock(
    pipe,
    who: ShopperFacts | None = None,
    scheduler=EulerDiscreteScheduler,
    size: tuple[int, int] = (16, 16),
    guidance_scale: float = 4.0,
    **told,
) -> np.ndarray:
    """uint8 [H, W, 3]."""
    pipe.scheduler = scheduler.from_config(pipe.scheduler.config, **told.pop("scheduling", {}))
    pipe.set_progress_bar_config(disable=True)
    width, height = size
    if who is not None:
        told["ip_adapter_image_embeds"] = [embed(who, guidance_scale > 1)]
    drawn = pipe(
        prompt=PROMPT,
        latents=told.pop("latents", draw_noise(0, (1, 4, height // FACTOR, width // FACTOR))),
        width=width,
        height=height,
        num_inference_steps=told.pop("num_inference_steps", 5),
        guidance_scale=guidance_scale,
        output_type="pil",
        **told,
    )
    return np.asarray(drawn.images[0])


def embed(who: ShopperFacts, is_guided: bool) -> Tensor:
    """[rows, 1, width], nobody in the negative prompt's row."""
    vector = torch.from_numpy(who.vector)[None, None]
    return torch.cat([torch.zeros_like(vector), vector]) if is_guided else vector


def redraw_noise(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """A scheduler's fresh noise becomes ours, tick by tick."""
    numbers: Iterator[int] = iter(range(100))

    def draw(shape, **told) -> Tensor:
        return draw_noise(derive_seed("0", str(next(numbers))), shape)

    monkeypatch.setattr(f"diffusers.schedulers.{module}.randn_tensor", draw)


def find_difference(ours: np.ndarray, theirs: np.ndarray) -> int:
    """The largest of any pixel, in 255ths, of pictures in which there is something to see."""
    assert ours.shape == theirs.shape and theirs.std() > 10
    return int(np.abs(ours.astype(int) - theirs).max())
