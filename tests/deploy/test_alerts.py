"""Alerts ask for what the server tells, and each fault is in the table that people read."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from server.metrics import Metrics

RULES = Path("deploy/prometheus/alerts.yaml")
DOCS = Path("docs/reliability.md")
ALERTS = [
    rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]
]
SELECTOR = re.compile(r"\b((?:etalage|process)_[a-z_]+)\s*(?:\{([^}]*)\})?")
TARGET = {"instance", "job"}
"""Labels that Prometheus puts on whatever it scrapes."""


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_metrics_and_labels_that_there_are(rule, told):
    selected = SELECTOR.findall(rule["expr"])
    assert selected or rule["expr"].startswith("up{")
    for name, matchers in selected:
        assert name in told, f"no metric {name}"
        labels = set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", matchers))
        assert labels <= told[name] | TARGET, f"{name} has no {labels}"
    groups = {
        label.strip()
        for found in re.findall(r"(?:by|ignoring) \(([^)]*)\)", rule["expr"])
        for label in found.split(",")
    }
    known = set().union(*(told[name] for name, _ in selected)) | TARGET
    spoken = set(re.findall(r"\$labels\.([a-z_]+)", str(rule["annotations"])))
    assert groups | spoken <= known
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"].keys() == {"summary", "action"}


def test_names_are_not_given_twice_and_each_is_explained():
    names = [rule["alert"] for rule in ALERTS]
    assert len(names) == len(set(names))
    text = DOCS.read_text("utf-8")
    assert [name for name in names if f"`{name}`" not in text] == []


def test_the_table_of_faults_names_alerts_metrics_and_tests_that_there_are(told):
    text = DOCS.read_text("utf-8")
    names = {rule["alert"] for rule in ALERTS}
    assert set(re.findall(r"`(Etalage[A-Za-z]+)`", text)) <= names | {"EtalageError"}
    assert [name for name in re.findall(r"`(etalage_[a-z_]+)", text) if name not in told] == []
    tests = re.findall(r"`(tests/[a-z_/]+\.py)(?:::([a-z_0-9]+))?`", text)
    assert len(tests) > 20
    for path, name in tests:
        assert Path(path).is_file(), path
        assert not name or f"def {name}" in Path(path).read_text("utf-8"), f"{path}::{name}"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool here")
def test_prometheus_reads_them():
    subprocess.run(["promtool", "check", "rules", str(RULES)], check=True, capture_output=True)


def test_metrics_of_dependencies_and_engines_are_told():
    metrics = Metrics()
    metrics.breaker("feature_store", True)
    metrics.breaker_skipped("feature_store")
    metrics.restarted("cpu", "failed")
    metrics.inside(num_tasks=7, num_rows=3)
    read = metrics.registry.get_sample_value
    assert read("etalage_breaker_open", {"dependency": "feature_store"}) == 1
    assert read("etalage_breaker_skips_total", {"dependency": "feature_store"}) == 1
    assert read("etalage_engine_restarts_total", {"device": "cpu", "result": "failed"}) == 1
    assert (read("etalage_tasks"), read("etalage_engine_rows")) == (7, 3)
