"""What shoppers did with images, told back to the server."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from etalage.errors import InvalidArgument
from etalage.v1 import experiments_pb2 as pb

EventKind = Literal["render", "click", "cart", "purchase", "dwell", "return", "hide"]
MAX_EVENTS = 10_000
"""In one call; more are sent in several."""


def make_event_id() -> str:
    """Begins with the time, so that a database finds room for it where it wrote last."""
    return f"{time.time_ns() // 1_000_000:012x}{uuid.uuid4().hex[:20]}"


@dataclass(frozen=True)
class ShopEvent:
    """Something that happened to an image: "render" once the shopper saw it, and what they did.

    `token` is the image's `exposure_token`. `value` is money for "purchase" and "return", seconds
    for "dwell". The same `event_id` counts once however often it is sent; made up where empty.
    """

    kind: EventKind
    token: str
    time: datetime | None = None
    value: float | None = None
    event_id: str = field(default_factory=make_event_id)


@dataclass(frozen=True)
class RejectedEvent:
    """One that is not kept; `reason` is in capitals."""

    event: ShopEvent
    reason: str
    message: str


@dataclass(frozen=True)
class Recorded:
    """What became of events. What is not rejected is on disk."""

    num_accepted: int
    num_known: int
    rejections: tuple[RejectedEvent, ...] = ()


@dataclass(frozen=True)
class ExperimentArm:
    """One of the things that are compared. `weight` is its share of the shoppers, 0 to 1; it shows
    "original", "generic" or "personalized"."""

    name: str
    weight: float
    shows: str


@dataclass(frozen=True)
class Experiment:
    """A test of the server; shoppers are assigned to it while it `is_running`."""

    key: str
    is_running: bool
    arms: tuple[ExperimentArm, ...]


@dataclass(frozen=True)
class ExperimentReport:
    """`facts` are what the JSON report has, by the names of docs/experiments.md. `html` is
    the page for people, empty unless asked for."""

    facts: Mapping[str, Any]
    html: str = ""


def split_events(events: Iterable[ShopEvent]) -> list[list[ShopEvent]]:
    """In pieces that one call can hold. Raises InvalidArgument for an unknown kind."""
    told = list(events)
    if wrong := [each.kind for each in told if each.kind not in get_args(EventKind)]:
        known = ", ".join(get_args(EventKind))
        raise InvalidArgument(f"{wrong[0]!r} is no kind of event: {known}")
    return [told[at : at + MAX_EVENTS] for at in range(0, len(told), MAX_EVENTS)]


def build_record_request(events: Iterable[ShopEvent]) -> pb.RecordEventsRequest:
    return pb.RecordEventsRequest(events=map(_to_proto, events))


def read_recorded(events: Sequence[ShopEvent], response: pb.RecordEventsResponse) -> Recorded:
    rejections = tuple(
        RejectedEvent(events[each.index], each.reason, each.message) for each in response.rejections
    )
    return Recorded(response.num_accepted, response.num_known, rejections)


def read_experiments(response: pb.ListExperimentsResponse) -> tuple[Experiment, ...]:
    return tuple(
        Experiment(
            each.key,
            each.is_running,
            tuple(ExperimentArm(arm.name, arm.weight, arm.shows) for arm in each.arms),
        )
        for each in response.experiments
    )


def read_report(response: pb.GetExperimentReportResponse) -> ExperimentReport:
    return ExperimentReport(json.loads(response.json), response.html)


def add_up(parts: Sequence[Recorded]) -> Recorded:
    return Recorded(
        sum(part.num_accepted for part in parts),
        sum(part.num_known for part in parts),
        tuple(rejection for part in parts for rejection in part.rejections),
    )


def _to_proto(event: ShopEvent) -> pb.Event:
    message = pb.Event(
        event_id=event.event_id,
        kind=f"EVENT_KIND_{event.kind.upper()}",
        exposure_token=event.token,
        value=event.value,
    )
    if event.time is not None:
        message.time.FromDatetime(event.time)
    return message
