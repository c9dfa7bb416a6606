"""News of a running request: in order, and silent once it is closed."""

import asyncio
import io
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from server.core import Progress
from server.news import News

SIDE = 32


class SlowDecoder:
    """Turns a guess into a plain picture of its own value, when it is let."""

    def __init__(self):
        self.permits = threading.Semaphore(0)
        self.num_calls = 0

    def __call__(self, latents):
        assert self.permits.acquire(timeout=30)
        self.num_calls += 1
        assert latents.shape == (1, 3, 4, 4)
        return np.full((1, SIDE, SIDE, 3), latents[0, 0, 0, 0].item(), np.uint8)


@pytest.fixture
def workers():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def decode():
    return SlowDecoder()


@pytest.fixture
def told():
    return []


def guess(value):
    return torch.full((3, 4, 4), float(value))


async def until_told(told, count):
    async with asyncio.timeout(30):
        while len(told) < count:
            await asyncio.sleep(0.001)


async def test_without_previews_every_step_is_told_once(workers, decode, told):
    news = News(0, 4, decode, workers, told.append)
    for step in (0, 1, 1, 2, 3, 2, 4, 4):
        news.step(step, guess(step))
    assert told == [Progress(step, 4) for step in (1, 2, 3, 4)]
    assert decode.num_calls == 0


async def until_drawn(decode, count):
    async with asyncio.timeout(30):
        while decode.num_calls < count:
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)  # for the future to hear of it


async def test_a_preview_goes_out_with_the_step_after_the_one_it_shows(workers, decode, told):
    news = News(16, 10, decode, workers, told.append)
    for step in range(1, 6):
        decode.permits.release()
        news.step(step, guess(20 * step))
        await until_drawn(decode, step)
    assert [progress.step for progress in told] == [1, 2, 3, 4, 5]
    assert told[0].preview is None
    for progress in told[1:]:
        preview = progress.preview
        assert preview.mime_type == "image/jpeg" and (preview.width, preview.height) == (16, 16)
        shown = np.asarray(Image.open(io.BytesIO(preview.data)))
        assert np.abs(shown - 20.0 * (progress.step - 1)).max() <= 3


async def test_while_a_preview_is_drawn_steps_are_told_without(workers, decode, told):
    news = News(16, 9, decode, workers, told.append)
    for step in (1, 2, 3):
        news.step(step, guess(step))
    decode.permits.release()
    await until_drawn(decode, 1)
    news.step(4, guess(4))
    assert [progress.step for progress in told] == [1, 2, 3, 4]
    assert [progress.preview is not None for progress in told] == [False, False, False, True]
    decode.permits.release()
    await until_drawn(decode, 2)


async def test_a_preview_is_never_larger_than_the_image(workers, decode, told):
    news = News(500, 2, decode, workers, told.append)
    decode.permits.release(2)
    news.step(1, guess(1))
    await until_drawn(decode, 1)
    news.step(2, guess(2))
    assert told[1].preview.width == SIDE
    await until_drawn(decode, 2)


async def test_after_closing_nothing_is_told(workers, decode, told):
    plain, drawn = (News(side, 3, decode, workers, told.append) for side in (0, 16))
    plain.close()
    plain.step(1, guess(1))
    plain.step(3, guess(3))
    drawn.step(1, guess(1))
    drawn.close()
    decode.permits.release()
    await asyncio.to_thread(workers.shutdown)
    drawn.step(2, guess(2))
    assert [progress.step for progress in told] == [1]


async def test_closing_twice_or_before_the_first_step_is_fine(workers, decode, told):
    news = News(16, 3, decode, workers, told.append)
    news.close()
    news.close()
    news.step(1, guess(1))
    assert told == [] and decode.num_calls == 0
