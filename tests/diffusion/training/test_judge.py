"""Training of the judge: what it is shown, and that it learns to read it."""

import numpy as np
import pytest
import torch

from diffusion.evaluation.judge import Judge
from diffusion.looks import AXES
from diffusion.scenes import PALETTES, SETTINGS
from diffusion.training.corpus import Corpus
from diffusion.training.judge import PACKSHOT_SHARE, sample_pictures, train_judge, wear
from diffusion.training.loop import Schedule


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_batch_is_creatives_and_then_packshots_on_white(corpus):
    pixels, look, product = sample_pictures(corpus, generator(), 40)
    num_packshots = round(PACKSHOT_SHARE * 40)
    assert pixels.shape == (40, 3, 128, 128)
    assert (len(look), len(product)) == (40 - num_packshots, 40)
    corners = pixels[:, :, 0, 0]
    assert (corners[-num_packshots:] == 1).all()
    assert (corners[:-num_packshots] < 0.9).all()


def test_every_product_and_every_look_is_shown(corpus):
    _, look, product = sample_pictures(corpus, generator(), 200)
    assert set(product.tolist()) == set(range(len(corpus.products)))
    for column, choices in enumerate(AXES.values()):
        assert set(look[:, column].tolist()) == set(range(len(choices)))


def test_wear_keeps_the_picture_but_not_its_pixels(corpus):
    pixels, *_ = sample_pictures(corpus, generator(), 16)
    worn = wear(pixels, generator(1))
    assert worn.shape == pixels.shape
    assert worn.abs().max() <= 1
    assert (worn - pixels).abs().mean() < 0.2
    assert ((worn - pixels).abs().amax(dim=(1, 2, 3)) > 0.01).all()
    assert torch.equal(worn, wear(pixels, generator(1)))


def test_a_single_picture_can_be_worn():
    assert wear(torch.zeros(1, 3, 128, 128), generator()).shape == (1, 3, 128, 128)


@pytest.fixture(scope="module")
def coloured(corpus):
    """Scenes that can be told apart at a glance: the palette is a hue, the setting a stripe."""
    scenes = np.zeros((len(PALETTES), len(SETTINGS), 1, 128, 128, 3), np.uint8)
    for palette in range(len(PALETTES)):
        scenes[palette] += np.array([255 * (palette >> bit & 1) for bit in range(3)], np.uint8)
    for setting in range(len(SETTINGS)):
        scenes[:, setting, :, 4 * setting : 4 * setting + 6] = 128
    return Corpus(corpus.products, corpus.views, corpus.view_index, scenes)


def test_it_learns_to_tell_palettes_and_products(coloured, tmp_path):
    torch.manual_seed(0)
    small = Judge(widths=(8, 16, 16), num_features=32, product_width=8)
    schedule = Schedule(70, 5e-3, num_warmup_steps=5, ema_decay=0.9)
    judge = train_judge(coloured, schedule, tmp_path, 24, small)
    assert not judge.training
    pixels, look, product = sample_pictures(coloured, generator(1 << 20), 64)
    with torch.no_grad():
        seen = judge(pixels)
    right = seen.palette[: len(look)].argmax(dim=1) == look[:, 0]
    assert right.float().mean() > 0.4, "an eighth would be chance"
    # Without asking the classifier: packshots of one product lie together.
    product, seen_products = product[len(look) :], seen.product[len(look) :]
    alike = seen_products @ seen_products.T
    same = product[:, None] == product
    assert alike[same].mean() > alike[~same].mean() + 0.05
