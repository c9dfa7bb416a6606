"""Trains the generator: rectified flow on the latents of creatives that suit a shopper's taste.

The network never sees a taste: it sees a shopper's embedding, pooled from the encodings of
creatives that such a shopper clicked, exactly as the feature store would hold it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from diffusion.autoencoder import Autoencoder
from diffusion.encoders import Encoders
from diffusion.model import encode_packshot
from diffusion.scenes import PALETTES, SETTINGS
from diffusion.taste import PRIOR_CLICKS
from diffusion.training.corpus import ARTWORKS, NATURAL, SIDE, Corpus
from diffusion.training.encoders import sample_creatives
from diffusion.training.loop import Schedule, draw, fit
from diffusion.transformer import TASKS, ProductTransformer
from diffusion.treatments import TREATMENTS

MAX_CLICKS = 48
RESTYLE_SHARE = 0.4
DROP_SHOPPER, DROP_PRODUCT, DROP_BOTH = 0.1, 0.05, 0.05
AXES = (len(PALETTES), len(SETTINGS), len(TREATMENTS))


@dataclass(frozen=True)
class Knowledge:
    """What is computed once before training: packshot latents, product and creative embeddings.

    packshots [products, artworks, C + 1, s, s]; product_embeddings [products, artworks, width];
    titles [products, languages, width]; creatives [palettes, settings, treatments, k, width].
    """

    packshots: Tensor
    product_embeddings: Tensor
    titles: Tensor
    creatives: Tensor


@torch.inference_mode()
def learn_corpus(
    corpus: Corpus, autoencoder: Autoencoder, encoders: Encoders, num_creatives: int = 10
) -> Knowledge:
    count = len(corpus.products)
    views = torch.from_numpy(corpus.view_index[:, :, NATURAL, 0]).flatten()
    latents, embedded = [], []
    for part in torch.split(views, 64):
        pixels, alpha = corpus.packshot(part)
        latents.append(encode_packshot(autoencoder, pixels, alpha))
        embedded.append(encoders.network.encode_images(pixels) - encoders.network.mean)
    languages = sorted(corpus.products[0].titles)
    texts = [product.titles[language] for product in corpus.products for language in languages]
    return Knowledge(
        torch.cat(latents).reshape(count, -1, *latents[0].shape[1:]),
        torch.cat(embedded).reshape(count, -1, *embedded[0].shape[1:]),
        torch.from_numpy(encoders.encode_texts(texts)).reshape(count, len(languages), -1),
        embed_creatives(corpus, encoders, num_creatives),
    )


def embed_creatives(corpus: Corpus, encoders: Encoders, per_taste: int) -> Tensor:
    """Embeddings of creatives as shoppers of each taste click them: [*AXES, per_taste, width]."""
    generator = torch.Generator().manual_seed(1)
    tastes = torch.cartesian_prod(*map(torch.arange, AXES)).repeat_interleave(per_taste, dim=0)
    trained = corpus.trained
    view, product, _, seed = sample_creatives(corpus, trained, generator, len(tastes))
    view = torch.from_numpy(corpus.view_index)[product, 0, tastes[:, 2], tastes[:, 0]]
    found = [
        encoders.network.encode_images(corpus.composite(view[s], tastes[s], seed[s]))
        - encoders.network.mean
        for s in torch.split(torch.arange(len(tastes)), 64)
    ]
    return torch.cat(found).reshape(*AXES, per_taste, *found[0].shape[1:])


def sample_shoppers(creatives: Tensor, taste: Tensor, generator: torch.Generator) -> Tensor:
    """Pooled embeddings [n, width] of shoppers whose latent tastes are `taste` [n, 3].

    A click follows the taste on each axis with a probability of the shopper's own, else it is
    anything; pooling is `diffusion.taste.pool_clicks`, batched.
    """
    rows = len(taste)
    faithful = 0.6 + 0.4 * torch.rand(rows, 1, 3, generator=generator)
    follows = torch.rand(rows, MAX_CLICKS, 3, generator=generator) < faithful
    anything = torch.stack([draw(generator, n, rows, MAX_CLICKS) for n in AXES], dim=2)
    p, s, t = torch.where(follows, taste[:, None], anything).unbind(2)
    clicked = creatives[p, s, t, draw(generator, creatives.shape[3], rows, MAX_CLICKS)]
    num_clicks = (MAX_CLICKS ** torch.rand(rows, 1, generator=generator)).floor()
    weights = (torch.arange(MAX_CLICKS) < num_clicks).float()
    weights = weights * torch.rand(rows, MAX_CLICKS, generator=generator).mul(2.5).add(0.5)
    pooled = torch.einsum("nk,nkw->nw", weights, clicked)
    return pooled / (weights.sum(dim=1, keepdim=True) + PRIOR_CLICKS)


def train_generator(
    corpus: Corpus,
    autoencoder: Autoencoder,
    encoders: Encoders,
    schedule: Schedule,
    folder: Path,
    batch: int,
) -> ProductTransformer:
    """Velocity matching (Liu et al., 2022) at logit-normal times (Esser et al., 2024)."""
    knowledge = learn_corpus(corpus, autoencoder, encoders)
    trained = corpus.trained
    index = torch.from_numpy(corpus.view_index)
    network = ProductTransformer(
        latent_channels=autoencoder.config.latent_channels,
        latent_side=SIDE // 8,
        embedding_width=encoders.width,
    )

    def loss(
        model: ProductTransformer, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        product = trained[draw(generator, len(trained), batch)]
        artwork = draw(generator, len(ARTWORKS), batch)
        taste = torch.stack([draw(generator, n, batch) for n in AXES], dim=1)
        restyled = torch.rand(batch, generator=generator) < RESTYLE_SHARE
        artwork = torch.where(restyled, artwork % 2, artwork)
        treatment = torch.where(restyled, taste[:, 2], NATURAL)
        view = index[product, artwork, treatment, taste[:, 0]]
        seeds = draw(generator, corpus.scenes.shape[2], batch)
        with torch.no_grad():
            target = autoencoder.encode(corpus.composite(view, taste, seeds)).float()
        noise = torch.randn(target.shape, generator=generator)
        t = torch.sigmoid(torch.randn(batch, generator=generator))
        dropped = torch.rand(batch, generator=generator)
        language = draw(generator, knowledge.titles.shape[1], batch)
        found = model(
            torch.lerp(target, noise, t[:, None, None, None]),
            t,
            packshot=knowledge.packshots[product, artwork],
            product=knowledge.product_embeddings[product, artwork],
            title=knowledge.titles[product, language],
            shopper=sample_shoppers(knowledge.creatives, taste, generator),
            task=torch.where(restyled, TASKS.index("restyle"), TASKS.index("preserve")),
            has_product=dropped >= DROP_BOTH + DROP_PRODUCT,
            has_shopper=(dropped >= DROP_BOTH + DROP_PRODUCT + DROP_SHOPPER)
            | ((dropped >= DROP_BOTH) & (dropped < DROP_BOTH + DROP_PRODUCT)),
        )
        return F.mse_loss(found.float(), noise - target), {}

    average: ProductTransformer = fit("generator", network, loss, schedule, folder)
    return average
