"""Training of the encoders: what is drawn, what is matched, and that nothing leaks."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from diffusion.encoders import MAX_TOKENS
from diffusion.scenes import PALETTES, SETTINGS
from diffusion.training.corpus import ARTWORKS, NATURAL
from diffusion.training.encoders import (
    TEMPERATURE,
    centre,
    describe,
    match,
    sample_creatives,
    train_encoders,
    train_tokenizer,
)
from diffusion.training.loop import Schedule
from diffusion.treatments import TREATMENTS
from tests.diffusion.tiny import PRODUCTS, make_encoders

TRAINED = torch.tensor([0, 1])


def sample(corpus, count=2000, seed=0):
    return sample_creatives(corpus, TRAINED, torch.Generator().manual_seed(seed), count)


def test_products_held_out_are_never_drawn(corpus):
    view, product, _, _ = sample(corpus)
    assert set(product.tolist()) == {0, 1}
    held_out = {int(v) for v in np.unique(corpus.view_index[2]) if v >= 0}
    assert not held_out & set(view.tolist())


def test_a_drawn_view_is_of_its_product_in_its_treatment_and_palette(corpus):
    view, product, scene, seed = sample(corpus)
    for v, p, (palette, _, treatment) in zip(
        view.tolist(), product.tolist(), scene.tolist(), strict=True
    ):
        assert v in corpus.view_index[p, :, treatment, palette]
    assert view.min() >= 0 and 0 <= seed.min() and seed.max() < corpus.scenes.shape[2]


def test_every_taste_and_every_artwork_is_drawn(corpus):
    view, product, scene, _ = sample(corpus)
    for column, size in enumerate((len(PALETTES), len(SETTINGS), len(TREATMENTS))):
        assert set(scene[:, column].tolist()) == set(range(size))
    natural = set(view[scene[:, 2] == NATURAL].tolist())
    assert natural == {*corpus.view_index[:2, :, NATURAL].flatten().tolist()}
    assert len(natural) == 2 * len(ARTWORKS)


def test_draws_are_a_function_of_the_generator(corpus):
    one, same, other = sample(corpus, 50), sample(corpus, 50), sample(corpus, 50, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[2], other[2])


def test_matching_is_cross_entropy_where_each_has_one_partner():
    generator = torch.Generator().manual_seed(0)
    images, texts = (F.normalize(torch.randn(6, 4, generator=generator), dim=1) for _ in range(2))
    logits, labels = images @ texts.T / TEMPERATURE, torch.arange(6)
    expected = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    found = match(images, texts, torch.eye(6, dtype=torch.bool))
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)


def test_partners_of_the_same_kind_are_not_pushed_apart():
    images = texts = torch.eye(3)[[0, 0, 1]]
    same = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    assert match(images, texts, same).item() == pytest.approx(0, abs=1e-4)
    assert match(images, texts, torch.eye(3, dtype=torch.bool)).item() > 0.4


def test_a_scene_is_described_by_its_names():
    words = describe([1, 0, 2])
    assert words == f"{list(PALETTES)[1]} {list(SETTINGS)[0]} {TREATMENTS[2]}"


def test_the_tokenizer_reads_every_script_and_ends_in_padding():
    tokenizer = train_tokenizer(PRODUCTS, vocab_size=300)
    for text in ("running shoe", "靴と犬", "حذاء", "👟"):
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids).strip() == text
    padded = tokenizer("drum", padding="max_length", max_length=MAX_TOKENS)["input_ids"]
    assert padded[-1] == tokenizer.pad_token_id


def test_the_tokenizer_has_not_seen_titles_of_products_held_out():
    seen = train_tokenizer(PRODUCTS, vocab_size=420).tokenize("trommel")
    unseen = train_tokenizer(PRODUCTS, vocab_size=420).tokenize("drachen")
    assert len(unseen) > len(seen)


def test_centring_makes_the_population_the_zero(corpus):
    network = make_encoders()
    centre(network, corpus, TRAINED, count=64)
    view, _, scene, seed = sample_creatives(corpus, TRAINED, torch.Generator().manual_seed(0), 64)
    with torch.inference_mode():
        found = network.encode_images(corpus.composite(view, scene, seed)) - network.mean
    assert found.mean(dim=0).abs().max() <= 1e-5
    assert found.norm(dim=1).mean() > 1e-3


def test_encoders_are_trained_without_products_held_out(guarded, tmp_path):
    network = train_encoders(guarded, Schedule(1, 1e-3, 1), tmp_path, batch=8)
    assert network.mean.norm() > 0.1, "pictures have much in common at first"
    step, _, loss, of_title, of_scene = map(
        float, (tmp_path / "encoders.csv").read_text().split(",")
    )
    assert step == 0 and loss == pytest.approx(of_title + of_scene, rel=1e-4)
