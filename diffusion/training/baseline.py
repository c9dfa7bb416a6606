"""Trains the baseline: a conditional GAN, as well as its kind can be trained.

Hinge loss against a spectrally normalised discriminator that is told the condition by projection
(Miyato & Koyama, 2018), and the distance to the real creative (pix2pix: Isola et al., 2017).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from diffusion.baseline import FACTS, GanGenerator, concatenate, condition_width
from diffusion.training.examples import Examples
from diffusion.training.loop import Kept, Schedule, follow, set_rate, walk

DrawBatch = Callable[[torch.Generator, int], Examples]

ADVERSARIAL_SHARE = 0.5  # of the pull towards the real creative, in the length of its gradient
RISE = 0.25  # of the training until it has that share: colours and places first, then sharpness
BETAS = (0.5, 0.99)


class Discriminator(nn.Module):
    """Is this a real creative, and is it one for this condition? [rows] scores, high for yes."""

    def __init__(self, num_facts: int, channels: tuple[int, ...] = (32, 64, 128, 256, 384)) -> None:
        super().__init__()
        self.look = nn.Sequential(
            *(
                nn.Sequential(
                    spectral_norm(nn.Conv2d(fine, coarse, 4, stride=2, padding=1)),
                    nn.LeakyReLU(0.2, inplace=True),
                )
                for fine, coarse in zip((3, *channels), channels, strict=False)
            )
        )
        self.score = spectral_norm(nn.Linear(channels[-1], 1))
        self.suits = spectral_norm(nn.Linear(num_facts, channels[-1], bias=False))

    def forward(self, pixels: Tensor, told: Tensor) -> Tensor:
        """pixels [rows, 3, S, S]; told [rows, num_facts], from `diffusion.baseline.concatenate`."""
        seen = self.look(pixels.contiguous(memory_format=torch.channels_last)).sum(dim=(2, 3))
        scores: Tensor = self.score(seen)[:, 0] + (self.suits(told) * seen).sum(dim=1)
        return scores.float()


def train_baseline(
    draw_batch: DrawBatch,
    schedule: Schedule,
    folder: Path,
    batch: int,
    embedding_width: int,
    device: torch.device | str = "cpu",
) -> GanGenerator:
    """The average of the generator; curve and state are `folder`/baseline.csv and .pt.

    The curve's columns: step, seconds, distance (L1), hinge loss, score of what was made.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = GanGenerator(embedding_width)
        discriminator = Discriminator(condition_width(embedding_width))
    for network in (generator, discriminator):
        nn.Module.to(network, device)
    return train_rivals(generator, discriminator, draw_batch, schedule, folder, batch)


def train_rivals(
    generator: GanGenerator,
    discriminator: Discriminator,
    draw_batch: DrawBatch,
    schedule: Schedule,
    folder: Path,
    batch: int,
) -> GanGenerator:
    """Trains both in place, a step of each per batch; returns the generator's moving average."""
    for network in (generator, discriminator):
        nn.Module.to(network, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(generator).requires_grad_(False)
    rivals = Rivals(
        generator,
        discriminator,
        make_optimizer(generator, schedule),
        make_optimizer(discriminator, schedule),
    )

    def take_step(step: int, random: torch.Generator) -> tuple[Tensor, ...]:
        for optimizer in (rivals.making, rivals.judging):
            set_rate(optimizer, schedule, step)
        share = ADVERSARIAL_SHARE * min(1.0, step / (RISE * schedule.num_steps))
        facts = contend(rivals, draw_batch(random, batch), random, share)
        follow(average, generator, schedule.decay(step))
        return facts

    parts: dict[str, Kept] = {**vars(rivals), "average": average}
    walk("baseline", take_step, parts, schedule, folder)
    found: GanGenerator = average.eval()
    return found


@dataclass(frozen=True)
class Rivals:
    generator: GanGenerator
    discriminator: Discriminator
    making: torch.optim.Optimizer
    judging: torch.optim.Optimizer


def make_optimizer(network: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        network.parameters(),
        lr=schedule.learning_rate,
        betas=BETAS,
        weight_decay=schedule.weight_decay,
    )


def contend(
    rivals: Rivals, shown: Examples, random: torch.Generator, share: float
) -> tuple[Tensor, ...]:
    """One step of the discriminator, then one of the generator: L1, hinge loss, score of fakes."""
    shown = shown.to(next(rivals.generator.parameters()).device)
    conditions = {fact: getattr(shown, fact) for fact in FACTS}
    told = concatenate(**conditions)
    z = torch.randn(len(told), rivals.generator.noise_width, generator=random).to(told.device)
    # One autocast for each forward, since it remembers weights that a step has changed.
    with torch.autocast(z.device.type, torch.bfloat16):
        made = rivals.generator(z, **conditions)

    both = augment(torch.cat([shown.pixels, made.detach()]), random)
    with torch.autocast(z.device.type, torch.bfloat16):
        real, fake = rivals.discriminator(both, told.repeat(2, 1)).chunk(2)
    hinge = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    descend(rivals.judging, hinge)

    leaf = made.detach().requires_grad_()
    distance = F.l1_loss(leaf, shown.pixels)
    with torch.autocast(z.device.type, torch.bfloat16):
        score = rivals.discriminator(augment(leaf, random), told).mean()
    descend(rivals.making, made, weigh_pulls(leaf, distance, -score, share))
    return distance.detach(), hinge.detach(), score.detach()


def descend(
    optimizer: torch.optim.Optimizer, value: Tensor, gradient: Tensor | None = None
) -> None:
    value.backward(gradient)  # type: ignore[no-untyped-call]
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def weigh_pulls(made: Tensor, distance: Tensor, adversarial: Tensor, share: float) -> Tensor:
    """Both losses' gradient at the picture, the adversarial one at a share of the other's length.

    After VQGAN (Esser et al., 2021, eq. 7), so that neither drowns the other as they change.
    """
    (near,) = torch.autograd.grad(distance, made)
    (far,) = torch.autograd.grad(adversarial, made)
    scale: Tensor = near.norm() / far.norm().clamp_min(1e-12)
    return near + share * scale * far


def augment(pixels: Tensor, random: torch.Generator) -> Tensor:
    """DiffAugment (Zhao et al., 2020): another brightness and place for every row, differentiable.

    The discriminator sees no picture as it is, so that it can't learn the few products by heart.
    """
    rows, reach = len(pixels), pixels.shape[-1] // 8
    brightness = torch.rand(rows, 1, 1, 1, generator=random) - 0.5
    shifts = torch.randint(-reach, reach + 1, (rows, 2), generator=random).tolist()
    pixels = pixels + brightness.to(pixels.device)
    return torch.stack(
        [F.pad(row, (x, -x, y, -y)) for row, (x, y) in zip(pixels, shifts, strict=True)]
    )
