"""Health, reflection, readiness and going out."""

import asyncio

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from etalage.v1 import images_pb2 as pb
from server.configuration import DrainSlice, ServerSlice
from server.doors.listening import Door
from server.metrics import Metrics
from tests.server.doors.conftest import opened_door, refusal_of, rest_of

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
NAMES = ("", "etalage.v1.ImageService")
CHAIR = pb.GenerateImageRequest(product_id="chair")
PATIENT = pb.StreamImageRequest(image=pb.GenerateImageRequest(product_id="patient"))


async def statuses(channel):
    health = health_pb2_grpc.HealthStub(channel)
    requests = [health_pb2.HealthCheckRequest(service=name) for name in NAMES]
    return [(await health.Check(request)).status for request in requests]


async def test_before_the_engine_is_warm_health_says_no_and_requests_are_refused():
    async with opened_door(is_open=False) as counter:
        assert await statuses(counter.channel) == [NOT_SERVING, NOT_SERVING]
        refusal = await refusal_of(counter.stub.GenerateImage(CHAIR))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "STARTING")
        assert refusal.retry_s == 1.0
        await counter.door.open(counter.sketcher)
        assert await statuses(counter.channel) == [SERVING, SERVING]
        await counter.stub.GenerateImage(CHAIR)
        assert counter.metric("admission_refusals_total", reason="starting") == 1


async def test_a_service_nobody_has_heard_of_has_no_health(counter):
    health = health_pb2_grpc.HealthStub(counter.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health.Check(health_pb2.HealthCheckRequest(service="etalage.v1.Nothing"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_watcher_hears_of_a_sick_engine_and_of_its_recovery(counter):
    health = health_pb2_grpc.HealthStub(counter.channel)
    watch = health.Watch(health_pb2.HealthCheckRequest(service=NAMES[1]))
    assert (await watch.read()).status == SERVING
    await counter.door.report(False)
    assert (await watch.read()).status == NOT_SERVING
    await counter.door.report(True)
    assert (await watch.read()).status == SERVING
    watch.cancel()


async def test_reflection_lists_the_services_and_gives_their_file(counter):
    reflection = reflection_pb2_grpc.ServerReflectionStub(counter.channel)
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=NAMES[1]),
    ]
    listed, found = [answer async for answer in reflection.ServerReflectionInfo(iter(requests))]
    assert {service.name for service in listed.list_services_response.service} == {
        "etalage.v1.BatchService",
        "etalage.v1.EnhancementService",
        "etalage.v1.ExperimentService",
        "etalage.v1.ImageService",
        "etalage.v1.PrivacyService",
        "etalage.v1.ProvenanceService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(data).name
        for data in found.file_descriptor_response.file_descriptor_proto
    ]
    assert "etalage/v1/images.proto" in files


async def test_names_of_models_may_come_and_go_while_the_door_is_open(counter):
    models = {"quality": 1}
    await counter.door.open(counter.sketcher, models.keys())
    ink = pb.GenerateImageRequest(product_id="chair", model="ink")
    refusal = await refusal_of(counter.stub.GenerateImage(ink))
    assert refusal.violations == {"model": "'ink' is none of this server's models: quality"}
    models["ink"] = 2
    assert (await counter.stub.GenerateImage(ink)).images
    del models["ink"]
    assert (await refusal_of(counter.stub.GenerateImage(ink))).violations


async def test_health_answers_while_the_door_is_full():
    async with opened_door(max_in_flight=1) as counter:
        call = counter.stub.StreamImage(PATIENT)
        await call.read()
        assert await statuses(counter.channel) == [SERVING, SERVING]
        call.cancel()


async def test_draining_says_so_first_serves_on_then_refuses_and_waits_for_those_inside(counter):
    inside = counter.stub.StreamImage(PATIENT)
    await inside.read()
    draining = asyncio.create_task(counter.door.drain(DrainSlice(lame_duck_s=0.3, grace_s=20)))
    async with asyncio.timeout(10):
        while await statuses(counter.channel) != [NOT_SERVING, NOT_SERVING]:
            await asyncio.sleep(0.01)
    await counter.stub.GenerateImage(CHAIR)
    async with asyncio.timeout(10):
        while not counter.metric("admission_refusals_total", reason="stopping"):
            try:
                await counter.stub.GenerateImage(CHAIR)
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE
            await asyncio.sleep(0.02)
    refusal = await refusal_of(counter.stub.GenerateImage(CHAIR))
    assert (refusal.reason, refusal.trailers["grpc-retry-pushback-ms"]) == ("STOPPING", "1000")
    assert not draining.done()
    counter.sketcher.go.set()
    assert (await rest_of(inside))[-1].HasField("result")
    assert await draining


async def test_whoever_is_left_after_the_grace_is_cut_off(counter):
    inside = counter.stub.StreamImage(PATIENT)
    await inside.read()
    assert not await counter.door.drain(DrainSlice(lame_duck_s=0, grace_s=0.1))
    await counter.door.stop()
    with pytest.raises(grpc.aio.AioRpcError):
        await rest_of(inside)
    assert counter.sketcher.num_cancelled == 1


async def test_a_watcher_of_health_does_not_hold_up_the_stop(counter):
    health = health_pb2_grpc.HealthStub(counter.channel)
    watch = health.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == SERVING
    async with asyncio.timeout(10):
        assert await counter.door.drain(DrainSlice(lame_duck_s=0, grace_s=600))
        await counter.door.stop()


async def test_a_port_that_is_taken_is_an_error_that_names_it():
    first = Door(ServerSlice(port=0), Metrics())
    port = await first.start()
    second = Door(ServerSlice(port=port), Metrics())
    try:
        with pytest.raises(OSError, match=f"127.0.0.1:{port}: can't listen there"):
            await second.start()
    finally:
        await first.stop()
        await second.stop()


async def test_a_storm_of_cancellations_leaves_no_task_behind(counter):
    await counter.stub.GenerateImage(CHAIR)
    before = len(asyncio.all_tasks())
    slate = pb.GenerateSlateRequest(product_ids=["patient", "chair", "lamp"], request_id="s")
    for _ in range(10):
        calls = [counter.stub.StreamImage(PATIENT) for _ in range(5)]
        calls += [counter.stub.GenerateSlate(slate) for _ in range(5)]
        for call in calls:
            await call.read()
        for call in calls:
            call.cancel()
    async with asyncio.timeout(20):
        while counter.sketcher.num_running or len(asyncio.all_tasks()) > before:
            await asyncio.sleep(0.01)
    assert (await counter.stub.GenerateImage(CHAIR)).images
