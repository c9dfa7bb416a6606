"""Who is asking, and for what: read when a request comes, within that request's own time."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from threading import Event, Thread
from typing import Any, Protocol

from features.batching import Answers, TurnBatcher
from features.decoding import NO_PROFILE, NO_RECENT, Profile, Recent, join_shopper
from features.online import Answer, OnlineReads, resolve
from features.records import (
    FeaturesUnavailable,
    Product,
    Products,
    ProductUnknown,
    Shopper,
    Status,
)
from features.repository import Repository
from features.schema import PRODUCT_FEATURES, SERVICE, USER_PROFILE, USER_RECENT
from features.store import StoreConfig, open_store
from features.vector import check_fingerprint, fingerprint

log = logging.getLogger(__name__)

MAX_ASYNC_READS = 8
SWITCH_INTERVAL_S = 0.0005
"""How long a thread may keep the event loop waiting for the interpreter. Python's own 5 ms is more
than a read takes, and was 1 ms of its 99th percentile."""

LATE_S = 0.05
"""Who waited for less, since there was no more time, says nothing about the store."""

LOOP_S = 0.001
"""What event loops count time in."""

NOTHING: Mapping[str, Any] = {}


class ReadObserver(Protocol):
    """Told about reads; called on the event loop."""

    def read_seconds(self, view: str, seconds: float) -> None:
        """One read of the store, for all requests that shared it."""

    def missing(self, view: str, reason: str) -> None:
        """A request had to do without, since it was missing, stale, invalid or unavailable."""

    def age(self, view: str, seconds: float) -> None:
        """How old a row was when it was read, for all requests that shared it."""


class Breaker(Protocol):
    """Says whether a store that failed of late is asked; `failed` is told what `ask` gave."""

    def ask(self) -> float | None: ...

    def succeeded(self) -> None: ...

    def failed(self, asked_s: float) -> None: ...


class NoBreaker:
    """The store is always asked."""

    def ask(self) -> float | None:
        return 0.0

    def succeeded(self) -> None: ...
    def failed(self, asked_s: float) -> None: ...


class SilentObserver:
    def read_seconds(self, view: str, seconds: float) -> None: ...
    def missing(self, view: str, reason: str) -> None: ...
    def age(self, view: str, seconds: float) -> None: ...


class FeatureReader:
    """Reads shoppers and products, batched over the requests of one event-loop turn.

    Everything is looked up in the registry once, at `start`, and again every `refresh_s` seconds
    in the background. The last `num_kept` products are kept for when the store is down.
    """

    def __init__(
        self,
        config: StoreConfig,
        *,
        width: int,
        encoder_digest: str,
        observer: ReadObserver | None = None,
        refresh_s: float = 10.0,
        num_kept: int = 4096,
        clock: Callable[[], float] = time.time,
        breaker: Breaker | None = None,
        min_read_s: float = 0.0,
        repository: Repository | None = None,
    ) -> None:
        """A read of a shopper takes `min_read_s` at least, whether they are known or not. What a
        shop's own `repository` stands for is read from there, all else from our store."""
        self.service = SERVICE if repository is None else repository.service
        self.fingerprint = fingerprint(width, encoder_digest)
        self._repository = repository
        self._config = config
        self._width = width
        self._observer: ReadObserver = observer or SilentObserver()
        self._refresh_s = refresh_s
        self._clock = clock
        self._breaker: Breaker = breaker or NoBreaker()
        self._min_read_s = min_read_s
        self._kept = KeptProducts(num_kept, clock)
        self._stopped = Event()

    def start(self) -> None:
        """Opens the store and starts refreshing; makes the interpreter switch threads sooner.

        Raises StoreMissing, or FingerprintMismatch where it was made with other encoders.
        """
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL_S))
        is_needed = self._repository is None or not self._repository.has_products
        self._store = open_store(self._config) if is_needed else None
        self._stores = [each for each in (self._repository, self._store) if each is not None]
        for store in self._stores:
            check_fingerprint(store.fingerprint(), self.fingerprint)
        self._resolution = resolve(self._store, self._repository, self._width)
        self._reads = OnlineReads(self._stores, self._clock, self._observe)
        max_in_flight = MAX_ASYNC_READS if self._reads.is_async else 1
        self._batcher = TurnBatcher(
            lambda keys, done: self._reads.fetch(self._resolution, keys, done), max_in_flight
        )
        Thread(target=self._refresh, name="feature-registry", daemon=True).start()

    async def close(self) -> None:
        """Stops reading; whoever still waits is told that features are unavailable."""
        self._stopped.set()
        self._batcher.close()
        await self._reads.close()
        for store in self._stores:
            await store.feast.close()

    async def read(
        self, user_id: str | None, product_ids: Sequence[str], *, timeout_s: float
    ) -> tuple[Shopper | None, Products]:
        """A shopper, where one is asked for, and products: the cheapest way to ask for both.

        Never raises for trouble with the store: `Shopper.status` tells, and in place of a product
        there is the error that `read_product` would raise.
        """
        wanted: list[tuple[str, Sequence[str]]] = []
        if user_id is not None:
            users = (user_id,)
            wanted += ((USER_PROFILE.name, users), (USER_RECENT.name, users))
        if product_ids:
            wanted.append((PRODUCT_FEATURES.name, product_ids))
        started_s = time.monotonic()
        answers = await self._ask(wanted, timeout_s) if wanted else {}
        shopper = None if user_id is None else self._join_shopper(user_id, answers)
        if shopper is not None and self._min_read_s:
            await sleep_until(started_s + min(self._min_read_s, timeout_s))
        return shopper, self._pick_products(product_ids, answers)

    async def read_shopper(self, user_id: str, *, timeout_s: float) -> Shopper:
        """Never raises for trouble with the store: `Shopper.status` tells."""
        shopper, _ = await self.read(user_id, (), timeout_s=timeout_s)
        assert shopper is not None
        return shopper

    async def read_product(self, product_id: str, *, timeout_s: float) -> Product:
        """Raises ProductUnknown, or FeaturesUnavailable when neither the store nor an earlier read
        has it."""
        found = (await self.read_products((product_id,), timeout_s=timeout_s))[product_id]
        if isinstance(found, Product):
            return found
        raise found

    async def read_products(self, product_ids: Sequence[str], *, timeout_s: float) -> Products:
        """A slate's products in one read: each by its id, or the error that it would raise."""
        _, products = await self.read(None, product_ids, timeout_s=timeout_s)
        return products

    async def _ask(
        self, wanted: Sequence[tuple[str, Sequence[str]]], timeout_s: float
    ) -> Answers | None:
        """None where the store is late, and at once where it was, time after time."""
        if (asked_s := self._breaker.ask()) is None:
            return None
        answers = await self._batcher.read(wanted, timeout_s)
        if answers:
            self._breaker.succeeded()
        elif answers is None:
            if timeout_s >= LATE_S:
                self._breaker.failed(asked_s)
        elif any(self._resolution.views[name].is_enabled for name, _ in wanted):
            self._breaker.failed(asked_s)
        return answers

    @property
    def _is_trusted(self) -> bool:
        """False once the store under us was filled by other encoders than ours."""
        return self._resolution.fingerprint == self.fingerprint

    def _observe(self, view: str, answer: Answer) -> None:
        """Once for each row, however many requests share it."""
        self._observer.read_seconds(view, answer.seconds)
        for record in answer.records.values():
            if isinstance(record, Product):
                self._observer.age(view, record.ages_s[view])
                if self._is_trusted:
                    self._kept.keep(record)
            elif isinstance(record, Profile | Recent) and record.status is Status.FOUND:
                self._observer.age(view, record.age_s or 0.0)

    def _join_shopper(self, user_id: str, answers: Answers | None) -> Shopper:
        answers = answers or {}
        profile: Profile = answers.get(USER_PROFILE.name, NOTHING).get(user_id, NO_PROFILE)
        recent: Recent = answers.get(USER_RECENT.name, NOTHING).get(user_id, NO_RECENT)
        if profile.status is not Status.FOUND:
            self._observer.missing(USER_PROFILE.name, profile.status.value)
        if recent.status is not Status.FOUND:
            self._observer.missing(USER_RECENT.name, recent.status.value)
        if not self._is_trusted:
            return Shopper(Status.INVALID, consent=profile.consent)
        return join_shopper(profile, recent)

    def _pick_products(self, product_ids: Sequence[str], answers: Answers | None) -> Products:
        table = (answers or {}).get(PRODUCT_FEATURES.name, NOTHING)
        why_none = "the store was late" if answers is None else "the store failed"
        is_trusted = self._is_trusted
        products: Products = {}
        for product_id in product_ids:
            found = table.get(product_id)
            if not (is_trusted and isinstance(found, Product)):
                found = self._replace(product_id, found, why_none)
            products[product_id] = found
        return products

    def _replace(
        self, product_id: str, found: Product | Status | None, why_none: str
    ) -> Product | ProductUnknown | FeaturesUnavailable:
        """What stands in for a product that could not be read."""
        if found is Status.MISSING:
            self._kept.forget(product_id)
            self._observer.missing(PRODUCT_FEATURES.name, Status.MISSING.value)
            return ProductUnknown(product_id)
        status = Status.INVALID if isinstance(found, Product) else found or Status.UNAVAILABLE
        self._observer.missing(PRODUCT_FEATURES.name, status.value)
        is_passing = status is Status.UNAVAILABLE
        why = why_none if is_passing else f"its row is {status.value}"
        kept = self._kept.recall(product_id)
        return kept or FeaturesUnavailable(product_id, why, is_passing)

    def _refresh(self) -> None:
        """On a thread of its own: no request ever waits for the registry."""
        while not self._stopped.wait(self._refresh_s):
            try:
                for store in self._stores:
                    store.feast.refresh_registry()
                resolution = resolve(self._store, self._repository, self._width)
            except Exception:  # the registry is away: what was resolved before still holds
                log.exception("the feature registry could not be refreshed")
                continue
            if resolution.fingerprint != self._resolution.fingerprint:
                log.error(
                    "the feature store now has fingerprint %s, this process was made for %s",
                    resolution.fingerprint,
                    self.fingerprint,
                )
            self._resolution = resolution


