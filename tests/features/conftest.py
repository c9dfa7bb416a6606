"""A fresh real store for each test, and readers that are closed after it."""

from __future__ import annotations

import contextlib

import pytest

from features.schema import PRODUCT_FEATURES, USER_PROFILE
from tests.features.stores import (
    SmallEncoders,
    make_reader,
    make_store,
    product,
    profile,
    write_row,
)


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "home")


@pytest.fixture
async def open_reader(store):
    """Starts readers of the test's store: `reader = open_reader(observer=...)`."""
    async with contextlib.AsyncExitStack() as stack:

        def start(**options):
            reader = make_reader(store, **options)
            reader.start()
            stack.push_async_callback(reader.close)
            return reader

        yield start


@pytest.fixture
def reader(open_reader):
    return open_reader()


@pytest.fixture(scope="session")
def encoders():
    return SmallEncoders()


@pytest.fixture
def filled(store):
    """With Anna, someone without a history, and a ball."""
    write_row(store, USER_PROFILE, "anna", age_s=100, **profile())
    write_row(store, USER_PROFILE, "cold", embedding=None, locale="fr", consent=True)
    write_row(store, PRODUCT_FEATURES, "ball", age_s=50, **product())
    return store
