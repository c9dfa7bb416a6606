"""Batches leave room to those who wait for their images."""

from __future__ import annotations

import asyncio

import pytest

from server.batches.room import Background
from server.core import ImageRequest
from tests.server.batches.shop import until
from tests.server.doors.sketching import Sketcher

PATIENT = ImageRequest("patient", num_images=2)


@pytest.fixture
async def sketcher() -> Sketcher:
    return Sketcher()


async def test_no_more_rows_are_under_way_than_allowed(sketcher):
    background = Background(sketcher, max_rows=4)
    tasks = [asyncio.create_task(background.generate(PATIENT)) for _ in range(5)]
    await until(lambda: sketcher.num_running == 2)
    await asyncio.sleep(0.1)
    assert sketcher.num_running == 2
    sketcher.go.set()
    assert len(await asyncio.gather(*tasks)) == 5


async def test_a_request_of_more_images_than_fit_goes_alone(sketcher):
    background = Background(sketcher, max_rows=4)
    small = asyncio.create_task(background.generate(PATIENT))
    await until(lambda: sketcher.num_running == 1)
    large = asyncio.create_task(background.generate(ImageRequest("patient", num_images=8)))
    await asyncio.sleep(0.1)
    assert sketcher.num_running == 1
    sketcher.go.set()
    await asyncio.gather(small, large)


async def test_nothing_is_started_while_others_fill_the_engine(sketcher):
    others = [4]
    background = Background(sketcher, 4, lambda: others[0])
    task = asyncio.create_task(background.generate(ImageRequest("chair")))
    await asyncio.sleep(0.1)
    assert not sketcher.requests
    others[0] = 3
    await task


async def test_whoever_is_cancelled_gives_the_room_back(sketcher):
    background = Background(sketcher, max_rows=2)
    first = asyncio.create_task(background.generate(PATIENT))
    await until(lambda: sketcher.num_running == 1)
    waiting = asyncio.create_task(background.generate(PATIENT))
    for task in (first, waiting):
        task.cancel()
    await asyncio.gather(first, waiting, return_exceptions=True)
    assert sketcher.num_cancelled == 1
    await background.generate(ImageRequest("chair", num_images=2))
