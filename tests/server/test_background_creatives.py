"""Bulk runs and batches keep to brand kits as a request does that somebody waits for."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest

from etalage.v1 import batches_pb2, images_pb2, layouts_pb2
from server.bulk.plan import Problems
from server.bulk.record import IMAGES, Record
from server.bulk.runner import Runner
from server.bulk.store import Store
from server.doors.batches import submission_from_proto
from server.doors.messages import request_from_proto
from server.doors.request_file import RequestFile, explain
from tests.features.pictures import write_jsonl
from tests.server.batches.shop import manifest, until_closed, working
from tests.server.opening import open_pipeline
from tests.server.registry import hold

KIT = """
name: acme
colours: {ink: "#123456", paper: "#fedcba", accent: "#00aa55"}
logo: {file: logo.svg}
denied_words: [cheap]
"""
LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><rect width="9" height="9"/></svg>'
)
KITS = {"kit": "acme", "bare": "", "lost": "gone"}


def ask(name, kit, badge="New") -> images_pb2.GenerateImageRequest:
    return images_pb2.GenerateImageRequest(
        product_id="shoe",
        user_id="known",
        steps=3,
        seed=1,
        request_id=name,
        brand_kit=kit,
        caption=layouts_pb2.Caption(badge=badge),
        output=images_pb2.OutputSpec(longest_side=128),
        cache_policy=images_pb2.CACHE_POLICY_BYPASS,
    )


ASKED = [*(ask(name, kit) for name, kit in KITS.items()), ask("denied", "acme", "Cheap!")]


@pytest.fixture
async def shop(reader, models, engine, tmp_path):
    (tmp_path / "logo.svg").write_text(LOGO)
    (tmp_path / "acme.yaml").write_text(KIT)
    encoders = next(iter(models.values())).encoders
    with ThreadPoolExecutor(2) as workers:
        creatives = {"brand_kits": tmp_path}
        yield open_pipeline(reader, hold(models), encoders, engine, workers, creatives=creatives)


@pytest.fixture
async def online(shop):
    """The files with the kit and without."""
    made = [await shop.generate(request_from_proto(each, deadline_s=None)) for each in ASKED[:2]]
    files = [result.images[0].data for result in made]
    assert files[0] != files[1]
    return files


async def test_the_rows_of_a_bulk_run(shop, online, tmp_path):
    columns = {"product_id": "shoe", "user_id": "known", "steps": 3, "seed": 1, "longest_side": 128}
    rows = [
        columns
        | {"request_id": each.request_id, "brand_kit": each.brand_kit}
        | {"caption_badge": each.caption.badge}
        for each in ASKED
    ]
    write_jsonl(tmp_path / "requests.jsonl", *rows)
    store = Store(str(tmp_path / "out"))
    records: list[Record] = []
    store.make_folders("", IMAGES)
    problems = Problems()
    tasks = RequestFile(str(tmp_path / "requests.jsonl"), date(2026, 1, 5)).read(problems)
    await Runner(shop, store, explain).run(tasks, records.extend)
    problems.raise_any()
    told = {record.name: record for record in records}
    assert [store.read(told[name].images[0]["path"]) for name in ("kit", "bare")] == online
    check_refusals({name: record.failure for name, record in told.items()})


async def test_the_requests_of_a_batch(shop, online, tmp_path):
    message = batches_pb2.GenerateBatchRequest(request_id="spring", requests=ASKED)
    async with working(tmp_path, shop) as jobs:
        await jobs.submit(submission_from_proto(message))
        batch = await until_closed(jobs, "spring")
    out = tmp_path / "out" / "spring"
    paths = {row["name"]: out / row["path"] for row in manifest(out)}
    assert [paths[name].read_bytes() for name in ("kit", "bare")] == online
    check_refusals({record.name: record.failure for record in batch.failures})


def check_refusals(failures) -> None:
    """A kit that is gone since is no reason to do without one."""
    assert "'gone' is none of this server's brand kits" in failures["lost"].message
    assert failures["lost"].reason == "INVALID_REQUEST"
    assert failures["denied"].reason == "PROMPT_DENIED"
