"""Trains the judge of `make evaluate`: on real composites only, of all products.

Blur, noise, a little light and a shift make it read pictures that are not as clean as composites
are; it never sees a generated one.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.evaluation.judge import Judge, Judgement
from diffusion.looks import AXES
from diffusion.training.corpus import ARTWORKS, NATURAL, SIDE, Corpus
from diffusion.training.loop import CPU, Schedule, draw, fit

PACKSHOT_SHARE = 0.25
NOTO_SHARE = 0.7  # of the creatives; the other artwork that has treatments is Fluent 3D
SHARPNESS = 16.0  # of the choice among products by cosine
MIN_SIDE = 64
MAX_SHIFT = 4
NUM_KINDS = 4  # of blur and shift within one batch


class Schooling(nn.Module):
    """The judge and, while it learns, one direction [products, width] for each product."""

    def __init__(self, judge: Judge, num_products: int) -> None:
        super().__init__()
        self.judge = judge
        self.products = nn.Parameter(torch.randn(num_products, judge.config.product_width))

    def forward(self, pixels: Tensor) -> tuple[Judgement, Tensor]:
        """[n, 3, S, S] → what is read, and logits [n, products]."""
        read = cast(Judgement, self.judge(pixels))
        with torch.autocast(pixels.device.type, enabled=False):
            return read, SHARPNESS * read.product @ F.normalize(self.products, dim=1).T


def train_judge(
    corpus: Corpus,
    schedule: Schedule,
    folder: Path,
    batch: int,
    judge: Judge | None = None,
    device: torch.device = CPU,
) -> Judge:
    """Returns the judge in float32, in evaluation mode."""
    network = Schooling(judge or Judge(), len(corpus.products))
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(model: Schooling, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        drawn, look, product = sample_pictures(corpus, generator, batch)
        pixels, look, product = (x.to(device) for x in (wear(drawn, generator), look, product))
        read, logits = model(pixels.contiguous(memory_format=torch.channels_last))
        seen = [read.of(axis)[: len(look)].float() for axis in AXES]
        losses = [F.cross_entropy(found, look[:, i]) for i, found in enumerate(seen)]
        right = [(found.argmax(1) == look[:, i]) for i, found in enumerate(seen)]
        facts = {axis: hit.float().mean().item() for axis, hit in zip(AXES, right, strict=True)}
        facts["product"] = (logits.argmax(1) == product).float().mean().item()
        return torch.stack(losses).sum() + F.cross_entropy(logits, product), facts

    return fit("judge", network, loss, schedule, folder).judge


def sample_pictures(
    corpus: Corpus, generator: torch.Generator, batch: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Creatives, then bare packshots on white: (pixels, look [creatives, 3], product [batch])."""
    index = torch.from_numpy(corpus.view_index)
    num_packshots = round(PACKSHOT_SHARE * batch)
    num_creatives = batch - num_packshots
    product = draw(generator, len(corpus.products), batch)
    shown, alone = product[:num_creatives], product[num_creatives:]
    look = torch.stack([draw(generator, len(a), num_creatives) for a in AXES.values()], dim=1)
    artwork = (torch.rand(num_creatives, generator=generator) >= NOTO_SHARE).long()
    view = index[shown, artwork, look[:, 2], look[:, 0]]
    seeds = draw(generator, corpus.scenes.shape[2], num_creatives)
    view_alone = index[alone, draw(generator, len(ARTWORKS), num_packshots), NATURAL, 0]
    creatives = corpus.composite(view, look, seeds)
    return torch.cat([creatives, corpus.packshot(view_alone)[0]]), look, product


def wear(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures [n, 3, S, S] as they look after a lossy way: blurred, shifted, noisy, brighter."""
    worn = torch.empty_like(pixels)
    for kind in range(NUM_KINDS):
        worn[kind::NUM_KINDS] = _shift(_blur(pixels[kind::NUM_KINDS], generator), generator)
    rows = (len(pixels), 1, 1, 1)
    gain = 0.92 + 0.16 * torch.rand(rows, generator=generator)
    offset = 0.1 * torch.rand(rows, generator=generator) - 0.05
    noise = torch.randn(pixels.shape, generator=generator)
    amount = 0.06 * torch.rand(rows, generator=generator)
    return (worn * gain + offset + amount * noise).clamp(-1, 1)


def _blur(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """By way of a smaller size; every fourth time not at all."""
    side = MIN_SIDE + int(draw(generator, (SIDE - MIN_SIDE) * 4 // 3, 1))
    if side >= SIDE or not len(pixels):
        return pixels
    small = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
    return F.interpolate(small, pixels.shape[-2:], mode="bicubic")


def _shift(pixels: Tensor, generator: torch.Generator) -> Tensor:
    if not len(pixels):
        return pixels
    x, y = draw(generator, 2 * MAX_SHIFT + 1, 2).tolist()
    height, width = pixels.shape[-2:]
    padded = F.pad(pixels, (MAX_SHIFT,) * 4, mode="replicate")
    return padded[..., y : y + height, x : x + width]
