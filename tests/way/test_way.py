"""The way end to end: a real server process, its real features and model, over a real socket."""

from __future__ import annotations

import asyncio
import io
import json
import random
import time
from functools import partial
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.restoration_cases import draw_on, load_cutouts
from etalage import (
    AsyncClient,
    Cancelled,
    Client,
    EtalageError,
    InvalidArgument,
    NotFound,
    Product,
    Progress,
    Result,
)
from tests.server.scripted_reader import WORLD
from tests.way.conftest import Running

PRODUCT = "backpack"
ANEW: dict[str, Any] = {"cache_policy": "bypass"}
"""An image that was kept would answer in the place of the engine."""


def pixels(result: Result) -> np.ndarray:
    image = Image.open(io.BytesIO(result.image.data)).convert("RGB")
    return np.asarray(image).astype(np.int16)


def shoppers(running: Running) -> list[str]:
    return list(running.shoppers.tastes)


def test_a_known_shopper_gets_a_personalized_image_that_accounts_for_itself(client, running):
    result = client.generate(PRODUCT, user=shoppers(running)[0], seed=7)
    assert result.personalization.applied
    assert result.personalization.reason == "applied"
    assert result.personalization.feature_service == "personalization_v1"
    assert len(result.personalization.feature_fingerprint) == 16
    assert set(result.personalization.feature_ages_s) >= {"user_profile"}
    assert result.arm == "personalized"
    assert result.source == "generated"
    assert result.model is not None and len(result.model.digest) == 16
    assert result.steps == 20
    stages = ["read", "fuse", "plan", "queue", "sample", "decode", "compose"]
    assert list(result.timings_ms) == [*stages, "encode", "seal"]
    assert result.image.seed == 7
    assert pixels(result).shape == (512, 512, 3)


def test_the_same_seed_and_shopper_twice_give_identical_bytes(client, running):
    asked = {"user": shoppers(running)[0], "seed": 0, "steps": 6, **ANEW}
    first, second = (client.generate(PRODUCT, **asked) for _ in range(2))
    assert first.source == second.source == "generated"
    assert first.image.data == second.image.data


def test_different_tastes_give_different_surroundings(client, running):
    seen = [pixels(client.generate(PRODUCT, user=u, seed=3)) for u in shoppers(running)[:3]]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(seen[a] - seen[b])[:100].mean() > 8


def test_strength_zero_anonymous_no_consent_and_generic_give_identical_images(client, running):
    known, ask = shoppers(running)[0], partial(client.generate, PRODUCT, steps=5, **ANEW)
    zero, anonymous, generic = ask(user=known, strength=0.0), ask(), ask(user=known, arm="generic")
    silent, cold = ask(user=running.shoppers.no_consent), ask(user=running.shoppers.cold_start)
    stranger = ask(user="nobody-knows-me")
    reasons = [r.personalization.reason for r in (zero, anonymous, silent, cold, stranger)]
    assert reasons == ["strength_zero", "anonymous", "no_consent", "unknown_user", "unknown_user"]
    images = {r.image.data for r in (zero, anonymous, silent, cold, stranger, generic)}
    assert len(images) == 1
    assert not any(r.personalization.applied for r in (zero, anonymous, silent, cold, stranger))


async def test_changing_shopper_b_leaves_image_a_alone(async_client, running):
    a, b, c = shoppers(running)[:3]

    async def beside(other: str) -> Result:
        mine, _ = await asyncio.gather(
            async_client.generate(PRODUCT, user=a, seed=11, steps=8, **ANEW),
            async_client.generate(PRODUCT, user=other, seed=12, steps=8, strength=1.0, **ANEW),
        )
        return mine

    with_b, with_c = await beside(b), await beside(c)
    assert with_b.source == with_c.source == "generated"
    assert np.abs(pixels(with_b) - pixels(with_c)).max() <= 1


