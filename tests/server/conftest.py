"""The pipeline with the shipped model and a real engine; only the store is scripted."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest

from diffusion.checkpoint import DEFAULT_CHECKPOINT
from diffusion.model import ProductDiffusion
from server.commands.building import warm_request
from server.core import FAST, QUALITY
from server.pipeline import Pipeline
from server.rows import Defaults
from server.sampling.engine import Engine, EngineLimits
from server.sampling.router import Router
from tests.server.scripted_reader import ScriptedReader


@pytest.fixture(scope="module")
def shipped() -> ProductDiffusion:
    return ProductDiffusion.load(DEFAULT_CHECKPOINT)


@pytest.fixture(scope="module")
def models(shipped) -> dict[str, ProductDiffusion]:
    """The second has the weights of the first under a name of its own."""
    fast = copy.copy(shipped)
    fast.name = "etalage-fast"
    return {QUALITY: shipped, FAST: fast}


@pytest.fixture(scope="module")
def warm_engine(models):
    engine = Engine(list(models.values()), EngineLimits(buckets=(1, 3, 8), max_rows=8))
    engine.start([warm_request(model) for model in models.values()])
    yield engine
    engine.close()


@pytest.fixture
def engine(warm_engine):
    warm_engine._shared.clear()  # each test finds nothing that others sampled
    yield warm_engine
    assert warm_engine.num_rows == 0


@pytest.fixture
def reader() -> ScriptedReader:
    return ScriptedReader()


@pytest.fixture
def pipeline(reader, models, engine):
    with ThreadPoolExecutor(2) as workers:
        yield Pipeline(reader, models, Router([engine]), workers, Defaults())
