"""Products ready for fusion: what is cut out, their language, and how long they are kept."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffusion.cutout import MaskSource, Matte
from features.packshots import PackshotUnusable
from features.records import Product
from server.core import InlineProduct
from server.products import CutoutShelf, ProductShelf
from tests.diffusion.tiny import LATENT_CHANNELS, LATENT_SIDE, WIDTH, load_model

TITLES = {"en": "shoe", "de": "Schuh", "pt-BR": "sapato", "zh-hant": "鞋"}
PREPARED_BYTES = 4 * (24 * 24 + (LATENT_CHANNELS + 1) * LATENT_SIDE**2 + 2 * WIDTH)
"""A cut-out of 24 px, latents with a mask, and two vectors."""

VECTOR = np.linspace(0, 1, WIDTH, dtype=np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def shelf(model):
    return ProductShelf(model, model.encoders, CutoutShelf(), max_bytes=2 * PREPARED_BYTES)


def draw_packshot(colour="crimson", side=24):
    image = Image.new("RGBA", (side, side))
    image.paste(Image.new("RGBA", (side // 2, side // 2), colour), (side // 4, side // 4))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def make_product(tmp_path):
    (tmp_path / "shoe.png").write_bytes(draw_packshot())

    def make(product_id="shoe", **changes):
        facts = {
            "titles": TITLES,
            "category": "clothing",
            "packshot": str(tmp_path / "shoe.png"),
            "image_embedding": VECTOR,
            "text_embedding": -VECTOR,
            "ages_s": {},
        }
        return Product(product_id, **{**facts, **changes})

    return make


def test_a_product_is_prepared_from_its_packshot_and_vectors(shelf, make_product):
    prepared = shelf.prepare(make_product(), "en")
    assert prepared.name == "shoe" and prepared.cutout.shape == (24, 24, 4)
    assert prepared.condition.packshot.shape == (1, LATENT_CHANNELS + 1, LATENT_SIDE, LATENT_SIDE)
    assert prepared.condition.image_embedding is not None
    assert np.array_equal(prepared.condition.image_embedding, VECTOR)
    assert np.array_equal(prepared.condition.title_embedding, -VECTOR)


def test_another_language_is_encoded_when_it_is_asked_for(shelf, make_product, model):
    prepared = shelf.prepare(make_product(), "de-CH")
    expected = model.encoders.encode_texts(["Schuh"])[0]
    assert prepared.condition.title_embedding == pytest.approx(expected, abs=1e-6)


def test_a_product_is_prepared_once_while_nothing_of_it_changes(shelf, make_product):
    first = shelf.prepare(make_product(), "en")
    assert shelf.prepare(make_product(), "en-GB") is first
    assert shelf.prepare(make_product(), "fi") is first
    assert shelf.prepare(make_product(), "de") is not first
    changed = make_product(image_embedding=VECTOR[::-1].copy())
    assert shelf.prepare(changed, "en") is not first


def test_products_that_were_asked_for_least_lately_go_first(shelf, make_product):
    one, two = (shelf.prepare(make_product(name), "en") for name in ("one", "two"))
    assert shelf.prepare(make_product("one"), "en") is one
    shelf.prepare(make_product("three"), "en")
    assert shelf.prepare(make_product("one"), "en") is one
    assert shelf.prepare(make_product("two"), "en") is not two
    assert one.num_bytes == two.num_bytes == PREPARED_BYTES


def test_several_threads_may_ask_at_once(model, make_product):
    shelf = ProductShelf(model, model.encoders, CutoutShelf(), max_bytes=3 * PREPARED_BYTES)
    names = [f"p{number % 5}" for number in range(40)]
    with ThreadPoolExecutor(4) as pool:
        prepared = list(pool.map(lambda name: shelf.prepare(make_product(name), "en"), names))
    assert [product.name for product in prepared] == names


def test_a_packshot_that_is_gone_is_told(shelf, make_product, tmp_path):
    with pytest.raises(PackshotUnusable):
        shelf.prepare(make_product(packshot=str(tmp_path / "gone.png")), "en")


def test_an_inline_product_is_encoded_with_its_attributes(shelf, model):
    inline = InlineProduct("Red shoe", draw_packshot(), {"size": "42", "brand": "Acme"})
    prepared = shelf.prepare_inline(inline, "en")
    assert prepared.name == "Red shoe" and prepared.cutout.shape == (24, 24, 4)
    expected = model.encoders.encode_texts(["Red shoe, brand Acme, size 42"])[0]
    assert prepared.condition.title_embedding == pytest.approx(expected, abs=1e-6)
    assert np.isfinite(prepared.condition.image_embedding).all()
    assert shelf.prepare_inline(inline, "en") is not prepared


def test_an_inline_product_without_attributes_is_its_title(shelf, model):
    prepared = shelf.prepare_inline(InlineProduct("Red shoe", draw_packshot(), {}), "en")
    expected = model.encoders.encode_texts(["Red shoe"])[0]
    assert prepared.condition.title_embedding == pytest.approx(expected, abs=1e-6)


class Told:
    """A model that keeps what it is told."""

    def prepare(self, facts, aspect_ratio=1.0):
        told = {field.name: getattr(facts, field.name) for field in fields(facts)}
        return SimpleNamespace(digest=b"", **told)


def test_models_that_read_are_told_the_attributes(model):
    told: Any = Told()
    shelf = ProductShelf(told, model.encoders, CutoutShelf())
    for attributes, words in (({"size": "42", "brand": "Acme"}, "brand Acme, size 42"), ({}, "")):
        inline = InlineProduct("Red shoe", draw_packshot(), attributes)
        facts = shelf.prepare_inline(inline, "en").condition
        assert (facts.title, facts.attributes) == ("Red shoe", words)


def test_a_map_that_comes_along_is_as_large_as_the_cut_out(model):
    told: Any = Told()
    shelf = ProductShelf(told, model.encoders, CutoutShelf())
    depth = draw_packshot("white", side=96)
    inline = InlineProduct("shoe", draw_packshot(), {}, depth)
    facts = shelf.prepare_inline(inline, "en").condition
    assert facts.control.shape == (*facts.cutout.shape[:2], 3)
    assert facts.control[12, 12].tolist() == [255, 255, 255] and not facts.control[0, 0].any()
    assert (
        shelf.prepare_inline(InlineProduct("shoe", draw_packshot(), {}), "en").condition.control
        is None
    )


# --- what is cut out ---

BUSY = np.random.default_rng(3).integers(0, 256, (24, 24, 3), dtype=np.uint8)
TRUTH = np.zeros((24, 24), np.float32)
TRUTH[6:18, 4:20] = 1


def to_png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class Finder:
    """A matting model that was told where the product is, and counts how often it is asked."""

    def __init__(self, alpha=TRUTH):
        self.alpha, self.num_asked = alpha, 0

    def __call__(self, rgb):
        self.num_asked += 1
        return Matte.of(self.alpha)


def test_a_product_before_a_busy_ground_is_cut_out_and_encoded_alone(model):
    finder = Finder()
    shelf = ProductShelf(model, model.encoders, CutoutShelf(finder))
    prepared = shelf.prepare_inline(InlineProduct("shoe", to_png(BUSY), {}), "en")
    assert prepared.packshot is not None and prepared.packshot.source is MaskSource.MATTING
    assert np.array_equal(prepared.packshot.pixels[..., 3] == 255, TRUTH == 1)
    alone = np.dstack((BUSY, np.rint(255 * TRUTH).astype(np.uint8)))
    same = shelf.prepare_inline(InlineProduct("shoe", to_png(alone), {}), "en")
    found, expected = prepared.condition.image_embedding, same.condition.image_embedding
    assert found == pytest.approx(expected, abs=1e-4)
    assert finder.num_asked == 1, "alpha needs no model"


def test_a_mask_that_comes_along_is_not_asked_for_again(model):
    finder = Finder()
    shelf = ProductShelf(model, model.encoders, CutoutShelf(finder))
    mask = np.zeros((24, 24), np.uint8)
    mask[:, :9] = 255
    inline = InlineProduct("shoe", to_png(BUSY), {}, mask=to_png(mask))
    prepared = shelf.prepare_inline(inline, "en")
    assert prepared.packshot is not None and prepared.packshot.source is MaskSource.GIVEN
    assert np.array_equal(prepared.packshot.pixels, np.dstack((BUSY, mask)))
    assert not finder.num_asked


def test_a_product_of_the_catalogue_is_cut_out_once_for_all_models_and_languages(
    model, make_product, tmp_path
):
    (tmp_path / "shoe.png").write_bytes(to_png(BUSY))
    finder = Finder()
    cutouts = CutoutShelf(finder)
    one, other = (ProductShelf(model, model.encoders, cutouts) for _ in range(2))
    shown = [
        shelf.prepare(make_product(), locale, ratio).cutout
        for shelf, locale, ratio in [(one, "en", 1.0), (one, "de", 1.0), (other, "en", 2.0)]
    ]
    assert finder.num_asked == 1 and shown[0] is shown[1] is shown[2]
    changed = make_product(image_embedding=VECTOR[::-1].copy())
    assert one.prepare(changed, "en").cutout is not shown[0] and finder.num_asked == 2


def test_what_no_shelf_keeps_any_more_is_gone(make_product):
    cutouts = CutoutShelf()
    found = cutouts.open(make_product())
    assert cutouts.open(make_product()) is found
    del found
    assert not cutouts._kept


def test_another_mask_is_another_product_in_all_that_is_kept(model):
    other = TRUTH.copy()
    other[6] = 0
    inline = InlineProduct("shoe", to_png(BUSY), {})
    digests = {
        ProductShelf(model, model.encoders, CutoutShelf(finder)).prepare_inline(inline, "en").digest
        for finder in (Finder(), Finder(TRUTH.copy()), Finder(other), None)
    }
    assert len(digests) == 3


def test_what_a_model_cut_out_is_kept_with_the_picture_that_its_merchant_shows(model):
    shelf = ProductShelf(model, model.encoders, CutoutShelf(Finder()))
    prepared = shelf.prepare_inline(InlineProduct("shoe", to_png(BUSY), {}), "en")
    assert prepared.packshot is not None and np.array_equal(prepared.packshot.original, BUSY)
    assert prepared.num_bytes == PREPARED_BYTES + BUSY.nbytes
