"""ExperimentService over a socket: what it takes in, rejects event by event, and reports."""

from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import Engine

from etalage.v1 import experiments_pb2 as pb
from etalage.v1.experiments_pb2_grpc import ExperimentServiceStub
from features.keys import Keys
from server.commands.experiments import make_report
from server.configuration import ServerSlice
from server.doors.experiments import METHODS, SERVICE
from server.doors.listening import Door
from server.experiments.event_log.log import EventLog
from server.experiments.event_log.opening import open_events
from server.experiments.events import Exposure
from server.experiments.exposures import mint_id, sign
from server.experiments.laboratory import Laboratory
from server.experiments.programme import Programme
from server.experiments.recording import Recorder
from server.metrics import Metrics
from tests.server.doors.conftest import refusal_of
from tests.server.doors.sketching import Sketcher
from tests.server.experiments.event_log.conftest import empty
from tests.server.experiments.event_log.happenings import read_ids
from tests.server.experiments.shoppers import make_experiment

KEYS, OTHERS = Keys((b"k" * 32,)), Keys((b"o" * 32,))
START = datetime(2026, 11, 1, tzinfo=UTC)
PROGRAMME = Programme(
    (
        make_experiment("faces", start=START),
        make_experiment("later", start=datetime(2100, 1, 1, tzinfo=UTC)),
        make_experiment("gone-by", end=START),
    )
)
RENDER, CLICK, BUY = (
    pb.EventKind.Value(f"EVENT_KIND_{k}") for k in ("RENDER", "CLICK", "PURCHASE")
)


@dataclass
class Shop:
    stub: Any
    channel: grpc.aio.Channel
    metrics: Metrics
    engine: Engine
    export: Path

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"etalage_{name}", labels)


@asynccontextmanager
async def opened_shop(url: str, folder: Path, is_open: bool = True) -> AsyncIterator[Shop]:
    metrics, engine = Metrics(METHODS), open_events(url)
    log = EventLog(engine)
    log.start()
    known = [experiment.key for experiment in PROGRAMME.experiments]
    recorder = Recorder(log, KEYS, known, metrics)
    export = folder / "export"
    laboratory = Laboratory(PROGRAMME, recorder, partial(make_report, engine, export))
    door = Door(ServerSlice(port=0), metrics)
    try:
        port = await door.start()
        if is_open:
            await door.open(Sketcher(), ("quality",))
            door.open_experiments(laboratory)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Shop(ExperimentServiceStub(channel), channel, metrics, engine, export)
    finally:
        await door.stop()
        await laboratory.close()
        await log.close()


@pytest.fixture
async def shop(tmp_path) -> AsyncIterator[Shop]:
    async with opened_shop(f"sqlite:///{tmp_path / 'events.db'}", tmp_path) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgresql"])
async def either(request, tmp_path) -> AsyncIterator[Shop]:
    """On either database."""
    url = f"sqlite:///{tmp_path / 'events.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql")
        empty(url)
    async with opened_shop(url, tmp_path) as opened:
        yield opened


def token(
    unit: str = "unit", arm: str = "0", age_s: float = 1.0, keys: Keys = KEYS, **told: Any
) -> str:
    now_s = time.time()
    fields: dict[str, Any] = {"experiment": "faces", "propensity": 0.5} | told
    seen = Exposure(mint_id(now_s), now_s - age_s, unit, "generic", "mug", 7, arm=arm, **fields)
    return sign(seen, keys)


def tell(event_id: str, kind: Any = CLICK, of: str | None = None, **told: Any) -> pb.Event:
    of = token() if of is None else of
    return pb.Event(event_id=event_id, kind=kind, exposure_token=of, **told)


async def test_events_become_a_report(either):
    tokens = {n: token(f"unit-{n}", str(n % 2)) for n in range(40)}
    events = [tell(f"click-{n}", CLICK, tokens[n]) for n in range(1, 40, 4)]  # all of arm 1
    events += [tell(f"seen-{n}", RENDER, tokens[n]) for n in tokens]
    events += [tell("bought", BUY, tokens[3], value=19.9)]
    request = pb.RecordEventsRequest(events=events)
    told = await either.stub.RecordEvents(request)
    assert (told.num_accepted, told.num_known, list(told.rejections)) == (51, 0, [])
    again = await either.stub.RecordEvents(request)
    assert (again.num_accepted, again.num_known) == (0, 51)
    ask = pb.GetExperimentReportRequest(experiment="faces")
    answer = await either.stub.GetExperimentReport(ask)
    facts = json.loads(answer.json)
    arms = {arm["name"]: arm["counts"] for arm in facts["arms"]}
    assert [arms[arm]["shoppers"] for arm in "01"] == [20, 20]
    assert [arms[arm]["clicks"] for arm in "01"] == [0, 10]
    assert (arms["1"]["purchases"], arms["1"]["value"]) == (1, 19.9)
    assert not answer.html and "unit-" not in answer.json
    drawn = await either.stub.GetExperimentReport(
        pb.GetExperimentReportRequest(experiment="faces", html=True)
    )
    assert drawn.html.startswith("<!doctype html>") and "unit-" not in drawn.html
    assert either.metric("events_total", kind="render", experiment="faces", arm="0") == 40


