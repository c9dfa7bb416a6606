"""PrivacyService over a socket, with real stores: erased, told, asked, and refused by name."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import create_engine, text

from etalage.v1 import batches_pb2, experiments_pb2, images_pb2
from etalage.v1 import privacy_pb2 as pb
from etalage.v1.batches_pb2_grpc import BatchServiceStub
from etalage.v1.experiments_pb2_grpc import ExperimentServiceStub
from etalage.v1.images_pb2_grpc import ImageServiceStub
from etalage.v1.privacy_pb2_grpc import PrivacyServiceStub
from features.keys import load_keys
from features.materialize import materialize
from features.offline import write_part
from features.schema import USER_PROFILE, USER_RECENT
from server.bulk.record import IMAGES
from server.commands import privacy
from server.commands.batches import open_batches
from server.commands.experiments import open_experiments, read_programme
from server.commands.privacy import Archive, erase, export_user, open_privacy
from server.configuration import Configuration
from server.doors.listening import Door
from server.doors.privacy import METHODS
from server.experiments.events import Exposure
from server.experiments.exposures import mint_id, sign
from server.metrics import Metrics
from tests.features.stores import WIDTH, make_store, profile, recent, table
from tests.server.batches.shop import batch, manifest
from tests.server.doors.conftest import refusal_of, rest_of
from tests.server.doors.sketching import Sketcher
from tests.server.experiments.event_log.conftest import empty

ANNA = "anna@example.com"
RENDER, CLICK = 1, 2


class NoImages:
    """A server that keeps none: the pipeline's own are for tests of the way."""

    def name_makers(self, name: Any) -> None: ...

    async def forget(self, maker: str, *, is_shared: bool = True) -> dict[str, int]:
        return {}


@dataclass
class Shop:
    channel: grpc.aio.Channel
    configuration: Configuration
    archive: Archive

    @property
    def privacy(self) -> Any:
        return PrivacyServiceStub(self.channel)  # type: ignore[no-untyped-call]

    async def tell(self, token: str, *kinds: int) -> list[str]:
        events = [
            experiments_pb2.Event(event_id=mint_id(0), kind=kind, exposure_token=token)  # type: ignore[arg-type]
            for kind in kinds
        ]
        stub: Any = ExperimentServiceStub(self.channel)  # type: ignore[no-untyped-call]
        answer = await stub.RecordEvents(experiments_pb2.RecordEventsRequest(events=events))
        return [each.reason for each in answer.rejections]

    def mint(self, user_id: str) -> str:
        now_s = time.time()
        keys = load_keys(self.archive.home / "keys" / "experiments")
        _, unit = self.archive.names(user_id)
        return sign(Exposure(mint_id(now_s), now_s, unit, "personalized", "mug", 7), keys)


def configure(home: Path, **slices: Any) -> Configuration:
    quick = {"watch_s": 0.1, "retry_s": 0.2, **slices.pop("privacy", {})}
    features = {"home": home, **slices.pop("features", {})}
    return Configuration.model_validate({"features": features, "privacy": quick, **slices})


def fill(home: Path, **options: Any) -> None:
    """Anna and somebody whose id begins as hers, offline and online."""
    store = make_store(home, **options)
    now = datetime.now(UTC)
    for view, make in ((USER_PROFILE, profile), (USER_RECENT, recent)):
        rows = [
            {"user_id": user_id, "event_timestamp": now, **make(seed)}
            for seed, user_id in enumerate((ANNA, f"{ANNA}.uk"), 11)
        ]
        write_part(store.config.offline_folder(view), "nightly", table(view, rows))
        materialize(store, view, WIDTH)


