"""The plainest loop there is: one image, tick by tick, as the sampling engine would walk it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from diffusion.families.model import PretrainedDiffusion
from diffusion.image_model import ProductFacts, ShopperFacts, Wish
from diffusion.noise import derive_seed, draw_noise
from diffusion.samplers import advance
from diffusion.walks import find_terms


def facts(title: str = "red shoe", seed: int = 0) -> ProductFacts:
    """A product of noise on a disc."""
    rng = np.random.default_rng(seed)
    cutout = rng.integers(0, 256, (48, 48, 4)).astype(np.uint8)
    y, x = np.mgrid[:48, :48] - 23.5
    cutout[..., 3] = np.where(x**2 + y**2 < 20**2, 255, 0)
    vectors = rng.normal(size=(2, 8)).astype(np.float32)
    return ProductFacts(cutout, title, *vectors)


def shopper(width: int, seed: int = 0, interests: tuple[str, ...] = ()) -> ShopperFacts:
    vector = np.random.default_rng(seed).normal(size=width).astype(np.float32)
    return ShopperFacts(vector, vector, interests)


@torch.inference_mode()
def walk_latents(
    model: PretrainedDiffusion,
    product: ProductFacts,
    who: ShopperFacts | None = None,
    wish: Wish | None = None,
    seed: int = 0,
    aspect_ratio: float = 1.0,
) -> Tensor:
    """Latents [1, C, h, w] of one image."""
    prepared = model.prepare(product, aspect_ratio)
    route = model.plan(prepared, who, wish or Wish("preserve"), seed)
    x = draw_noise(seed, (1, *route.shape)) * route.noise_scale
    if route.image is not None:
        x = x + route.image
    h = torch.zeros_like(x)
    for number, tick in enumerate(route.plan):
        terms = find_terms(route.walk, number)
        cond = {name: torch.cat([term.cond[name] for term in terms]) for name in terms[0].cond}
        sigma = torch.full((len(terms),), tick.sigma)
        predicted = model.denoise(x.repeat(len(terms), 1, 1, 1), sigma, cond)
        weight = torch.tensor([term.weight for term in terms])
        owner = torch.zeros(len(terms), dtype=torch.long)
        denoised = model.combine(predicted, weight, owner, x, sigma)
        x, h = advance(x, denoised, h, [tick])
        if tick.noise:
            again = derive_seed(str(seed), str(number))
            x = x + tick.noise * draw_noise(again, x.shape[1:])
    return x


def walk(model: PretrainedDiffusion, product: ProductFacts, *told, **named) -> np.ndarray:
    """The same, decoded: uint8 [H, W, 3]."""
    return model.decode(walk_latents(model, product, *told, **named))[0]
