"""Reads of the online store on objects resolved once: off the loop, or async where the store is."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from google.protobuf.message import DecodeError

from features.batching import Answers
from features.decoding import (
    CORRUPT,
    Limits,
    RawRow,
    decode_product,
    decode_profile,
    decode_recent,
)
from features.repository import Repository
from features.schema import PRODUCT_FEATURES, USER_PROFILE, USER_RECENT, VIEWS, View
from features.sources import OpenStore, Source, join
from features.store import Store
from features.vector import check_fingerprint

T = TypeVar("T")

log = logging.getLogger(__name__)

MAX_KEYS = 512  # in one read: sqlite takes that many variables everywhere
MAX_READ_S = 10.0  # after that an async read is given up, whoever still waits for it

_DECODERS: Mapping[str, Callable[[str, RawRow, Limits, float], Any]] = {
    USER_PROFILE.name: decode_profile,
    USER_RECENT.name: decode_recent,
    PRODUCT_FEATURES.name: decode_product,
}


@dataclass(frozen=True, slots=True)
class ResolvedView:
    """A view as it stands in the registry."""

    view: View
    sources: tuple[Source, ...]
    limits: Limits
    is_enabled: bool


@dataclass(frozen=True, slots=True)
class Resolution:
    """All that a read needs of the registry, replaced as one when the registry changes."""

    fingerprint: str
    views: Mapping[str, ResolvedView]


def resolve(store: Store | None, repository: Repository | None, width: int) -> Resolution:
    """Looks everything up in the registries' caches; a shop's `repository` goes before our store.

    Raises StoreMissing, FingerprintMismatch where the two are not of the same encoders,
    MappingInvalid.
    """
    found: dict[str, tuple[Source, ...]] = {}
    for each in (store, repository):
        found |= {} if each is None else each.find_sources()
    views = {}
    for view in VIEWS:
        sources = found[view.name]
        lifetime = sources[0].definition.ttl if sources else None
        lifetime_s = lifetime.total_seconds() if lifetime else 0.0
        # A view that is being materialized stays readable: its rows are replaced one by one.
        is_enabled = all(getattr(source.definition, "enabled", True) for source in sources)
        views[view.name] = ResolvedView(view, sources, Limits(width, lifetime_s), is_enabled)
    prints = [each.fingerprint() for each in (repository, store) if each is not None]
    check_fingerprint(prints[-1], prints[0])
    return Resolution(prints[0], views)


@dataclass(frozen=True, slots=True)
class Answer:
    """One view's records by entity id, and how long the store took."""

    seconds: float
    records: Mapping[str, Any]


class ViewDisabled(RuntimeError):
    """The view is switched off in the registry."""


Asked = list[tuple[ResolvedView, list[str]]]
Fetched = dict[str, Answer | Exception]
FETCHED = (Answer, Exception)


class StoreThread:
    """Runs blocking reads one after the other; a daemon, so that a hung store never hangs exit."""

    def __init__(self) -> None:
        self._errands: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        Thread(target=self._run, name="feature-store", daemon=True).start()

    def submit(self, job: Callable[[], T], done: Callable[[T], None]) -> None:
        """Calls `job` on the thread, then `done` with its result on the running event loop."""
        loop = asyncio.get_running_loop()

        def run() -> None:
            result = job()
            # Where the loop is gone, so is everyone who waited.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(done, result)

        self._errands.put(run)

    def close(self) -> None:
        self._errands.put(None)

    def _run(self) -> None:
        while errand := self._errands.get():
            errand()


