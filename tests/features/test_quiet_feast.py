"""Feast comes in quietly: prometheus_client stays as it was, and so does the environment."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typeguard

from features.quiet_feast import FeatureView, environment_kept

FEATURES = Path(__file__).parents[2] / "features"

FACTS = """
import json, os, subprocess, sys
import features
after_package = "feast" in sys.modules
import features.reader
from prometheus_client import CollectorRegistry, Counter, generate_latest, values
registry = CollectorRegistry()
Counter("asked", "Questions.", registry=registry).inc()
child = "import os; print([name for name in os.environ if 'prom' in name.lower()])"
print(json.dumps({
    "feast after package": after_package,
    "feast after reader": "feast" in sys.modules,
    "values": values.ValueClass.__name__,
    "scrape": generate_latest(registry).decode(),
    "here": [name for name in os.environ if "prom" in name.lower()],
    "child": subprocess.check_output([sys.executable, "-c", child], text=True).strip(),
}))
"""


def test_metrics_stay_in_single_process_mode_and_children_inherit_nothing():
    inherited = {name: value for name, value in os.environ.items() if "prom" not in name.lower()}
    output = subprocess.check_output([sys.executable, "-c", FACTS], text=True, env=inherited)
    facts = json.loads(output.splitlines()[-1])
    assert facts["feast after package"] is False and facts["feast after reader"] is True
    assert facts["values"] == "MutexValue"
    assert "asked_total 1.0" in facts["scrape"]
    assert facts["here"] == [] and facts["child"] == "[]"


def test_a_directory_that_the_operator_set_is_left_alone(monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "theirs")
    with environment_kept():
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = "feast's"
        os.environ["PROMETHEUS_MULTIPROCESS_DIR"] = "feast's"
    assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == "theirs"
    assert "PROMETHEUS_MULTIPROCESS_DIR" not in os.environ


def test_feast_is_imported_in_one_module_only():
    importing = set()
    for path in FEATURES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            if any(name.split(".")[0] == "feast" for name in names):
                importing.add(path.name)
    assert importing == {"quiet_feast.py"}


def test_feast_is_not_rewritten_to_check_its_own_calls_and_others_may_be():
    assert "typeguard" not in FeatureView.__init__.__code__.co_names

    @typeguard.typechecked
    def take(number: int) -> None: ...

    with pytest.raises(typeguard.TypeCheckError):
        take("seven")  # type: ignore[arg-type]
