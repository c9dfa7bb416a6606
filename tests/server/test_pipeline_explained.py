"""Explanations come with images, of the images that are shown, and never at their price."""

import io
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from features.records import LastClicks
from server.core import QUALITY, Arm, Degradation, Source
from tests.server.opening import open_pipeline
from tests.server.registry import hold
from tests.server.scripted_reader import ask, hurry, taste
from tests.server.test_studio import Refusing


@pytest.fixture
def open_shop(reader, models, engine):
    """A pipeline that keeps images."""
    with ThreadPoolExecutor(2) as workers:

        def open_it(**options):
            told = {"cache": {"memory_bytes": 2**24}, **options}
            held, encoders = hold(models), models[QUALITY].encoders
            return open_pipeline(reader, held, encoders, engine, workers, **told)

        yield open_it


@pytest.fixture
def shop(open_shop):
    return open_shop()


async def test_an_explanation_comes_with_the_image_where_it_is_wanted(shop):
    told = (await shop.generate(ask(is_explained=True))).explanation
    assert told.influences and told.text and told.shopper_effect > 0
    assert Image.open(io.BytesIO(told.shopper_map)).size == (256, 256)
    cached = await shop.generate(ask(is_explained=True))
    assert cached.source is Source.CACHE and cached.explanation == told
    silent = (await shop.generate(ask(is_explained=True, strength=0.0))).explanation
    assert silent.shopper_map == b"" and silent.shopper_effect == 0


async def test_an_explanation_needs_no_image(shop):
    answer = await shop.explain(ask(), 64)
    assert answer.explanation.map_width == 64 and answer.personalization.applied


async def test_an_image_is_answered_though_there_is_no_time_to_explain_it(shop):
    plain = await shop.generate(ask())
    late = await shop.generate(ask(is_explained=True, deadline_s=time.monotonic()))
    assert late.source is Source.CACHE and late.images == plain.images
    (warning,) = late.warnings
    assert late.explanation is None and warning.startswith("not explained: ")


async def test_an_image_is_answered_though_there_is_no_room_to_explain_it(shop, reader, engine):
    clicks = LastClicks(np.stack([8 * taste(n) for n in range(8)]), np.ones(8, np.float32))
    reader.shopper = replace(reader.shopper, last_clicks=clicks)
    held = engine.limits.max_rows - 1
    engine._num_rows += held
    result = await shop.generate(ask(is_explained=True))
    engine._num_rows -= held
    assert result.source is Source.GENERATED and result.explanation is None
    assert "not explained: the server is full" in result.warnings[0]


async def test_an_image_for_another_taste_is_not_explained_by_this_one(open_shop):
    shop = open_shop(cache=None)
    await shop.generate(ask())
    near = await shop.generate(hurry(is_explained=True))
    assert near.degradation is Degradation.NEAREST_TASTE
    assert near.explanation is None and not near.warnings


async def test_the_packshot_is_not_explained(shop):
    original = await shop.generate(ask(is_explained=True, arm=Arm.ORIGINAL))
    assert original.explanation is None and not original.warnings


async def test_what_is_explained_is_the_image_of_the_try_that_is_shown(open_shop):
    retried = await open_shop(safety=Refusing(1)).generate(ask(is_explained=True, seed=3))
    plain = open_shop()
    shown, first = [
        (await plain.explain(ask(seed=seed), 256)).explanation
        for seed in (retried.images[0].seed, 3)
    ]
    assert retried.explanation == shown != first


async def test_of_several_images_the_first_that_is_no_packshot_is_explained(open_shop):
    wish = ask(is_explained=True, seed=3, num_images=2, max_tries=1)
    result = await open_shop(safety=Refusing(1)).generate(wish)
    (made,) = [image for image in result.images if not image.is_original]
    assert result.explanation == (await open_shop().explain(ask(seed=made.seed), 256)).explanation
