"""Rows that agree on their first ticks, in an engine in which every forward can be foretold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.sampling.engine import Engine, EngineLimits
from tests.server.sampling.closed_model import make_request, running, until

TOLERANCE = 1e-5
STATE_BYTES = 4 * 3 * 4 * 4 * 4
PREFIX = (4, "a", 0.3)


def share(tag, *forks, steps=6, **fields):
    """A row whose first four of six ticks are those of all others, unless `forks` say otherwise."""
    return make_request(tag, forks=forks or [PREFIX], steps=steps, mean=tag / 10, **fields)


@asynccontextmanager
async def quiet(model, record, limits=None, **options) -> AsyncIterator[Engine]:
    """An engine of one bucket, so that every row that may step is in the next forward."""
    limits = limits or EngineLimits(buckets=(16,))
    async with running(model, limits, observer=record, **options) as engine:
        yield engine


def submit_all(engine, requests):
    """A ticket for each; all have come before a second forward starts."""
    return [engine.submit([request]) for request in requests]


async def finish(engine, tickets):
    results = await asyncio.gather(*(t.result for t in tickets), return_exceptions=True)
    await until(lambda: engine.num_rows == 0)
    assert engine._shared.num_waiting == 0 and not engine._shared._leaders
    return results


def count_rows(record):
    """Forward rows that were paid for."""
    return sum(rows for _, rows in record.ticks)


def tags_of(model):
    return [sorted(set(tags)) for tags in model.forwards]
