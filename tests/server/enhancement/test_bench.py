"""Pixel work is begun for those who still wait for it, and for nobody else."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.enhancement.bench import Bench
from server.errors import DeadlineExceeded


@pytest.fixture
def busy():
    """One thread that works until it is told to go on."""
    go = threading.Event()
    with ThreadPoolExecutor(1) as workers:
        workers.submit(go.wait)
        try:
            yield workers, go
        finally:
            go.set()


async def test_work_is_done_in_a_thread_with_its_arguments():
    with ThreadPoolExecutor(1, "bench") as workers:
        bench = Bench(workers, time.monotonic() + 60)
        assert await bench.run(divmod, 17, 5) == (3, 2)
        name = await bench.run(lambda: threading.current_thread().name)
        assert name.startswith("bench")


async def test_what_gets_a_thread_too_late_is_not_begun(busy):
    workers, go = busy
    begun: list[int] = []
    bench = Bench(workers, time.monotonic() + 0.01)
    waiting = asyncio.ensure_future(bench.run(begun.append, 1))
    await asyncio.sleep(0.02)
    go.set()
    with pytest.raises(DeadlineExceeded):
        await waiting
    assert not begun


async def test_what_nobody_waits_for_any_more_is_not_begun(busy):
    workers, go = busy
    begun: list[int] = []
    bench = Bench(workers)
    waiting = asyncio.ensure_future(bench.run(begun.append, 1))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    go.set()
    await bench.run(begun.append, 2)
    assert begun == [2]
