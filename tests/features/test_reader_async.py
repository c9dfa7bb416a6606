"""The reader on an async store that answers as Redis does."""

import asyncio

import pytest

from features.records import FeaturesUnavailable, Product, ProductUnknown, Status
from features.schema import PRODUCT_FEATURES, USER_PROFILE
from tests.features.memory_store import SETTINGS
from tests.features.stores import LONG_S, make_reader, make_store, product, profile, write_row


@pytest.fixture
async def redis_like(tmp_path):
    """A reader on an async store, and that store."""
    store = make_store(tmp_path, online_store=SETTINGS)
    reader = make_reader(store)
    reader.start()
    own = reader._store
    assert own is not None
    yield reader, own, own.online
    await reader.close()


async def test_an_async_store_is_read_on_the_loop(redis_like):
    reader, store, online = redis_like
    write_row(store, USER_PROFILE, "anna", **profile())
    write_row(store, PRODUCT_FEATURES, "ball", **product())
    shopper, products = await reader.read("anna", ["ball"], timeout_s=LONG_S)
    assert shopper.status is Status.FOUND and isinstance(products["ball"], Product)
    assert [name for name, *_ in online.reads] == [
        "user_profile",
        "user_recent",
        "product_features",
    ]


async def test_unset_values_from_1970_are_missing_and_not_stale(redis_like):
    reader, _, _ = redis_like
    shopper = await reader.read_shopper("nobody", timeout_s=LONG_S)
    assert shopper.status is Status.MISSING and shopper.ages_s == {}
    with pytest.raises(ProductUnknown):
        await reader.read_product("nothing", timeout_s=LONG_S)


async def test_a_list_that_the_store_appends_to_is_never_used_again(redis_like):
    reader, store, online = redis_like
    write_row(store, PRODUCT_FEATURES, "ball", **product())
    for _ in range(3):
        await reader.read_product("ball", timeout_s=LONG_S)
    assert [asked for _, _, asked in online.reads] == [PRODUCT_FEATURES.features] * 3


async def test_broken_bytes_in_an_async_store_harm_nobody_else_either(redis_like):
    reader, store, online = redis_like
    names = [f"p{number}" for number in range(7)]
    for name in names:
        write_row(store, PRODUCT_FEATURES, name, **product())
    online.poison = {"p3"}
    found = await reader.read_products(names, timeout_s=LONG_S)
    assert [name for name in names if not isinstance(found[name], Product)] == ["p3"]
    with pytest.raises(FeaturesUnavailable, match="invalid"):
        await reader.read_product("p3", timeout_s=LONG_S)


async def test_an_async_store_that_fails_is_unavailable(redis_like, monkeypatch, caplog):
    reader, _, online = redis_like

    async def refuse(*_):
        raise ConnectionRefusedError

    monkeypatch.setattr(online, "online_read_async", refuse)
    shopper, products = await reader.read("anna", ["ball"], timeout_s=LONG_S)
    assert shopper.status is Status.UNAVAILABLE
    assert isinstance(products["ball"], FeaturesUnavailable)
    assert "ConnectionRefusedError" in caplog.text


async def test_a_slow_async_store_is_late_for_each_by_its_own_time(redis_like):
    reader, store, online = redis_like
    write_row(store, USER_PROFILE, "anna", **profile())
    online.delay_s = 0.3
    hasty, patient = await asyncio.gather(
        reader.read_shopper("anna", timeout_s=0.02), reader.read_shopper("anna", timeout_s=LONG_S)
    )
    assert hasty.status is Status.UNAVAILABLE and patient.status is Status.FOUND
