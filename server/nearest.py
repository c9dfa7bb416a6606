"""Remembers finished creatives, so that a deadline may be met with one for the nearest taste."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from server.core import ImageResult, Personalization, Source

Vector = NDArray[np.float32]

_GENERIC_LIKENESS = 0.0  # of an image for nobody: nearer than a taste that points the other way


@dataclass(frozen=True, slots=True)
class _Kept:
    direction: Vector | None
    result: ImageResult

    @property
    def num_bytes(self) -> int:
        images = sum(len(image.data) for image in self.result.images)
        return images + (0 if self.direction is None else self.direction.nbytes)

    def likeness(self, direction: Vector | None) -> float:
        if self.direction is None or direction is None:
            return _GENERIC_LIKENESS
        return float(self.direction @ direction)


class NearestTaste:
    """Creatives by a key that says all but the taste. Belongs to one event loop.

    Holds neither ids of requests nor ages of features: an image may be shown to somebody else. The
    keys that were used longest ago go first where there are too many creatives or bytes.
    """

    def __init__(self, max_bytes: int, max_entries: int = 4096, per_key: int = 8) -> None:
        self._max_bytes, self._max_entries, self._per_key = max_bytes, max_entries, per_key
        self._by_key: OrderedDict[Hashable, list[_Kept]] = OrderedDict()
        self.num_bytes = 0
        self.num_entries = 0

    def keep(self, key: Hashable, taste: Vector | None, result: ImageResult) -> None:
        """`taste` [w] is whose image it is, None for a generic one.

        Nothing is kept of an image that was not sampled, or for a taste that points nowhere. Where
        a key is full, the newcomer takes the place of the one most like it.
        """
        direction = None if taste is None else _direction(taste)
        if result.source is not Source.GENERATED or (taste is not None and direction is None):
            return
        kept = _Kept(direction, _anonymous(result))
        if kept.num_bytes > self._max_bytes:
            return
        rivals = self._by_key.setdefault(key, [])
        self._by_key.move_to_end(key)
        self._make_room(rivals, direction)
        rivals.append(kept)
        self.num_bytes += kept.num_bytes
        self.num_entries += 1
        while self.num_bytes > self._max_bytes or self.num_entries > self._max_entries:
            self._drop_one()

    def forget(self, maker: str) -> int:
        """Drops what was made of one shopper's embedding (`ImageResult.maker`); how many."""
        count = 0
        for key, rivals in [*self._by_key.items()]:
            for kept in [kept for kept in rivals if maker and kept.result.maker == maker]:
                self._drop(rivals, kept)
                count += 1
            if not rivals:
                del self._by_key[key]
        return count

    def find(self, key: Hashable, taste: Vector | None) -> tuple[ImageResult, float] | None:
        """The creative with the highest cosine to `taste` [w], and that cosine.

        A generic one counts as 0; only generic ones are found for a taste of None, or for one that
        points nowhere.
        """
        direction = None if taste is None else _direction(taste)
        found = [kept for kept in self._by_key.get(key, ()) if _may_show(kept, direction)]
        if not found:
            return None
        self._by_key.move_to_end(key)
        best = max(found, key=lambda kept: kept.likeness(direction))
        return best.result, best.likeness(direction)

    def _make_room(self, rivals: list[_Kept], direction: Vector | None) -> None:
        """One generic creative a key at most, and `per_key` in all."""
        generic = [kept for kept in rivals if kept.direction is None]
        if direction is None and generic:
            self._drop(rivals, generic[0])
        elif len(rivals) >= self._per_key:
            candidates = [kept for kept in rivals if kept.direction is not None] or generic
            self._drop(rivals, max(candidates, key=lambda kept: kept.likeness(direction)))

    def _drop_one(self) -> None:
        key, rivals = next(iter(self._by_key.items()))
        self._drop(rivals, rivals[0])
        if not rivals:
            del self._by_key[key]

    def _drop(self, rivals: list[_Kept], kept: _Kept) -> None:
        index = next(i for i, each in enumerate(rivals) if each is kept)
        del rivals[index]
        self.num_bytes -= kept.num_bytes
        self.num_entries -= 1


def _may_show(kept: _Kept, direction: Vector | None) -> bool:
    if kept.direction is None:
        return True
    return direction is not None and kept.direction.shape == direction.shape


def _direction(taste: Vector) -> Vector | None:
    """Unit length; None for what has no direction."""
    vector = np.asarray(taste, np.float64).ravel()
    length = np.linalg.norm(vector)
    return (vector / length).astype(np.float32) if 0 < length < np.inf else None


def _anonymous(result: ImageResult) -> ImageResult:
    account = result.personalization
    bare = Personalization(account.reason, account.feature_service, account.feature_fingerprint)
    return replace(result, request_id="", timings_s={}, personalization=bare, explanation=None)
