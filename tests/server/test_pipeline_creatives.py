"""What market, brand, caption and cache make of a request, with the shipped model and engine."""

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffusion.looks import SceneWish
from server.core import (
    CachePolicy,
    ImageRequest,
    Mode,
    OutputSpec,
    Reason,
    Source,
)
from server.creative import Caption, Kind, Localization, Placement, Price
from server.errors import InvalidRequest
from tests.server.opening import open_pipeline
from tests.server.registry import hold

SMALL = OutputSpec(longest_side=256)


def ask(**fields) -> ImageRequest:
    told: dict[str, Any] = {
        "product": "shoe",
        "user_id": "known",
        "steps": 3,
        "seed": 1,
        "output": SMALL,
    }
    return ImageRequest(**(told | fields))


def picture(result, number=0):
    return np.asarray(Image.open(io.BytesIO(result.images[number].data)).convert("RGB"))


@pytest.fixture
async def shop(reader, models, engine, tmp_path):
    """A pipeline that keeps images, and has a brand kit."""
    (tmp_path / "acme.yaml").write_text(
        "name: acme\npalettes: {banned: [mint]}\ndenied_words: [cheap]\n"
    )
    settings: dict[str, Any] = {
        "cache": {"memory_bytes": 2**24},
        "creatives": {"brand_kits": tmp_path},
    }
    encoders = next(iter(models.values())).encoders
    with ThreadPoolExecutor(2) as workers:
        yield open_pipeline(reader, hold(models), encoders, engine, workers, **settings)


async def test_the_second_who_asks_the_same_gets_the_image_of_the_first(shop):
    first, second = await shop.generate(ask(request_id="a")), await shop.generate(ask())
    assert (first.source, second.source) == (Source.GENERATED, Source.CACHE)
    assert first.images == second.images
    assert second.num_forward_rows == 0 and second.request_id == ""
    assert second.personalization == replace(
        first.personalization, feature_ages_s=second.personalization.feature_ages_s
    )
    assert "sample" in first.timings_s and "sample" not in second.timings_s


async def test_an_image_for_nobody_is_not_one_for_a_shopper(shop):
    await shop.generate(ask())
    nobody = await shop.generate(ask(user_id=""))
    assert nobody.source is Source.GENERATED
    assert nobody.personalization.reason is Reason.ANONYMOUS
    zero = await shop.generate(ask(strength=0.0))
    assert zero.source is Source.CACHE and zero.images == nobody.images, "the very same image"
    assert zero.personalization.reason is Reason.STRENGTH_ZERO


async def test_a_hundred_who_ask_at_once_are_answered_by_one_generation(shop):
    results = await asyncio.gather(*(shop.generate(ask(seed=77)) for _ in range(100)))
    assert sum(result.source is Source.GENERATED for result in results) == 1
    assert sum(result.num_forward_rows > 0 for result in results) == 1
    assert len({result.images[0].data for result in results}) == 1


@pytest.mark.parametrize("policy", [CachePolicy.BYPASS, CachePolicy.REFRESH])
async def test_who_wants_a_new_image_gets_one(shop, policy):
    kept = await shop.generate(ask())
    new = await shop.generate(ask(cache_policy=policy))
    assert new.source is Source.GENERATED and new.images == kept.images


async def test_what_is_written_is_told_and_seen(shop):
    caption = Caption(title=True, price=Price("EUR", 12, 500_000_000), badge="-20 %")
    bare, written = await shop.generate(ask()), await shop.generate(ask(caption=caption))
    layout = written.images[0].layout
    assert {each.kind for each in layout.elements} == {
        Kind.PRODUCT,
        Kind.TITLE,
        Kind.PRICE,
        Kind.BADGE,
    }
    assert not written.warnings and bare.images[0].layout is None
    product = layout.elements[0].box
    apart = (picture(bare) != picture(written)).any(axis=2)
    top, left = round(product.top), round(product.left)
    inside = apart[top : round(product.bottom), left : round(product.right)]
    assert apart.any() and not inside.any(), "nothing is written on the product"


async def test_a_layout_that_comes_back_is_drawn_as_it_is(shop):
    caption = Caption(title=True, badge="New")
    first = await shop.generate(ask(caption=caption))
    again = await shop.generate(ask(layout=first.images[0].layout))
    assert again.images[0].layout == first.images[0].layout
    assert np.array_equal(picture(again), picture(first))
    larger = await shop.generate(
        ask(layout=first.images[0].layout, output=OutputSpec(longest_side=512))
    )
    assert larger.images[0].layout.width == 512


