"""An enhancer with a real engine; its restorer is tiny and knows nothing, only the store is
scripted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from diffusion.damage_levels import LevelEstimator
from diffusion.restoration import NUM_CHANNELS, NUM_FACTS, Restorer
from diffusion.unet import UNet
from server.enhancement.enhance import Enhancer
from server.enhancement.restoring import Restoring
from server.sampling.engine import Engine, EngineLimits
from server.sampling.router import Router
from server.sampling.row import RowRequest
from tests.server.scripted_reader import ScriptedReader

SIDE = 64


def make_restorer() -> Restorer:
    """With weights in every last layer, which a fresh network starts without."""
    torch.manual_seed(0)
    network = UNet(NUM_CHANNELS, 3, widths=(8, 12), num_blocks=(1, 1), num_facts=NUM_FACTS)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    estimator = LevelEstimator(widths=(4, 6, 8, 8))
    return Restorer(network, estimator, "tiny", "0" * 16, SIDE, 2)


@pytest.fixture(scope="session")
def restorer() -> Restorer:
    return make_restorer()


@pytest.fixture(scope="session")
def router(restorer):
    engine = Engine([restorer], EngineLimits(buckets=(1, 4, 8)))
    tile = np.zeros((SIDE, SIDE, 3), np.uint8)
    engine.start([RowRequest.along(restorer.plan(tile), restorer.name, 0)])
    yield Router([engine])
    engine.close()


@pytest.fixture(scope="session")
def workers():
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture
async def restoring(router, workers, restorer):
    async def open_model():
        return restorer

    restoring = Restoring(router, workers, open_model)
    yield restoring
    await restoring.close()


@pytest.fixture
def reader() -> ScriptedReader:
    return ScriptedReader()


@pytest.fixture
def enhancer(reader, restoring, workers) -> Enhancer:
    return Enhancer(reader, restoring, None, workers)
