"""Restoring: tiles of a picture as rows of the engine, and one estimate for all of them."""

import asyncio
import time

import numpy as np
import pytest

from server.enhancement import restoring as module
from server.enhancement.restoring import Restoring, TooLarge, card_of, plan_tiles
from server.errors import DeadlineExceeded
from tests.server.enhancement.conftest import SIDE


def draw_picture(height=100, width=150, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def draw_mask(height=100, width=150):
    mask = np.zeros((height, width), np.bool_)
    mask[40:60, 30:70] = True
    return mask


class Watched:
    """A restorer that tells what it was asked."""

    def __init__(self, restorer):
        self.restorer, self.estimated, self.levels = restorer, [], []
        self.name, self.digest = restorer.name, restorer.digest
        self.side, self.preset = restorer.side, restorer.preset

    def estimate(self, pixels):
        self.estimated.append(pixels)
        return np.array([0.1, 0.2, 0.3, 0.4], np.float32)

    def plan(self, damaged, mask=None, num_steps=None, levels=None):
        self.levels.append(levels)
        return self.restorer.plan(damaged, mask, num_steps, levels)


async def test_the_engine_restores_as_the_restorer_does(restoring, restorer):
    pixels = draw_picture()
    served = await restoring.restore(pixels)
    alone = restorer.restore(pixels)
    assert served.shape == pixels.shape and not np.array_equal(served, pixels)
    assert np.abs(served.astype(int) - alone).max() <= 1


async def test_with_a_mask_all_else_stays_to_the_code(restoring):
    pixels, mask = draw_picture(), draw_mask()
    painted = await restoring.restore(pixels, mask)
    assert np.array_equal(painted[~mask], pixels[~mask])
    assert not np.array_equal(painted[mask], pixels[mask])


async def test_what_lies_under_a_mask_plays_no_part(restoring):
    pixels, mask = draw_picture(), draw_mask()
    other = pixels.copy()
    other[mask] = 0
    both = [await restoring.restore(each, mask) for each in (pixels, other)]
    assert np.array_equal(*both)


async def test_more_steps_are_another_way(restoring):
    pixels = draw_picture()
    one, three = [await restoring.restore(pixels, num_steps=steps) for steps in (1, 3)]
    assert not np.array_equal(one, three)


def test_damage_is_estimated_once_for_a_whole_picture(restorer):
    watched = Watched(restorer)
    _, places, routes = plan_tiles(watched, draw_picture(), None, None)
    assert len(routes) == len(places) > 1
    assert [each.shape for each in watched.estimated] == [(100, 150, 3)]
    assert all(np.array_equal(each, watched.levels[0]) for each in watched.levels)
    assert watched.levels[0].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_damage_is_estimated_in_what_was_filled(restorer):
    watched, mask = Watched(restorer), draw_mask()
    pixels = np.full((100, 150, 3), 200, np.uint8)
    pixels[mask] = 0
    plan_tiles(watched, pixels, mask, None)
    assert np.abs(watched.estimated[0].astype(int) - 200).max() <= 1


def test_tiles_of_one_colour_are_no_rows(restorer):
    pixels = np.full((3 * SIDE, 3 * SIDE, 3), 255, np.uint8)
    assert plan_tiles(restorer, pixels, None, None)[2] == {}
    pixels[4:9, 4:9] = 0
    _, places, routes = plan_tiles(restorer, pixels, None, None)
    assert list(routes) == [0] and len(places) > 4


def test_with_a_mask_only_tiles_under_it_are_rows(restorer):
    pixels, mask = draw_picture(3 * SIDE, 3 * SIDE), np.zeros((3 * SIDE, 3 * SIDE), np.bool_)
    mask[2:6, 2:6] = True
    assert list(plan_tiles(restorer, pixels, mask, None)[2]) == [0]


async def test_many_tiles_go_in_several_tickets(restoring, restorer, monkeypatch):
    pixels = draw_picture(200, 200)
    whole = await restoring.restore(pixels)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 2)
    assert np.abs((await restoring.restore(pixels)).astype(int) - whole).max() <= 1


async def test_what_would_take_too_long_is_refused(restoring, monkeypatch):
    monkeypatch.setattr(module, "MAX_TILES", 3)
    with pytest.raises(TooLarge):
        await restoring.restore(draw_picture(200, 200))


async def test_only_tiles_in_which_something_is_done_count(restoring, monkeypatch):
    monkeypatch.setattr(module, "MAX_TILES", 1)
    pixels, mask = draw_picture(200, 200), np.zeros((200, 200), np.bool_)
    mask[2:6, 2:6] = True
    painted = await restoring.restore(pixels, mask)
    assert np.array_equal(painted[~mask], pixels[~mask])
    white = np.full((200, 200, 3), 255, np.uint8)
    white[2:6, 2:6] = 0
    assert (await restoring.restore(white)).shape == white.shape
    mask[150:160, 150:160] = True
    with pytest.raises(TooLarge):
        await restoring.restore(pixels, mask)


def test_a_picture_that_would_not_fit_into_memory_is_refused_before_it_is_cut(restorer):
    for size in ((4001, 5000), (1, 400_000)):
        with pytest.raises(TooLarge):
            plan_tiles(restorer, np.zeros((*size, 3), np.uint8), None, None)


def test_of_a_huge_picture_damage_is_estimated_in_the_middle(restorer):
    watched, pixels = Watched(restorer), np.zeros((70, 2300, 3), np.uint8)
    pixels[:, 120 : 120 + 2048] = 9
    pixels[4:9, 4:9] = 1
    plan_tiles(watched, pixels, None, None)
    (seen,) = watched.estimated
    assert seen.shape == (70, 2048, 3) and (seen == 9).all()


async def test_a_deadline_that_passed_is_told(restoring):
    with pytest.raises(DeadlineExceeded):
        await restoring.restore(draw_picture(seed=9), deadline_s=time.monotonic() - 1)


async def test_the_model_is_opened_once_for_all_who_wait(router, workers, restorer):
    opened = []

    async def open_model():
        opened.append(1)
        await asyncio.sleep(0)
        return restorer

    restoring = Restoring(router, workers, open_model)
    models = await asyncio.gather(restoring.open(), restoring.open(), restoring.open())
    assert opened == [1] and all(model is restorer for model in models)
    assert (card_of(models[0]).name, card_of(models[0]).digest) == ("tiny", "0" * 16)
    await restoring.close()


async def test_a_model_that_did_not_load_is_tried_again(router, workers, restorer):
    answers = [OSError("the disk is gone"), restorer]

    async def open_model():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    restoring = Restoring(router, workers, open_model)
    with pytest.raises(OSError, match="the disk is gone"):
        await restoring.open()
    assert await restoring.open() is restorer
    await restoring.close()


async def test_who_gives_up_does_not_stop_the_loading(router, workers, restorer):
    may_go = asyncio.Event()

    async def open_model():
        await may_go.wait()
        return restorer

    restoring = Restoring(router, workers, open_model)
    impatient, patient = (asyncio.ensure_future(restoring.open()) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    may_go.set()
    assert await patient is restorer
    assert impatient.cancelled()
    await restoring.close()
