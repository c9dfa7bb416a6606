"""Known answers, with a clock of the test's own."""

from dataclasses import dataclass

import pytest

from server.access.calls import Call, charge_images, current_tenant, enter_call, name_apart
from server.access.quotas import Quotas
from server.access.tenants import Quotas as Limits
from server.errors import QuotaExceeded


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def quotas(clock):
    return Quotas(clock)


def test_a_minute_of_requests_may_come_at_once_and_then_one_after_the_other(quotas, clock):
    limits = Limits(requests_per_minute=60)
    for _ in range(60):
        quotas.take_request("shop", limits)
    with pytest.raises(QuotaExceeded, match="the quota of 60 requests per minute") as caught:
        quotas.take_request("shop", limits)
    assert caught.value.retry_after_s == pytest.approx(1.0)
    quotas.take_request("other", limits)
    clock.now_s = 1.0
    quotas.take_request("shop", limits)
    with pytest.raises(QuotaExceeded):
        quotas.take_request("shop", limits)
    clock.now_s = 1000.0
    for _ in range(60):
        quotas.take_request("shop", limits)
    with pytest.raises(QuotaExceeded):
        quotas.take_request("shop", limits)


def test_who_asks_for_more_than_a_minute_of_images_waits_until_all_is_paid_off(quotas, clock):
    limits = Limits(images_per_minute=10)
    quotas.take_images("shop", limits, 40)
    with pytest.raises(QuotaExceeded) as caught:
        quotas.take_images("shop", limits, 1)
    assert caught.value.retry_after_s == pytest.approx(31 * 6)
    clock.now_s = 31 * 6.0
    quotas.take_images("shop", limits, 1)
    with pytest.raises(QuotaExceeded) as caught:
        quotas.take_images("shop", limits, 40)
    assert caught.value.retry_after_s == pytest.approx(60)


def test_places_are_held_until_the_call_ends_and_what_is_refused_takes_nothing(quotas, clock):
    limits = Limits(concurrent_images=4, images_per_minute=100)
    first, second = (Call("shop", limits, quotas) for _ in range(2))
    first.charge(3)
    with pytest.raises(QuotaExceeded, match="4 images at once"):
        second.charge(2)
    second.charge(1)
    assert quotas.num_places("shop") == 4
    first.end()
    first.end()
    assert quotas.num_places("shop") == 1
    second.end()
    big = Call("shop", limits, quotas)
    big.charge(9)  # more than there are places: alone, it may
    with pytest.raises(QuotaExceeded):
        Call("shop", limits, quotas).charge(1)
    big.end()
    Call("shop", limits, quotas).charge(9, is_held=False)
    assert quotas.num_places("shop") == 0
    with pytest.raises(QuotaExceeded, match="100 images per minute"):
        Call("shop", limits, quotas).charge(80)


def test_new_limits_hold_at_once_for_what_was_taken_before(quotas):
    quotas.take_images("shop", Limits(images_per_minute=100), 50)
    with pytest.raises(QuotaExceeded):
        quotas.take_images("shop", Limits(images_per_minute=10), 1)
    quotas.take_images("shop", Limits(), 1000)


async def test_a_call_is_known_to_what_works_for_it(quotas):
    assert (current_tenant(), name_apart("a")) == ("", "a")
    charge_images(1000)
    call = Call("shop", Limits(images_per_minute=1), quotas)
    enter_call(call)
    assert current_tenant() == "shop" and name_apart("a") != "a"
    charge_images(1)
    with pytest.raises(QuotaExceeded):
        charge_images(1)
