"""What the cache asks of a place below memory, and tells to whoever measures it."""

from __future__ import annotations

from typing import Protocol


class ShelfFailed(RuntimeError):
    """The place below did not do what was asked of it, or not in time."""


class Shelf(Protocol):
    """Keeps bytes by name for a while. Every method may raise ShelfFailed."""

    @property
    def name(self) -> str:
        """For metrics."""

    async def find(self, name: str) -> bytes | None: ...

    async def keep(self, name: str, data: bytes, maker: str = "") -> None: ...

    async def drop(self, name: str) -> None: ...

    async def forget(self, maker: str) -> set[str]:
        """Drops all that was kept with this maker, hexadecimal; their names."""

    async def purge(self) -> None:
        """Drops everything that a cache of this project put there."""

    async def close(self) -> None: ...


class CacheObserver(Protocol):
    """`tier` is "memory" or the name of a shelf. Also called from worker threads."""

    def hit(self, tier: str) -> None: ...

    def missed(self) -> None:
        """A generation began."""

    def joined(self) -> None:
        """Somebody got what was made for another at the same time."""

    def evicted(self, tier: str, count: int) -> None:
        """Gone for want of room."""

    def held(self, tier: str, num_bytes: int) -> None: ...

    def failed(self, tier: str) -> None:
        """A place below failed, or gave what can't be read: taken for a miss."""


class Silence:
    """An observer that looks away."""

    def hit(self, tier: str) -> None: ...

    def missed(self) -> None: ...

    def joined(self) -> None: ...

    def evicted(self, tier: str, count: int) -> None: ...

    def held(self, tier: str, num_bytes: int) -> None: ...

    def failed(self, tier: str) -> None: ...
