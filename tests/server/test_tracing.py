"""What a collector of traces gets, and what it never does."""

from __future__ import annotations

import subprocess
import sys

import pytest
from prometheus_client.openmetrics.exposition import generate_latest
from pydantic import ValidationError

from etalage.v1 import images_pb2 as pb
from server import tracing
from server.commands.serve import configure_tracing
from server.commands.start_failed import StartFailed
from server.configuration import Configuration, TracingSlice
from server.stopwatch import Stopwatch
from tests.server.collector import collecting
from tests.server.doors.conftest import opened_door, refusal_of
from tests.server.doors.sketching import SECRET

METHOD = "etalage.v1.ImageService/GenerateImage"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
USER = "shopper-000042"
SERVER, ERROR = 2, 2  # of opentelemetry's SpanKind and StatusCode


@pytest.fixture
def collector():
    with collecting() as collector:
        tracing.configure(TracingSlice(endpoint=collector.endpoint))
        yield collector
        tracing.close()


async def ask(counter, product_id="chair", *metadata):
    request = pb.GenerateImageRequest(product_id=product_id, user_id=USER, request_id=f"for-{USER}")
    call = counter.stub.GenerateImage(request, metadata=metadata)
    await (call if product_id == "chair" else refusal_of(call))


def open_metrics(counter):
    return generate_latest(counter.metrics.registry).decode()


async def test_a_request_goes_on_in_its_callers_trace_and_is_found_from_the_metrics(collector):
    async with opened_door() as counter:
        await ask(counter, "chair", ("traceparent", f"00-{TRACE}-{PARENT}-01"))
        told = open_metrics(counter)
    tracing.close()
    request, image = collector.named(METHOD), collector.named("generate")
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, PARENT)
    assert (image.trace_id, image.parent_span_id) == (request.trace_id, request.span_id)
    assert request.kind == SERVER and request.status.code != ERROR
    attributes = {each.key: each.value.string_value for each in request.attributes}
    assert attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": METHOD,
        "rpc.response.status_code": "OK",
        "etalage.source": "generated",
    }
    assert f'etalage_request_seconds_bucket{{le="0.01",method="{METHOD}"}}' in told
    assert f'# {{trace_id="{TRACE}"}}' in told


async def test_a_failure_is_told_by_its_code_and_nothing_that_was_asked_or_thrown(collector):
    async with opened_door() as counter:
        await ask(counter, "cursed", ("tracestate", f"shop={USER}"), ("baggage", f"user={USER}"))
    tracing.close()
    request = collector.named(METHOD)
    assert request.status.code == ERROR and not request.status.message and not request.events
    whole = b"".join(collector.bodies)
    assert b"INTERNAL" in whole
    assert USER.encode() not in whole and SECRET.encode() not in whole and b"cursed" not in whole


async def test_a_traceparent_that_is_none_begins_a_trace(collector):
    async with opened_door() as counter:
        await ask(counter, "chair", ("traceparent", "00-not-a-trace-01"))
    tracing.close()
    request = collector.named(METHOD)
    assert any(request.trace_id) and not request.parent_span_id


async def test_what_the_caller_does_not_want_traced_is_not(collector):
    async with opened_door() as counter:
        await ask(counter, "chair", ("traceparent", f"00-{TRACE}-{PARENT}-00"))
        told = open_metrics(counter)
    tracing.close()
    assert collector.bodies == []
    assert "trace_id" not in told


async def test_stages_lie_one_after_the_other_below_what_they_belong_to(collector):
    span = tracing.begin(METHOD, ())
    with tracing.inside("generate"):
        watch = Stopwatch()
        with watch.stage("read"):
            pass
        watch.add(queue=0.5, sample=2.0, decode=0.25)
        watch.trace(verify=0.1)
    assert tracing.current() is span
    assert span is not None
    span.finish("OK", "generated")
    assert list(watch.timings_s) == ["read", "queue", "sample", "decode"]
    tracing.close()
    parts = ["queue", "sample", "decode"]
    queue, sample, decode = map(collector.named, parts)
    assert queue.end_time_unix_nano == sample.start_time_unix_nano
    assert sample.end_time_unix_nano == decode.start_time_unix_nano
    assert sample.end_time_unix_nano - sample.start_time_unix_nano == 2_000_000_000
    above = collector.named("generate").span_id
    assert {collector.named(name).parent_span_id for name in ("read", *parts, "verify")} == {above}


async def test_a_collector_that_is_away_costs_the_spans_alone():
    with collecting() as gone:
        pass
    tracing.configure(TracingSlice(endpoint=gone.endpoint))
    async with opened_door() as counter:
        await ask(counter)
    tracing.close()
    assert gone.bodies == []


def test_without_the_extra_the_start_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    settings = TracingSlice(endpoint="http://collector:4318")
    with pytest.raises(StartFailed, match="needs the extra `otel`"):
        configure_tracing(Configuration(tracing=settings))


@pytest.mark.parametrize(
    "endpoint", ["collector:4317", "grpc://collector", "http://", "http://user:word@collector"]
)
def test_an_endpoint_is_an_address_by_http_without_a_password(endpoint):
    with pytest.raises(ValidationError, match="must be http"):
        TracingSlice(endpoint=endpoint)


def test_where_nothing_is_traced_nothing_is_imported_or_begun():
    code = """
import sys
import server.doors.interceptor
from server import tracing
from server.configuration import TracingSlice
tracing.configure(TracingSlice())
assert tracing.begin("method", [("traceparent", "00-%s-%s-01")]) is None
with tracing.inside("generate"):
    assert tracing.current() is None
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-c", code % (TRACE, PARENT)], check=True)
