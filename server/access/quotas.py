"""What a tenant may still ask for: buckets that fill by the minute, and places for images."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from server.errors import QuotaExceeded

_MINUTE_S = 60.0
_PLACE_PAUSE_S = 1.0
"""After which who found no place may look again: nobody knows when one is left."""


class Limits(Protocol):
    """None stands for no limit."""

    @property
    def requests_per_minute(self) -> int | None: ...

    @property
    def images_per_minute(self) -> int | None: ...

    @property
    def concurrent_images(self) -> int | None: ...


@dataclass(slots=True)
class Bucket:
    """Holds what may be asked for in a minute. Who asks for more than that at once waits until it
    is full, and then it owes: nothing is out of reach, and no quota is exceeded in the long run."""

    read_s: float
    debt: float = 0.0

    def take(self, count: int, per_minute: int, now_s: float) -> float:
        """Seconds to wait for it, where it is not taken; otherwise 0."""
        filled = (now_s - self.read_s) * per_minute / _MINUTE_S
        self.debt, self.read_s = max(0.0, self.debt - filled), now_s
        missing = min(count, per_minute) - (per_minute - self.debt)
        if missing > 1e-9:
            return missing * _MINUTE_S / per_minute
        self.debt += count
        return 0.0


@dataclass(slots=True)
class Account:
    """Of one tenant; outlives changes of its limits."""

    requests: Bucket
    images: Bucket
    num_places: int = 0
    """Taken by images that are being made."""


@dataclass(slots=True)
class Quotas:
    """The accounts of all tenants. Belongs to one event loop."""

    clock: Callable[[], float] = time.monotonic
    tell_refusal: Callable[[str], None] = lambda tenant: None
    _accounts: dict[str, Account] = field(default_factory=dict)

    def take_request(self, tenant: str, limits: Limits) -> None:
        """Raises QuotaExceeded."""
        if limits.requests_per_minute is not None:
            now_s = self.clock()
            bucket = self._account(tenant, now_s).requests
            pause_s = bucket.take(1, limits.requests_per_minute, now_s)
            self._check(pause_s, tenant, f"{limits.requests_per_minute} requests per minute")

    def take_images(self, tenant: str, limits: Limits, count: int, is_held: bool = True) -> int:
        """How many places to give back; none where they are not held, since they are made in the
        background. Raises QuotaExceeded with nothing taken."""
        now_s = self.clock()
        account = self._account(tenant, now_s)
        places = limits.concurrent_images if is_held else None
        if places is not None and account.num_places and account.num_places + count > places:
            self._check(_PLACE_PAUSE_S, tenant, f"{places} images at once")
        if limits.images_per_minute is not None:
            pause_s = account.images.take(count, limits.images_per_minute, now_s)
            self._check(pause_s, tenant, f"{limits.images_per_minute} images per minute")
        num_held = count if is_held else 0
        account.num_places += num_held
        return num_held

    def give_back(self, tenant: str, num_places: int) -> None:
        self._accounts[tenant].num_places -= num_places

    def num_places(self, tenant: str) -> int:
        """Images of the tenant that are being made."""
        account = self._accounts.get(tenant)
        return account.num_places if account else 0

    def _account(self, tenant: str, now_s: float) -> Account:
        account = self._accounts.get(tenant)
        if account is None:
            account = self._accounts[tenant] = Account(Bucket(now_s), Bucket(now_s))
        return account

    def _check(self, pause_s: float, tenant: str, quota: str) -> None:
        if pause_s > 0:
            self.tell_refusal(tenant)
            raise QuotaExceeded(tenant, quota, pause_s)
