"""What requests take over from each other, what they leave out, and which model answers them."""

from __future__ import annotations

import asyncio
import io

import numpy as np
from PIL import Image

from features.records import Shopper, Status
from server.core import FAST, QUALITY, EncodedImage, Progress, Source
from tests.server.scripted_reader import ask, taste


def pixels(image: EncodedImage) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image.data)).convert("RGB")).astype(int)


def num_steps_above(model, side, num_steps):
    return sum(sigma > side for sigma in model.sigmas(num_steps))


async def test_the_same_question_again_takes_no_forward(pipeline):
    first, again = [await pipeline.generate(ask(steps=4)) for _ in range(2)]
    assert (first.num_forward_rows, first.num_shared_steps) == (4, 0)
    assert (again.num_forward_rows, again.num_shared_steps) == (0, 4)
    assert again.images == first.images and again.source is Source.GENERATED


async def test_a_slate_shares_the_steps_that_know_no_product(pipeline, shipped):
    side = shipped.rules.intervals["preserve"].product
    num_shared = num_steps_above(shipped, side, 10)
    assert 0 < num_shared < 10
    slate = [
        await pipeline.generate(ask(product=name, steps=10, slate_rank=0))
        for name in ("backpack", "guitar", "lamp")
    ]
    assert [result.num_shared_steps for result in slate] == [0, num_shared, num_shared]
    assert [result.num_forward_rows for result in slate] == [10] + [10 - num_shared] * 2
    assert len({result.images[0].seed for result in slate}) == 1
    single = [await pipeline.generate(ask(product=n, steps=3)) for n in ("backpack", "guitar")]
    assert [result.num_shared_steps for result in single] == [0, 0], "seeds of their own"


async def test_shoppers_of_one_taste_share_the_steps_that_know_only_that(
    pipeline, engine, shipped, reader
):
    side = shipped.rules.intervals["preserve"].shopper
    num_shared = num_steps_above(shipped, side, 10)
    mine = shipped.rules.buckets.centroids[5]
    like = (0.9 * mine + 0.1 * taste(3)).astype(np.float32)
    assert shipped.rules.buckets.find(like) == 5
    first = await pipeline.generate(ask(steps=10))
    reader.shopper = Shopper(Status.FOUND, mine, consent=True)
    other = await pipeline.generate(ask(steps=10))
    reader.shopper = Shopper(Status.FOUND, like, consent=True)
    third = await pipeline.generate(ask(steps=10))
    assert [r.num_shared_steps for r in (first, other, third)] == [0, 0, num_shared]
    engine._shared.clear()
    alone = await pipeline.generate(ask(steps=10))
    assert alone.num_shared_steps == 0
    assert np.abs(pixels(alone.images[0]) - pixels(third.images[0])).max() <= 1
    assert third.images != other.images


async def test_the_fast_model_answers_in_four_steps_under_its_own_name(pipeline, models):
    fast = await pipeline.generate(ask(model=FAST, steps=None))
    assert fast.steps == 4 and fast.num_forward_rows == 4
    assert fast.model is not None and fast.model.name == models[FAST].name
    asked = await pipeline.generate(ask(model=QUALITY))
    silent = await pipeline.generate(ask())
    assert asked.model is not None and asked.model.name == models[QUALITY].name
    assert silent.model == asked.model


async def test_reuse_saves_forwards_where_it_is_asked_for(pipeline):
    whole = await pipeline.generate(ask(steps=20))
    fewer = await pipeline.generate(ask(steps=20, reuse_predictions=True))
    assert whole.num_forward_rows == 20 == fewer.steps
    assert 2 <= fewer.num_forward_rows < 20 and fewer.num_shared_steps == 0


async def test_who_asks_the_same_at_the_same_time_is_told_the_same_steps(pipeline):
    events: tuple[list[object], list[object]] = ([], [])
    one, other = await asyncio.gather(
        *(pipeline.generate(ask(steps=6), told.append) for told in events)
    )
    assert one.images == other.images
    assert sorted([one.num_forward_rows, other.num_forward_rows]) == [0, 6]
    for told in events:
        steps = [event.step for event in told if isinstance(event, Progress)]
        assert steps == sorted(set(steps)) and steps[-1] == 6