async def test_each_wrong_event_is_rejected_by_itself_and_the_rest_kept(either):
    tomorrow = {"seconds": int(time.time()) + 86_400}
    wrong = {
        "EVENT_ID_MISSING": tell(""),
        "EVENT_ID_INVALID": tell("x" * 129),
        "KIND_MISSING": tell("kind", pb.EVENT_KIND_UNSPECIFIED),
        "VALUE_INVALID": tell("value", BUY, value=math.nan),
        "TOKEN_MISSING": tell("unseen", of=""),
        "TOKEN_FORGED": tell("forged", of=token(keys=OTHERS)),
        "TOKEN_EXPIRED": tell("expired", of=token(age_s=31 * 86_400)),
        "UNKNOWN_EXPERIMENT": tell("unknown", of=token(experiment="never")),
        "TIME_IN_FUTURE": tell("tomorrow", time=tomorrow),
        "TIME_BEFORE_EXPOSURE": tell("before", time={"seconds": 1}),
    }
    sound = [tell(f"sound-{n}") for n in range(len(wrong) + 1)]
    mixed = [sound[0]]
    for bad, good in zip(wrong.values(), sound[1:], strict=True):
        mixed += [bad, good]
    told = await either.stub.RecordEvents(pb.RecordEventsRequest(events=mixed))
    assert told.num_accepted == len(sound) and told.num_known == 0
    assert [each.reason for each in told.rejections] == list(wrong)
    assert [each.index for each in told.rejections] == list(range(1, 2 * len(wrong), 2))
    assert [each.event_id for each in told.rejections] == [
        event.event_id[:128] for event in wrong.values()
    ]
    assert all(each.message for each in told.rejections)
    assert read_ids(either.engine) == {event.event_id: 1 for event in sound}
    assert {
        reason: either.metric("events_rejected_total", reason=reason) for reason in wrong
    } == dict.fromkeys(wrong, 1)


@pytest.mark.parametrize("kind", [99, -1])
async def test_a_kind_of_a_later_version_is_rejected(shop, kind):
    told = await shop.stub.RecordEvents(pb.RecordEventsRequest(events=[tell("a", kind), tell("b")]))
    assert [each.reason for each in told.rejections] == ["KIND_MISSING"]
    assert told.num_accepted == 1


@pytest.mark.parametrize("seconds", [-(2**63), 2**63 - 1])
async def test_a_time_that_no_clock_has_is_rejected(shop, seconds):
    event = tell("a", time={"seconds": seconds})
    (rejection,) = (await shop.stub.RecordEvents(pb.RecordEventsRequest(events=[event]))).rejections
    assert rejection.reason == ("TIME_IN_FUTURE" if seconds > 0 else "TIME_BEFORE_EXPOSURE")


@pytest.mark.parametrize("count", [0, 10_001])
async def test_a_batch_of_nothing_or_of_too_many_is_refused(shop, count):
    request = pb.RecordEventsRequest(events=[pb.Event(event_id="a")] * count)
    refusal = await refusal_of(shop.stub.RecordEvents(request))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert f"has {count} entries" in refusal.violations["events"]


async def test_bytes_that_are_no_message_are_refused(shop):
    send = shop.channel.unary_unary(f"/{SERVICE}/RecordEvents")
    refusal = await refusal_of(send(b"\x0a\xff\xff"))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stream_answers_batch_by_batch_and_keeps_what_it_answered(shop):
    call = shop.stub.StreamEvents()
    for name in "ab":
        await call.write(pb.StreamEventsRequest(events=[tell(name), tell("same")]))
        answer = await call.read()
        assert (answer.num_accepted, answer.num_known) == ((2, 0) if name == "a" else (1, 1))
    await call.write(pb.StreamEventsRequest())
    refusal = await refusal_of(call)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert read_ids(shop.engine) == {"a": 1, "b": 1, "same": 1}


async def test_experiments_are_listed_as_they_are_defined(shop):
    listed = (await shop.stub.ListExperiments(pb.ListExperimentsRequest())).experiments
    assert [each.key for each in listed] == ["faces", "later", "gone-by"]
    now = datetime.now(UTC)
    assert [each.is_running for each in listed] == [START <= now, False, now < START]
    faces = listed[0]
    assert faces.start_time.ToDatetime(UTC) == START and not faces.HasField("end_time")
    assert [(arm.name, arm.weight, arm.shows) for arm in faces.arms] == [
        ("0", 0.5, "original"),
        ("1", 0.5, "generic"),
    ]


async def test_a_report_of_no_experiment_is_refused(shop):
    async def refused(key):
        request = pb.GetExperimentReportRequest(experiment=key)
        return await refusal_of(shop.stub.GetExperimentReport(request))

    unknown = await refused("never")
    assert (unknown.code, unknown.reason) == (grpc.StatusCode.NOT_FOUND, "EXPERIMENT_NOT_FOUND")
    for key in ("", "x" * 129):
        refusal = await refused(key)
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert "experiment" in refusal.violations


async def test_an_experiment_that_nobody_has_seen_has_an_empty_report(shop):
    request = pb.GetExperimentReportRequest(experiment="later", html=True)
    answer = await shop.stub.GetExperimentReport(request)
    assert json.loads(answer.json)["verdict"]["decision"] == "empty"
    assert "Nobody has seen" in answer.html


async def test_a_report_that_can_not_be_made_now_is_unavailable_and_says_nothing_of_why(shop):
    shop.export.write_bytes(b"no folder")
    request = pb.GetExperimentReportRequest(experiment="faces")
    refusal = await refusal_of(shop.stub.GetExperimentReport(request))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "EVENTS_UNAVAILABLE")
    assert str(shop.export) not in refusal.message and refusal.retry_s > 0


async def test_nothing_is_let_in_before_there_is_a_laboratory(tmp_path):
    url = f"sqlite:///{tmp_path / 'events.db'}"
    async with opened_shop(url, tmp_path, is_open=False) as shop:
        refusal = await refusal_of(
            shop.stub.RecordEvents(pb.RecordEventsRequest(events=[tell("a")]))
        )
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "STARTING")
