"""What training looks at: views, scenes, and how they are put together."""

import json

import numpy as np
import pytest
import torch

from diffusion.scenes import PALETTES, SETTINGS, Scene, render_scene
from diffusion.training.__main__ import WORLD
from diffusion.training.corpus import (
    ARTWORKS,
    DUOTONE,
    NATURAL,
    SIDE,
    TREATED_ARTWORKS,
    build_corpus,
    load_products,
    render_scenes,
    render_views,
)
from diffusion.treatments import TREATMENTS
from tests.diffusion.tiny import PRODUCTS
from tests.diffusion.training.small import COLOURS


def write_world(folder, products=PRODUCTS):
    lines = [
        json.dumps(
            {
                "product_id": product.product_id,
                "category": product.category,
                "titles": product.titles,
                "split": "held_out" if product.held_out else "train",
            }
        )
        for product in products
    ]
    (folder / "products.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def test_products_are_read_with_their_split(tmp_path):
    assert load_products(write_world(tmp_path)) == PRODUCTS


def test_a_treated_artwork_has_every_view_and_the_others_their_natural_one(corpus_folder, corpus):
    for number, artwork in enumerate(ARTWORKS):
        views = render_views((str(corpus_folder / "artworks" / artwork / "shoe.webp"), number))
        kinds = [(treatment, palette) for treatment, palette, _ in views]
        if number >= len(TREATED_ARTWORKS):
            assert kinds == [(NATURAL, -1)]
        else:
            plain = {(t, -1) for t in range(len(TREATMENTS)) if t != DUOTONE}
            assert set(kinds) == plain | {(DUOTONE, p) for p in range(len(PALETTES))}
        assert all(view.shape == (SIDE, SIDE, 5) and view.dtype == np.uint8 for *_, view in views)


def test_the_index_finds_every_view_of_every_product(corpus):
    index = corpus.view_index
    assert index.shape == (len(PRODUCTS), len(ARTWORKS), len(TREATMENTS), len(PALETTES))
    assert (index[:, : len(TREATED_ARTWORKS)] >= 0).all() and (index[:, :, NATURAL] >= 0).all()
    assert (np.delete(index[:, len(TREATED_ARTWORKS) :], NATURAL, axis=2) == -1).all()
    assert len(np.unique(index[index >= 0])) == len(corpus.views)
    assert len(np.unique(index[0, 0, DUOTONE])) == len(PALETTES)


def test_training_may_see_what_is_not_held_out(corpus):
    shown = [PRODUCTS[i].product_id for i in corpus.trained.tolist()]
    assert shown == ["shoe", "drum"]


def test_a_view_shows_its_own_product(corpus):
    for number, product in enumerate(PRODUCTS):
        for view in np.unique(corpus.view_index[number, :, NATURAL]):
            solid = corpus.views[view][corpus.views[view][..., 3] == 255]
            assert np.median(solid[:, :3], axis=0).tolist() == list(COLOURS[product.product_id])


def test_the_product_covers_the_scene_and_its_shadow_darkens_it(corpus):
    view = int(corpus.view_index[0, 0, NATURAL, 0])
    picture = corpus.composite(torch.tensor([view]), torch.tensor([[1, 2, 0]]), torch.tensor([1]))
    assert picture.shape == (1, 3, SIDE, SIDE)
    codes = ((picture[0].permute(1, 2, 0) + 1) * 127.5).round().numpy()
    alpha, shadow = corpus.views[view][..., 3], corpus.views[view][..., 4]
    grey = corpus.scenes[1, 2, 1, 0, 0]
    own = corpus.views[view][..., :3].astype(int)
    assert np.abs(codes[alpha == 255] - own[alpha == 255]).max() <= 1
    assert np.abs(codes[(alpha == 0) & (shadow == 255)] - grey).max() <= 1
    shaded = (alpha == 0) & (shadow < 200)
    assert shaded.any() and (codes[shaded] < grey).all()


def test_a_packshot_stands_on_white(corpus):
    view = int(corpus.view_index[1, 0, NATURAL, 0])
    pixels, alpha = corpus.packshot(torch.tensor([view]))
    assert pixels.shape == (1, 3, SIDE, SIDE) and alpha.shape == (1, 1, SIDE, SIDE)
    assert (pixels[0, :, alpha[0, 0] == 0] == 1).all()
    shown = (pixels[0][:, alpha[0, 0] == 1] + 1) * 127.5
    assert shown.median(dim=1).values.tolist() == pytest.approx(COLOURS["drum"])


def test_scenes_are_rendered_by_seed():
    palette, setting = next(iter(PALETTES)), next(iter(SETTINGS))
    scenes = render_scenes((palette, setting, 2))
    assert scenes.shape == (2, SIDE, SIDE, 3)
    assert np.array_equal(scenes[1], render_scene(Scene(palette, setting, 1), SIDE))
    assert not np.array_equal(scenes[0], scenes[1])


def test_a_rendered_corpus_is_not_rendered_again(tmp_path, corpus_folder, corpus):
    nowhere = tmp_path / "no-artworks"
    found = build_corpus(write_world(tmp_path), nowhere, corpus_folder / "corpus")
    assert found.products == PRODUCTS
    assert np.array_equal(found.views, corpus.views)
    assert np.array_equal(found.view_index, corpus.view_index)
    assert np.array_equal(found.scenes, corpus.scenes)


def test_the_embedded_world_holds_products_out():
    products = load_products(WORLD)
    held_out = [product for product in products if product.held_out]
    assert 0.05 < len(held_out) / len(products) < 0.3
    assert len({product.product_id for product in products}) == len(products)