async def sleep_until(end_s: float) -> None:
    """Until a moment of the monotonic clock, in a way that does not depend on when it is called.

    An event loop sleeps for whole milliseconds, counted from when it fell asleep: an end so found
    would still tell how long the read had taken. So it falls asleep whole milliseconds before the
    end; what is left before and after, less than one each, is waited for turn by turn, in which
    others are served.
    """
    num_whole = max(0, int((end_s - time.monotonic()) / LOOP_S))
    await _wait_turns(end_s - num_whole * LOOP_S)
    await asyncio.sleep(num_whole * LOOP_S)
    await _wait_turns(end_s)


async def _wait_turns(end_s: float) -> None:
    while time.monotonic() < end_s:
        await asyncio.sleep(0)


class KeptProducts:
    """The products read last, so that a broken store still gives the generic image."""

    def __init__(self, max_products: int, clock: Callable[[], float]) -> None:
        self._max_products = max_products
        self._clock = clock
        self._products: OrderedDict[str, tuple[float, Product]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._products)

    def keep(self, product: Product) -> None:
        self._products[product.product_id] = self._clock(), product
        self._products.move_to_end(product.product_id)
        if len(self._products) > self._max_products:
            self._products.popitem(last=False)

    def forget(self, product_id: str) -> None:
        self._products.pop(product_id, None)

    def recall(self, product_id: str) -> Product | None:
        """With the age it has by now."""
        if product_id not in self._products:
            return None
        read_s, product = self._products[product_id]
        since_s = max(self._clock() - read_s, 0.0)
        ages = {view: age_s + since_s for view, age_s in product.ages_s.items()}
        return replace(product, ages_s=ages)
