"""Alerts ask for what the server tells, and each has its place in what people read."""

import re
from pathlib import Path

import pytest
import yaml

from server.metrics import Metrics

FOLDER = Path("deploy/prometheus")
DOCS, RUNBOOK = Path("docs/reliability.md"), Path("docs/operations.md")
RULES = [
    rule
    for name in ("slo.yaml", "alerts.yaml")
    for group in yaml.safe_load((FOLDER / name).read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
SELECTOR = re.compile(r"(?<![:\w])((?:etalage|process)_[a-z_]+)\s*(?:\{([^}]*)\})?")
RECORD = re.compile(r"\bjob:[a-z_]+:[a-z_0-9]+")
TARGET = {"instance", "job"}
"""Labels that Prometheus puts on whatever it scrapes."""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_asks_for_metrics_and_labels_that_there_are(rule, told):
    selected, recorded = SELECTOR.findall(rule["expr"]), RECORD.findall(rule["expr"])
    assert selected or recorded or rule["expr"].startswith("up{")
    assert set(recorded) <= RECORDED
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
    spoken = set(re.findall(r"\$labels\.([a-z_]+)", str(rule.get("annotations"))))
    assert groups | spoken <= known


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_urgent_it_is_and_leads_to_what_to_do(rule):
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"].keys() == {"summary", "action", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"{RUNBOOK}#{rule['alert'].lower()}"
    _, _, rest = RUNBOOK.read_text("utf-8").partition(f"\n### {rule['alert']}\n")
    section = rest.partition("\n#")[0].strip()
    assert section.startswith(f"*{rule['labels']['severity'].title()}.*"), "another severity"
    assert len(section) > 100


def test_names_are_not_given_twice_and_each_is_explained():
    names = [rule["alert"] for rule in ALERTS]
    assert len(names) == len(set(names))
    text = DOCS.read_text("utf-8")
    assert [name for name in names if f"`{name}`" not in text] == []
    assert set(re.findall(r"(?m)^### (\w+)$", RUNBOOK.read_text("utf-8"))) == set(names)


def test_what_is_recorded_is_used_here_or_on_a_dashboard():
    boards = Path("deploy/grafana").glob("*.json")
    users = [rule["expr"] for rule in ALERTS] + [board.read_text("utf-8") for board in boards]
    assert RECORDED <= {name for text in users for name in RECORD.findall(text)}


def test_the_runbook_speaks_of_settings_metrics_and_panels_that_there_are(told):
    text = RUNBOOK.read_text("utf-8")
    from server.configuration import settings

    known = {f"{slice_name}.{name}" for slice_name, name, _ in settings()}
    slices = {key.partition(".")[0] for key in known}
    spoken = {key for key in re.findall(r"`([a-z_]+\.[a-z_]+)`", text)}
    assert {key for key in spoken if key.partition(".")[0] in slices} <= known
    assert [name for name in re.findall(r"`(etalage_[a-z_]+)", text) if name not in told] == []


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
