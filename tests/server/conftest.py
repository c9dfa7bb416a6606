"""The pipeline with the shipped model and a real engine; only the store is scripted."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from diffusion.checkpoint import DEFAULT_CHECKPOINT
from diffusion.image_model import Preset
from diffusion.model import ProductDiffusion
from server.commands.workshop import warm_request
from server.core import FAST, QUALITY
from server.sampling.engine import Engine, EngineLimits
from tests.server.opening import open_pipeline
from tests.server.postgresql import running, why_not
from tests.server.registry import hold
from tests.server.scripted_reader import ScriptedReader


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a real PostgreSQL with a database that others use as well."""
    if reason := why_not():
        pytest.skip(reason)
    with running() as server:
        yield server.url


@pytest.fixture(scope="module")
def shipped() -> ProductDiffusion:
    return ProductDiffusion.load(DEFAULT_CHECKPOINT)


@pytest.fixture(scope="module")
def models(shipped) -> dict[str, ProductDiffusion]:
    """The second has the weights of the first under a name of its own."""
    fast = copy.copy(shipped)
    fast.name, fast.preset = "etalage-fast", Preset(num_steps=4)
    return {QUALITY: shipped, FAST: fast}


@pytest.fixture(scope="module")
def warm_engine(models):
    engine = Engine(list(models.values()), EngineLimits(buckets=(1, 3, 8), max_rows=32))
    engine.start([warm_request(model) for model in models.values()])
    yield engine
    engine.close()


@pytest.fixture
def engine(warm_engine):
    warm_engine._shared.clear()  # each test finds nothing that others sampled
    yield warm_engine
    ends_s = time.monotonic() + 30  # an answer is there a moment before its rows are counted off
    while warm_engine.num_rows and time.monotonic() < ends_s:
        time.sleep(0.001)
    assert warm_engine.num_rows == 0


@pytest.fixture
def reader() -> ScriptedReader:
    return ScriptedReader()


@pytest.fixture
async def pipeline(reader, models, engine):
    encoders = models[QUALITY].encoders
    with ThreadPoolExecutor(2) as workers:
        yield open_pipeline(reader, hold(models), encoders, engine, workers)
