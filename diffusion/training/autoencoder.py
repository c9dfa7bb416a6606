"""Fits the autoencoder's projection, and trains its decoder, on creatives and bare packshots."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from diffusion.autoencoder import Autoencoder
from diffusion.training.corpus import Corpus
from diffusion.training.encoders import sample_creatives
from diffusion.training.loop import CPU, Schedule, fit

MAX_LATENT_NOISE = 0.2  # the decoder will see latents that a generator only almost got right


def sample_pixels(
    corpus: Corpus, trained: Tensor, generator: torch.Generator, count: int
) -> Tensor:
    """Three creatives to one bare packshot: float32 [count, 3, S, S] in [-1, 1]."""
    num_creatives = count - count // 4
    view, _, scene, seed = sample_creatives(corpus, trained, generator, count)
    creatives = corpus.composite(view[:num_creatives], scene[:num_creatives], seed[:num_creatives])
    return torch.cat([creatives, corpus.packshot(view[num_creatives:])[0]])


def fit_autoencoder(corpus: Corpus, num_pictures: int = 256) -> Autoencoder:
    """An autoencoder with its projection in place, and a decoder that is its linear inverse."""
    network: Autoencoder = Autoencoder()
    generator = torch.Generator().manual_seed(2)
    network.fit_projection(sample_pixels(corpus, corpus.trained, generator, num_pictures))
    network.project.requires_grad_(False)
    return network


def edges(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:, :] - x[..., :-1, :], x[..., 1:] - x[..., :-1]


def train_autoencoder(
    corpus: Corpus, schedule: Schedule, folder: Path, batch: int, device: torch.device = CPU
) -> Autoencoder:
    """L1 on pixels and on their differences: the second keeps edges where the first would blur."""
    network = fit_autoencoder(corpus).to(device, memory_format=torch.channels_last)

    def loss(model: Autoencoder, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        pixels = sample_pixels(corpus, corpus.trained, generator, batch).to(device)
        latents = model.encode(pixels)
        noise = torch.randn(latents.shape, generator=generator)
        level = MAX_LATENT_NOISE * torch.rand(batch, 1, 1, 1, generator=generator)
        found = model.decode(latents + (level * noise).to(device)).float()
        error = (found - pixels).abs().mean()
        for a, b in zip(edges(found), edges(pixels), strict=True):
            error = error + (a - b).abs().mean()
        mse = (found.detach() - pixels).square().mean() / 4
        return error, {"psnr_db": float(-10 * mse.log10())}

    average: Autoencoder = fit("autoencoder", network, loss, schedule, folder)
    return average
