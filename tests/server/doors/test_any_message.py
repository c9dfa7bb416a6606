"""Whatever is sent to any method of any service: an answer, or a status that the table names."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etalage.v1 import batches_pb2, enhancement_pb2, experiments_pb2, images_pb2, models_pb2
from features.keys import Keys
from server.commands.creatives import read_rules
from server.commands.experiments import make_report
from server.configuration import CreativesSlice, ServerSlice
from server.doors.listening import AdminDoor, Door
from server.experiments.event_log.log import EventLog
from server.experiments.event_log.opening import open_events
from server.experiments.laboratory import Laboratory
from server.experiments.programme import Programme
from server.experiments.recording import Recorder
from server.metrics import Metrics
from tests.fuzz.seeds import list_messages
from tests.server.batches.shop import working
from tests.server.doors.any_message import list_variants, messages
from tests.server.doors.sketching import Sketcher
from tests.server.doors.test_enhancement import Workbench
from tests.server.experiments.shoppers import make_experiment
from tests.server.model_shop import Shop

FILES = images_pb2, batches_pb2, enhancement_pb2, experiments_pb2, models_pb2
METHODS: dict[str, Any] = {
    method.full_name: method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
SOUND = list_messages()
FEW = settings(
    max_examples=20,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
DOCUMENTED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
"""Without a fault inside, a broken store or a deadline, which nothing here has."""


class Ruled(Sketcher):
    """Agrees to a request as the pipeline does, and then sketches."""

    def __init__(self) -> None:
        super().__init__()
        self._rules = read_rules(CreativesSlice())

    async def generate(self, request: Any, on_event: Any = None) -> Any:
        self._rules.agree(request)
        return await super().generate(request, on_event)

    async def explain(self, request: Any, map_side: int) -> Any:
        self._rules.agree(request)
        return await super().explain(request, map_side)


async def serve(folder: Path, ports: list[int], is_open: threading.Event, ends: Any) -> None:
    """All services at their two doors, until it `ends`."""
    metrics, pipeline = Metrics(), Ruled()
    door, admin = Door(ServerSlice(port=0), metrics), AdminDoor(ServerSlice(admin_port=0), metrics)
    database = open_events(f"sqlite:///{folder / 'events.db'}")
    events = EventLog(database)
    events.start()
    programme = Programme((make_experiment("faces"),))
    recorder = Recorder(events, Keys((b"k" * 32,)), ["faces"], metrics)
    laboratory = Laboratory(programme, recorder, partial(make_report, database, folder / "export"))
    async with AsyncExitStack() as stack:
        for close in (events.close, laboratory.close, admin.stop, door.stop):
            stack.push_async_callback(close)
        jobs = await stack.enter_async_context(working(folder, pipeline))
        ports += [await door.start(), await admin.start()]
        await door.open(pipeline, ("quality", "fast"))
        door.open_batches(jobs, ("quality", "fast"))
        workbench: Any = Workbench()
        door.open_enhancement(workbench)
        door.open_experiments(laboratory)
        await admin.open(Shop(folder).models())
        is_open.set()
        await ends.wait()


@dataclass
class Counter:
    """Sends bytes to a method and tells what became of them."""

    channels: tuple[grpc.Channel, grpc.Channel]

    def send(self, method: Any, data: bytes) -> None:
        channel = self.channels[method.containing_service.name == "ModelService"]
        path = f"/{method.containing_service.full_name}/{method.name}"
        try:
            if method.client_streaming:
                list(channel.stream_stream(path, None, None)(iter((data,)), timeout=20))
            elif method.server_streaming:
                list(channel.unary_stream(path, None, None)(data, timeout=20))
            else:
                channel.unary_unary(path, None, None)(data, timeout=20)
        except grpc.RpcError as error:
            check_refusal(error)


def check_refusal(error: Any) -> None:
    assert error.code() in DOCUMENTED, (error.code(), error.details())
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    (info,) = (
        any_
        for any_ in status_pb2.Status.FromString(details).details
        if any_.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)
    )
    assert error_details_pb2.ErrorInfo.FromString(info.value).reason not in ("", "INTERNAL")


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    folder, ports, is_open = tmp_path_factory.mktemp("any"), list[int](), threading.Event()
    loop, ends = asyncio.new_event_loop(), asyncio.Event()
    main = partial(loop.run_until_complete, serve(folder, ports, is_open, ends))
    thread = threading.Thread(target=main)
    thread.start()
    try:
        assert is_open.wait(30)
        images, admin = (grpc.insecure_channel(f"127.0.0.1:{port}") for port in ports)
        with images, admin:
            yield Counter((images, admin))
    finally:
        loop.call_soon_threadsafe(ends.set)
        thread.join(30)
        loop.close()


@pytest.mark.parametrize("name", METHODS)
def test_any_message_is_answered_or_refused_by_name(counter, name):
    method = METHODS[name]

    @FEW
    @given(messages(method.input_type))
    def ask(message):
        counter.send(method, message.SerializeToString())

    ask()


@pytest.mark.parametrize("number", range(len(SOUND)), ids=[each.DESCRIPTOR.name for each in SOUND])
def test_a_sound_message_is_answered_or_refused_with_any_field_at_any_edge(counter, number):
    """Random messages are wrong in many ways; here nothing hides what one field does."""
    sound = SOUND[number]
    method = next(m for m in METHODS.values() if m.input_type is sound.DESCRIPTOR)
    for message in list_variants(sound):
        counter.send(method, message.SerializeToString())


@pytest.mark.parametrize("name", METHODS)
def test_any_bytes_are_too(counter, name):
    method = METHODS[name]

    @FEW
    @given(st.binary(max_size=40))
    def ask(data):
        counter.send(method, data)

    ask()
