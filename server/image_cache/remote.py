"""Redis as a place for images that several servers share. Needs the `redis` extra.

Room is the server's own to bound: `maxmemory` with the policy `allkeys-lru` or `volatile-lru`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar, cast

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from server.breaker import Breaker, BreakerObserver
from server.image_cache.shelf import ShelfFailed

T = TypeVar("T")
PREFIX = "etalage:image:"
MAKERS = f"{PREFIX}of:"
"""Sets of names of images, by whose embedding is in them."""

NUM_CONNECTIONS = 16
ANSWER_S = 1.0
"""So long a question goes on, whether somebody waits for it still or not: to connect may take
longer than an asker waits, and whoever comes next finds the connection open."""

REST_S = 1.0
"""Where no answer came nothing is asked for so long: a Redis that hangs delays one request a
second."""

_AWAY = exceptions.ConnectionError, exceptions.TimeoutError, OSError
"""No answer came, or none in time: TimeoutError is an OSError."""


class RemoteShelf:
    """An asker waits `timeout_s` at most, and nothing is asked twice. Reading and writing fail, and
    rest, apart."""

    name = "redis"

    def __init__(
        self,
        url: str,
        ttl_s: float,
        timeout_s: float = 0.02,
        clock: Callable[[], float] = time.monotonic,
        observer: BreakerObserver | None = None,
    ) -> None:
        pool = BlockingConnectionPool.from_url(
            url, max_connections=NUM_CONNECTIONS, timeout=None, retry=Retry(NoBackoff(), 0)
        )
        self._redis = Redis.from_pool(pool)
        self._ttl_s, self._timeout_s = ttl_s, timeout_s
        self._reading = Breaker("image_cache_read", observer, 1, REST_S, clock)
        self._writing = Breaker("image_cache_write", observer, 1, REST_S, clock)
        self._asked: set[asyncio.Task[object]] = set()

    async def find(self, name: str) -> bytes | None:
        found = await self._ask(self._reading, partial(self._redis.get, PREFIX + name))
        return cast(bytes | None, found)  # answers are not decoded

    async def keep(self, name: str, data: bytes, maker: str = "") -> None:
        """Takes its time: nobody waits for it."""
        question = partial(self._put, name, data, maker)
        await self._ask(self._writing, question, ANSWER_S)

    async def drop(self, name: str) -> None:
        await self._ask(self._reading, partial(self._redis.unlink, PREFIX + name))

    async def forget(self, maker: str) -> set[str]:
        """Takes as long as it takes, and is tried also while resting."""
        notes = MAKERS + maker
        try:
            names = {name.decode() for name in await self._members(notes)}
            gone = {name for name in names if await self._redis.unlink(PREFIX + name)}
            await self._redis.unlink(notes)
        except (exceptions.RedisError, OSError) as error:
            raise ShelfFailed(f"redis: {error}") from error
        return gone

    async def purge(self) -> None:
        """Takes as long as it takes, and is tried also while resting."""
        try:
            async for key in self._redis.scan_iter(match=f"{PREFIX}*", count=1000):
                await self._redis.unlink(key)
        except (exceptions.RedisError, OSError) as error:
            raise ShelfFailed(f"redis: {error}") from error

    async def close(self) -> None:
        for task in self._asked:
            task.cancel()
        await asyncio.gather(*self._asked, return_exceptions=True)
        await self._redis.aclose()

    async def _put(self, name: str, data: bytes, maker: str) -> None:
        life_ms = max(1, round(1000 * self._ttl_s))
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.set(PREFIX + name, data, px=life_ms)
            if maker:  # the set lives as long as the last that was put into it
                pipe.sadd(MAKERS + maker, name)
                pipe.pexpire(MAKERS + maker, life_ms)
            await pipe.execute()

    async def _members(self, notes: str) -> set[bytes]:
        return await cast(Awaitable[set[bytes]], self._redis.smembers(notes))

    async def _ask(
        self, breaker: Breaker, question: Callable[[], Awaitable[T]], timeout_s: float | None = None
    ) -> T:
        if (asked_s := breaker.ask()) is None:
            raise ShelfFailed("redis: it failed a moment ago")
        task = asyncio.create_task(_await(question))
        self._asked.add(task)
        task.add_done_callback(self._forget)
        try:
            async with asyncio.timeout(timeout_s or self._timeout_s):
                answer = await asyncio.shield(task)
        except _AWAY as error:
            breaker.failed(asked_s)
            raise ShelfFailed(f"redis: {str(error) or 'no answer in time'}") from error
        except exceptions.RedisError as error:  # it answered: that it has no room, say
            breaker.succeeded()
            raise ShelfFailed(f"redis: {error}") from error
        breaker.succeeded()
        return answer

    def _forget(self, task: asyncio.Task[object]) -> None:
        self._asked.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be waiting any more


async def _await(question: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.timeout(ANSWER_S):
        return await question()
