"""Trains the matting network: products in front of scenes, plain grounds, noise and clutter.

Some are packshots as merchants send them, some are creatives at the size of the embedded default,
softened by its own decoder: the network also measures how far a product grew in one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from diffusion.autoencoder import Autoencoder
from diffusion.composition import CENTRE, Plane, as_share, composite, contact_shadow
from diffusion.encoders import to_pixels
from diffusion.training.damage import Pixels, Random, blur, damage, quantize
from diffusion.training.loop import CPU, Schedule, fit
from diffusion.training.packshots import FILTERS, Packshots, put_over, relight
from diffusion.unet import UNet

SIDE = 128
CREATIVE_SHARE = 0.4
EMPTY_SHARE = 0.03
CLUTTER_SHARE = 0.3
"""Of the packshots: on noise or before pieces of other products."""

DAMAGED_SHARE = 0.3
MAX_LATENT_NOISE = 0.3


def sample_pictures(
    packshots: Packshots,
    generator: torch.Generator,
    count: int,
    decoder: Autoencoder | None = None,
    side: int = SIDE,
) -> tuple[Tensor, Tensor]:
    """Packshots, then creatives: [n, 3, S, S] in [-1, 1] and the products' alpha [n, 1, S, S]."""
    rng = np.random.default_rng(int(torch.randint(1 << 62, (), generator=generator)))
    num_creatives = round(CREATIVE_SHARE * count)
    drawn = [draw_packshot(packshots, side, rng) for _ in range(count - num_creatives)]
    drawn += [draw_creative(packshots, side, rng) for _ in range(num_creatives)]
    pixels = to_pixels(np.stack([picture for picture, _ in drawn]))
    alpha = torch.from_numpy(np.stack([alpha for _, alpha in drawn]))[:, None]
    if decoder is not None and num_creatives:
        half = slice(count - num_creatives, count - num_creatives // 2)
        with torch.no_grad():
            latents = decoder.encode(pixels[half])
            level = MAX_LATENT_NOISE * torch.rand(len(latents), 1, 1, 1, generator=generator)
            noise = torch.randn(latents.shape, generator=generator)
            pixels[half] = decoder.decode(latents + level * noise).float().clamp(-1, 1)
    return pixels, alpha


def draw_packshot(packshots: Packshots, side: int, rng: Random) -> tuple[Pixels, Plane]:
    """A product of any size anywhere, mostly whole, before anything; sometimes none."""
    cutout = choose(packshots, rng)
    size = side * rng.uniform(0.3, 1.0)
    stretch = 2 ** rng.uniform(-0.4, 0.4)  # pictures of other proportions are seen as squares
    scale = size / max(cutout.size)
    width = max(4, round(cutout.width * scale * stretch**0.5))
    height = max(4, round(cutout.height * scale / stretch**0.5))
    x, y = (rng.uniform(-0.12 * a, side - 0.88 * a) for a in (width, height))
    if rng.random() < 0.5:  # most people put it in the middle
        x, y = (side - width) / 2 + rng.normal(0, 4), (side - height) / 2 + rng.normal(0, 4)
    rgb, alpha = put_in_frame(cutout, side, (width, height), (round(x), round(y)), rng)
    if rng.random() < EMPTY_SHARE:
        alpha = np.zeros_like(alpha)
    clutters = rng.random() < CLUTTER_SHARE
    ground = draw_clutter(packshots, side, rng) if clutters else packshots.draw_ground(side, rng)
    shadow = contact_shadow(alpha, rng.uniform(0.2, 0.7)) if rng.random() < 0.4 else None
    picture = composite(ground, rgb, alpha, shadow)
    picture = relight(picture, rng) if rng.random() < 0.3 else picture
    return (damage(picture, rng)[0] if rng.random() < DAMAGED_SHARE else picture), alpha


def draw_creative(packshots: Packshots, side: int, rng: Random) -> tuple[Pixels, Plane]:
    """A product where creatives have it, on a scene, a little soft."""
    cutout = choose(packshots, rng)
    scale = CENTRE.size * side / max(cutout.size)
    width, height = (max(1, round(scale * length)) for length in cutout.size)
    left, top = round(CENTRE.x * side - width / 2), round(CENTRE.ground * side) - height
    rgb, alpha = put_in_frame(cutout, side, (width, height), (left, top), rng)
    picture = composite(packshots.draw_scene(side, rng), rgb, alpha, contact_shadow(alpha))
    return blur(picture, rng.uniform(0.25, 0.8)), alpha


def choose(packshots: Packshots, rng: Random) -> Image.Image:
    cutout = packshots.cutouts[int(rng.integers(len(packshots.cutouts)))]
    return cutout.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else cutout


def put_in_frame(
    cutout: Image.Image, side: int, size: tuple[int, int], corner: tuple[int, int], rng: Random
) -> tuple[Pixels, Plane]:
    """Straight rgb [S, S, 3] and alpha [S, S] of a product in an empty frame."""
    frame = Image.new("RGBa", (side, side))
    frame.paste(cutout.resize(size, FILTERS[int(rng.integers(2))]), corner)
    rgba = np.asarray(frame.convert("RGBA"))
    return rgba[..., :3], as_share(rgba[..., 3])


def draw_clutter(packshots: Packshots, side: int, rng: Random) -> Pixels:
    """Noise of any coarseness, or pieces of products all over a ground."""
    if rng.random() < 0.3:
        few = int(rng.integers(2, side // 2))
        noise = quantize(128 + rng.uniform(20, 90) * rng.standard_normal((few, few, 3)))
        return np.asarray(Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC))
    ground = packshots.draw_ground(side, rng)
    for _ in range(int(rng.integers(2, 7))):
        piece = choose(packshots, rng)
        length = int(rng.integers(side // 8, side // 3))
        left, top = rng.integers(0, np.array(piece.size) // 2)
        box = (int(left), int(top), int(left) + piece.width // 2, int(top) + piece.height // 2)
        piece = piece.resize((length, length), Image.Resampling.BICUBIC, box)
        x, y = (int(place) for place in rng.integers(0, side - length + 1, 2))
        ground = put_over(ground, piece, x, y)
    return ground


def train_matting(
    packshots: Packshots,
    schedule: Schedule,
    folder: Path,
    batch: int,
    decoder: Autoencoder | None = None,
    device: torch.device = CPU,
    side: int = SIDE,
    **network_settings: Any,
) -> UNet:
    """Cross-entropy by pixel, and one minus the overlap. Returns the network in float32."""
    network: UNet = UNet(3, 1, **network_settings)
    network.to(device, memory_format=torch.channels_last)

    def loss(model: UNet, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        pixels, alpha = sample_pictures(packshots, generator, batch, decoder, side)
        pixels = pixels.to(device, memory_format=torch.channels_last)
        logits = model(pixels).float()
        truth = alpha.to(device)
        error = F.binary_cross_entropy_with_logits(logits, truth)
        found = logits.sigmoid()
        overlap = measure_overlap(found, truth)
        facts = {
            "iou": float(measure_overlap((found > 0.5).float(), (truth > 0.5).float()).median()),
            "mae": float((found.detach() - truth).abs().mean()),
        }
        return error + 0.5 * (1 - overlap).mean(), facts

    return fit("matting", network, loss, schedule, folder)


def measure_overlap(found: Tensor, truth: Tensor) -> Tensor:
    """Intersection over union of each row, soft where alpha is; 1 where neither has anything."""
    both = torch.minimum(found, truth).flatten(1).sum(dim=1)
    either = torch.maximum(found, truth).flatten(1).sum(dim=1)
    return (both + 1) / (either + 1)