async def test_64_requests_of_mixed_steps_samplers_and_strengths_all_come_back_right(
    async_client, running
):
    rng = random.Random(5)
    asked = [
        {
            "user": rng.choice([*shoppers(running), ""]),
            "seed": rng.randrange(4),
            "steps": rng.choice([2, 3, 5, 8]),
            "strength": rng.choice([0.0, 0.5, 1.0]),
            "sampler": rng.choice(["euler", "heun", "dpmpp_2m"]),
            "longest_side": 64,
            "timeout_s": 600,  # a slow machine would rather take fewer steps than be late
            **ANEW,
        }
        for _ in range(64)
    ]
    crowd = await asyncio.gather(*(async_client.generate(PRODUCT, **each) for each in asked))
    made = [(r, each) for r, each in zip(crowd, asked, strict=True) if r.source == "generated"]
    assert len(made) >= 60, "of few steps now and then one fails its verification, and the next too"
    assert [r.steps for r, _ in made] == [each["steps"] for _, each in made]
    assert [r.sampler for r, _ in made] == [each["sampler"] for _, each in made]
    for number in rng.sample(range(64), 8):
        alone = await async_client.generate(PRODUCT, **asked[number])
        assert np.abs(pixels(alone) - pixels(crowd[number])).max() <= 1


async def test_a_cancelled_stream_frees_its_row_within_one_tick(async_client, running):
    async def stream() -> None:
        async for event in async_client.stream(PRODUCT, steps=100, seed=1):
            if isinstance(event, Progress) and event.step >= 3:
                return

    before = running.metric("etalage_steps_wasted_total")
    await stream()
    deadline = time.monotonic() + 10
    while (wasted := running.metric("etalage_steps_wasted_total") - before) == 0:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    steps_then = running.metric("etalage_steps_total")
    await asyncio.sleep(0.5)
    assert running.metric("etalage_steps_total") == steps_then
    assert 3 <= wasted < 100


def test_a_stream_tells_accepted_then_rising_progress_with_previews_then_the_result(client):
    events = list(client.stream(PRODUCT, steps=10, seed=1, preview_side=64))
    assert type(events[0]).__name__ == "Accepted"
    progress = [e for e in events if isinstance(e, Progress)]
    assert progress
    assert all(a.step < b.step for a, b in zip(progress, progress[1:], strict=False))
    assert all(e.total_steps == 10 for e in progress)
    preview = next(e.preview for e in progress if e.preview)
    assert max(preview.width, preview.height) == 64
    assert isinstance(events[-1], Result)


def test_a_slate_comes_as_ready_with_ranks_and_one_bad_product_does_not_spoil_it(client, running):
    products = ["backpack", "no-such-product", "guitar", "handbag"]
    items = list(client.slate(products, user=shoppers(running)[0], steps=4))
    assert sorted(item.rank for item in items) == [0, 1, 2, 3]
    by_rank = {item.rank: item for item in items}
    assert by_rank[1].error is not None and by_rank[1].error.reason == "PRODUCT_NOT_FOUND"
    for rank in (0, 2, 3):
        assert by_rank[rank].product_id == products[rank]
        assert by_rank[rank].result.personalization.applied


def test_a_slate_and_shoppers_of_one_taste_share_steps_and_say_so(client, running):
    def shared() -> float:
        hows = ("joined", "kept")
        return sum(running.metric(f'etalage_steps_shared_total{{how="{how}"}}') for how in hows)

    before = shared()
    products = ["guitar", "handbag", "backpack"]
    items = list(client.slate(products, user=shoppers(running)[0], steps=10))
    results = [item.unwrap() for item in items]
    assert len({result.image.seed for result in results}) == 1
    taken = sorted(result.num_shared_steps for result in results)
    assert taken[0] == 0 and taken[1] == taken[2] > 0
    for result in results:
        assert result.num_forward_rows == 10 - result.num_shared_steps
    assert shared() - before == sum(taken)
    assert running.metric('etalage_shared_latents_bytes{device="cpu"}') > 0


