"""Files that are read again when they change. What is broken changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from server import logs

T = TypeVar("T")
Stamp = tuple[tuple[int, int, int] | None, ...]

log = logs.logger(__name__)


class ReloadObserver(Protocol):
    def reloaded(self, what: str, result: str) -> None: ...


class Watched(Generic[T]):
    """What some files say together. `read` raises ValueError, of which a text is told."""

    def __init__(
        self, what: str, files: Sequence[Path], read: Callable[[], T], observer: ReloadObserver
    ) -> None:
        """Raises what `read` raises."""
        self._what, self._files, self._read = what, tuple(files), read
        self._observer = observer
        self._stamp = self._look()
        self.value = read()

    async def refresh(self) -> None:
        """Off the event loop."""
        await asyncio.to_thread(self.refresh_now)

    def refresh_now(self) -> None:
        """Looks at the files, and reads them where they are others than at the last look."""
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self.value = self._read()
        except ValueError as error:
            self._observer.reloaded(self._what, "failed")
            log.error("not reloaded, the old one stays", what=self._what, error=str(error))
        else:
            self._observer.reloaded(self._what, "ok")
            log.info("reloaded", what=self._what)

    def _look(self) -> Stamp:
        return tuple(map(_stamp, self._files))


class Refreshable(Protocol):
    async def refresh(self) -> None: ...


class Watch:
    """Looks at all of them, again and again."""

    def __init__(self, all: Iterable[Refreshable], pause_s: float) -> None:
        self._all, self._pause_s = tuple(all), pause_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._all:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._pause_s)
            for each in self._all:
                try:
                    await each.refresh()
                except Exception as error:  # the next look may go better, and others need theirs
                    log.error("can't be looked at", exc_info=error)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
