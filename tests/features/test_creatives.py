"""The shop's creatives: the right product in the right place."""

import numpy as np

from diffusion.scenes import Scene, render_scene
from features.catalogue import CatalogueProduct
from features.creatives import SIDE, choose_creatives, embed_creatives, render_creative, shrink
from tests.features.pictures import draw_picture, save_pictures


def test_a_creative_shows_the_product_in_its_own_colours_on_the_scene():
    packshot = np.asarray(draw_picture())
    image = render_creative(packshot, "mint", "studio", "natural", 3)
    ground = render_scene(Scene("mint", "studio", 3), SIDE)
    assert image.shape == (SIDE, SIDE, 3) and image.dtype == np.uint8
    assert image[66, 64].tolist() == [200, 30, 30]
    assert np.array_equal(image[:16], ground[:16])


def test_only_a_duotone_takes_the_colours_of_its_surroundings():
    packshot = np.asarray(draw_picture())
    middle = np.s_[50:80, 50:80]

    def product_in(palette, treatment):
        return render_creative(packshot, palette, "studio", treatment, 3)[middle]

    assert np.array_equal(product_in("mint", "flat"), product_in("rose", "flat"))
    assert not np.array_equal(product_in("mint", "duotone"), product_in("rose", "duotone"))


def test_pictures_are_treated_small():
    assert shrink(np.asarray(draw_picture(side=400))).shape == (128, 128, 4)


def test_embeddings_are_those_of_the_pictures_in_order(tmp_path, encoders):
    names = ("a.png", "b.png", "c.png")
    save_pictures(tmp_path, *names)
    products = [
        CatalogueProduct(name, {"en": name}, "", "", str(tmp_path / name), False, None)
        for name in names
    ]
    bank = choose_creatives(len(products), 10, np.random.default_rng(0))
    found = embed_creatives(bank, products, encoders, batch_size=4, progress=False)
    again = embed_creatives(bank, products, encoders, batch_size=10, progress=False)
    assert found.shape == (10, encoders.width) and np.allclose(found, again)
    assert len(np.unique(found.round(4), axis=0)) > 5