class OnlineReads:
    """Reads and decodes keys of several views. A view that fails is left out of the answers."""

    def __init__(
        self,
        stores: Sequence[OpenStore],
        clock: Callable[[], float],
        observe: Callable[[str, Answer], None],
    ) -> None:
        self._clock = clock
        self._observe = observe
        self.is_async = all(bool(store.online.async_supported.read) for store in stores)
        self._thread = None if self.is_async else StoreThread()
        self._tasks: set[asyncio.Task[Fetched]] = set()
        self._failing: set[str] = set()

    def fetch(
        self,
        resolution: Resolution,
        keys: Mapping[str, list[str]],
        done: Callable[[Answers], None],
    ) -> None:
        """Starts reading; `done` is called on the event loop with what could be read."""
        asked = [(resolution.views[name], ids) for name, ids in keys.items()]
        if self._thread is not None:  # all views in one errand: hand-overs cost more than reads
            self._thread.submit(lambda: self._read_all(asked), partial(self._tell, done))
            return
        task = asyncio.ensure_future(self._read_all_async(asked))
        self._tasks.add(task)
        task.add_done_callback(partial(self._end_task, done))

    async def close(self) -> None:
        if self._thread is not None:
            self._thread.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _end_task(self, done: Callable[[Answers], None], task: asyncio.Task[Fetched]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            self._tell(done, task.result())

    def _tell(self, done: Callable[[Answers], None], fetched: Fetched) -> None:
        done({n: a.records for n, a in fetched.items() if not isinstance(a, Exception)})
        for name, answer in fetched.items():
            if isinstance(answer, Exception):
                self._tell_failure(name, answer)
            else:
                self._tell_success(name)
                self._observe(name, answer)

    def _tell_failure(self, name: str, error: Exception) -> None:
        """Once for each outage: a store that is down fails every request."""
        if name not in self._failing:
            self._failing.add(name)
            log.error("reading %s failed", name, exc_info=error)

    def _tell_success(self, name: str) -> None:
        if name in self._failing:
            self._failing.discard(name)
            log.warning("reading %s works again", name)

    def _read_all(self, asked: Asked) -> Fetched:
        fetched: Fetched = {}
        for resolved, ids in asked:
            started = time.perf_counter()
            records: dict[str, Any] = {}
            try:
                for part in split(ids):
                    records |= self._read(resolved, part)
            except Exception as error:  # whatever a driver raises: the request goes on without it
                fetched[resolved.view.name] = error
                continue
            fetched[resolved.view.name] = Answer(time.perf_counter() - started, records)
        return fetched

    def _read(self, resolved: ResolvedView, ids: list[str]) -> dict[str, Any]:
        check_enabled(resolved)
        parts = [self._read_source(source, ids) for source in resolved.sources]
        return self._decode(resolved, ids, join(parts, len(ids)))

    def _read_source(self, source: Source, ids: list[str]) -> list[RawRow]:
        keys = source.list_keys(ids)
        try:
            rows = source.store.online.online_read(*source.ask(keys)) if keys else []
        except DecodeError:  # one value is no protobuf: halve, so that only its own row is lost
            if len(ids) == 1:
                return [CORRUPT]
            half = len(ids) // 2
            return self._read_source(source, ids[:half]) + self._read_source(source, ids[half:])
        return source.translate(ids, rows)

    async def _read_all_async(self, asked: Asked) -> Fetched:
        async def read(resolved: ResolvedView, ids: list[str]) -> Answer:
            started = time.perf_counter()
            records: dict[str, Any] = {}
            async with asyncio.timeout(MAX_READ_S):
                for part in split(ids):
                    records |= await self._read_async(resolved, part)
            return Answer(time.perf_counter() - started, records)

        answers = await asyncio.gather(*(read(*one) for one in asked), return_exceptions=True)
        names = (resolved.view.name for resolved, _ in asked)
        return {n: a for n, a in zip(names, answers, strict=True) if isinstance(a, FETCHED)}

    async def _read_async(self, resolved: ResolvedView, ids: list[str]) -> dict[str, Any]:
        check_enabled(resolved)
        reads = (self._read_source_async(source, ids) for source in resolved.sources)
        parts = await asyncio.gather(*reads)
        return self._decode(resolved, ids, join(parts, len(ids)))

    async def _read_source_async(self, source: Source, ids: list[str]) -> list[RawRow]:
        keys, online = source.list_keys(ids), source.store.online
        try:
            rows = await online.online_read_async(*source.ask(keys)) if keys else []
        except DecodeError:  # as above
            if len(ids) == 1:
                return [CORRUPT]
            half = len(ids) // 2
            first = await self._read_source_async(source, ids[:half])
            return first + await self._read_source_async(source, ids[half:])
        return source.translate(ids, rows)

    def _decode(
        self, resolved: ResolvedView, ids: list[str], rows: Sequence[RawRow]
    ) -> dict[str, Any]:
        decode, limits, now_s = _DECODERS[resolved.view.name], resolved.limits, self._clock()
        pairs = zip(ids, rows, strict=True)
        return {entity_id: decode(entity_id, row, limits, now_s) for entity_id, row in pairs}


def check_enabled(resolved: ResolvedView) -> None:
    if not resolved.is_enabled:
        raise ViewDisabled(resolved.view.name)


def split(ids: list[str]) -> list[list[str]]:
    return [ids[start : start + MAX_KEYS] for start in range(0, len(ids), MAX_KEYS)]
