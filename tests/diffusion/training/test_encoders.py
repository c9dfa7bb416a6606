"""Training of the encoders: what is drawn, what is matched, and that nothing leaks."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from diffusion.encoders import MAX_TOKENS
from diffusion.scenes import PALETTES, SETTINGS
from diffusion.training.corpus import NATURAL, TREATED_ARTWORKS
from diffusion.training.encoders import (
    TEMPERATURE,
    WORDS,
    Anchored,
    centre,
    fit_patches,
    match_looks,
    pick_titles,
    sample_creatives,
    sample_pictures,
    train_encoders,
    train_titles,
    train_tokenizer,
)
from diffusion.training.loop import Schedule
from diffusion.treatments import TREATMENTS
from tests.diffusion.tiny import PRODUCTS, WIDTH, make_encoders

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


def test_every_look_is_drawn_and_every_artwork_that_has_all_looks(corpus):
    view, product, scene, _ = sample(corpus)
    for column, size in enumerate((len(PALETTES), len(SETTINGS), len(TREATMENTS))):
        assert set(scene[:, column].tolist()) == set(range(size))
    natural = set(view[scene[:, 2] == NATURAL].tolist())
    assert natural == {*corpus.view_index[:2, : len(TREATED_ARTWORKS), NATURAL].flatten().tolist()}


def test_draws_are_a_function_of_the_generator(corpus):
    one, same, other = sample(corpus, 50), sample(corpus, 50), sample(corpus, 50, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[2], other[2])


def test_an_anchor_is_chosen_among_all_products():
    network = Anchored(make_encoders(), 6)
    vectors = F.normalize(torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(0)), dim=1)
    product = torch.tensor([0, 5, 2, 2])
    scores = vectors @ F.normalize(network.anchors, dim=1).T / TEMPERATURE
    found = network.match(vectors, product)
    assert found.item() == pytest.approx(F.cross_entropy(scores, product).item(), abs=1e-5)


def test_each_axis_of_a_look_is_a_choice_among_its_own_words():
    words = torch.eye(len(WORDS))
    look = torch.tensor([[2, 3, 4], [0, 7, 1]])
    starts = (0, len(PALETTES), len(PALETTES) + len(SETTINGS))
    images = words[look + torch.tensor(starts)].sum(dim=1)
    sure = match_looks(images, words, look).item()
    expected = [
        torch.tensor([0.0] * (n - 1) + [1 / TEMPERATURE]).softmax(0)[-1].log().neg()
        for n in (8, 8, 5)
    ]
    assert sure == pytest.approx(torch.stack(expected).mean().item(), abs=1e-6)
    assert match_looks(images, words, look.flip(0)).item() > 10


def test_titles_are_drawn_in_every_language_of_their_product(corpus):
    products = torch.tensor([1] * 50 + [0] * 50)
    titles = pick_titles(corpus, products, torch.Generator().manual_seed(0))
    assert set(titles[:50]) == set(corpus.products[1].titles.values())
    assert set(titles[50:]) == set(corpus.products[0].titles.values())


def test_a_vit_starts_from_components_that_keep_what_patches_differ_in(corpus):
    vit = make_encoders().image
    side = vit.config.image_size
    pixels = sample_pictures(corpus, torch.Generator().manual_seed(0), 16)
    pixels = F.interpolate(pixels, (side, side), mode="area")
    fit_patches(vit, pixels)
    tokens = vit.embeddings.patch_embeddings(pixels).flatten(0, 1)
    assert tokens.mean(dim=0).abs().max() < 1e-3, "centred"
    assert 0.01 < tokens.std() < 10


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
    assert network.mean.norm() > 0.05, "pictures have much in common at first"
    step, _, loss, *parts = map(float, (tmp_path / "encoders.csv").read_text().split(","))
    of_image, of_title, of_look = parts
    assert step == 0 and loss == pytest.approx(of_image + of_title + 2 * of_look, rel=1e-4)


def test_titles_learn_to_find_their_packshots_and_leave_the_image_side_alone(guarded, tmp_path):
    network = train_encoders(guarded, Schedule(1, 1e-3, 1), tmp_path, batch=8)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    after = train_titles(network, guarded, Schedule(30, 1e-2, 1, ema_decay=0.5), tmp_path)
    changed = {
        name.split(".")[0]
        for name, value in after.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed == {"text", "project_text"}
    first, last = (tmp_path / "titles.csv").read_text().splitlines()
    assert float(last.split(",")[2]) < float(first.split(",")[2])
