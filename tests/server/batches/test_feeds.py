"""Those who watch: told of each change, dismissed, and gone without a trace."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from server.batches.batch import Batch, BatchState
from server.batches.feeds import Feeds
from server.errors import BatchNotFound, Unavailable
from tests.server.batches.shop import until

START = Batch("a", BatchState.RUNNING, 9, 0, 0, 1.0, 1.0, None, "a", 0.0, (), False)
END = replace(START, num_succeeded=9, state=BatchState.SUCCEEDED, is_closed=True)


class Board:
    """What reading gives; `now` is changed by a test."""

    def __init__(self) -> None:
        self.now: Batch | Exception = START
        self.num_reads = 0
        self.feeds = Feeds(self.read)

    async def read(self, batch_id: str) -> Batch:
        self.num_reads += 1
        if isinstance(self.now, Exception):
            raise self.now
        return self.now

    def change(self, now: Batch | Exception) -> None:
        self.now = now
        self.feeds.nudge("a")


@pytest.fixture
async def board() -> Board:
    return Board()


async def test_a_batch_is_told_as_it_is_and_whenever_it_has_come_further(board):
    told = []
    async with asyncio.timeout(10):
        async for batch in board.feeds.follow("a"):
            told.append(batch.num_succeeded)
            board.change(replace(START, num_succeeded=len(told)) if len(told) < 4 else END)
    assert told == [0, 1, 2, 3, 9]
    assert len(board.feeds) == 0


async def test_a_nudge_without_news_tells_nothing(board):
    async with aclosing(board.feeds.follow("a")) as news:
        await anext(news)
        following = asyncio.ensure_future(anext(news))
        for rate in (1.0, 2.0):
            board.change(replace(START, images_per_second=rate))
            await asyncio.sleep(0.15)
        assert not following.done()
        board.change(END)
        assert await following == END


async def test_changes_that_nobody_nudged_for_are_found(board):
    async with aclosing(board.feeds.follow("a")) as news:
        await anext(news)
        board.now = END
        async with asyncio.timeout(10):
            assert await anext(news) == END


async def test_a_hundred_watchers_share_one_reader_and_all_see_the_end(board):
    async def watch() -> Batch:
        return [batch async for batch in board.feeds.follow("a")][-1]

    tasks = [asyncio.create_task(watch()) for _ in range(100)]
    await asyncio.sleep(0.05)
    assert (len(board.feeds), board.num_reads) == (1, 1)
    board.change(END)
    async with asyncio.timeout(10):
        assert await asyncio.gather(*tasks) == [END] * 100
    assert board.num_reads == 2


async def test_the_last_watcher_who_goes_ends_the_reading(board):
    before = asyncio.all_tasks()
    first, second = board.feeds.follow("a"), board.feeds.follow("a")
    await anext(first)
    await anext(second)
    await first.aclose()
    assert len(board.feeds) == 1
    await second.aclose()
    assert len(board.feeds) == 0
    await until(lambda: asyncio.all_tasks() == before)


async def test_what_reading_raises_reaches_each_watcher(board):
    board.now = BatchNotFound("a")
    with pytest.raises(BatchNotFound):
        await anext(board.feeds.follow("a"))
    board.now = START
    watchers = [board.feeds.follow("a") for _ in range(2)]
    for each in watchers:
        await anext(each)
    waiting = [asyncio.ensure_future(anext(each)) for each in watchers]
    await asyncio.sleep(0)
    board.change(BatchNotFound("a"))
    for each in waiting:
        with pytest.raises(BatchNotFound):
            await each
    assert len(board.feeds) == 0


async def test_a_server_that_stops_sends_watchers_away(board):
    news = board.feeds.follow("a")
    await anext(news)
    waiting = asyncio.ensure_future(anext(news))
    await asyncio.sleep(0)
    board.feeds.close()
    with pytest.raises(Unavailable, match="stopping"):
        await waiting
    with pytest.raises(Unavailable):
        await anext(board.feeds.follow("a"))
