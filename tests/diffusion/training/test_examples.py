"""What a step of training shows: what was clicked and known, and nothing of held-out products."""

import numpy as np
import pytest
import torch

from diffusion.encoders import Encoders
from diffusion.training.clicks import load_moments
from diffusion.training.corpus import ARTWORKS, NATURAL
from diffusion.training.examples import (
    PRESERVE,
    REPAIR,
    REPAIR_SHARE,
    RESTYLE,
    RESTYLE_SHARE,
    ExampleSource,
    learn_corpus,
)
from tests.diffusion.tiny import LATENT_CHANNELS, WIDTH, make_autoencoder, make_encoders
from tests.diffusion.training.moments import write_training_set


@pytest.fixture(scope="module")
def encoders():
    return Encoders(make_encoders(), "digest")


@pytest.fixture(scope="module")
def source(watched, encoders, tmp_path_factory):
    file = write_training_set(tmp_path_factory.mktemp("clicks"), WIDTH)
    moments = load_moments(file, "digest", WIDTH, typical_share=1.0)
    autoencoder = make_autoencoder().requires_grad_(False)
    return ExampleSource(watched, moments, autoencoder, encoders)


def examples(source, count=64, seed=0):
    return source.draw(torch.Generator().manual_seed(seed), count)


def test_the_corpus_is_learnt_by_product_artwork_and_language(watched, encoders):
    known = learn_corpus(watched, make_autoencoder().requires_grad_(False), encoders)
    count = len(watched.products)
    assert known.packshots.shape == (count, len(ARTWORKS), LATENT_CHANNELS + 1, 16, 16)
    assert known.embeddings.shape == (count, len(ARTWORKS), WIDTH)
    assert known.titles.shape == (count, 2, WIDTH)


def test_each_product_is_learnt_from_its_own_picture_and_title(watched, encoders):
    known = learn_corpus(watched, make_autoencoder().requires_grad_(False), encoders)
    view = torch.tensor([int(watched.view_index[1, 2, NATURAL, 0])])
    pixels, _ = watched.packshot(view)
    seen = encoders.network.encode_images(pixels)[0] - encoders.network.mean
    assert torch.allclose(known.embeddings[1, 2], seen, atol=1e-5)
    titles = [watched.products[1].titles[language] for language in ("de", "en")]
    assert np.allclose(known.titles[1], encoders.encode_texts(titles), atol=1e-5)


def test_a_batch_is_a_function_of_the_generator(source):
    one, same, other = examples(source), examples(source), examples(source, seed=1)
    assert torch.equal(one.pixels, same.pixels) and torch.equal(one.shopper, same.shopper)
    assert not torch.equal(one.pixels, other.pixels)


def test_all_tasks_are_drawn_in_their_shares(source):
    task = source._draw_tasks(torch.Generator().manual_seed(0), 4000)
    shares = [(task == one).float().mean().item() for one in (PRESERVE, RESTYLE, REPAIR)]
    expected = [1 - RESTYLE_SHARE - REPAIR_SHARE, RESTYLE_SHARE, REPAIR_SHARE]
    assert shares == pytest.approx(expected, abs=0.03)


def test_each_condition_is_left_out_with_and_without_the_other(source):
    has_product, has_shopper = source._drop(torch.Generator().manual_seed(0), 4000)
    pairs = [(p, s) for p in (True, False) for s in (True, False)]
    shares = [((has_product == p) & (has_shopper == s)).float().mean().item() for p, s in pairs]
    assert shares == pytest.approx([0.8, 0.1, 0.05, 0.05], abs=0.02)


def test_repair_is_given_a_poor_packshot_and_no_shopper(source):
    shown = examples(source, 128)
    repaired = shown.task == REPAIR
    assert repaired.any() and shown.has_product[repaired].all()
    assert not shown.has_shopper[repaired].any()
    white = shown.pixels[repaired][:, :, :4, :4]
    assert torch.allclose(white, torch.ones_like(white)), "to be made: the product on white"
    good = source.autoencoder.encode(shown.pixels[repaired])
    given = shown.packshot[repaired][:, :-1]
    assert ((good - given).abs().mean(dim=(1, 2, 3)) > 1e-3).all()


def test_preserved_products_are_natural_and_restyled_ones_in_the_clicked_treatment(source):
    shown = examples(source, 256)
    moments, looks = source.moments, {tuple(row) for row in source.moments.look.tolist()}
    assert len(moments) == 2 and len(looks) == 2
    assert torch.isfinite(shown.shopper).all()
    assert shown.shopper.norm(dim=1).min() > 0


def test_what_weighs_nothing_is_not_shown(watched, encoders, tmp_path):
    file = write_training_set(tmp_path, WIDTH, weights=(0.0, 1.0, 1.0))
    moments = load_moments(file, "digest", WIDTH, typical_share=1.0)
    autoencoder = make_autoencoder().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    drawn = ExampleSource(watched, moments, autoencoder, encoders)._draw_moments(generator, 64)
    assert drawn.tolist() == [1] * 64
