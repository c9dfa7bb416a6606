"""Files are read again when they change, and kept as they were when they break."""

import asyncio

import pytest

from server.access.watched import Watch, Watched
from server.metrics import Metrics
from tests.server.access.papers import replace


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "number"
    file.write_text("1")
    return file


def watch(file):
    metrics = Metrics()
    told = metrics.registry.get_sample_value
    name = "etalage_access_reloads_total"
    watched = Watched("number", [file], lambda: int(file.read_text()), metrics)
    return watched, lambda result: told(name, {"what": "number", "result": result}) or 0


def test_what_is_broken_is_told_once_and_changes_nothing(file):
    watched, num_told = watch(file)
    replace(file, b"no number")
    watched.refresh_now()
    watched.refresh_now()
    assert (watched.value, num_told("failed"), num_told("ok")) == (1, 1, 0)
    replace(file, b"22")
    watched.refresh_now()
    watched.refresh_now()
    assert (watched.value, num_told("failed"), num_told("ok")) == (22, 1, 1)


def test_what_is_broken_at_the_start_starts_nothing(file):
    file.write_text("no number")
    with pytest.raises(ValueError, match="no number"):
        watch(file)


class Breaking:
    num_refreshed = 0

    async def refresh(self):
        self.num_refreshed += 1
        raise RuntimeError("a bug")


async def test_a_watch_looks_again_and_again_whatever_breaks(file):
    watched, _ = watch(file)
    breaking = Breaking()
    looking = Watch([breaking, watched], 0.01)
    looking.start()
    async with asyncio.timeout(10):
        while breaking.num_refreshed < 2:
            await asyncio.sleep(0.01)
        replace(file, b"33")
        while watched.value != 33:
            await asyncio.sleep(0.01)
    await looking.close()
