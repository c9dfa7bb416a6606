"""Batches as they are opened from a configuration."""

from __future__ import annotations

import pytest

from server.commands.batches import open_batches
from server.configuration import BatchesSlice, Configuration, FeaturesSlice
from server.metrics import Metrics
from tests.server.batches.shop import submission, until_closed
from tests.server.doors.sketching import Sketcher


def open_in(home, metrics=None, **settings):
    batches, features = BatchesSlice(**settings), FeaturesSlice(home=home)
    configuration = Configuration(batches=batches, features=features)
    observer = metrics or Metrics()
    return open_batches(configuration, Sketcher(), lambda: 0, lambda: True, observer)


async def test_everything_lies_below_home_and_what_is_answered_is_counted(tmp_path):
    metrics = Metrics()
    async with open_in(tmp_path / "new", metrics) as jobs:
        await jobs.submit(submission("a", "chair", "unknown", "lamp", num_images=2))
        told = await until_closed(jobs, "a")
    assert told.output_folder == str(tmp_path / "new" / "batches" / "a")
    assert (tmp_path / "new" / "batches.db").exists()
    value = metrics.registry.get_sample_value
    assert value("etalage_batch_requests_total", {"outcome": "succeeded"}) == 2
    assert value("etalage_batch_requests_total", {"outcome": "failed"}) == 1
    assert value("etalage_batch_images_total") == 4


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"folder": "nowhere://shop"}, "batches.folder"),
        ({"database": "no url at all"}, "batches.database"),
        ({"database": "nosuchdatabase://host/name"}, "batches.database"),
        ({"database": "sqlite:////dev/null/batches.db"}, "batches.database"),
    ],
)
async def test_a_wrong_place_stops_the_start_and_says_which(tmp_path, settings, named):
    with pytest.raises(OSError, match=named):
        async with open_in(tmp_path, **settings):
            pass