@asynccontextmanager
async def opened(configuration: Configuration) -> AsyncIterator[Shop]:
    metrics = Metrics(METHODS)
    door, sketcher = Door(configuration.server.model_copy(update={"port": 0}), metrics), Sketcher()
    programme = read_programme(configuration.experiments)
    port = await door.start()
    try:
        async with (
            open_experiments(configuration, programme, ("quality",), metrics) as experimenting,
            open_privacy(configuration, door, NoImages(), experimenting) as desk,
            open_batches(configuration, sketcher, lambda: 0, lambda: True, metrics) as jobs,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            await door.open(sketcher, ("quality",))
            door.open_experiments(experimenting.laboratory)
            door.open_batches(jobs, ("quality",))
            door.open_privacy(desk)
            yield Shop(channel, configuration, Archive(configuration))
    finally:
        await door.stop()


@pytest.fixture
async def shop(tmp_path) -> AsyncIterator[Shop]:
    fill(tmp_path / "home")
    async with opened(configure(tmp_path / "home")) as shop:
        yield shop
        await shop.archive.close()


async def erased(shop: Shop, user_id: str = ANNA, **fields: Any) -> pb.ErasureProof:
    request = pb.EraseUserRequest(user_id=user_id, wait=True, **fields)
    return (await shop.privacy.EraseUser(request)).proof  # type: ignore[no-any-return]


async def exported(shop: Shop) -> Any:
    answer = await shop.privacy.ExportUser(pb.ExportUserRequest(user_id=ANNA))
    return json.loads(answer.json)


def counts(proof: pb.ErasureProof) -> dict[str, int]:
    """Without whether bytes were left in unused places: that depends on where rows lay."""
    return {
        store.store: store.num_removed
        for store in proof.stores
        if store.num_removed and store.store != "rewritten_databases"
    }


@pytest.mark.parametrize(
    ("method", "request_", "violations"),
    [
        ("EraseUser", pb.EraseUserRequest(), {"user_id": "is empty; it says who"}),
        (
            "ExportUser",
            pb.ExportUserRequest(user_id="x" * 257),
            {"user_id": "has 257 characters; at most 256 are allowed"},
        ),
        (
            "SetConsent",
            pb.SetConsentRequest(user_id="anna"),
            {"consent": "is not said: CONSENT_GIVEN or CONSENT_WITHDRAWN"},
        ),
        (
            "SetConsent",
            pb.SetConsentRequest(consent=7),  # type: ignore[arg-type]
            {"user_id": "is empty; it says who", "consent": "7 is no Consent"},
        ),
    ],
)
async def test_what_is_wrong_is_named(shop, method, request_, violations):
    refusal = await refusal_of(getattr(shop.privacy, method)(request_))
    assert refusal.violations == violations


async def test_it_all_goes_and_again_is_harmless_and_nothing_of_others_goes(shop):
    hers, others = shop.mint(ANNA), shop.mint(f"{ANNA}.uk")
    assert await shop.tell(hers, RENDER, CLICK) == await shop.tell(others, RENDER) == []
    images: Any = ImageServiceStub(shop.channel)  # type: ignore[no-untyped-call]
    repeat = images_pb2.GenerateImageRequest(product_id="mug", user_id=ANNA, request_id="r")
    await images.GenerateImage(repeat)
    batches: Any = BatchServiceStub(shop.channel)  # type: ignore[no-untyped-call]
    message = batch("b", "mug", "mug", "mug")
    message.requests[1].user_id = ANNA
    await batches.GenerateBatch(message)
    await rest_of(batches.WatchBatch(batches_pb2.WatchBatchRequest(batch_id="b")))
    told = await exported(shop)
    assert told["batches"] == [{"output_folder": "b", "request": "2"}]
    assert told["consent"] and len(told["features"]["user_recent"]["history"]) == 1

    proof = await erased(shop)
    assert proof.complete and proof.HasField("finish_time")
    assert counts(proof) == {
        "answers": 1,
        "online_features": 8,
        "exposures": 1,
        "outcomes": 1,
        "batch_requests": 1,
        "batch_images": 1,
        "offline_features": 2,
    }
    folder = shop.archive.home / "batches" / "b"
    assert [row["name"] for row in manifest(folder)] == ["1", "3"]
    assert len([*(folder / IMAGES).iterdir()]) == 2
    assert await shop.tell(hers, CLICK) == ["SHOPPER_ERASED"]
    assert await shop.tell(others, CLICK) == []
    again = await erased(shop)
    assert again.complete and not counts(again) and again.tombstone_id == proof.tombstone_id
    nobody = await erased(shop, "nobody", permanent=True)
    assert nobody.complete and not counts(nobody) and nobody.tombstone_id
    refusal = await refusal_of(
        shop.privacy.SetConsent(pb.SetConsentRequest(user_id="nobody", consent=pb.CONSENT_GIVEN))
    )
    assert refusal.reason == "SHOPPER_ERASED"


def files(home: Path) -> list[Path]:
    return [path for path in home.rglob("*") if path.is_file()]


async def test_a_store_that_is_down_is_named_and_asked_again_until_it_is_done(
    tmp_path, monkeypatch, capsys
):
    fill(tmp_path)
    configuration = configure(tmp_path)

    def break_down(*_: Any) -> None:
        raise ConnectionRefusedError

    with monkeypatch.context() as broken:
        broken.setattr(privacy, "erase_online", break_down)
        assert await asyncio.to_thread(erase, configuration, [ANNA], False) == 1
    proof = json.loads(capsys.readouterr().out)
    (failed,) = [store for store in proof["stores"] if store["error"]]
    assert (failed["store"], failed["error"]) == ("online_features", "ConnectionRefusedError")
    assert not proof["is_complete"] and ANNA.encode() in (tmp_path / "privacy.db").read_bytes()
    async with opened(configuration) as shop:  # whoever starts next goes on with it
        async with asyncio.timeout(20):
            while shop.archive.register.list_unfinished(time.time() + 60):
                await asyncio.sleep(0.05)
        (case,) = shop.archive.register.list_after(0)
        await shop.archive.close()
    assert case.user_id == "" and case.visits["online_features"].counts == {"online_features": 8}
    sought = ANNA.encode()
    holders = [p for p in files(tmp_path) if sought in p.read_bytes().replace(sought + b".uk", b"")]
    assert holders == []


async def test_another_server_hears_of_it(tmp_path):
    configuration = configure(tmp_path)
    async with opened(configuration) as first, opened(configuration) as second:
        token = first.mint(ANNA)
        assert await second.tell(token, RENDER) == []
        assert counts(await erased(first)) == {"exposures": 1}
        async with asyncio.timeout(20):
            while await second.tell(token, CLICK) != ["SHOPPER_ERASED"]:
                await asyncio.sleep(0.05)
        async with asyncio.timeout(20):  # and what it took in meanwhile goes, too
            while (await exported(first))["events"]["outcomes"]:
                await asyncio.sleep(0.05)
        for shop in (first, second):
            await shop.archive.close()


async def test_more_than_a_message_holds_is_refused_and_written_by_the_command(tmp_path, capsys):
    fill(tmp_path)
    configuration = configure(tmp_path, privacy={"max_export_bytes": 4096})
    async with opened(configuration) as shop:
        token = shop.mint(ANNA)
        await shop.tell(token, RENDER, *[CLICK] * 20)
        refusal = await refusal_of(shop.privacy.ExportUser(pb.ExportUserRequest(user_id=ANNA)))
        assert (refusal.code, refusal.reason) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "EXPORT_TOO_LARGE",
        )
        await shop.archive.close()
    out = tmp_path / "out" / "anna.json"
    assert await asyncio.to_thread(export_user, configuration, ANNA, out) == 0
    assert len(json.loads(out.read_text())["events"]["outcomes"]) == 20
    assert export_user(configuration, "", None) == erase(configuration, ["x" * 257], False) == 2
    assert "user_id: has 257 characters" in capsys.readouterr().err