def test_the_fast_model_answers_in_four_steps_under_its_own_name(client, running):
    quality = client.generate(PRODUCT, user=shoppers(running)[0], seed=2, model="quality")
    fast = client.generate(PRODUCT, user=shoppers(running)[0], seed=2, model="fast")
    assert (quality.steps, fast.steps) == (20, 4)
    assert quality.model.name != fast.model.name and quality.model.digest != fast.model.digest
    assert running.metric(f'etalage_forward_rows_total{{model="{fast.model.name}"}}') >= 4


def test_reuse_saves_forwards_where_it_is_asked_for(client, running):
    asked = {"user": shoppers(running)[0], "seed": 4, "steps": 20}
    whole = client.generate(PRODUCT, **asked)
    fewer = client.generate(PRODUCT, **asked, reuse=True)
    assert whole.num_forward_rows == whole.steps == fewer.steps == 20
    assert fewer.num_forward_rows < 20
    assert running.metric("etalage_steps_reused_total") >= 20 - fewer.num_forward_rows


async def test_a_request_that_is_cancelled_by_its_id_ends_and_frees_its_rows(async_client, running):
    asking = asyncio.create_task(
        async_client.generate(PRODUCT, steps=100, num_images=8, seed=9, request_id="stop-me")
    )
    await asyncio.sleep(0.3)
    assert (await async_client.cancel("stop-me")).is_remembered
    with pytest.raises(Cancelled):
        await asking
    await rest(running)
    steps_then = running.metric("etalage_steps_total")
    await asyncio.sleep(0.3)
    assert running.metric("etalage_steps_total") == steps_then


async def rest(running: Running) -> None:
    """Until the engine holds no row, which the server looks at twice a second."""
    async with asyncio.timeout(20):
        await asyncio.sleep(0.6)
        while running.metric("etalage_engine_rows"):
            await asyncio.sleep(0.1)


def test_a_repeated_request_id_gives_the_first_answer_without_sampling(client, running):
    first = client.generate(PRODUCT, request_id="again-1", steps=3, **ANEW)
    steps = running.metric("etalage_steps_total")
    second = client.generate(PRODUCT, request_id="again-1", steps=3, **ANEW)
    assert second.image.data == first.image.data
    assert second.source == "cache"
    assert running.metric("etalage_steps_total") == steps


def test_an_inline_product_is_made_from_its_own_packshot(client, running):
    packshot = Image.new("RGB", (300, 200), "white")
    packshot.paste((200, 30, 40), (90, 60, 210, 160))
    file = io.BytesIO()
    packshot.save(file, "PNG")
    own = Product("red box", packshot=file.getvalue())
    result = client.generate(own, user=shoppers(running)[0], steps=5, longest_side=256)
    centre = pixels(result)[128, 128]
    assert np.abs(centre - (200, 30, 40)).max() <= 1  # PRESERVE: the product's own pixels


def test_of_an_opaque_packshot_on_a_scene_the_product_alone_is_shown(client, running):
    packshot, _ = draw_on("scene", "hibiscus", load_cutouts(WORLD), 256)
    file = io.BytesIO()
    Image.fromarray(packshot).save(file, "PNG")
    own = Product("hibiscus", packshot=file.getvalue())
    result = client.generate(own, user=shoppers(running)[0], seed=1, longest_side=256)
    fidelity = result.image.fidelity
    assert (fidelity.mask_source, fidelity.max_difference) == ("matting", 0)
    assert 0.05 < fidelity.mask_uncertainty <= 0.5 and not result.image.is_original
    kept = np.abs(pixels(result) - packshot).max(axis=2) <= 1
    assert not kept[:40, :40].any() or kept[:40, :40].mean() < 0.1, "not its scene"
    original = client.generate(own, arm="original", longest_side=256)
    assert np.array_equal(pixels(original), packshot), "that is the merchant's own"


