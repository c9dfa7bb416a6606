"""The admin port: what is listed, loaded, unloaded and refused over gRPC."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from etalage.v1 import images_pb2, images_pb2_grpc, models_pb2_grpc
from etalage.v1 import models_pb2 as pb
from server.configuration import ServerSlice
from server.doors.listening import AdminDoor
from server.doors.models import METHODS
from server.metrics import Metrics
from server.models import Models
from tests.server.doors.conftest import refusal_of
from tests.server.model_shop import Shop, broken, states, until

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
NAMES = ("", "etalage.v1.ModelService")
Code = grpc.StatusCode


@dataclass
class Office:
    """What a test needs to ask at the admin door, and to look behind it."""

    shop: Shop
    models: Models
    door: AdminDoor
    channel: Any
    stub: Any
    metrics: Metrics

    def load(self, path):
        return self.stub.LoadModel(pb.LoadModelRequest(specification_path=str(path)), timeout=30)

    def unload(self, name):
        return self.stub.UnloadModel(pb.UnloadModelRequest(name=name), timeout=30)

    async def get(self, name):
        return (await self.stub.GetModel(pb.GetModelRequest(name=name), timeout=30)).model


@asynccontextmanager
async def opened_office(folder, is_open=True, **settings):
    shop, metrics = Shop(folder), Metrics(METHODS)
    models, door = shop.models(**settings), AdminDoor(ServerSlice(admin_port=0), metrics)
    try:
        port = await door.start()
        if is_open:
            await door.open(models)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = models_pb2_grpc.ModelServiceStub(channel)
            yield Office(shop, models, door, channel, stub, metrics)
    finally:
        await door.stop()


@pytest.fixture
async def office(tmp_path):
    async with opened_office(tmp_path) as opened:
        yield opened


async def statuses(channel):
    health = health_pb2_grpc.HealthStub(channel)
    requests = [health_pb2.HealthCheckRequest(service=name) for name in NAMES]
    return [(await health.Check(request)).status for request in requests]


async def test_a_loaded_model_is_shown_with_all_that_is_known_of_it(office):
    path = office.shop.write("one")
    answer = await office.load(path)
    assert not answer.was_ready
    model = answer.model
    assert await office.get("studio") == model
    assert (model.name, model.revision, model.state) == ("studio", "one", pb.MODEL_STATE_READY)
    assert (model.family, model.licence, model.dtype) == ("sd15", "MIT", "float32")
    assert [(size.width, size.height) for size in model.sizes] == [(64, 64), (96, 64)]
    assert (model.default_sampler, model.default_steps) == ("euler", 20)
    assert (model.shopper, model.product) == ("by a prompt", "preserve: inpaint")
    assert (list(model.styles), model.memory_bytes) == (["ink"], 4000)
    times = {time.num_rows: time.duration.ToMilliseconds() for time in model.step_times}
    assert times == {1: 500, 4: 1000}
    assert list(model.devices) == ["cpu"]
    assert model.ready_time.ToSeconds() > 1_700_000_000
    assert model.specification_path == str(path)
    assert not model.is_default
    assert not model.HasField("last_error")
    assert not model.num_requests


async def test_both_revisions_of_a_name_are_listed_while_one_takes_over(office):
    await office.load(office.shop.write("old"))
    with office.models.lease("studio"):
        await office.load(office.shop.write("new"))
        listed = (await office.stub.ListModels(pb.ListModelsRequest())).models
        assert [(m.name, m.revision, m.state, m.num_requests) for m in listed] == [
            ("quality", "built-in", pb.MODEL_STATE_READY, 0),
            ("studio", "new", pb.MODEL_STATE_READY, 0),
            ("studio", "old", pb.MODEL_STATE_DRAINING, 1),
        ]
        assert [model.is_default for model in listed] == [True, False, False]
        assert (await office.get("studio")).revision == "new"


async def test_a_model_on_its_way_says_so_and_has_no_more_than_its_name(office):
    office.shop.may_load.clear()
    path = office.shop.write("one")
    call = office.load(path)
    await until(lambda: states(office.models))
    model = await office.get("studio")
    expected = pb.ServedModel(
        name="studio", state=pb.MODEL_STATE_LOADING, specification_path=str(path)
    )
    assert model == expected
    office.shop.may_load.set()
    await call


async def test_the_same_content_answers_at_once(office):
    path = office.shop.write("one")
    first = await office.load(path)
    again = await office.load(path)
    assert again.was_ready
    assert again.model == first.model
    assert office.shop.log == ["load one", "warm one"]


async def test_a_specification_with_a_wrong_field_is_an_invalid_argument_that_names_it(office):
    path = office.shop.write("one", comment="steps: 0\n")
    refusal = await refusal_of(office.load(path))
    assert (refusal.code, refusal.reason) == (Code.INVALID_ARGUMENT, "INVALID_SPECIFICATION")
    assert refusal.violations["specification_path"].startswith(f"{path}: steps: ")
    assert f"{path}: steps: " in refusal.message
    refusal = await refusal_of(office.load(office.shop.folder / "nowhere.yaml"))
    assert "can't be read" in refusal.violations["specification_path"]


@pytest.mark.parametrize(
    "path", ["", "passwd", "/etc/passwd", "a.yaml\0", "a.json", f"{'a' * 1020}.yaml"]
)
async def test_a_path_that_can_be_no_specification_is_not_even_opened(office, path):
    refusal = await refusal_of(office.load(path))
    assert (refusal.code, refusal.reason) == (Code.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert list(refusal.violations) == ["specification_path"]


async def test_what_does_not_load_is_a_failed_precondition_and_stays_to_be_read(office):
    await office.load(office.shop.write("old"))
    office.shop.unloadable["new"] = broken()
    path = office.shop.write("new")
    refusal = await refusal_of(office.load(path))
    assert (refusal.code, refusal.reason) == (Code.FAILED_PRECONDITION, "MODEL_UNUSABLE")
    assert refusal.message == f"{path}: shopper.weights: ip.safetensors is missing"
    model = await office.get("studio")
    assert (model.revision, model.state) == ("old", pb.MODEL_STATE_READY)
    assert model.last_error.message == "shopper.weights: ip.safetensors is missing"
    assert model.last_error.specification_path == str(path)
    assert model.last_error.time.ToSeconds() >= model.ready_time.ToSeconds() > 0


async def test_a_first_load_that_failed_is_listed_as_such(office):
    office.shop.unwarmable["bad"] = broken("source: too little memory")
    await refusal_of(office.load(office.shop.write("bad")))
    model = await office.get("studio")
    assert model.state == pb.MODEL_STATE_FAILED
    assert model.last_error.message == "source: too little memory"
    assert not model.HasField("ready_time")
    await office.unload("studio")
    assert (await refusal_of(office.stub.GetModel(pb.GetModelRequest(name="studio")))).reason == (
        "MODEL_NOT_FOUND"
    )


async def test_the_text_of_an_unexpected_error_stays_inside(office):
    office.shop.unloadable["bad"] = KeyError("secret")
    refusal = await refusal_of(office.load(office.shop.write("bad")))
    assert refusal.code is Code.INTERNAL
    assert "secret" not in refusal.message
    assert "secret" not in str(await office.get("studio"))


async def test_a_second_load_of_a_name_is_aborted_unless_it_is_the_same(office):
    office.shop.may_load.clear()
    first, same = office.load(office.shop.write("one")), office.load(office.shop.write("one"))
    await until(lambda: states(office.models))
    await asyncio.sleep(0.05)
    refusal = await refusal_of(office.load(office.shop.write("two")))
    assert (refusal.code, refusal.reason) == (Code.ABORTED, "MODEL_BUSY")
    assert refusal.infos[0].metadata["model"] == "studio"
    assert (await refusal_of(office.unload("studio"))).code is Code.ABORTED
    office.shop.may_load.set()
    assert (await first).model == (await same).model


async def test_a_caller_whose_time_is_up_does_not_stop_the_load(office):
    office.shop.may_warm.clear()
    request = pb.LoadModelRequest(specification_path=str(office.shop.write("one")))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await office.stub.LoadModel(request, timeout=0.2)
    assert caught.value.code() is Code.DEADLINE_EXCEEDED
    office.shop.may_warm.set()
    await until(lambda: states(office.models) and "studio" in office.models.names())
    assert (await office.get("studio")).state == pb.MODEL_STATE_READY


async def test_requests_that_hold_on_are_told_where_the_old_one_goes_first(tmp_path):
    async with opened_office(tmp_path, policy="free_first", patience_s=0.05) as office:
        await office.load(office.shop.write("old"))
        with office.models.lease("studio"):
            refusal = await refusal_of(office.load(office.shop.write("new")))
        assert (refusal.code, refusal.reason) == (Code.FAILED_PRECONDITION, "MODEL_IN_USE")


async def test_unloading_answers_when_the_last_request_has_ended(office):
    await office.load(office.shop.write("one"))
    with office.models.lease("studio"):
        call = asyncio.ensure_future(office.unload("studio"))
        await until(lambda: "studio" not in office.models.names())
        await asyncio.sleep(0.05)
        assert not call.done()
    await call
    assert not +office.shop.memory
    refusal = await refusal_of(office.unload("studio"))
    assert (refusal.code, refusal.reason) == (Code.NOT_FOUND, "MODEL_NOT_FOUND")
    assert refusal.infos[0].metadata["model"] == "studio"


async def test_the_default_model_can_not_be_unloaded(office):
    refusal = await refusal_of(office.unload("quality"))
    assert (refusal.code, refusal.reason) == (Code.FAILED_PRECONDITION, "DEFAULT_MODEL")
    assert (await office.get("quality")).is_default


@pytest.mark.parametrize("name", ["", "a" * 65])
async def test_a_name_that_can_be_none_is_an_invalid_argument(office, name):
    for call in (office.unload(name), office.stub.GetModel(pb.GetModelRequest(name=name))):
        refusal = await refusal_of(call)
        assert refusal.code is Code.INVALID_ARGUMENT
        assert list(refusal.violations) == ["name"]


async def test_before_models_are_built_and_after_a_shut_everybody_is_told_to_come_back(tmp_path):
    async with opened_office(tmp_path, is_open=False) as office:
        assert await statuses(office.channel) == [NOT_SERVING, NOT_SERVING]
        call = office.stub.ListModels(pb.ListModelsRequest())
        assert (await refusal_of(call)).reason == "STARTING"
        await office.door.open(office.models)
        assert await statuses(office.channel) == [SERVING, SERVING]
        await office.stub.ListModels(pb.ListModelsRequest())
        await office.door.shut()
        assert await statuses(office.channel) == [NOT_SERVING, NOT_SERVING]
        refusal = await refusal_of(office.stub.ListModels(pb.ListModelsRequest()))
        assert (refusal.code, refusal.reason) == (Code.UNAVAILABLE, "STOPPING")
        assert refusal.retry_s == 1.0


async def test_images_are_not_made_on_this_port_and_models_not_shown_on_the_other(office, counter):
    images = images_pb2_grpc.ImageServiceStub(office.channel)
    models = models_pb2_grpc.ModelServiceStub(counter.channel)
    chair = images_pb2.GenerateImageRequest(product_id="chair")
    for call in (images.GenerateImage(chair), models.ListModels(pb.ListModelsRequest())):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is Code.UNIMPLEMENTED


async def test_reflection_lists_the_service_and_gives_its_file(office):
    reflection = reflection_pb2_grpc.ServerReflectionStub(office.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (listed,) = [each async for each in reflection.ServerReflectionInfo(iter([request]))]
    assert {service.name for service in listed.list_services_response.service} == {
        "etalage.v1.ModelService",
        "grpc.channelz.v1.Channelz",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


async def test_calls_are_counted_by_method_and_code(office):
    await office.get("quality")
    await refusal_of(office.unload("quality"))
    counted = office.metrics.registry.get_sample_value
    for method, code in (("GetModel", "OK"), ("UnloadModel", "FAILED_PRECONDITION")):
        labels = {"method": f"etalage.v1.ModelService/{method}", "code": code, "source": "none"}
        assert counted("etalage_requests_total", labels) == 1
