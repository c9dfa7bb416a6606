"""The pipeline and models that come and go."""

import asyncio
import copy
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from server.commands.workshop import warm_request
from server.revision import Revision
from tests.server.opening import open_pipeline
from tests.server.scripted_reader import ask


class OneModel:
    """A registry of a single model, which forgets it when it is told to."""

    def __init__(self, model: Any) -> None:
        self.models: tuple[Any, ...] = (model,)

    @contextmanager
    def lease(self, name: str = ""):
        yield Revision("passing", models=self.models)


async def test_a_model_that_was_exchanged_leaves_nothing_behind(reader, shipped, engine):
    passing = copy.copy(shipped)
    passing.name = "passing"
    await asyncio.wrap_future(engine.add(passing, [warm_request(passing)]))
    registry = OneModel(passing)
    with ThreadPoolExecutor(2) as workers:
        pipeline = open_pipeline(reader, registry, shipped.encoders, engine, workers)
        result = await pipeline.generate(ask(steps=2))
        assert result.model is not None and result.model.name == "passing"
        engine.remove("passing")
        registry.models, alive = (), weakref.ref(passing)
        del passing
        for _ in range(100):  # its last row is counted off a moment after the answer
            gc.collect()
            if alive() is None:
                break
            await asyncio.sleep(0.01)
        assert alive() is None
        assert not pipeline._shelves
