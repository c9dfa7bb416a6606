"""What was made of a picture, kept a while."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import suppress
from threading import Lock
from typing import Generic, TypeVar

from cachetools import LRUCache

from server.core import Pixels

T = TypeVar("T")


class KeptByPicture(Generic[T]):
    """The results used last, at most `max_bytes` of them as `measure` counts; callable from several
    threads.

    A picture is known by which array it is, not by what it holds: the entry keeps it alive, so that
    no other can come to be at its place.
    """

    def __init__(self, max_bytes: int, measure: Callable[[T], int]) -> None:
        self._kept: LRUCache[Hashable, tuple[Pixels, T]] = LRUCache(
            max_bytes, lambda entry: measure(entry[1])
        )
        self._lock = Lock()

    def find(self, picture: Pixels, how: Hashable, make: Callable[[], T]) -> T:
        """What was made of the picture in that way, else what `make` makes now."""
        key = id(picture), how
        with self._lock:
            if (entry := self._kept.get(key)) is not None:
                return entry[1]
        made = make()
        with self._lock, suppress(ValueError):  # too large to be kept
            self._kept[key] = picture, made
        return made
