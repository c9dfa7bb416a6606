"""All who watch one image being made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from server.core import Event, Progress
from server.news import Listener


class Watcher:
    """Passes on each step once, whichever work it comes from: an image may be begun again."""

    def __init__(self, listener: Listener) -> None:
        self._listener, self._last = listener, -1

    def tell(self, event: Event) -> None:
        step = event.step if isinstance(event, Progress) else 0
        if step > self._last:
            self._last = step
            self._listener(event)


class Audience:
    """Tells everybody; who comes late is told at once how far it is."""

    def __init__(self) -> None:
        self._watchers: list[Watcher] = []
        self._told: list[Event] = []  # that it began, and the latest step

    def tell(self, event: Event) -> None:
        self._told = [*self._told[:1], event]
        for watcher in self._watchers:
            watcher.tell(event)

    @contextmanager
    def joined_by(self, watcher: Watcher) -> Iterator[None]:
        for event in self._told:
            watcher.tell(event)
        self._watchers.append(watcher)
        try:
            yield
        finally:
            self._watchers.remove(watcher)
