"""A server process whose Redis, for features and for images, hangs, dies and comes back; and
clients that mean no good."""

import asyncio
import math
import os
import shutil
import signal
import socket
import struct

import pytest
from redis import Redis

from benchmarks.reliability_overload import running_shop
from etalage import AsyncClient, Client, Retries, Unavailable
from features.consent import read_online
from features.schema import USER_PROFILE
from features.store import open_store
from tests.features.stores import write_row
from tests.server.image_cache.conftest import RedisServer

STEPS = 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = struct.pack(">I", 0)[1:] + b"\x04\x00" + bytes(4)
PING = struct.pack(">I", 8)[1:] + b"\x06\x00" + bytes(4) + b"pingpong"


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    if shutil.which("redis-server") is None:
        pytest.skip("there is no redis-server on this machine")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def shop(redis):
    address = f"127.0.0.1:{redis.port}"
    flags = (f"--image_cache.redis_url=redis://{address}/1", "--engine.buckets=1,3,8")
    store = {"type": "redis", "connection_string": address}
    with running_shop(*flags, online_store=store) as shop:
        yield shop


@pytest.fixture
def client(shop):
    with Client(shop.ports.server, timeout_s=60, retries=Retries(max_attempts=1)) as client:
        yield client


def metric(shop, line):
    """0 where there is none yet."""
    return shop.read().get(line, 0.0)


def is_open(shop, dependency):
    return metric(shop, f'etalage_breaker_open{{dependency="{dependency}"}}') == 1


def ask(client, shop, **options):
    options = {"user": shop.shoppers[1], "seed": 5, "cache_policy": "bypass"} | options
    return client.generate(shop.products[0], steps=STEPS, **options)


async def until_personal(shop):
    """Asks until the shopper takes part again."""
    async with asyncio.timeout(60), AsyncClient(shop.ports.server, timeout_s=60) as client:
        while True:
            result = await client.generate(
                shop.products[0], user=shop.shoppers[1], seed=5, steps=STEPS, cache_policy="bypass"
            )
            if result.personalization.applied:
                return result
            await asyncio.sleep(0.1)


async def test_while_the_feature_store_hangs_images_are_generic_and_soon_nobody_waits_for_it(
    redis, shop, client
):
    personal = await until_personal(shop)
    generic = ask(client, shop, user=None)
    os.kill(redis.process.pid, signal.SIGSTOP)
    try:
        while not is_open(shop, "feature_store"):
            result = ask(client, shop)
            assert result.personalization.reason == "features_unavailable"
        skipped = 'etalage_breaker_skips_total{dependency="feature_store"}'
        before = metric(shop, skipped)
        for policy in ("bypass", "use"):
            result = ask(client, shop, cache_policy=policy)
            assert result.personalization.reason == "features_unavailable"
            assert result.image.data == generic.image.data
        assert metric(shop, skipped) > before
        assert is_open(shop, "image_cache_read")
        assert metric(shop, 'etalage_cache_failures_total{tier="redis"}') > 0
    finally:
        os.kill(redis.process.pid, signal.SIGCONT)
    again = await until_personal(shop)
    assert again.image.data == personal.image.data != generic.image.data
    assert not is_open(shop, "feature_store")


async def test_a_feature_store_that_died_is_read_again_when_it_is_back(redis, shop, client):
    await until_personal(shop)
    with Redis(port=redis.port) as store:
        store.save()
    redis.stop()
    for _ in range(4):
        result = ask(client, shop)
        assert result.personalization.reason == "features_unavailable" and result.image.data
    with pytest.raises(Unavailable) as caught:
        client.generate(shop.products[1], steps=STEPS)
    assert caught.value.reason == "FEATURES_UNAVAILABLE" and caught.value.retry_after_s == 1.0
    assert client.is_serving(), "it still has what it needs for what it has seen"
    redis.start()
    await until_personal(shop)
    assert not is_open(shop, "feature_store")


def spoil(redis, shop, user, numbers=lambda embedding: embedding, age_s=0.0):
    """Writes the profile anew, as another writer would: Redis keeps the newer one otherwise."""
    store = open_store(shop.features)
    _, told = read_online(store, USER_PROFILE, user)
    redis.delete(find_row(redis, user))
    told["embedding"] = numbers(told["embedding"])
    write_row(store, USER_PROFILE, user, age_s=age_s, **told)


def find_row(redis, user):
    (name,) = redis.scan_iter(f"*{user}*")
    return name


async def test_rows_that_can_not_be_used_are_told_apart_and_harm_nobody_else(redis, shop, client):
    """A vector of another width, one that is no number, a row too old, one that is half written."""
    healthy = await until_personal(shop)
    generic = ask(client, shop, user=None)
    wide, broken, old, torn = shop.shoppers[2:6]
    with Redis(port=redis.port) as store:
        spoil(store, shop, wide, lambda numbers: numbers[:-1])
        spoil(store, shop, broken, lambda numbers: [math.nan, *numbers[1:]])
        spoil(store, shop, old, age_s=90 * 86_400.0)
        for field in store.hkeys(name := find_row(store, torn)):
            store.hset(name, field, b"\x0a\xff")
    reasons = {}
    for user in (wide, broken, old, torn):
        result = ask(client, shop, user=user)
        reasons[user] = result.personalization.reason
        assert result.image.data == generic.image.data
    expected = ("invalid_features", "invalid_features", "stale", "no_consent")
    assert tuple(reasons.values()) == expected
    assert ask(client, shop).image.data == healthy.image.data


def test_a_client_that_floods_pings_is_sent_away_and_others_are_answered(shop, client):
    with socket.create_connection(("127.0.0.1", shop.ports.grpc), 30) as peer:
        peer.sendall(PREFACE + SETTINGS)
        told = b""
        try:
            while data := peer.recv(65536):
                told += data
                peer.sendall(100 * PING)
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert b"too_many_pings" in told
    assert ask(client, shop).image.data


async def test_clients_that_do_not_read_or_hang_up_hold_nothing(shop, client):
    async with AsyncClient(shop.ports.server, timeout_s=900) as crowd:
        streams = [
            crowd.stream(shop.products[0], steps=20, seed=seed, preview_side=128)
            for seed in range(4)
        ]
        for stream in streams:
            await anext(stream)
        assert ask(client, shop).image.data
    async with asyncio.timeout(30):
        while metric(shop, "etalage_engine_rows"):
            await asyncio.sleep(0.1)
