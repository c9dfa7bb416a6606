"""Redis as a place for images that several servers share. Needs the `redis` extra.

Room is the server's own to bound: `maxmemory` with the policy `allkeys-lru` or `volatile-lru`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from server.image_cache.shelf import ShelfFailed

PREFIX = "etalage:image:"
WRITE_S = 1.0
"""For which nobody waits: an image takes longer to send than a question."""
REST_S = 1.0
"""After a failure nothing is asked for so long: a Redis that hangs delays one request a second."""


class RemoteShelf:
    """Waits `timeout_s` for an answer at most, the connecting included, and never asks twice."""

    name = "redis"

    def __init__(
        self,
        url: str,
        ttl_s: float,
        timeout_s: float = 0.02,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = Redis.from_url(url, retry=Retry(NoBackoff(), 0))
        self._ttl_s, self._timeout_s, self._clock = ttl_s, timeout_s, clock
        self._rests_until_s = -1.0

    async def find(self, name: str) -> bytes | None:
        async with self._asking():
            found = await self._redis.get(PREFIX + name)
        return cast(bytes | None, found)  # answers are not decoded

    async def keep(self, name: str, data: bytes) -> None:
        async with self._asking(WRITE_S):
            await self._redis.set(PREFIX + name, data, px=max(1, round(1000 * self._ttl_s)))

    async def drop(self, name: str) -> None:
        async with self._asking():
            await self._redis.unlink(PREFIX + name)

    async def purge(self) -> None:
        """Takes as long as it takes, and is tried also while resting."""
        try:
            async for key in self._redis.scan_iter(match=f"{PREFIX}*", count=1000):
                await self._redis.unlink(key)
        except (RedisError, OSError) as error:
            raise ShelfFailed(f"redis: {error}") from error

    async def close(self) -> None:
        await self._redis.aclose()

    @asynccontextmanager
    async def _asking(self, timeout_s: float | None = None) -> AsyncIterator[None]:
        if self._clock() < self._rests_until_s:
            raise ShelfFailed("redis: it failed a moment ago")
        try:
            async with asyncio.timeout(timeout_s or self._timeout_s):
                yield
        except (RedisError, OSError, TimeoutError) as error:
            self._rests_until_s = self._clock() + REST_S
            raise ShelfFailed(f"redis: {str(error) or 'no answer in time'}") from error
