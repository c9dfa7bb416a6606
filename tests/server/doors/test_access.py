"""Callers with good papers, bad ones and none, over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from etalage import AsyncClient, Client, PermissionDenied
from etalage.v1 import batches_pb2, experiments_pb2, images_pb2_grpc, models_pb2, models_pb2_grpc
from etalage.v1 import images_pb2 as pb
from etalage.v1.experiments_pb2_grpc import ExperimentServiceStub
from server.access.access import Access
from server.configuration import AccessSlice, ServerSlice
from server.doors import experiments, images
from server.doors.listening import AdminDoor, Door
from server.metrics import Metrics
from tests.server.access.papers import (
    SHOP_KEY,
    TRIAL_KEY,
    Authority,
    Login,
    replace,
    write_tenants,
)
from tests.server.doors.conftest import refusal_of, rest_of
from tests.server.doors.office import opened_office
from tests.server.doors.sketching import Sketcher

CHAIR = pb.GenerateImageRequest(product_id="chair")
SHOP, TRIAL = (("x-api-key", SHOP_KEY),), (("x-api-key", TRIAL_KEY),)
SERVING = health_pb2.HealthCheckResponse.SERVING
CODE = grpc.StatusCode


@dataclass
class House:
    """Both doors, and what is behind and around them."""

    folder: Path
    access: Access
    login: Login
    metrics: Metrics
    sketcher: Sketcher
    door: Door
    ports: dict[str, int]
    images: Any = None

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"etalage_{name}", labels)

    async def refresh(self) -> None:
        assert self.access.reception is not None
        await self.access.reception.refresh()

    @asynccontextmanager
    async def channel(self, name: str = "grpc", **papers: bytes) -> AsyncIterator[Any]:
        target = f"127.0.0.1:{self.ports[name]}"
        if not papers:
            async with grpc.aio.insecure_channel(target) as channel:
                yield channel
            return
        credentials = grpc.ssl_channel_credentials(
            papers["ca"], papers.get("key"), papers.get("cert")
        )
        # A channel of its own: connections are shared by channels that look alike.
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.secure_channel(target, credentials, options) as channel:
            yield channel


@asynccontextmanager
async def open_house(folder: Path, max_in_flight: int = 8, **settings: Any) -> AsyncIterator[House]:
    login = Login()
    login.rotate("one")
    (folder / "jwks.json").write_bytes(login.jwks())
    metrics, sketcher = Metrics((*images.METHODS, *experiments.METHODS)), Sketcher()
    access = Access.open(AccessSlice(tenants=folder / "tenants.yaml", **settings), metrics)
    server = ServerSlice(port=0, admin_port=0, max_in_flight=max_in_flight)
    door, admin = Door(server, metrics, access), AdminDoor(server, metrics, access)
    try:
        ports = {"grpc": await door.start(), "admin": await admin.start()}
        ports["health"] = await door.start_health()
        await door.open(sketcher)
        house = House(folder, access, login, metrics, sketcher, door, ports)
        async with house.channel() as channel:
            house.images = images_pb2_grpc.ImageServiceStub(channel)
            yield house
    finally:
        await door.stop()
        await admin.stop()


@pytest.fixture
async def house(tmp_path):
    write_tenants(tmp_path, requests_per_minute=4, images_per_minute=6, concurrent_images=2)
    async with open_house(tmp_path) as house:
        yield house


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


async def test_a_key_or_a_token_opens_the_door(house):
    for shown in (SHOP, bearer(house.login.token())):
        assert (await house.images.GenerateImage(CHAIR, metadata=shown)).images
    slate = pb.GenerateSlateRequest(product_ids=["chair", "lamp"])
    assert len(await rest_of(house.images.GenerateSlate(slate, metadata=SHOP))) == 2
    assert house.metric("authentications_total", kind="key", result="ok") == 2
    assert house.metric("authentications_total", kind="token", result="ok") == 1


async def test_whoever_shows_nothing_or_nothing_good_is_told_why_and_no_more(house):
    good, login = SHOP_KEY, house.login
    cases = [
        ((), "NO_CREDENTIALS"),
        ((("x-api-key", ""),), "INVALID_CREDENTIALS"),
        ((("x-api-key", good[:-1]),), "INVALID_CREDENTIALS"),
        ((("x-api-key", f" {good}x"),), "INVALID_CREDENTIALS"),
        ((("authorization", good),), "INVALID_CREDENTIALS"),
        ((("authorization", "Bearer"),), "INVALID_CREDENTIALS"),
        ((("authorization", "Basic c2hvcDpzaG9w"),), "INVALID_CREDENTIALS"),
        (bearer("a.b.c"), "INVALID_CREDENTIALS"),
        (bearer(login.token(aud="another")), "INVALID_CREDENTIALS"),
        (bearer(login.token(sub="stranger")), "INVALID_CREDENTIALS"),
        (bearer(login.token(exp=1)), "EXPIRED"),
        ((*SHOP, *bearer(login.token())), "AMBIGUOUS_CREDENTIALS"),
        ((*SHOP, *SHOP), "AMBIGUOUS_CREDENTIALS"),
    ]
    for shown, reason in cases:
        refusal = await refusal_of(house.images.GenerateImage(CHAIR, metadata=shown))
        assert (refusal.code, refusal.reason) == (CODE.UNAUTHENTICATED, reason), shown
        assert refusal.message == reason.lower().replace("_", " ")
        assert set(refusal.infos[0].metadata) == {"request_id"}
    assert house.sketcher.requests == []
    assert (
        house.metric("authentications_total", kind="several", result="ambiguous_credentials") == 2
    )


async def test_a_token_is_refused_once_its_key_is_exchanged(house):
    old = bearer(house.login.token())
    await house.images.GenerateImage(CHAIR, metadata=old)
    house.login.rotate("two")
    replace(house.folder / "jwks.json", house.login.jwks())
    await house.refresh()
    assert (await refusal_of(house.images.GenerateImage(CHAIR, metadata=old))).reason == (
        "INVALID_CREDENTIALS"
    )
    assert await house.images.GenerateImage(CHAIR, metadata=bearer(house.login.token()))


async def test_who_may_do_one_thing_may_not_do_another(house):
    async with house.channel() as channel, house.channel("admin") as admin:
        events = ExperimentServiceStub(channel)
        record = experiments_pb2.RecordEventsRequest()
        refused = [
            events.RecordEvents(record, metadata=TRIAL),
            events.GetExperimentReport(experiments_pb2.GetExperimentReportRequest(), metadata=SHOP),
            models_pb2_grpc.ModelServiceStub(admin).ListModels(
                models_pb2.ListModelsRequest(), metadata=SHOP
            ),
            channelz_pb2_grpc.ChannelzStub(admin).GetServers(
                channelz_pb2.GetServersRequest(), metadata=SHOP
            ),
        ]
        for call in refused:
            refusal = await refusal_of(call)
            assert (refusal.code, refusal.reason) == (CODE.PERMISSION_DENIED, "SCOPE_MISSING")
        allowed = await refusal_of(events.RecordEvents(record, metadata=SHOP))
        assert allowed.reason == "STARTING"  # past the test; behind it nobody is there yet


async def test_both_clients_show_keys_and_tokens_on_calls_of_every_kind(house):
    server = f"127.0.0.1:{house.ports['grpc']}"
    async with AsyncClient(server, token=house.login.token) as client:
        assert (await client.generate("chair")).images
        assert [event async for event in client.stream("chair")]
        assert len([item async for item in client.slate(["chair", "lamp"])]) == 2

    def ask() -> int:
        with Client(server, api_key=SHOP_KEY) as client:
            return len(list(client.stream("chair"))) + len(list(client.slate(["chair", "lamp"])))

    assert await asyncio.to_thread(ask) >= 4
    async with AsyncClient(server, api_key=SHOP_KEY + "x") as client:
        with pytest.raises(PermissionDenied) as caught:
            await client.generate("chair")
    assert caught.value.reason == "INVALID_CREDENTIALS"


async def test_health_is_told_to_everybody(house):
    for name in ("grpc", "health"):
        async with house.channel(name) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            assert (await stub.Check(health_pb2.HealthCheckRequest())).status == SERVING


async def test_a_spent_quota_says_which_and_when_to_come_back(house):
    told = pb.GenerateImageRequest(product_id="chair", num_images=6)
    await house.images.GenerateImage(told, metadata=TRIAL)
    refusal = await refusal_of(house.images.GenerateImage(CHAIR, metadata=TRIAL))
    assert (refusal.code, refusal.reason) == (CODE.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED")
    assert "6 images per minute" in refusal.message
    assert 9 < refusal.retry_s <= 10
    assert int(refusal.trailers["grpc-retry-pushback-ms"]) == pytest.approx(
        1000 * refusal.retry_s, 1
    )
    for _ in range(2):
        await refusal_of(house.images.GenerateImage(CHAIR, metadata=TRIAL))
    refusal = await refusal_of(house.images.GenerateImage(CHAIR, metadata=TRIAL))
    assert "4 requests per minute" in refusal.message
    assert len(house.sketcher.requests) == 1
    assert house.metric("quota_refusals_total", tenant="trial") == 4
    assert await house.images.GenerateImage(CHAIR, metadata=SHOP)


async def test_places_are_given_back_when_a_call_ends_or_is_cancelled(house):
    assert house.access.reception is not None
    quotas = house.access.reception.quotas
    patient = pb.StreamImageRequest(image=pb.GenerateImageRequest(product_id="patient"))
    call = house.images.StreamImage(patient, metadata=TRIAL)
    await call.read()
    assert quotas.num_places("trial") == 1
    slate = pb.GenerateSlateRequest(product_ids=["chair", "lamp"])
    refusal = await refusal_of(house.images.GenerateSlate(slate, metadata=TRIAL))
    assert "2 images at once" in refusal.message
    call.cancel()
    async with asyncio.timeout(10):
        while quotas.num_places("trial"):
            await asyncio.sleep(0.01)
    assert len(await rest_of(house.images.GenerateSlate(slate, metadata=TRIAL))) == 2


async def test_tenants_neither_cancel_each_others_requests_nor_get_each_others_answers(house):
    patient = pb.GenerateImageRequest(product_id="patient", request_id="r1")
    call = house.images.StreamImage(pb.StreamImageRequest(image=patient), metadata=SHOP)
    await call.read()
    cancel = pb.CancelImageRequest(request_id="r1")
    assert (await house.images.CancelImage(cancel, metadata=TRIAL)).num_cancelled == 0
    assert (await house.images.CancelImage(cancel, metadata=SHOP)).num_cancelled == 1
    again = pb.GenerateImageRequest(product_id="lamp", request_id="r2")
    assert (await house.images.GenerateImage(again, metadata=SHOP)).source != pb.SOURCE_CACHE
    assert (await house.images.GenerateImage(again, metadata=SHOP)).source == pb.SOURCE_CACHE
    assert (await house.images.GenerateImage(again, metadata=TRIAL)).source != pb.SOURCE_CACHE


async def test_a_method_that_the_table_does_not_know_is_refused(house):
    async with house.channel() as channel:
        call = channel.unary_unary("/etalage.v1.ImageService/Nothing")(b"", metadata=SHOP)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is CODE.UNIMPLEMENTED
    assert house.access.reception is not None
    with pytest.raises(Exception) as refused:
        await house.access.reception.admit("etalage.v1.New/Do", SHOP, ())
    assert getattr(refused.value, "reason", "") == "METHOD_NOT_ALLOWED"


async def test_tenants_come_and_go_and_a_broken_file_changes_nothing(house):
    file = house.folder / "tenants.yaml"
    whole = file.read_bytes()
    replace(file, b"tenants: nobody")
    await house.refresh()
    assert await house.images.GenerateImage(CHAIR, metadata=SHOP)
    assert house.metric("access_reloads_total", what="tenants", result="failed") == 1
    replace(file, whole.replace(b"generate\n  - record", b"record"))
    await house.refresh()
    refusal = await refusal_of(house.images.GenerateImage(CHAIR, metadata=SHOP))
    assert refusal.reason == "SCOPE_MISSING"
    assert house.metric("access_reloads_total", what="tenants", result="ok") == 1


async def test_health_has_a_port_that_answers_while_the_other_one_is_full(tmp_path):
    write_tenants(tmp_path)
    async with open_house(tmp_path, max_in_flight=1) as house:
        patient = pb.StreamImageRequest(image=pb.GenerateImageRequest(product_id="patient"))
        call = house.images.StreamImage(patient, metadata=SHOP)
        await call.read()
        refusal = await refusal_of(house.images.GenerateImage(CHAIR, metadata=SHOP))
        assert refusal.reason == "OVERLOADED"
        async with house.channel("health") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            assert (await health.Check(health_pb2.HealthCheckRequest())).status == SERVING
            ask = channel.unary_unary(f"/{images.SERVICE}/GenerateImage")
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(b"")
            assert caught.value.code() is CODE.UNIMPLEMENTED
        call.cancel()


@pytest.fixture
def authority(tmp_path):
    """Of a server and of clients, in `tmp_path`."""
    authority = Authority("ours")
    install(tmp_path, authority)
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    return authority


def install(folder: Path, authority: Authority) -> None:
    """Another certificate for the server, and its key."""
    for name, content in zip(("cert.pem", "key.pem"), authority.issue("server"), strict=True):
        replace(folder / name, content)


def files(folder: Path) -> dict[str, Any]:
    return {"certificate": folder / "cert.pem", "key": folder / "key.pem"}


async def test_the_certificate_is_exchanged_while_the_server_runs(tmp_path, authority):
    write_tenants(tmp_path)
    async with open_house(tmp_path, **files(tmp_path)) as house:
        certificates = house.access.certificates
        assert certificates is not None

        async def is_trusted(by: Authority) -> bool:
            async with house.channel(ca=by.pem) as channel:
                stub = images_pb2_grpc.ImageServiceStub(channel)
                try:
                    await stub.GenerateImage(CHAIR, metadata=SHOP)
                except grpc.aio.AioRpcError as error:
                    assert error.code() is CODE.UNAVAILABLE
                    return False
                return True

        other = Authority("other")
        assert (await is_trusted(authority), await is_trusted(other)) == (True, False)
        async with house.channel(ca=authority.pem) as before:
            stub = images_pb2_grpc.ImageServiceStub(before)
            await stub.GenerateImage(CHAIR, metadata=SHOP)
            replace(tmp_path / "cert.pem", other.issue("server")[0])  # without its key
            await certificates.refresh()
            assert await is_trusted(authority)
            assert house.metric("access_reloads_total", what="certificates", result="failed") == 1
            install(tmp_path, other)
            await certificates.refresh()
            assert (await is_trusted(authority), await is_trusted(other)) == (False, True)
            await stub.GenerateImage(CHAIR, metadata=SHOP)  # whoever is connected stays so
        async with house.channel() as plain:
            with pytest.raises(grpc.aio.AioRpcError):
                await images_pb2_grpc.ImageServiceStub(plain).GenerateImage(CHAIR, metadata=SHOP)


async def test_a_clients_certificate_names_its_tenant(tmp_path, authority):
    write_tenants(tmp_path)
    papers = files(tmp_path) | {"client_ca": tmp_path / "ca.pem"}
    async with open_house(tmp_path, **papers) as house:

        async def ask(name: str, by: Authority = authority, port: str = "grpc", **options: Any):
            cert, key = by.issue(name)
            async with house.channel(port, ca=authority.pem, cert=cert, key=key) as channel:
                if port == "admin":
                    stub = channelz_pb2_grpc.ChannelzStub(channel)
                    return await stub.GetServers(channelz_pb2.GetServersRequest())
                return await images_pb2_grpc.ImageServiceStub(channel).GenerateImage(
                    CHAIR, **options
                )

        async def fail(*arguments: Any, **options: Any) -> tuple[grpc.StatusCode, bool]:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(*arguments, **options)
            details = str(caught.value.trailing_metadata())
            return caught.value.code(), "AMBIGUOUS" in details

        assert (await ask("shop.internal")).images
        assert (await ask("shop.internal", metadata=SHOP)).images
        assert (await ask("stranger", metadata=SHOP)).images
        assert await fail("stranger") == (CODE.UNAUTHENTICATED, False)
        assert await fail("shop.internal", metadata=TRIAL) == (CODE.UNAUTHENTICATED, True)
        assert await fail("shop.internal", Authority("elsewhere")) == (CODE.UNAVAILABLE, False)
        assert len((await ask("operator.internal", port="admin")).server) >= 1
        async with house.channel("health") as channel:  # for probes that have no certificate
            health = health_pb2_grpc.HealthStub(channel)
            assert (await health.Check(health_pb2.HealthCheckRequest())).status == SERVING


async def test_a_batch_is_charged_for_all_its_images_before_it_is_kept(tmp_path):
    write_tenants(tmp_path, images_per_minute=3)
    (tmp_path / "jwks.json").write_bytes(_keys())
    access = Access.open(AccessSlice(tenants=tmp_path / "tenants.yaml"), Metrics())
    async with opened_office(tmp_path / "office", access=access) as office:
        images = [pb.GenerateImageRequest(product_id="chair", num_images=2)] * 2
        batch = batches_pb2.GenerateBatchRequest(requests=images, request_id="b")
        await office.stub.GenerateBatch(batch, metadata=TRIAL)
        refusal = await refusal_of(office.images.GenerateImage(CHAIR, metadata=TRIAL))
        assert 39 < refusal.retry_s <= 40  # it owes one image of the four, and wants another
        batch.request_id = "c"
        assert (await refusal_of(office.stub.GenerateBatch(batch, metadata=TRIAL))).retry_s > 70
        everything = batches_pb2.ListBatchesRequest()
        listed = await office.stub.ListBatches(everything, metadata=TRIAL)
        assert [batch.batch_id for batch in listed.batches] == ["b"]


async def test_tenants_know_nothing_of_each_others_batches(tmp_path):
    write_tenants(tmp_path)
    (tmp_path / "jwks.json").write_bytes(_keys())
    access = Access.open(AccessSlice(tenants=tmp_path / "tenants.yaml"), Metrics())
    async with opened_office(tmp_path / "office", access=access) as office:
        batch = batches_pb2.GenerateBatchRequest(requests=[CHAIR], request_id="b")
        ours = (await office.stub.GenerateBatch(batch, metadata=SHOP)).batch
        assert ours.batch_id == "b" and ours.output_folder.endswith("/shop/b")
        for ask in (
            office.stub.GetBatch(batches_pb2.GetBatchRequest(batch_id="b"), metadata=TRIAL),
            office.stub.CancelBatch(batches_pb2.CancelBatchRequest(batch_id="b"), metadata=TRIAL),
            office.stub.WatchBatch(batches_pb2.WatchBatchRequest(batch_id="b"), metadata=TRIAL),
        ):
            refusal = await refusal_of(ask)
            assert (refusal.code, refusal.message) == (
                CODE.NOT_FOUND,
                "no batch 'b' on this server",
            )
        everything = batches_pb2.ListBatchesRequest()
        assert not (await office.stub.ListBatches(everything, metadata=TRIAL)).batches
        theirs = await office.stub.GenerateBatch(batch, metadata=TRIAL)
        assert not theirs.was_known and theirs.batch.output_folder.endswith("/trial/b")
        watched = batches_pb2.WatchBatchRequest(batch_id="b")
        news = await rest_of(office.stub.WatchBatch(watched, metadata=SHOP))
        assert news[-1].batch.batch_id == "b"
        batch.request_id = "x" * 125
        refusal = await refusal_of(office.stub.GenerateBatch(batch, metadata=SHOP))
        assert list(refusal.violations) == ["request_id"]


def _keys() -> bytes:
    login = Login()
    login.rotate("one")
    return login.jwks()
