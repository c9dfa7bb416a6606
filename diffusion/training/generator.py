"""Trains the generator: rectified flow on the latents of creatives that shoppers clicked.

The network never sees a taste: it sees a shopper's embedding, as the feature store held it before
the click.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion.training.examples import PRESERVE, REPAIR, RESTYLE, ExampleSource
from diffusion.training.loop import Schedule, fit
from diffusion.transformer import ProductTransformer

SHIFT, SPREAD = 0.9, 1.2  # of the logit-normal times: towards noise, where a look is decided
EARLY, DROP_EARLY = 0.8, 0.3
"""Above this time the product is left out that often: what many products of a slate share."""

PRODUCT_WEIGHTS = {PRESERVE: 0.7, RESTYLE: 2.0, REPAIR: 2.0}
"""Of errors where the product is; PRESERVE pastes the product's own pixels over them."""


def build_generator(source: ExampleSource, **network: Any) -> ProductTransformer:
    channels, side = source.knowledge.packshots.shape[2:4]
    width = source.knowledge.embeddings.shape[2]
    size = {"latent_channels": channels - 1, "latent_side": side, "embedding_width": width}
    built: ProductTransformer = ProductTransformer(**size, **network)
    return built


def forget_shoppers(network: ProductTransformer) -> None:
    """It still draws every look, and knows nobody any more: in place."""
    for module in network.shopper_tokens:
        if isinstance(module, nn.Linear):
            module.reset_parameters()


def train_generator(
    source: ExampleSource,
    network: ProductTransformer,
    schedule: Schedule,
    folder: Path,
    batch: int,
) -> ProductTransformer:
    """Velocity matching (Liu et al., 2022) at logit-normal times (Esser et al., 2024)."""
    device = next(network.parameters()).device
    weights = torch.tensor([PRODUCT_WEIGHTS[task] for task in range(len(PRODUCT_WEIGHTS))])

    def loss(
        model: ProductTransformer, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        shown = source.draw(generator, batch)
        with torch.no_grad():
            target = source.autoencoder.encode(shown.pixels).float()
        noise = torch.randn(target.shape, generator=generator)
        t = torch.sigmoid(SHIFT + SPREAD * torch.randn(batch, generator=generator))
        is_early = (t > EARLY) & (torch.rand(batch, generator=generator) < DROP_EARLY)
        cover = (shown.packshot[:, -1:] + 1) / 2
        weight = 1 + (weights[shown.task, None, None, None] - 1) * cover
        x = torch.lerp(target, noise, t[:, None, None, None])
        known = shown.to(device)
        found = model(
            x.to(device),
            t.to(device),
            packshot=known.packshot,
            product=known.product,
            title=known.title,
            shopper=known.shopper,
            task=known.task,
            has_product=known.has_product & ~(is_early.to(device) & known.has_shopper),
            has_shopper=known.has_shopper,
        )
        error = F.mse_loss(found.float(), (noise - target).to(device), reduction="none")
        return (error * weight.to(device)).mean(), {"mse": error.detach().mean().item()}

    average: ProductTransformer = fit("generator", network, loss, schedule, folder)
    return average
