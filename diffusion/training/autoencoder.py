"""Trains the autoencoder on creatives and bare packshots."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from diffusion.autoencoder import Autoencoder
from diffusion.training.corpus import Corpus
from diffusion.training.encoders import sample_creatives
from diffusion.training.loop import Schedule, fit


def edges(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:, :] - x[..., :-1, :], x[..., 1:] - x[..., :-1]


def train_autoencoder(corpus: Corpus, schedule: Schedule, folder: Path, batch: int) -> Autoencoder:
    """L1 on pixels and on their differences: the second keeps edges where the first would blur."""
    trained = torch.tensor([i for i, p in enumerate(corpus.products) if not p.held_out])
    network = Autoencoder().to(memory_format=torch.channels_last)

    def loss(model: Autoencoder, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        num_creatives = batch - batch // 4
        view, _, scene, seed = sample_creatives(corpus, trained, generator, batch)
        creatives = corpus.composite(
            view[:num_creatives], scene[:num_creatives], seed[:num_creatives]
        )
        pixels = torch.cat([creatives, corpus.packshot(view[num_creatives:])[0]])
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        found = model(pixels).float()
        error = (found - pixels).abs().mean()
        edge = sum(
            ((a - b).abs().mean() for a, b in zip(edges(found), edges(pixels), strict=True)),
            torch.zeros(()),
        )
        mse = (found.detach() - pixels).square().mean() / 4
        return error + edge, {"psnr_db": float(-10 * mse.log10())}

    average: Autoencoder = fit("autoencoder", network, loss, schedule, folder)
    return average
