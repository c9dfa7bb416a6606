"""What the server tells, for whatever asks for it."""

from typing import Any

import pytest

from server.metrics import Metrics


@pytest.fixture(scope="package")
def told():
    """The labels of each metric, by all the names that Prometheus gives it."""
    metrics = Metrics()
    try:
        of_process = (each.name for told in metrics.registry.collect() for each in told.samples)
        found: dict[str, set[str]] = {name: set() for name in of_process}
        collectors: dict[str, Any] = dict(metrics.registry._names_to_collectors)
        for metric in collectors.values():
            labels = {*metric._labelnames, *(("le",) if metric._type == "histogram" else ())}
            found |= {name: labels for name in metrics.registry._get_names(metric)}
        return found
    finally:
        metrics.close()
