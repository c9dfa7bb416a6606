"""What the server tells, for whatever asks for it."""

from typing import Any

import pytest

from server.metrics import Metrics


@pytest.fixture(scope="package")
def told():
    """The labels of each metric, by all the names that Prometheus gives it."""
    metrics = Metrics()
    try:
        metrics.model("quality", "0123")
        samples = [each for told in metrics.registry.collect() for each in told.samples]
        found: dict[str, set[str]] = {each.name: set(each.labels) for each in samples}
        collectors: dict[str, Any] = dict(metrics.registry._names_to_collectors)
        for metric in collectors.values():
            labels = {*metric._labelnames, *(("le",) if metric._type == "histogram" else ())}
            names = set(metrics.registry._get_names(metric)) - found.keys()
            found |= {name: labels for name in names if not name.endswith("_created")}
        return found
    finally:
        metrics.close()
