"""What one training step shows: creatives that shoppers clicked, with all that was known before."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from diffusion.autoencoder import Autoencoder
from diffusion.encoders import Encoders
from diffusion.model import encode_packshot
from diffusion.training.clicks import Moments
from diffusion.training.corpus import ARTWORKS, NATURAL, TREATED_ARTWORKS, Corpus
from diffusion.training.degradation import degrade
from diffusion.training.loop import draw
from diffusion.transformer import TASKS

PRESERVE, RESTYLE, REPAIR = (TASKS.index(task) for task in ("preserve", "restyle", "repair"))
RESTYLE_SHARE, REPAIR_SHARE = 0.45, 0.10
DROP_SHOPPER, DROP_PRODUCT, DROP_BOTH = 0.1, 0.05, 0.05
SINGLE_MINDED_SHARE = 0.4  # clear tastes are learnt first, and unclear ones from them
SHOPPER_NOISE = 0.005  # per dimension: so that no shopper is learnt by heart
PRODUCT_NOISE = 0.02  # per dimension: a poor packshot's vector is near that of a good one


@dataclass(frozen=True)
class Examples:
    """A batch: pixels [n, 3, S, S] are what is to be made, the rest are the conditions of
    `diffusion.transformer`; `has_*` [n] bool tell what the network may know."""

    pixels: Tensor
    packshot: Tensor
    product: Tensor
    title: Tensor
    shopper: Tensor
    task: Tensor
    has_product: Tensor
    has_shopper: Tensor

    def to(self, device: torch.device) -> Examples:
        return Examples(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True)
class Knowledge:
    """What is computed once before training: packshots [products, artworks, C + 1, s, s], their
    embeddings [products, artworks, width], and the titles' [products, languages, width]."""

    packshots: Tensor
    embeddings: Tensor
    titles: Tensor


@torch.inference_mode()
def learn_corpus(corpus: Corpus, autoencoder: Autoencoder, encoders: Encoders) -> Knowledge:
    count = len(corpus.products)
    views = torch.from_numpy(corpus.view_index[:, :, NATURAL, 0]).flatten()
    latents, embedded = [], []
    for part in torch.split(views, 64):
        pixels, alpha = corpus.packshot(part)
        latents.append(encode_packshot(autoencoder, pixels, alpha))
        embedded.append(encoders.network.encode_images(pixels) - encoders.network.mean)
    languages = sorted(corpus.products[0].titles)
    texts = [product.titles[language] for product in corpus.products for language in languages]
    found = Knowledge(
        torch.cat(latents).reshape(count, -1, *latents[0].shape[1:]),
        torch.cat(embedded).reshape(count, -1, *embedded[0].shape[1:]),
        torch.from_numpy(encoders.encode_texts(texts)).reshape(count, len(languages), -1),
    )
    return Knowledge(*(getattr(found, field.name).clone() for field in fields(found)))


class ExampleSource:
    """Draws examples of the training products for the training shoppers."""

    def __init__(
        self, corpus: Corpus, moments: Moments, autoencoder: Autoencoder, encoders: Encoders
    ) -> None:
        self.corpus, self.moments, self.autoencoder = corpus, moments, autoencoder
        self.knowledge = learn_corpus(corpus, autoencoder, encoders)
        self.index = torch.from_numpy(corpus.view_index)
        self.shares = torch.from_numpy(moments.shares)

    def draw(self, generator: torch.Generator, count: int) -> Examples:
        """Each a training product for a shopper, in the look that this shopper clicked next."""
        trained = self.corpus.trained
        product = trained[draw(generator, len(trained), count)]
        moment = self._draw_moments(generator, count)
        look = torch.from_numpy(self.moments.look[moment.numpy()])
        task = self._draw_tasks(generator, count)
        artwork = draw(generator, len(ARTWORKS), count)
        artwork = torch.where(task == RESTYLE, artwork % len(TREATED_ARTWORKS), artwork)
        treatment = torch.where(task == RESTYLE, look[:, 2], NATURAL)
        view = self.index[product, artwork, treatment, look[:, 0]]
        seed = draw(generator, self.corpus.scenes.shape[2], count)
        embedding = self.knowledge.embeddings[product, artwork]
        shopper = self._embed(moment, embedding, generator)
        language = draw(generator, self.knowledge.titles.shape[1], count)
        has_product, has_shopper = self._drop(generator, count)
        examples = Examples(
            pixels=self.corpus.composite(view, look, seed),
            packshot=self.knowledge.packshots[product, artwork],
            product=embedding,
            title=self.knowledge.titles[product, language],
            shopper=shopper,
            task=task,
            has_product=has_product | (task == REPAIR),
            has_shopper=has_shopper & (task != REPAIR),
        )
        self._spoil(examples, view, generator)
        return examples

    def _draw_moments(self, generator: torch.Generator, count: int) -> Tensor:
        return torch.multinomial(self.shares, count, replacement=True, generator=generator)

    def _embed(self, moment: Tensor, product: Tensor, generator: torch.Generator) -> Tensor:
        rows = moment.numpy()
        known = torch.from_numpy(self.moments.embed(rows, product.numpy()))
        clear = torch.from_numpy(self.moments.embed_single_minded(rows))
        is_clear = torch.rand(len(rows), 1, generator=generator) < SINGLE_MINDED_SHARE
        noise = SHOPPER_NOISE * torch.randn(known.shape, generator=generator)
        return torch.where(is_clear, clear, known) + noise

    def _draw_tasks(self, generator: torch.Generator, count: int) -> Tensor:
        share = torch.rand(count, generator=generator)
        task = torch.where(share < RESTYLE_SHARE, RESTYLE, PRESERVE)
        return torch.where(share > 1 - REPAIR_SHARE, REPAIR, task)

    def _drop(self, generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
        """Which rows know the product and which the shopper, so that each can be left out."""
        share = torch.rand(count, generator=generator)
        only_shopper = (share >= DROP_BOTH) & (share < DROP_BOTH + DROP_PRODUCT)
        both = share >= DROP_BOTH + DROP_PRODUCT + DROP_SHOPPER
        return share >= DROP_BOTH + DROP_PRODUCT, both | only_shopper

    def _spoil(self, examples: Examples, view: Tensor, generator: torch.Generator) -> None:
        """In REPAIR's rows, in place: a poor packshot is given and the good one is to be made."""
        rows = torch.nonzero(examples.task == REPAIR).flatten()
        if not len(rows):
            return
        pixels, alpha = self.corpus.packshot(view[rows])
        examples.pixels[rows] = pixels
        with torch.no_grad():
            poor = encode_packshot(self.autoencoder, degrade(pixels, generator), alpha)
        examples.packshot[rows] = poor.float()  # autocast may have halved it
        noise = torch.randn(examples.product[rows].shape, generator=generator)
        examples.product[rows] += PRODUCT_NOISE * noise
