"""What is given up for a deadline, in which order, and that it is told."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest

from features.records import Shopper, Status
from server.core import FAST, Arm, DeadlinePolicy, Degradation, Source
from server.errors import DeadlineExceeded
from tests.server.sampling.closed_model import level
from tests.server.scripted_reader import ask, hurry, taste


async def test_degrading_takes_fewer_steps_first_and_the_packshot_last(pipeline, engine, shipped):
    tick_s = 0.5  # far more than it takes: no noise is in the way
    level(engine, shipped.name, tick_s)
    fewer = await pipeline.generate(hurry(30 * tick_s, steps=100))
    assert 20 <= fewer.steps <= 30
    assert (fewer.source, fewer.degradation) == (Source.GENERATED, Degradation.FEWER_STEPS)
    now = await pipeline.generate(hurry(steps=100))
    assert (now.source, now.steps, now.model) == (Source.ORIGINAL, 0, None)
    assert now.degradation is Degradation.ORIGINAL, "nothing whole was there to be shown"


async def test_degrading_shows_what_was_made_for_the_nearest_taste_before_the_packshot(
    pipeline, reader
):
    made = {}
    for number in (1, 2):
        reader.shopper = Shopper(Status.FOUND, taste(number), consent=True)
        made[number] = await pipeline.generate(ask())
        assert made[number].degradation is Degradation.NONE
    for number in (1, 2):
        like = (0.8 * taste(number) + 0.1 * taste(3)).astype(np.float32)
        reader.shopper = Shopper(Status.FOUND, like, consent=True)
        shown = await pipeline.generate(hurry(user_id="another", request_id="r-7"))
        assert (shown.source, shown.degradation) == (Source.CACHE, Degradation.NEAREST_TASTE)
        assert shown.images == made[number].images
        assert shown.request_id == "r-7" and shown.personalization.applied


@pytest.mark.parametrize(
    "change",
    [{"arm": Arm.GENERIC}, {"product": "guitar"}, {"num_images": 2}, {"model": FAST}],
    ids=str,
)
async def test_what_is_not_of_the_like_is_never_shown_instead(pipeline, change):
    await pipeline.generate(ask())
    shown = await pipeline.generate(hurry(**change))
    assert (shown.source, shown.degradation) == (Source.ORIGINAL, Degradation.ORIGINAL)
    assert len(shown.images) == change.get("num_images", 1)


async def test_a_generic_image_is_shown_to_anybody(pipeline):
    generic = await pipeline.generate(ask(arm=Arm.GENERIC))
    shown = await pipeline.generate(hurry())
    assert shown.degradation is Degradation.NEAREST_TASTE and shown.images == generic.images


async def test_nobody_who_did_not_allow_it_is_shown_another_image(pipeline):
    await pipeline.generate(ask())
    with pytest.raises(DeadlineExceeded):
        await pipeline.generate(ask(deadline_s=time.monotonic()))


async def test_the_original_arm_is_no_degradation(pipeline):
    original = await pipeline.generate(ask(arm=Arm.ORIGINAL))
    assert original.degradation is Degradation.NONE and original.num_forward_rows == 0


@pytest.mark.parametrize("jump_s", [-86400.0, 86400.0])
async def test_a_wall_clock_that_jumps_moves_no_deadline(pipeline, monkeypatch, jump_s):
    wall = time.time
    request = ask(deadline_s=time.monotonic() + 600, deadline_policy=DeadlinePolicy.DEGRADE)
    making = asyncio.create_task(pipeline.generate(request))
    await asyncio.sleep(0)
    monkeypatch.setattr(time, "time", lambda: wall() + jump_s)
    result = await making
    assert result.degradation is Degradation.NONE and result.source is Source.GENERATED
