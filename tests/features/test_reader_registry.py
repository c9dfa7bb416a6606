"""The reader and its registry: checked at start, refreshed behind, and never in the way."""

import asyncio

import pytest

from features.definitions import Lifetimes
from features.reader import FeatureReader
from features.records import Status
from features.schema import USER_PROFILE
from features.store import StoreConfig, StoreMissing
from features.vector import FingerprintMismatch
from tests.features.stores import DIGEST, LONG_S, WIDTH, make_store


def test_other_encoders_stop_the_start_with_both_prints(store):
    reader = FeatureReader(store.config, width=WIDTH, encoder_digest="other")
    with pytest.raises(FingerprintMismatch) as caught:
        reader.start()
    assert caught.value.stored == store.fingerprint()
    assert caught.value.expected == reader.fingerprint


def test_no_store_stops_the_start(tmp_path):
    reader = FeatureReader(StoreConfig(home=tmp_path), width=WIDTH, encoder_digest=DIGEST)
    with pytest.raises(StoreMissing):
        reader.start()


async def wait_until(condition):
    for _ in range(1000):
        if await condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


async def test_the_registry_is_refreshed_in_the_background(filled, open_reader):
    reader = open_reader(refresh_s=0.02)
    assert (await reader.read_shopper("anna", timeout_s=LONG_S)).status is Status.FOUND
    make_store(filled.config.home, lifetimes=Lifetimes(user_profile_s=30))

    async def is_stale():
        return (await reader.read_shopper("anna", timeout_s=LONG_S)).status is Status.STALE

    await wait_until(is_stale)


async def test_a_view_that_is_switched_off_is_unavailable(filled, open_reader):
    reader = open_reader(refresh_s=0.02)
    filled.feast.disable_feature_view("user_profile")

    async def is_off():
        shopper = await reader.read_shopper("anna", timeout_s=LONG_S)
        return shopper.status is Status.UNAVAILABLE

    await wait_until(is_off)


async def test_a_view_that_is_being_materialized_stays_open(filled, open_reader):
    from feast.feature_view import FeatureViewState

    view = filled.view(USER_PROFILE)
    view.state = FeatureViewState.MATERIALIZING
    filled.feast.registry.apply_feature_view(view, filled.feast.project)
    reader = open_reader()
    assert (await reader.read_shopper("anna", timeout_s=LONG_S)).status is Status.FOUND


async def test_a_store_refilled_by_other_encoders_is_no_longer_trusted(filled, open_reader, caplog):
    reader = open_reader(refresh_s=0.02)
    before = await reader.read_product("ball", timeout_s=LONG_S)
    service = filled.feast.get_feature_service("personalization_v1")
    service.tags["fingerprint"] = "f" * 16
    filled.feast.apply([service])

    async def is_invalid():
        shopper = await reader.read_shopper("anna", timeout_s=LONG_S)
        return shopper.status is Status.INVALID and shopper.profile is None

    await wait_until(is_invalid)
    kept = await reader.read_product("ball", timeout_s=LONG_S)
    assert kept.image_embedding.tolist() == before.image_embedding.tolist()
    assert "fingerprint ffffffffffffffff" in caplog.text


async def test_a_registry_that_goes_away_leaves_the_reader_as_it_was(filled, open_reader, caplog):
    reader = open_reader(refresh_s=0.02)
    (filled.config.folder / "registry.db").write_bytes(b"no registry")

    async def is_logged():
        return "could not be refreshed" in caplog.text

    await wait_until(is_logged)
    assert (await reader.read_shopper("anna", timeout_s=LONG_S)).status is Status.FOUND
