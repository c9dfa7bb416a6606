"""The merchant's own picture, shown as it was asked for, whatever the reason that it is shown."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from server.core import QUALITY, Arm, Degradation, OutputSpec, Source
from server.creative import Caption, Kind, Placement, Price
from server.imaging.encode import show_packshot
from server.imaging.placements import PRESETS
from tests.server.opening import open_pipeline
from tests.server.registry import hold
from tests.server.scripted_reader import ask, hurry

OUTPUT = OutputSpec(longest_side=256)
CAPTION = Caption(title=True, price=Price("EUR", 12), badge="New")
LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><rect width="9" height="9"/></svg>'
)


def ask_original(**wishes):
    return ask(**{"arm": Arm.ORIGINAL, "output": OUTPUT, **wishes})


def pixels(result):
    return np.asarray(Image.open(io.BytesIO(result.images[0].data)))


def find_extent(shown):
    """Left, top, right and lower edge of what is not white."""
    rows, columns = np.nonzero((shown < 250).any(axis=2))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def edges(box):
    return box.left, box.top, box.right, box.bottom


@pytest.fixture
def tall(reader, tmp_path):
    """The packshot [300, 120, 4] of the catalogue: a bar, red on its left, on nothing."""
    drawn = np.zeros((300, 120, 4), np.uint8)
    drawn[20:280, 40:80] = (20, 20, 160, 255)
    drawn[20:280, 20:40] = (200, 20, 20, 255)
    Image.fromarray(drawn).save(tmp_path / "bar.png")
    reader.packshot = str(tmp_path / "bar.png")
    return drawn


async def test_where_nothing_is_asked_for_it_is_as_it_is(pipeline, tall):
    result = await pipeline.generate(ask_original(output=OutputSpec(longest_side=150)))
    assert np.array_equal(pixels(result), show_packshot(tall, 150))
    large = await pipeline.generate(ask_original(output=OutputSpec(longest_side=2048)))
    assert pixels(large).shape == (300, 120, 3), "it is never enlarged"
    assert result.images[0].layout is None and result.source is Source.ORIGINAL


@pytest.mark.parametrize("placement", Placement)
async def test_a_placement_says_its_proportions_and_where_the_product_stands(
    pipeline, tall, placement
):
    result = await pipeline.generate(ask_original(placement=placement))
    shown, preset = pixels(result), PRESETS[placement]
    height, width = shown.shape[:2]
    assert (
        width / height == pytest.approx(preset.aspect_ratio, rel=0.01) and max(width, height) == 256
    )
    (product,) = result.images[0].layout.elements
    assert product.kind is Kind.PRODUCT
    assert find_extent(shown) == pytest.approx(edges(product.box), abs=1.5)
    place = preset.find_product_box(width, height)
    assert product.box.height == pytest.approx(place.height, abs=0.01)
    assert product.box.bottom == pytest.approx(place.bottom, abs=0.01)


@pytest.mark.parametrize(("ratio", "size"), [(3.0, (256, 85)), (0.5, (128, 256))])
async def test_proportions_are_exact(pipeline, ratio, size):
    output = replace(OUTPUT, aspect_ratio=ratio)
    image = (await pipeline.generate(ask_original(output=output))).images[0]
    assert (image.width, image.height) == size and image.layout is None


@pytest.mark.parametrize("locale", ["en", "ar"])
async def test_words_are_set_beside_it_and_it_is_never_mirrored(pipeline, tall, locale):
    plain = ask_original(
        placement=Placement.BANNER, locale=locale, output=OutputSpec(longest_side=768)
    )
    result = await pipeline.generate(replace(plain, caption=CAPTION))
    layout, shown = result.images[0].layout, pixels(result)
    kinds = {each.kind for each in layout.elements}
    assert kinds == {Kind.PRODUCT, Kind.TITLE, Kind.PRICE, Kind.BADGE}
    left, top, right, lower = (round(edge) for edge in edges(layout.elements[0].box))
    assert (left < 384) is (locale == "ar"), "lines begin on the other side"
    product = shown[top + 3 : lower - 3, left + 3 : right - 3]
    third = product.shape[1] // 4
    assert (product[:, :third] == (200, 20, 20)).all(), "its left is on the left"
    assert (product[:, -third:] == (20, 20, 160)).all()
    rest = shown.copy()
    rest[top - 2 : lower + 2, left - 2 : right + 2] = 255
    assert (rest < 100).any(), "there are words"


async def test_the_logo_of_a_brand_is_on_it(reader, models, engine, tmp_path):
    (tmp_path / "logo.svg").write_text(LOGO)
    (tmp_path / "acme.yaml").write_text("name: acme\nlogo: {file: logo.svg}\n")
    with ThreadPoolExecutor(1) as workers:
        shop = open_pipeline(
            reader,
            hold(models),
            models[QUALITY].encoders,
            engine,
            workers,
            creatives={"brand_kits": tmp_path},
        )
        image = (await shop.generate(ask_original(brand_kit="acme"))).images[0]
    assert image.layout is not None
    assert [each.kind for each in image.layout.elements] == [Kind.PRODUCT, Kind.LOGO]


async def test_the_layout_of_a_creative_is_drawn_on_it(pipeline):
    wishes = {"placement": Placement.STORY, "caption": CAPTION, "output": OUTPUT}
    creative = (await pipeline.generate(ask(**wishes))).images[0]
    result = await pipeline.generate(ask_original(layout=creative.layout))
    assert result.images[0].layout == creative.layout
    told = await pipeline.generate(ask_original(**wishes))
    assert [e.kind for e in told.images[0].layout.elements] == [
        e.kind for e in creative.layout.elements
    ]


async def test_whatever_the_reason_it_is_the_same_picture(pipeline):
    wishes = {"placement": Placement.SQUARE, "caption": CAPTION, "output": OUTPUT}
    asked = await pipeline.generate(ask_original(**wishes))
    late = await pipeline.generate(hurry(**wishes))
    assert (late.source, late.degradation) == (Source.ORIGINAL, Degradation.ORIGINAL)
    assert late.images[0].data == asked.images[0].data
    assert late.images[0].layout == asked.images[0].layout


async def test_what_can_not_be_written_is_said(pipeline):
    caption = Caption(badge="\u0378 New")  # a letter that there is not
    result = await pipeline.generate(ask_original(caption=caption, num_images=2))
    (warning,) = result.warnings
    assert warning.startswith("the badge is left out") and len(result.images) == 2
