"""One generation for all who watch or wait, with the shipped model and engine."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from server.core import Accepted, ImageRequest, OutputSpec, Source
from tests.server.opening import open_pipeline
from tests.server.registry import hold

ASKED = ImageRequest("shoe", "known", steps=6, seed=90_411, output=OutputSpec(longest_side=128))


@pytest.fixture
async def shop(reader, models, engine):
    encoders = next(iter(models.values())).encoders
    cache = {"memory_bytes": 2**24}
    with ThreadPoolExecutor(2) as workers:
        yield open_pipeline(reader, hold(models), encoders, engine, workers, cache=cache)


async def test_of_eight_equal_streams_one_is_made_and_all_see_how_it_goes(shop):
    told: list[list] = [[] for _ in range(8)]
    asked = replace(ASKED, preview_side=32)
    answers = await asyncio.gather(*(shop.generate(asked, each.append) for each in told))
    sources = [answer.source for answer in answers]
    assert (sources.count(Source.GENERATED), sources.count(Source.CACHE)) == (1, 7)
    assert len({answer.images for answer in answers}) == 1
    for first, *steps in told:
        assert first == Accepted()
        told_steps = [(event.step, event.total_steps) for event in steps]
        assert told_steps == [(step, 6) for step in range(1, 7)]
    again: list = []
    assert (await shop.generate(asked, again.append)).source is Source.CACHE and not again


async def test_what_was_made_for_who_waits_answers_a_batch_and_the_other_way_round(shop):
    made = await shop.generate(ASKED)
    found = await shop.generate(replace(ASKED, is_background=True))
    assert (made.source, found.source) == (Source.GENERATED, Source.CACHE)
    assert found.images == made.images
    other = replace(ASKED, seed=90_412)
    assert (await shop.generate(replace(other, is_background=True))).source is Source.GENERATED
    assert (await shop.generate(other)).source is Source.CACHE
