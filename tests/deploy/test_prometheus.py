"""A real Prometheus reads the rules, scrapes a real server, and answers what alerts and dashboards
ask for."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from etalage.v1 import images_pb2 as pb
from etalage.v1 import images_pb2_grpc
from server.demo.process import Ports, running_server
from tests.deploy.test_alerts import RULES, SELECTOR
from tests.deploy.test_grafana import list_queries
from tests.server.collector import Collector, collecting

FOLDER = Path("deploy/prometheus")
BOARDS = sorted(Path("deploy/grafana").glob("*.json"))
DRILL = (
    *(sys.executable, "-m", "tests.server.commands.drill", "--server.port=0"),
    *("--server.admin_port=0", "--server.metrics_port=0", "--drain.lame_duck_s=0"),
    "--logging.format=json",
)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
WAIT_S = 30.0
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="there is no Prometheus here",
)


def test_it_reads_its_configuration_and_all_rules():
    run("promtool", "check", "config", "--lint-fatal", str(FOLDER / "prometheus.yaml"))


def test_rules_fire_when_they_should():
    run("promtool", "test", "rules", str(FOLDER / "tests.yaml"))


@dataclass(frozen=True)
class Watched:
    """A server that was asked, and what watches it."""

    url: str
    log: Path
    collector: Collector

    def get(self, path: str, **asked: object) -> Any:
        query = urllib.parse.urlencode(asked)
        with DIRECT.open(f"{self.url}/api/v1/{path}?{query}", timeout=10) as reply:
            answer = json.load(reply)
        assert answer["status"] == "success"
        return answer["data"]

    def value(self, query: str) -> float:
        found = self.get("query", query=query)["result"]
        return float(found[0]["value"][1]) if found else 0.0


@pytest.fixture(scope="module")
def watched(tmp_path_factory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    log = folder / "server.log"
    with collecting() as collector:
        command = (*DRILL, f"--tracing.endpoint={collector.endpoint}")
        with running_server(command, folder, log, lambda: None) as ports:
            with running_prometheus(folder, ports) as url:
                told = Watched(url, log, collector)
                until(lambda: told.value('up{job="etalage"}') == 1)
                for number in range(1, 4):  # a rate needs to be seen rising
                    ask(ports, f"00-{TRACE}-00f067aa0ba902b{number}-01")
                    until(lambda: told.value("sum(etalage_requests_total)") == number)  # noqa: B023
                yield told


@contextmanager
def running_prometheus(folder: Path, ports: Ports) -> Iterator[str]:
    file = folder / "prometheus.yaml"
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str((FOLDER / name).absolute()) for name in ("slo.yaml", "alerts.yaml")],
        "scrape_configs": [
            {
                "job_name": "etalage",
                "static_configs": [{"targets": [f"127.0.0.1:{ports.metrics}"]}],
            }
        ],
    }
    file.write_text(yaml.safe_dump(settings))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = (
        *("prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'series'}"),
        *(f"--web.listen-address={address}", "--enable-feature=exemplar-storage"),
        "--log.level=warn",
    )
    with (folder / "prometheus.log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        until(lambda: is_open(address))
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(WAIT_S)


def is_open(address: str) -> bool:
    try:
        with DIRECT.open(f"http://{address}/-/ready", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def ask(ports: Ports, traceparent: str) -> None:
    with grpc.insecure_channel(ports.server) as channel:
        stub = images_pb2_grpc.ImageServiceStub(channel)
        metadata = (("traceparent", traceparent),)
        stub.GenerateImage(pb.GenerateImageRequest(product_id="chair"), 30, metadata)


def until(is_so: Any) -> None:
    end_s = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.1)


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_that_is_asked_for_is_in_a_live_scrape(watched):
    families = {told["metric"] for told in watched.get("targets/metadata", limit=10_000)}
    texts = [rule["expr"] for rule in RULES] + [path.read_text("utf-8") for path in BOARDS]
    asked = {name for text in texts for name, _ in SELECTOR.findall(text)}
    assert len(asked) > 60
    ending = re.compile(r"_(bucket|sum|count|total|info)$")
    assert {name for name in asked if {name, ending.sub("", name)}.isdisjoint(families)} == set()


def test_every_rule_is_evaluated_and_nothing_is_wrong_with_a_server_that_is_well(watched):
    until(lambda: watched.value("job:etalage_requests_slow:ratio_rate5m == bool 0") == 1)
    rules = [rule for group in watched.get("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == len(RULES)
    assert {rule["health"] for rule in rules} == {"ok"}
    alerts = watched.get("alerts")["alerts"]
    assert [each for each in alerts if each["state"] == "firing"] == []
    assert watched.value("job:etalage_requests_failed:ratio_rate5m == bool 0") == 1


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_every_question_of_a_dashboard_is_one(watched, path):
    for _, query in list_queries(json.loads(path.read_text("utf-8"))):
        filled = query.replace("$__rate_interval", "1m")
        watched.get("query", query=re.sub(r"\$[a-z]+", ".*", filled))


def test_a_request_is_found_from_the_histogram_to_its_trace_and_its_lines(watched):
    told = watched.get(
        "query_exemplars",
        query="etalage_request_seconds_bucket",
        start=time.time() - 300,
        end=time.time() + 60,
    )
    [series] = [each for each in told if "GenerateImage" in each["seriesLabels"]["method"]]
    assert {each["labels"]["trace_id"] for each in series["exemplars"]} == {TRACE}
    lines = [json.loads(line) for line in watched.log.read_text().splitlines() if line[:1] == "{"]
    answered = [line for line in lines if line.get("trace_id") == TRACE]
    assert len(answered) == 3 and {line["event"] for line in answered} == {"answered"}
    until(lambda: any(span.trace_id.hex() == TRACE for span in watched.collector.spans))
