"""Dashboards ask for what the server tells, by the labels that it has."""

import json
import re
from pathlib import Path

import pytest

FOLDER = Path("deploy/grafana")
SELECTOR = re.compile(r"(etalage_[a-z_]+)(?:\{([^}]*)\})?")
GROUPS = re.compile(r"by \(([^)]*)\)")


def list_queries(board):
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_a_dashboard_asks_for_metrics_and_labels_that_there_are(path, told):
    board = json.loads(path.read_text("utf-8"))
    variables = [each["query"] for each in board["templating"]["list"] if each["type"] == "query"]
    queries = [*list_queries(board), *(("variable", query) for query in variables)]
    assert len(queries) > 5
    for title, query in queries:
        selected = SELECTOR.findall(query)
        assert selected, f"{title}: {query}"
        for name, matchers in selected:
            assert name in told, f"{title}: no metric {name}"
            labels = set(re.findall(r"([a-z_]+)(?:=~|!=|=)", matchers))
            assert labels <= told[name], f"{title}: {name} has no {labels - told[name]}"
        groups = {g.strip() for found in GROUPS.findall(query) for g in found.split(",")}
        known = set.union(*(told[name] for name, _ in selected))
        assert groups <= known, f"{title}: nothing is told by {groups - known}"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_panels_have_titles_and_do_not_lie_over_each_other(path):
    board = json.loads(path.read_text("utf-8"))
    places: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert panel["title"] and panel["targets"]
        at = panel["gridPos"]
        own = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24 and not own & places
        places |= own