async def test_events_and_tombstones_in_postgresql_keep_nothing_either(tmp_path, postgresql):
    empty(postgresql)
    home = configure(tmp_path)
    configuration = home.model_copy(
        update={
            "experiments": home.experiments.model_copy(update={"database": postgresql}),
            "batches": home.batches.model_copy(update={"database": postgresql}),
            "privacy": home.privacy.model_copy(update={"database": postgresql}),
        }
    )
    async with opened(configuration) as shop:
        token = shop.mint(ANNA)
        _, unit = shop.archive.names(ANNA)
        await shop.tell(token, RENDER, CLICK)
        proof = await erased(shop)
        assert counts(proof) == {"exposures": 1, "outcomes": 1} and proof.complete
        await shop.archive.close()
    found = find_in_postgresql(postgresql, ANNA), find_in_postgresql(postgresql, unit)
    assert found == ([], ["etalage_erasures"])
    empty(postgresql)


def find_in_postgresql(url: str, sought: str) -> list[str]:
    """Tables that have it in any column."""
    engine = create_engine(url)
    with engine.connect() as connection:
        names = connection.execute(
            text("SELECT tablename FROM pg_tables WHERE schemaname='public'")
        )
        found = [
            name
            for (name,) in names.all()
            if connection.execute(
                text(f'SELECT count(*) FROM "{name}" t WHERE strpos(t::text, :sought) > 0'),
                {"sought": sought},
            ).scalar()
        ]
    engine.dispose()
    return found
