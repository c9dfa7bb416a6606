"""A store that fails time after time is left alone for a while, and nobody waits for it."""

import pytest

from features.reader import LATE_S
from features.records import FeaturesUnavailable, Product, Status
from features.schema import PRODUCT_FEATURES, USER_PROFILE
from server.breaker import Breaker
from tests.features.memory_store import SETTINGS
from tests.features.stores import LONG_S, make_reader, make_store, product, profile, write_row

SHORT_S = LATE_S + 0.01


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
async def guarded(tmp_path):
    """A reader with a breaker that opens at the second failure, the store, and the clock."""
    store, clock = make_store(tmp_path, online_store=SETTINGS), Clock()
    reader = make_reader(store, breaker=Breaker("store", None, 2, 1.0, clock))
    reader.start()
    own = reader._store
    assert own is not None
    online = own.online
    write_row(own, USER_PROFILE, "anna", **profile())
    write_row(own, PRODUCT_FEATURES, "ball", **product())
    await reader.read_product("ball", timeout_s=LONG_S)
    yield reader, online, clock
    await reader.close()


async def test_a_store_that_is_late_again_and_again_is_waited_for_no_more_until_it_answers(guarded):
    reader, online, clock = guarded
    online.delay_s = 600.0
    for _ in range(2):
        clock.now += 0.1
        assert (await reader.read_shopper("anna", timeout_s=SHORT_S)).status is Status.UNAVAILABLE
    num_reads = len(online.reads)
    shopper, products = await reader.read("anna", ["ball", "lamp"], timeout_s=LONG_S)
    assert shopper.status is Status.UNAVAILABLE and len(online.reads) == num_reads
    assert isinstance(products["ball"], Product), "which was read before"
    assert isinstance(products["lamp"], FeaturesUnavailable)
    online.delay_s = 0.0
    clock.now += 1.0
    assert (await reader.read_shopper("anna", timeout_s=LONG_S)).status is Status.FOUND
    assert (await reader.read_shopper("anna", timeout_s=LONG_S)).status is Status.FOUND


async def test_a_store_that_refuses_everything_is_left_alone_too(guarded, monkeypatch):
    reader, online, clock = guarded
    num_asked = 0

    async def refuse(*_):
        nonlocal num_asked
        num_asked += 1
        raise ConnectionRefusedError

    monkeypatch.setattr(online, "online_read_async", refuse)
    for _ in range(5):
        clock.now += 0.1
        assert (await reader.read_shopper("anna", timeout_s=LONG_S)).status is Status.UNAVAILABLE
    assert num_asked == 2 * 2, "of two views, twice"


async def test_who_had_no_time_to_wait_says_nothing_of_the_store(guarded):
    reader, online, clock = guarded
    online.delay_s = 600.0
    for _ in range(5):
        clock.now += 0.1
        await reader.read_shopper("anna", timeout_s=LATE_S / 10)
    online.delay_s = 0.0
    assert (await reader.read_shopper("anna", timeout_s=LONG_S)).status is Status.FOUND