def test_the_original_arm_answers_with_the_packshot(client):
    result = client.generate(PRODUCT, arm="original")
    assert (result.source, result.steps, result.model) == ("original", 0, None)


@pytest.mark.parametrize(
    ("format", "magic"), [("png", b"\x89PNG"), ("webp", b"RIFF"), ("jpeg", b"\xff\xd8\xff")]
)
def test_every_format_and_size_asked_for_is_what_comes(client, format, magic):
    result = client.generate(PRODUCT, steps=2, format=format, quality=80, longest_side=200)
    assert result.image.data.startswith(magic)
    assert pixels(result).shape == (200, 200, 3)


def test_an_unknown_product_is_not_found_and_bad_fields_are_all_named(client):
    with pytest.raises(NotFound):
        client.generate("no-such-product")
    with pytest.raises(InvalidArgument) as caught:
        client.generate(PRODUCT, num_images=99, steps=0, strength=1.5)
    named = {violation.field for violation in caught.value.violations}
    assert named == {"num_images", "steps", "guidance.strength"}


def test_the_log_knows_no_shopper(client, running):
    known = shoppers(running)[1]
    client.generate(PRODUCT, user=known, steps=2, request_id="log-probe")
    text = running.log.read_text()
    assert "log-probe" in text
    assert known not in text
    for line in text.splitlines():
        if line.startswith("{"):
            json.loads(line)


def test_the_scrape_counts_what_happened(running, client):
    client.generate(PRODUCT, user=shoppers(running)[0], steps=2)
    applied = running.metric('etalage_personalization_total{reason="applied"}')
    assert applied >= 1
    assert running.metric('etalage_feature_read_seconds_count{view="user_profile"}') >= 1
    assert running.metric("etalage_rows_per_forward_count") >= 2
    assert running.metric("etalage_queue_depth") == 0


async def test_rows_of_many_requests_share_forwards(running):
    """A batch that looked slow while others had the cores is tried again some 300 ticks later."""
    for round_ in range(12):
        before = running.metric("etalage_rows_per_forward_count")
        rows = running.metric("etalage_rows_per_forward_sum")
        seeds = range(100 * round_, 100 * round_ + 12)
        async with AsyncClient(running.address, timeout_s=300) as client:
            await asyncio.gather(
                *(client.generate(PRODUCT, steps=10, seed=i, longest_side=64) for i in seeds)
            )
        forwards = running.metric("etalage_rows_per_forward_count") - before
        shared = (running.metric("etalage_rows_per_forward_sum") - rows) / forwards
        if shared > 3:
            return
    raise AssertionError(f"{shared} rows in a forward")


def test_a_deadline_that_cannot_be_met_is_refused_or_degraded(running):
    with Client(running.address, timeout_s=0.6) as client:
        degraded = client.generate(PRODUCT, steps=100, deadline_policy="degrade", num_images=8)
        assert degraded.steps < 100
        assert degraded.degradation in {"fewer_steps", "nearest_taste", "original"}


async def test_bad_requests_lose_no_other_in_flight(async_client):
    good = [async_client.generate(PRODUCT, steps=12, seed=i, longest_side=64) for i in range(8)]
    bad = [
        async_client.generate(PRODUCT, steps=0),
        async_client.generate(PRODUCT, num_images=99),
        async_client.generate(PRODUCT, strength=float("nan")),
        async_client.generate("no-such-product"),
        async_client.generate(PRODUCT, locale="not a tag"),
        async_client.generate(Product("broken", packshot=b"no image at all")),
    ]
    outcomes = await asyncio.gather(*good, *bad, return_exceptions=True)
    assert all(isinstance(outcome, Result) for outcome in outcomes[:8])
    assert all(isinstance(outcome, EtalageError) for outcome in outcomes[8:])
