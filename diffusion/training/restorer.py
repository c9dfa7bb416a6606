"""Trains the restorer: pieces of good packshots, damaged, and InDI's mean of the two."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffusion.damage_levels import KINDS, PLACES, LevelEstimator, expect
from diffusion.encoders import to_pixels
from diffusion.filling import fill
from diffusion.restoration import NUM_CHANNELS, NUM_FACTS, mix, predict
from diffusion.tiles import GRID
from diffusion.training.damage import HOLE_SHARE, damage, draw_holes
from diffusion.training.loop import CPU, Schedule, fit
from diffusion.training.packshots import Packshots
from diffusion.unet import UNet

SIDE = 96
ROOM = 16
"""Damage is done to a larger piece: a blur knows what is beside."""

END_SHARE = 0.85
"""Of the rows that are shown at t = 1, where every restoration begins; the others come after."""

LATEST = 0.3
UNSEEN = 2e-4
"""A mean squared error of pixels in [-1, 1] that few see, 43 dB."""

DOUBT = 0.03
"""Levels are told to the network with an error of this size, since they will be estimates."""


@dataclass(frozen=True)
class Pairs:
    """Clean and damaged pieces [n, 3, S, S] in [-1, 1], masks [n, 1, S, S] of what is unknown and
    has been made up in the damaged ones, and levels [n, 4] of damage."""

    clean: Tensor
    damaged: Tensor
    mask: Tensor
    levels: Tensor

    def to(self, device: torch.device) -> Pairs:
        return Pairs(*(getattr(self, field.name).to(device) for field in fields(self)))


def sample_pairs(
    packshots: Packshots, generator: torch.Generator, count: int, side: int = SIDE
) -> Pairs:
    rng = np.random.default_rng(int(torch.randint(1 << 62, (), generator=generator)))
    clean, damaged, masks, levels = [], [], [], []
    for _ in range(count):
        whole = packshots.draw(side + ROOM, rng)
        top, left = GRID * rng.integers(0, ROOM // GRID + 1, 2)
        box = np.s_[top : top + side, left : left + side]
        spoilt, level = damage(whole, rng)
        clean.append(whole[box])
        damaged.append(spoilt[box])
        levels.append(level)
        has_hole = rng.random() < HOLE_SHARE
        masks.append(draw_holes(side, side, rng) if has_hole else np.zeros((side, side), np.bool_))
    mask = torch.from_numpy(np.stack(masks))[:, None].float()
    known = to_pixels(np.stack(damaged))
    holed = mask.flatten(1).any(dim=1)
    if holed.any():
        known[holed] = fill(known[holed], mask[holed])
    return Pairs(to_pixels(np.stack(clean)), known, mask, torch.from_numpy(np.stack(levels)))


def train_restorer(
    packshots: Packshots,
    schedule: Schedule,
    folder: Path,
    batch: int,
    device: torch.device = CPU,
    side: int = SIDE,
    start: UNet | None = None,
    **network_settings: Any,
) -> UNet:
    """The logarithm of each row's squared error, that is its PSNR: with errors themselves, rows
    full of noise would be heard alone. Goes on from `start`; returns the network in float32."""
    network: UNet = start or UNet(NUM_CHANNELS, 3, num_facts=NUM_FACTS, **network_settings)
    network.to(device, memory_format=torch.channels_last)

    def loss(model: UNet, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        pairs = sample_pairs(packshots, generator, batch, side)
        t = LATEST + (1 - LATEST) * torch.rand(batch, generator=generator)
        t[: round(END_SHARE * batch)] = 1.0
        told = pairs.levels + DOUBT * torch.randn(pairs.levels.shape, generator=generator)
        pairs, t, told = pairs.to(device), t.to(device), told.clamp(0, 1).to(device)
        x = mix(pairs.clean, pairs.damaged, t)
        found = predict(model, x, t, pairs.damaged, pairs.mask, told)
        error = (found - pairs.clean).square().flatten(1).mean(dim=1)
        gain = measure_psnr(found.detach(), pairs.clean) - measure_psnr(x, pairs.clean)
        facts = {kind: float(gain[pairs.levels[:, i] > 0].mean()) for i, kind in enumerate(KINDS)}
        return (error + UNSEEN).log().mean() / 2, facts

    return fit("restorer", network, loss, schedule, folder)


def train_estimator(
    packshots: Packshots,
    schedule: Schedule,
    folder: Path,
    batch: int,
    device: torch.device = CPU,
    side: int = SIDE,
    **network_settings: Any,
) -> LevelEstimator:
    """Cross-entropy with each level told by the two places that it lies between."""
    network: LevelEstimator = LevelEstimator(**network_settings)
    network.to(device, memory_format=torch.channels_last)

    def loss(model: LevelEstimator, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        pairs = sample_pairs(packshots, generator, batch, side).to(device)
        seen = pairs.damaged.contiguous(memory_format=torch.channels_last)
        logits = model(seen)
        distance = (pairs.levels[..., None] - PLACES.to(device)).abs() * (len(PLACES) - 1)
        told = (1 - distance).clamp(min=0)
        error = -(told * logits.log_softmax(dim=-1)).sum(dim=-1)
        by_kind = (expect(logits) - pairs.levels).detach().abs().mean(dim=0).tolist()
        return error.mean(), dict(zip(KINDS, by_kind, strict=True))

    return fit("estimator", network, loss, schedule, folder)


def measure_psnr(found: Tensor, truth: Tensor) -> Tensor:
    """Of each row in dB, at most 100; pixels are in [-1, 1]."""
    mse = (found - truth).square().flatten(1).mean(dim=1) / 4
    return -10 * mse.clamp(min=1e-10).log10()
