"""What the shop tells, looked at event by event; what is sound is kept."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from features.keys import Keys
from server.experiments.events import Event, EventKind, Receipt
from server.experiments.exposures import TokenExpired, TokenForged, open_token

MAX_EVENT_ID = 128
SKEW_S = 60.0
"""By how much clocks may disagree."""

MAX_VALUE = 1e12

_SMALL = 200  # events that are looked at on the event loop; more would hold it up


@dataclass(frozen=True, slots=True)
class ReportedEvent:
    """As it came: nothing of it is checked. `kind` is None for one that is unknown."""

    event_id: str
    kind: EventKind | None
    token: str
    time_s: float | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """An event that is not kept: its place, its id, and why, for programs and for people."""

    index: int
    event_id: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Recorded:
    receipt: Receipt
    rejections: tuple[Rejection, ...] = ()


class Unsound(ValueError):
    """Why an event is not kept."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Log(Protocol):
    """What is asked of event_log/log.py."""

    async def append(self, events: Sequence[Event]) -> Receipt: ...


class EventObserver(Protocol):
    """Told about events; called on the event loop."""

    def recorded(self, kind: str, experiment: str, arm: str, count: int) -> None: ...

    def rejected(self, reason: str, count: int) -> None: ...

    def event_lag(self, seconds: float) -> None: ...


class Recorder:
    """Takes events in. What one of them lacks does not keep the others out."""

    def __init__(
        self,
        log: Log,
        keys: Keys,
        experiments: Collection[str],
        observer: EventObserver,
        window_s: float = 30 * 86_400.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Events are taken in for `window_s` after their image was answered."""
        self._log, self._keys, self._experiments = log, keys, frozenset(experiments)
        self._observer, self._window_s, self._clock = observer, window_s, clock
        self._is_erased: Callable[[str, float], bool] = lambda unit, minted_s: False

    def refuse(self, is_erased: Callable[[str, float], bool]) -> None:
        """Takes in no events of those whom this says to be erased, by unit and the time when their
        image was answered."""
        self._is_erased = is_erased

    async def record(self, reported: Sequence[ReportedEvent]) -> Recorded:
        """Returns once all that is sound is on disk. Raises Overloaded or Unavailable where
        nothing was kept."""
        is_small = len(reported) <= _SMALL
        events, rejections = (
            self._check_all(reported)
            if is_small
            else await asyncio.to_thread(self._check_all, reported)
        )
        receipt = await self._log.append(events)
        self._tell(events, rejections)
        return Recorded(receipt, tuple(rejections))

    def _check_all(self, reported: Sequence[ReportedEvent]) -> tuple[list[Event], list[Rejection]]:
        events, rejections = [], []
        now_s = self._clock()
        for index, each in enumerate(reported):
            try:
                events.append(self._check(each, now_s))
            except Unsound as error:
                told = each.event_id[:MAX_EVENT_ID]
                rejections.append(Rejection(index, told, error.reason, str(error)))
        return events, rejections

    def _check(self, told: ReportedEvent, now_s: float) -> Event:
        if not told.event_id:
            raise Unsound("EVENT_ID_MISSING", "event_id is empty; it makes a repeat harmless")
        if len(told.event_id) > MAX_EVENT_ID or not told.event_id.isprintable():
            text = f"event_id must be at most {MAX_EVENT_ID} printable characters"
            raise Unsound("EVENT_ID_INVALID", text)
        if told.kind is None or told.kind is EventKind.REFUSAL:
            raise Unsound("KIND_MISSING", "kind is none that shops report")
        value = 1.0 if told.value is None else told.value
        if not (math.isfinite(value) and 0 <= value <= MAX_VALUE):
            raise Unsound("VALUE_INVALID", f"value must be from 0 to {MAX_VALUE:g}")
        if not told.token:
            raise Unsound("TOKEN_MISSING", "exposure_token is empty; responses carry it")
        try:
            exposure = open_token(told.token, self._keys, now_s, self._window_s)
        except TokenForged:
            raise Unsound("TOKEN_FORGED", "exposure_token is none of this server's") from None
        except TokenExpired:
            raise Unsound("TOKEN_EXPIRED", "the image was answered too long ago") from None
        if self._is_erased(exposure.unit, exposure.minted_s):
            raise Unsound("SHOPPER_ERASED", "its shopper was erased since the image was answered")
        if exposure.experiment and exposure.experiment not in self._experiments:
            text = f"{exposure.experiment!r} is no experiment of this server any more"
            raise Unsound("UNKNOWN_EXPERIMENT", text)
        time_s = now_s if told.time_s is None else told.time_s
        if time_s > now_s + SKEW_S:
            raise Unsound("TIME_IN_FUTURE", "time has not come yet by this server's clock")
        if time_s < exposure.minted_s - SKEW_S:
            raise Unsound("TIME_BEFORE_EXPOSURE", "time is before the image was answered")
        return Event(told.event_id, told.kind, min(time_s, now_s), exposure, value)

    def _tell(self, events: Sequence[Event], rejections: Sequence[Rejection]) -> None:
        now_s = self._clock()
        counts = Counter(
            (event.kind.value, event.exposure.experiment, event.exposure.arm) for event in events
        )
        for labels, count in counts.items():
            self._observer.recorded(*labels, count)
        for reason, count in Counter(each.reason for each in rejections).items():
            self._observer.rejected(reason, count)
        if events:
            self._observer.event_lag(now_s - min(event.time_s for event in events))
