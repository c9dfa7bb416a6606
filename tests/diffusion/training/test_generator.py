"""Training of the generator: what it may know, and that shoppers are pooled as in the shop."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from diffusion.encoders import Encoders
from diffusion.scenes import PALETTES, SETTINGS
from diffusion.taste import PRIOR_CLICKS, pool_clicks
from diffusion.training.autoencoder import train_autoencoder
from diffusion.training.corpus import ARTWORKS, NATURAL
from diffusion.training.generator import (
    AXES,
    MAX_CLICKS,
    embed_creatives,
    learn_corpus,
    sample_shoppers,
    train_generator,
)
from diffusion.training.loop import Schedule
from diffusion.treatments import TREATMENTS
from tests.diffusion.tiny import LATENT_CHANNELS, WIDTH, make_autoencoder, make_encoders

PER_TASTE = 2


@pytest.fixture(scope="module")
def encoders():
    return Encoders(make_encoders(), "digest")


@pytest.fixture(scope="module")
def creatives(watched, encoders):
    return embed_creatives(watched, encoders, PER_TASTE)


def shoppers(creatives, tastes, seed=0):
    return sample_shoppers(creatives, tastes, torch.Generator().manual_seed(seed))


def draw_creatives(width):
    return torch.randn(*AXES, PER_TASTE, width, generator=torch.Generator().manual_seed(0))


def reveal_weights(tastes, seed=0):
    """Weight of every creative in each shopper's history, read off one-hot embeddings."""
    count = PER_TASTE * int(np.prod(AXES))
    pooled = shoppers(torch.eye(count).reshape(*AXES, PER_TASTE, count), tastes, seed)
    share = pooled.sum(dim=1, keepdim=True)  # W / (W + prior)
    return pooled * PRIOR_CLICKS / (1 - share)


def test_axes_are_those_of_taste():
    assert AXES == (len(PALETTES), len(SETTINGS), len(TREATMENTS))


def test_shoppers_are_pooled_as_the_feature_store_pools_clicks():
    tastes = torch.tensor([[0, 0, 0], [1, 2, 3], [7, 7, 4], [3, 0, 1], [2, 2, 2]])
    creatives = draw_creatives(6)
    found = shoppers(creatives, tastes)
    clicked = creatives.reshape(-1, 6).numpy()
    for row, weights in zip(found.numpy(), reveal_weights(tastes).numpy(), strict=True):
        assert row == pytest.approx(pool_clicks(clicked, weights), abs=1e-4)


def test_histories_are_short_and_long_but_never_empty():
    weights = reveal_weights(torch.zeros(400, 3, dtype=torch.long))
    num_clicks = (weights > 1e-3).sum(dim=1)
    assert num_clicks.min() >= 1 and num_clicks.max() <= MAX_CLICKS
    assert (num_clicks <= 2).any() and (num_clicks > 20).any()
    assert weights[weights > 1e-3].min().item() == pytest.approx(0.5, abs=0.05)


def test_clicks_follow_the_taste_more_often_than_not():
    taste = [2, 5, 1]
    weights = reveal_weights(torch.tensor([taste] * 100)).sum(dim=0).reshape(*AXES, PER_TASTE)
    for axis, wanted in enumerate(taste):
        along = weights.sum(dim=tuple(other for other in range(4) if other != axis))
        share = along[wanted] / along.sum()
        assert 0.6 < share < 1
        assert along.min() > 0, "now and then anything is clicked"


def test_creatives_of_every_taste_are_embedded_without_products_held_out(creatives):
    assert creatives.shape == (*AXES, PER_TASTE, WIDTH)
    assert torch.isfinite(creatives).all()


def test_the_corpus_is_learnt_by_product_artwork_and_language(watched, encoders):
    autoencoder = make_autoencoder().requires_grad_(False)
    known = learn_corpus(watched, autoencoder, encoders, num_creatives=1)
    count = len(watched.products)
    assert known.packshots.shape == (count, len(ARTWORKS), LATENT_CHANNELS + 1, 16, 16)
    assert known.product_embeddings.shape == (count, len(ARTWORKS), WIDTH)
    assert known.titles.shape == (count, 2, WIDTH)
    assert known.creatives.shape == (*AXES, 1, WIDTH)


def test_each_product_is_learnt_from_its_own_picture_and_title(watched, encoders):
    autoencoder = make_autoencoder().requires_grad_(False)
    known = learn_corpus(watched, autoencoder, encoders, num_creatives=1)
    view = torch.tensor([int(watched.view_index[1, 2, NATURAL, 0])])
    pixels, _ = watched.packshot(view)
    seen = encoders.network.encode_images(pixels)[0] - encoders.network.mean
    assert torch.allclose(known.product_embeddings[1, 2], seen, atol=1e-5)
    titles = [watched.products[1].titles[language] for language in ("de", "en")]
    assert np.allclose(known.titles[1], encoders.encode_texts(titles), atol=1e-5)


def test_the_autoencoder_is_trained_without_products_held_out(guarded, tmp_path):
    network = train_autoencoder(guarded, Schedule(1, 1e-2, 1), tmp_path, batch=4)
    (line,) = (tmp_path / "autoencoder.csv").read_text().splitlines()
    step, _, loss, psnr_db = map(float, line.split(","))
    assert step == 0 and 0 < loss < 3 and 10 < psnr_db < 60
    rows = F.normalize(network.project.weight.flatten(1), dim=1)
    overlap = (rows @ rows.T - torch.eye(len(rows))).abs().max()
    assert overlap <= 1e-4, "the projection stays as it was fitted: principal components"


# Under autocast torch has no fused kernel for a norm whose weights are float32, and says so.
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning")
def test_the_generator_is_trained_without_products_held_out(watched, encoders, tmp_path):
    autoencoder = make_autoencoder().requires_grad_(False)
    network = train_generator(watched, autoencoder, encoders, Schedule(2, 1e-2, 1), tmp_path, 4)
    assert network.config.latent_channels == LATENT_CHANNELS
    assert network.config.embedding_width == WIDTH
    assert all(torch.isfinite(parameter).all() for parameter in network.parameters())
    assert network.unembed.weight.any(), "it has begun to predict"
    step, _, loss = map(float, (tmp_path / "generator.csv").read_text().split(","))
    assert step == 0 and 0.5 < loss < 5, "nothing predicted: the velocity's own variance"
