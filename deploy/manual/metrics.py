"""docs/reference/metrics.md: what the metrics port tells, and which alert asks for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from deploy.manual.table import tabulate
from server.metrics import Metrics

RULES = Path("deploy/prometheus")

PREFACE = """---
hide: [toc]
---

# Metrics

Written by `make manual` from `server/metrics.py`. The port is `server.metrics_port`, 9464 by
default, at `/metrics`; times are in seconds and sizes in bytes, as the names say. A metric has at
most 200 sets of labels: what comes after them is counted under `other`. No label has the id of a
shopper, a product or a request in it.

Besides these there are `process_*` (memory, processor time, open files, start) and `python_gc_*`,
of prometheus_client. What to do where an alert comes stands in `docs/operations.md`, what the
server does by itself in `docs/reliability.md`.
"""


def write() -> str:
    metrics = Metrics()
    collectors: dict[str, Any] = dict(metrics.registry._names_to_collectors)
    metrics.close()
    told = [each for each in dict.fromkeys(collectors.values()) if hasattr(each, "_labelnames")]
    rows = [_write_row(each) for each in told]
    return f"{PREFACE}\n{tabulate(('metric, labels', 'type', 'meaning', 'alerts'), rows)}"


def _write_row(metric: Any) -> tuple[str, str, str, str]:
    suffix = {"counter": "_total", "info": "_info"}.get(metric._type, "")
    name = f"{metric._name}{suffix}"
    kind = metric._type
    if kind == "histogram":
        bounds = [bound for bound in metric._upper_bounds if bound != float("inf")]
        kind = f"histogram, {bounds[0]:g} to {bounds[-1]:g}"
    labels = ("name", "digest") if metric._type == "info" else metric._labelnames
    alerts = ", ".join(f"`{alert}`" for alert in _find_alerts(metric._name))
    names = [f"`{name}`", *(f"`{label}`" for label in labels)]
    return " ".join(names), kind, metric._documentation, alerts


def _find_alerts(name: str) -> list[str]:
    """Those that ask for a metric by any of its names."""
    asked = re.compile(rf"\b{name}(_total|_info|_bucket|_sum|_count)?\b")
    return [alert for alert, expression in _read_alerts() if asked.search(expression)]


def _read_alerts() -> Iterator[tuple[str, str]]:
    for path in sorted(RULES.glob("*.yaml")):
        for group in yaml.safe_load(path.read_text("utf-8")).get("groups", ()):
            for rule in group["rules"]:
                if "alert" in rule:
                    yield rule["alert"], str(rule["expr"])
