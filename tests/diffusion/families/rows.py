"""Rows as the sampling engine would put them together, and pictures before they are rounded."""

from __future__ import annotations

import numpy as np
import torch

from diffusion.denoiser import Conditions
from diffusion.families.model import PretrainedDiffusion
from diffusion.image_model import ShopperFacts, Wish
from tests.diffusion.families.walking import facts, walk_latents


def ask(
    model: PretrainedDiffusion,
    title: str = "red shoe",
    who: ShopperFacts | None = None,
    strength: float = 1.0,
    task: str = "preserve",
) -> Conditions:
    """The conditions of a prompt's row."""
    route = model.plan(model.prepare(facts(title)), who, Wish(task, strength=strength), seed=0)
    return route.walk[0].terms[-1].cond


def join(*rows: Conditions) -> Conditions:
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}


def draw(
    model: PretrainedDiffusion, who: ShopperFacts | None = None, strength: float = 1.0
) -> np.ndarray:
    """[H, W, 3] in 0..255."""
    wish = Wish("preserve", strength=strength)
    return to_picture(model.family.decode(walk_latents(model, facts(), who, wish)))


def to_picture(pixels: torch.Tensor) -> np.ndarray:
    return (pixels[0].permute(1, 2, 0).detach().numpy() * 127.5 + 127.5).clip(0, 255)