@pytest.mark.parametrize(
    ("placement", "size"),
    [
        (Placement.SQUARE, (256, 256)),
        (Placement.STORY, (144, 256)),
        (Placement.BANNER, (256, 85)),
        (Placement.THUMBNAIL, (256, 256)),
    ],
)
async def test_a_placement_says_the_proportions(shop, placement, size):
    result = await shop.generate(ask(placement=placement))
    image = result.images[0]
    assert (image.width, image.height) == size
    assert image.layout.elements[0].kind is Kind.PRODUCT


async def test_a_wish_for_a_look_is_followed_and_told(shop):
    scene = SceneWish(palette="rose", setting="night")
    result = await shop.generate(ask(scene=scene))
    assert set(result.images[0].look) >= {"rose", "night"}
    assert not np.array_equal(picture(result), picture(await shop.generate(ask())))


async def test_creations_differ_and_each_is_made_again_from_its_seed(shop):
    request = ask(mode=Mode.CREATE, num_images=3, diversity=1.0)
    result = await shop.generate(request)
    assert len({image.look for image in result.images}) > 1
    second = result.images[1]
    alone = await shop.generate(replace(request, num_images=1, seed=second.seed))
    assert alone.images[0].look == second.look
    assert np.abs(picture(alone).astype(int) - picture(result, 1)).max() <= 1


async def test_a_festival_fills_what_a_scene_leaves_open(shop):
    spring = Localization("CN", date(2027, 2, 6), True)
    result = await shop.generate(ask(locale="zh", localization=spring))
    assert result.images[0].look


async def test_an_unknown_market_is_refused_by_name(shop):
    with pytest.raises(InvalidRequest) as caught:
        await shop.generate(ask(localization=Localization("XX")))
    assert [each.field for each in caught.value.violations] == ["localization.market"]


async def test_a_price_in_an_unknown_currency_is_refused_by_name(shop):
    with pytest.raises(InvalidRequest) as caught:
        await shop.generate(ask(caption=Caption(price=Price("XXQ", 1))))
    assert [each.field for each in caught.value.violations] == ["caption.price"]


async def test_a_brand_kit_bans_palettes_and_words(shop):
    with pytest.raises(InvalidRequest) as caught:
        await shop.generate(ask(brand_kit="acme", scene=SceneWish(palette="mint")))
    assert [each.field for each in caught.value.violations] == ["scene"]
    with pytest.raises(InvalidRequest) as caught:
        await shop.generate(ask(brand_kit="acme", caption=Caption(badge="Cheap!")))
    assert caught.value.reason == "PROMPT_DENIED"
    assert "cheap" not in str(caught.value).lower(), "what is denied is not repeated"


@pytest.mark.parametrize("denied_by", ["kit", "shop"])
async def test_a_product_whose_title_is_denied_is_refused_before_it_is_painted(
    reader, models, engine, tmp_path, denied_by
):
    (tmp_path / "acme.yaml").write_text("name: acme\ndenied_words: [backpack]\n")
    (tmp_path / "words.txt").write_text("weapons: {words: [backpack]}\n")
    settings = {"brand_kits": tmp_path}
    if denied_by == "shop":
        settings = {"denied_words": tmp_path / "words.txt"}
    kit, told = ("acme", "brand kit acme") if denied_by == "kit" else ("", "weapons")
    encoders = next(iter(models.values())).encoders
    with ThreadPoolExecutor(1) as workers:
        shop = open_pipeline(reader, hold(models), encoders, engine, workers, creatives=settings)
        with pytest.raises(InvalidRequest) as caught:
            await shop.generate(ask(brand_kit=kit))
        (violation,) = caught.value.violations
        assert (violation.field, caught.value.reason) == ("product_id", "PROMPT_DENIED")
        assert violation.description == f"its title has words that are denied: {told}"
        german = await shop.generate(ask(brand_kit=kit, locale="de"))
        assert german.title_language == "de", "it is called Rucksack there"


async def test_a_title_in_another_language_is_said(shop):
    result = await shop.generate(ask(locale="fi"))
    assert result.title_language == "en"
    assert result.warnings == ("no title in fi: the one in en is used",)
