"""How a running request tells how far it is, across threads, to a reader who may be slow."""

from __future__ import annotations

import asyncio

from server.core import Event, Progress


class Updates:
    """Keeps the latest progress only: what a slow reader missed is dropped, not piled up.

    Belongs to the event loop that made it; `tell` may be called from any thread.
    """

    def __init__(self) -> None:
        self.is_accepted = False
        self._loop = asyncio.get_running_loop()
        self._progress: Progress | None = None
        self._is_fresh = asyncio.Event()

    def tell(self, event: Event) -> None:
        self._loop.call_soon_threadsafe(self._put, event)

    def wake(self, *_: object) -> None:
        """Let `wait` return although there is nothing new."""
        self._is_fresh.set()

    async def wait(self) -> None:
        await self._is_fresh.wait()
        self._is_fresh.clear()

    def take(self) -> Progress | None:
        """The latest progress that was not taken before."""
        progress, self._progress = self._progress, None
        return progress

    def _put(self, event: Event) -> None:
        self.is_accepted = True
        if isinstance(event, Progress):
            self._progress = event
        self._is_fresh.set()
