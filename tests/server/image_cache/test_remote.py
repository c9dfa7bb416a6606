"""A real redis-server, also one that dies, hangs, is full or never was."""

import asyncio
import os
import signal

import pytest

from server.image_cache import remote
from server.image_cache.remote import PREFIX, REST_S, RemoteShelf
from server.image_cache.shelf import ShelfFailed
from tests.server.image_cache.results import NAME, OTHER, Clock


@pytest.fixture
async def shelf(redis_server, monkeypatch):
    monkeypatch.setattr(remote, "ANSWER_S", 30.0)
    made = RemoteShelf(redis_server.url, ttl_s=60.0, timeout_s=2.0)
    yield made
    await made.close()


async def test_what_was_put_in_is_found_by_every_server(shelf, redis_server):
    await shelf.keep(NAME, b"\x00image\xff")
    another = RemoteShelf(redis_server.url, 60.0, 2.0)
    assert await another.find(NAME) == b"\x00image\xff"
    assert await another.find(OTHER) is None
    await another.drop(NAME)
    assert await shelf.find(NAME) is None
    await another.close()


async def test_what_is_kept_goes_by_itself(redis_server):
    shelf = RemoteShelf(redis_server.url, 0.05, 2.0)
    await shelf.keep(NAME, b"image")
    await asyncio.sleep(0.2)
    assert await shelf.find(NAME) is None
    await shelf.close()


async def test_a_purge_takes_our_images_and_nobody_elses(shelf):
    for number in range(30):
        await shelf.keep(f"{number:02x}" * 20, b"image")
    await shelf._redis.set("session:1", "of somebody else")
    await shelf.purge()
    assert await shelf._redis.keys("*") == [b"session:1"]
    assert PREFIX not in "session:1"


async def test_where_no_redis_is_that_is_told(redis_server):
    redis_server.stop()
    shelf = RemoteShelf(redis_server.url, 60.0, 2.0)
    with pytest.raises(ShelfFailed):
        await shelf.find(NAME)
    with pytest.raises(ShelfFailed):
        await shelf.purge()
    await shelf.close()


async def test_a_redis_that_hangs_costs_the_timeout_once_and_then_nothing_for_a_while(redis_server):
    clock = Clock()
    shelf = RemoteShelf(redis_server.url, 60.0, 0.1, clock)
    await shelf.keep(NAME, b"image")
    os.kill(redis_server.process.pid, signal.SIGSTOP)
    with pytest.raises(ShelfFailed, match="in time"):
        await shelf.find(NAME)
    with pytest.raises(ShelfFailed, match="a moment ago"):
        await shelf.find(NAME)
    os.kill(redis_server.process.pid, signal.SIGCONT)
    clock.now += REST_S
    shelf._timeout_s = 5.0
    assert await shelf.find(NAME) == b"image"
    await shelf.close()


async def test_a_late_answer_is_never_taken_for_that_to_the_next_question(redis_server):
    clock = Clock()
    shelf = RemoteShelf(redis_server.url, 60.0, 2.0, clock)
    await shelf.keep(NAME, b"one")
    await shelf.keep(OTHER, b"two")
    os.kill(redis_server.process.pid, signal.SIGSTOP)
    shelf._timeout_s = 0.05
    with pytest.raises(ShelfFailed):
        await shelf.find(NAME)
    os.kill(redis_server.process.pid, signal.SIGCONT)
    clock.now += REST_S
    shelf._timeout_s = 5.0
    assert await shelf.find(OTHER) == b"two"
    await shelf.close()


async def test_a_redis_that_died_is_used_again_when_it_is_back(redis_server):
    clock = Clock()
    shelf = RemoteShelf(redis_server.url, 60.0, 2.0, clock)
    await shelf.keep(NAME, b"image")
    redis_server.stop()
    with pytest.raises(ShelfFailed):
        await shelf.find(NAME)
    redis_server.start()
    clock.now += REST_S
    assert await shelf.find(NAME) is None
    await shelf.keep(NAME, b"image")
    assert await shelf.find(NAME) == b"image"
    await shelf.close()


async def test_a_redis_without_room_says_so_and_what_it_has_is_found(shelf):
    await shelf.keep(OTHER, b"image")
    await shelf._redis.config_set("maxmemory", "1mb")
    for _ in range(2):
        with pytest.raises(ShelfFailed, match="memory"):
            await shelf.keep(NAME, bytes(4_000_000))
        assert await shelf.find(OTHER) == b"image"


async def test_what_has_another_type_there_is_a_failure_and_no_crash(shelf):
    await shelf.keep(OTHER, b"image")
    await shelf._redis.lpush(PREFIX + NAME, "a list")
    for _ in range(2):
        with pytest.raises(ShelfFailed, match="WRONGTYPE"):
            await shelf.find(NAME)
        assert await shelf.find(OTHER) == b"image"


async def test_where_writing_hangs_reading_goes_on(redis_server, monkeypatch):
    shelf = RemoteShelf(redis_server.url, 60.0, 2.0, Clock())
    await shelf.keep(OTHER, b"image")
    monkeypatch.setattr(remote, "ANSWER_S", 0.1)
    await shelf._redis.execute_command("CLIENT", "PAUSE", 600_000, "WRITE")
    with pytest.raises(ShelfFailed, match="in time"):
        await shelf.keep(NAME, b"another")
    with pytest.raises(ShelfFailed, match="a moment ago"):
        await shelf.keep(NAME, b"another")
    assert await shelf.find(OTHER) == b"image"
    await shelf.close()


class Gate:
    """A port of this machine that leads to another, through which nobody comes at first."""

    def __init__(self, port, seconds):
        self.port, self.seconds, self.num_met = port, seconds, 0

    async def meet(self, reader, writer):
        self.num_met += 1
        await asyncio.sleep(self.seconds)
        theirs, ours = await asyncio.open_connection("127.0.0.1", self.port)
        await asyncio.gather(self.pump(reader, ours), self.pump(theirs, writer))

    async def pump(self, reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()


async def test_where_it_takes_longer_to_connect_than_an_asker_waits_it_connects_all_the_same(
    redis_server,
):
    clock, gate = Clock(), Gate(redis_server.port, 0.3)
    async with await asyncio.start_server(gate.meet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        shelf = RemoteShelf(f"redis://127.0.0.1:{port}/0", 60.0, 0.05, clock)
        with pytest.raises(ShelfFailed, match="in time"):
            await shelf.find(NAME)
        while shelf._asked:
            await asyncio.sleep(0.01)
        clock.now += REST_S
        shelf._timeout_s = 5.0
        assert await shelf.find(NAME) is None
        assert gate.num_met == 1, "over the connection that was opened then"
        await shelf.close()
