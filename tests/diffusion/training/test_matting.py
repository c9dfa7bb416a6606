"""Training of matting: what it is shown, that it learns, and that it can be interrupted."""

from typing import Any

import numpy as np
import pytest
import torch

from diffusion.composition import CENTRE
from diffusion.training.loop import Schedule
from diffusion.training.matting import (
    draw_clutter,
    draw_creative,
    draw_packshot,
    measure_overlap,
    sample_pictures,
    train_matting,
)
from tests.diffusion.tiny import make_autoencoder
from tests.diffusion.training.small import COLOURS
from tests.diffusion.training.workshop import load_packshots

SMALL: dict[str, Any] = {"widths": (8, 16), "num_blocks": (1, 1)}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def packshots(tmp_path_factory):
    return load_packshots(tmp_path_factory.mktemp("shop"))


def test_pictures_come_with_the_alpha_of_their_product(packshots):
    pixels, alpha = sample_pictures(packshots, generator(), 10, side=64)
    assert pixels.shape == (10, 3, 64, 64) and alpha.shape == (10, 1, 64, 64)
    assert pixels.abs().max() <= 1 and 0 <= alpha.min() and alpha.max() == 1
    again = sample_pictures(packshots, generator(), 10, side=64)
    assert torch.equal(again[0], pixels) and torch.equal(again[1], alpha)


def test_a_creative_has_its_product_where_creatives_have_it(packshots):
    picture, alpha = draw_creative(packshots, 128, np.random.default_rng(0))
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    assert rows[-1] + 1 == pytest.approx(CENTRE.ground * 128, abs=1)
    assert columns.mean() == pytest.approx(CENTRE.x * 128, abs=1)
    inside = np.median(picture[alpha == 1], axis=0)
    nearest = min(np.abs(inside - colour).max() for colour in COLOURS.values())
    assert nearest < 12


def test_alpha_is_where_the_product_is(packshots):
    """On a packshot without damage, what is entirely product has colours of a product."""
    whole = []
    for seed in range(30):
        picture, alpha = draw_packshot(packshots, 64, np.random.default_rng(seed))
        assert picture.shape == (64, 64, 3) and alpha.dtype == np.float32
        whole.append(float(alpha.mean()))
    assert max(whole) > 0.2 and len(set(whole)) > 20


def test_a_part_went_through_the_decoder(packshots):
    plain, alpha = sample_pictures(packshots, generator(3), 10, side=64)
    softened, same = sample_pictures(packshots, generator(3), 10, make_autoencoder(), side=64)
    changed = (plain - softened).abs().amax(dim=(1, 2, 3)) > 0
    assert changed.tolist() == [False] * 6 + [True] * 2 + [False] * 2
    assert torch.equal(alpha, same)


def test_clutter_is_never_plain(packshots):
    for seed in range(20):
        clutter = draw_clutter(packshots, 64, np.random.default_rng(seed))
        assert clutter.shape == (64, 64, 3) and clutter.std() > 1


def test_overlap_is_of_intersection_over_union():
    found, truth = torch.zeros(3, 1, 20, 20), torch.zeros(3, 1, 20, 20)
    found[0, :, :10], truth[0, :, :10] = 1, 1
    found[1, :, :10], truth[1, :, 5:15] = 1, 1
    expected = [1, 101 / 301, 1]
    assert measure_overlap(found, truth).tolist() == pytest.approx(expected)


def test_it_learns_to_find_products(packshots, tmp_path):
    torch.manual_seed(0)
    schedule = Schedule(60, 5e-3, num_warmup_steps=5, ema_decay=0.9)
    network = train_matting(packshots, schedule, tmp_path, 8, side=32, **SMALL)
    assert not network.training
    pixels, alpha = sample_pictures(packshots, generator(1 << 20), 24, side=32)
    with torch.no_grad():
        found = network(pixels).sigmoid()
    chance = torch.full_like(alpha, float(alpha.mean()))
    assert (found - alpha).abs().mean() < 0.6 * (chance - alpha).abs().mean()


def test_it_goes_on_where_it_was_interrupted(packshots, tmp_path):
    def train(num_steps):
        torch.manual_seed(0)
        schedule = Schedule(num_steps, 1e-3, num_warmup_steps=100)
        return train_matting(packshots, schedule, tmp_path, 2, side=32, **SMALL)

    first = [p.clone() for p in train(2).parameters()]
    assert all(torch.equal(a, b) for a, b in zip(first, train(2).parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first, train(3).parameters(), strict=True))
