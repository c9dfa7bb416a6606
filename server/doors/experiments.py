"""ExperimentService: what shoppers did, and what experiments came to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from etalage.v1 import experiments_pb2 as pb
from server.doors import wire
from server.doors.fields import check_text
from server.errors import InvalidRequest, Violation
from server.experiments.definition import Experiment
from server.experiments.events import EventKind
from server.experiments.recording import Recorded, ReportedEvent

SERVICE: str = pb.DESCRIPTOR.services_by_name["ExperimentService"].full_name
METHODS = tuple(
    f"{SERVICE}/{method.name}"
    for method in pb.DESCRIPTOR.services_by_name["ExperimentService"].methods
)
MAX_EVENTS = 10_000
MAX_KEY = 128

_SMALL_BYTES = 64 * 1024
_KINDS: dict[Any, EventKind] = {
    pb.EventKind.Value(f"EVENT_KIND_{kind.name}"): kind
    for kind in EventKind
    if f"EVENT_KIND_{kind.name}" in pb.EventKind.keys()
}

Context = grpc.aio.ServicerContext[Any, Any]


class Laboratory(Protocol):
    """What stands behind the door."""

    @property
    def experiments(self) -> Sequence[Experiment]: ...

    async def record(self, reported: Sequence[ReportedEvent]) -> Recorded: ...

    async def report(self, key: str, *, is_drawn: bool) -> tuple[str, str]:
        """The report as JSON, and as HTML where it is drawn. Raises ExperimentNotFound."""


class ExperimentService:
    """Answers once `attach` has given it a laboratory; the gate keeps requests out before."""

    def __init__(self, max_message_bytes: int) -> None:
        self._max_bytes = max_message_bytes
        self._attached: Laboratory | None = None

    def attach(self, laboratory: Laboratory) -> None:
        self._attached = laboratory

    def handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        """All methods, to be added to a server."""
        methods: dict[str, tuple[Any, Any]] = {
            "RecordEvents": (self.record_events, pb.RecordEventsResponse),
            "ListExperiments": (self.list_experiments, pb.ListExperimentsResponse),
            "GetExperimentReport": (self.get_report, pb.GetExperimentReportResponse),
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                answer, response_serializer=kind.SerializeToString
            )
            for name, (answer, kind) in methods.items()
        }
        handlers["StreamEvents"] = grpc.stream_stream_rpc_method_handler(
            self.stream_events, response_serializer=pb.StreamEventsResponse.SerializeToString
        )
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    async def record_events(self, data: bytes, context: Context) -> pb.RecordEventsResponse:
        recorded = await self._record(pb.RecordEventsRequest, data)
        return pb.RecordEventsResponse(**_account(recorded))

    async def stream_events(
        self, requests: AsyncIterator[bytes], context: Context
    ) -> AsyncIterator[pb.StreamEventsResponse]:
        async for data in requests:
            recorded = await self._record(pb.StreamEventsRequest, data)
            yield pb.StreamEventsResponse(**_account(recorded))

    async def list_experiments(self, data: bytes, context: Context) -> pb.ListExperimentsResponse:
        wire.parse(pb.ListExperimentsRequest, data, _SMALL_BYTES)
        now = datetime.now(UTC)
        told = [experiment_to_proto(each, now) for each in self._laboratory.experiments]
        return pb.ListExperimentsResponse(experiments=told)

    async def get_report(self, data: bytes, context: Context) -> pb.GetExperimentReportResponse:
        request = wire.parse(pb.GetExperimentReportRequest, data, _SMALL_BYTES)
        found = list(check_text(request.experiment, MAX_KEY, "experiment"))
        if not request.experiment:
            found.append(Violation("experiment", "is empty; it says which one"))
        if found:
            raise InvalidRequest(*found)
        json, html = await self._laboratory.report(request.experiment, is_drawn=request.html)
        return pb.GetExperimentReportResponse(json=json, html=html)

    async def _record(self, kind: Any, data: bytes) -> Recorded:
        """Looking through thousands of events takes a thread."""
        if len(data) <= _SMALL_BYTES:
            reported = _read_events(kind, data, self._max_bytes)
        else:
            reported = await asyncio.to_thread(_read_events, kind, data, self._max_bytes)
        return await self._laboratory.record(reported)

    @property
    def _laboratory(self) -> Laboratory:
        assert self._attached is not None  # the gate is shut until there is one
        return self._attached


def _read_events(kind: Any, data: bytes, max_bytes: int) -> list[ReportedEvent]:
    message = wire.parse(kind, data, max_bytes)
    if not 1 <= len(message.events) <= MAX_EVENTS:
        text = f"has {len(message.events)} entries; must have from 1 to {MAX_EVENTS}"
        raise InvalidRequest(Violation("events", text))
    return list(map(event_from_proto, message.events))


def event_from_proto(event: pb.Event) -> ReportedEvent:
    return ReportedEvent(
        event_id=event.event_id,
        kind=_KINDS.get(event.kind),
        token=event.exposure_token,
        # Not by its own methods, which raise for a time that no clock has.
        time_s=event.time.seconds + event.time.nanos / 1e9 if event.HasField("time") else None,
        value=event.value if event.HasField("value") else None,
    )


def experiment_to_proto(experiment: Experiment, now: datetime) -> pb.Experiment:
    message = pb.Experiment(
        key=experiment.key,
        is_running=experiment.is_running(now),
        arms=[
            pb.ExperimentArm(name=arm.name, weight=arm.weight, shows=arm.changes.shows.value)
            for arm in experiment.arms
        ],
    )
    for field, moment in (("start_time", experiment.start), ("end_time", experiment.end)):
        if moment is not None:
            time = Timestamp()
            time.FromDatetime(moment)
            getattr(message, field).CopyFrom(time)
    return message


def _account(recorded: Recorded) -> dict[str, Any]:
    return {
        "num_accepted": recorded.receipt.num_new,
        "num_known": recorded.receipt.num_known,
        "rejections": [
            pb.EventRejection(
                index=each.index,
                event_id=each.event_id,
                reason=each.reason,
                message=each.message,
            )
            for each in recorded.rejections
        ],
    }
