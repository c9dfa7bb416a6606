"""How far a run is where nobody sits at a terminal."""

import pytest
from structlog.testing import capture_logs

from server.bulk.progress import Progress
from server.bulk.record import Failure, Record

FINISHED = Record("a", 1, "d", images=[{}, {}])
FAILED = Record("a", 1, "d", failure=Failure("NOT_FOUND", "PRODUCT_NOT_FOUND", "no product"))


class Clock:
    now_s = 5.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def progress(clock):
    """Of 100 rows, 20 of which were finished before."""
    with Progress(100, 20, clock) as progress:
        yield progress


def test_twice_a_minute_a_line_tells_how_far_it_is_how_fast_and_how_long_it_takes(progress, clock):
    clock.now_s = 10.0
    progress.begin()
    with capture_logs() as told:
        clock.now_s = 39.9
        progress.note([FINISHED] * 10)
        assert not told
        clock.now_s = 40.0
        progress.note([FINISHED] * 10 + [FAILED] * 4)
        clock.now_s = 69.9
        progress.note([FINISHED] * 6)
        clock.now_s = 70.0
        progress.note([FINISHED] * 30)
    first, second = ({name: line[name] for name in line if name != "log_level"} for line in told)
    # 24 rows in 30 s are 0.8 a second, and 56 are left.
    assert first == {"event": "bulk", "done": 40, "failed": 4, "of": 100} | {
        "rows_per_s": 0.8,
        "left_s": 70,
    }
    assert (second["done"], second["rows_per_s"], second["left_s"]) == (76, 1.0, 20)
    assert (progress.num_made, progress.num_images, progress.seconds) == (60, 112, 60.0)


def test_while_nothing_is_made_nothing_is_told(progress, clock):
    with capture_logs() as told:
        clock.now_s += 600.0
        progress.note([])
    assert not told and progress.seconds == 0
