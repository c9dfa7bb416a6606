"""The call that is being answered: whose it is, and what it takes of its tenant's quotas.

The outermost layer of the door sets it; whoever works for the call, in its task or in one that was
started from there, may ask.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field

from server.access.quotas import Limits, Quotas


@dataclass(slots=True)
class Call:
    """A call that was let in."""

    tenant: str
    limits: Limits = field(repr=False)
    quotas: Quotas = field(repr=False)
    num_places: int = 0

    def charge_request(self) -> None:
        """Raises QuotaExceeded."""
        self.quotas.take_request(self.tenant, self.limits)

    def charge(self, num_images: int, is_held: bool = True) -> None:
        """Raises QuotaExceeded. Places are held until `end`, those of batches not at all."""
        self.num_places += self.quotas.take_images(self.tenant, self.limits, num_images, is_held)

    def end(self) -> None:
        num_places, self.num_places = self.num_places, 0
        if num_places:
            self.quotas.give_back(self.tenant, num_places)


_current: ContextVar[Call | None] = ContextVar("call", default=None)


def enter_call(call: Call | None) -> None:
    _current.set(call)


def current_tenant() -> str:
    """Whose call this is; "" where nobody is asked who they are."""
    call = _current.get()
    return call.tenant if call else ""


def charge_images(num_images: int, is_held: bool = True) -> None:
    """Take so many images from the quotas of who calls. Raises QuotaExceeded."""
    if (call := _current.get()) is not None:
        call.charge(num_images, is_held)


def name_apart(name: str) -> str:
    """The name as no other tenant can say it."""
    return f"{own_prefix()}{name}"


def own_prefix() -> str:
    """Of all names of who calls; no tenant's own name has a colon."""
    tenant = current_tenant()
    return f"{tenant}:" if tenant else ""
