"""Dashboards ask for what the server tells, by the labels that it has."""

import json
import re
from pathlib import Path

import pytest

FOLDER = Path("deploy/grafana")
NAMES = {"service", "engine", "features", "experiments"}
SELECTOR = re.compile(r"(?<![:\w])((?:etalage|process)_[a-z_]+)(?:\{([^}]*)\})?")
RECORDED = re.compile(r"\bjob:etalage_[a-z_]+:\w+|\bALERTS\{|\bup\{")
GROUPS = re.compile(r"by \(([^)]*)\)")
TARGET = {"instance", "job"}
OF_ALERTS = {"alertname", "severity"}
BOARDS = pytest.mark.parametrize(
    "board",
    [json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))],
    ids=lambda board: board["uid"],
)


def list_queries(board):
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def test_there_is_one_for_each_side_of_the_server():
    assert {path.stem for path in FOLDER.glob("*.json")} == NAMES


@BOARDS
def test_a_dashboard_asks_for_metrics_and_labels_that_there_are(board, told):
    variables = [each["query"] for each in board["templating"]["list"] if each["type"] == "query"]
    queries = [*list_queries(board), *(("variable", query) for query in variables)]
    assert len(queries) > 5
    for title, query in queries:
        selected = SELECTOR.findall(query)
        assert selected or RECORDED.search(query), f"{title}: {query}"
        for name, matchers in selected:
            assert name in told, f"{title}: no metric {name}"
            labels = set(re.findall(r"([a-z_]+)(?:=~|!~|!=|=)", matchers)) - TARGET
            assert labels <= told[name], f"{title}: {name} has no {labels - told[name]}"
        groups = {g.strip() for found in GROUPS.findall(query) for g in found.split(",")}
        known = set().union(*(told[name] for name, _ in selected)) | TARGET
        known |= OF_ALERTS if "ALERTS{" in query else set()
        assert groups <= known, f"{title}: nothing is told by {groups - known}"


@BOARDS
def test_panels_have_titles_rows_and_units_and_do_not_lie_over_each_other(board):
    assert board["panels"][0]["type"] == "row"
    places: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["targets"] and panel["fieldConfig"]["defaults"]["unit"]
            assert panel["datasource"]["uid"] == "${datasource}"
        at = panel["gridPos"]
        own = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24 and not own & places
        places |= own
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(numbers) == len(set(numbers))


def test_together_they_show_all_that_the_server_tells(told):
    shown = {
        name
        for path in FOLDER.glob("*.json")
        for name, _ in SELECTOR.findall(path.read_text("utf-8"))
    }
    families = {re.sub(r"_(bucket|sum|count|total|info)$", "", name) for name in shown}
    ours = {re.sub(r"_(bucket|sum|count|total|info)$", "", n) for n in told if "etalage_" in n}
    assert ours <= families, f"nobody sees {sorted(ours - families)}"
