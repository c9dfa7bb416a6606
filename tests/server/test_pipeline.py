"""The way of a request with the real model and engine; only what the store answers is scripted."""

from __future__ import annotations

import asyncio
import io
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from benchmarks.restoration_cases import draw_on, load_cutouts
from diffusion.cutout import MaskSource
from diffusion.matting import Matting
from features.records import (
    FeaturesUnavailable,
    LastClicks,
    ProductUnknown,
    Shopper,
    Status,
)
from server.commission import UNTOLD
from server.core import (
    QUALITY,
    Accepted,
    Arm,
    InlineProduct,
    Mode,
    OutputSpec,
    Progress,
    Reason,
    Source,
)
from server.errors import DeadlineExceeded, InvalidRequest, Overloaded, Unavailable
from server.sampling.engine import Engine
from tests.server.opening import open_pipeline
from tests.server.registry import hold
from tests.server.scripted_reader import WORLD, ask, taste

DEGRADED = [
    (Shopper(Status.MISSING), Reason.UNKNOWN_USER),
    (Shopper(Status.STALE, consent=True), Reason.STALE),
    (Shopper(Status.INVALID, consent=True), Reason.INVALID_FEATURES),
    (Shopper(Status.UNAVAILABLE), Reason.FEATURES_UNAVAILABLE),
    (Shopper(Status.FOUND, taste(1), consent=False), Reason.NO_CONSENT),
]


@pytest.mark.parametrize(("shopper", "reason"), DEGRADED, ids=lambda value: str(value)[:24])
async def test_whatever_is_missing_gives_exactly_the_generic_image(
    pipeline, reader, shopper, reason
):
    generic = await pipeline.generate(ask(arm=Arm.GENERIC))
    reader.shopper = shopper
    result = await pipeline.generate(ask())
    assert result.personalization.reason is reason
    assert result.images == generic.images
    assert result.arm is Arm.PERSONALIZED


async def test_a_known_shopper_changes_the_image(pipeline):
    generic = await pipeline.generate(ask(arm=Arm.GENERIC, seed=1))
    personal = await pipeline.generate(ask(seed=1))
    assert personal.personalization.applied
    assert personal.images[0].data != generic.images[0].data


async def test_last_clicks_change_the_image_of_a_known_shopper(pipeline, reader):
    before = await pipeline.generate(ask(seed=1))
    clicks = LastClicks(np.stack([8 * taste(n) for n in range(8)]), np.ones(8, np.float32))
    reader.shopper = replace(reader.shopper, last_clicks=clicks)
    after = await pipeline.generate(ask(seed=1))
    assert after.personalization == before.personalization
    assert after.images[0].data != before.images[0].data


@pytest.mark.parametrize("change", [{"strength": 0.0}, {"arm": Arm.GENERIC}, {"user_id": ""}])
async def test_nobody_is_read_who_may_not_take_part(pipeline, reader, change):
    await pipeline.generate(ask(**change))
    assert reader.users == []


async def test_unset_seeds_are_stable_and_differ_by_image_number(pipeline):
    first, again = [await pipeline.generate(ask(num_images=3)) for _ in range(2)]
    seeds = [image.seed for image in first.images]
    assert seeds == [image.seed for image in again.images]
    assert len(set(seeds)) == 3


async def test_seed_zero_is_a_seed_and_images_count_up_from_it(pipeline):
    result = await pipeline.generate(ask(seed=0, num_images=3))
    assert [image.seed for image in result.images] == [0, 1, 2]


async def test_the_product_is_untouched_in_preserve_and_not_in_restyle(pipeline):
    output = OutputSpec(longest_side=256)
    kept, drawn = [
        np.asarray(Image.open(io.BytesIO(result.images[0].data))).astype(int)
        for result in [
            await pipeline.generate(ask(mode=mode, output=output))
            for mode in (Mode.PRESERVE, Mode.RESTYLE)
        ]
    ]
    original = await pipeline.generate(ask(arm=Arm.ORIGINAL, output=output))
    assert original.source is Source.ORIGINAL
    assert np.abs(kept - drawn).max() > 8


async def test_events_come_in_order(pipeline):
    events: list[object] = []
    await pipeline.generate(ask(steps=4), events.append)
    assert isinstance(events[0], Accepted)
    assert [e.step for e in events[1:] if isinstance(e, Progress)] == [1, 2, 3, 4]


async def test_a_deadline_too_near_is_refused_before_sampling(pipeline, engine):
    with pytest.raises(DeadlineExceeded):
        await pipeline.generate(ask(steps=100, deadline_s=time.monotonic() + 0.12))
    assert engine.num_rows == 0


async def test_more_rows_than_fit_are_refused_with_a_pause(pipeline, engine):
    assert engine.limits.max_rows == 8 * 4
    crowd = [pipeline.generate(ask(num_images=4, steps=4, seed=i)) for i in range(10)]
    outcomes = await asyncio.gather(*crowd, return_exceptions=True)
    refused = [o for o in outcomes if isinstance(o, Overloaded)]
    assert len(refused) == 2
    assert all(o.retry_after_s > 0 for o in refused)


async def test_cancelling_the_request_frees_its_rows(pipeline, engine):
    task = asyncio.create_task(pipeline.generate(ask(steps=100, num_images=4)))
    while not engine.num_rows:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    deadline = time.monotonic() + 5
    while engine.num_rows:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("product", "error"), [("unknown", ProductUnknown), ("unavailable", FeaturesUnavailable)]
)
async def test_a_product_that_cannot_be_read_is_told_as_what_it_is(pipeline, product, error):
    with pytest.raises(error):
        await pipeline.generate(ask(product=product))


async def test_a_packshot_that_is_gone_is_not_the_callers_fault(pipeline, reader):
    reader.packshot = "no/such/file.webp"
    with pytest.raises(Unavailable) as caught:
        await pipeline.generate(ask())
    assert caught.value.reason == "PACKSHOT_UNAVAILABLE"


async def test_an_inline_product_on_which_nothing_can_be_seen_is(pipeline):
    file = io.BytesIO()
    Image.new("RGBA", (20, 20)).save(file, "PNG")
    with pytest.raises(InvalidRequest) as caught:
        await pipeline.generate(ask(product=InlineProduct("nothing", file.getvalue(), {})))
    assert [v.field for v in caught.value.violations] == ["inline_product.packshot"]


async def test_what_a_request_brings_of_a_product_is_blamed_by_its_own_name(pipeline):
    shown = np.full((20, 20, 3), 90, np.uint8)
    black, hidden = np.zeros((20, 20), np.uint8), np.zeros((20, 20, 4), np.uint8)
    white = to_png(black + 255)
    wrong = {
        "mask": InlineProduct("shoe", to_png(shown), {}, mask=to_png(black)),
        "packshot": InlineProduct("shoe", to_png(hidden), {}, mask=white),
        "control_map": InlineProduct("shoe", to_png(shown), {}, b"no picture", white),
    }
    for field, product in wrong.items():
        with pytest.raises(InvalidRequest) as caught:
            await pipeline.generate(ask(product=product))
        assert [v.field for v in caught.value.violations] == [f"inline_product.{field}"]
    with pytest.raises(InvalidRequest) as caught:
        await pipeline.generate(ask(product=InlineProduct("shoe", b"", {}), mode=Mode.CREATE))
    assert [v.field for v in caught.value.violations] == ["inline_product.packshot"]


@pytest.fixture(scope="module")
def before_a_scene():
    """A product that no training has seen, opaque and on a scene [256, 256, 3], and its alpha."""
    return draw_on("scene", "hibiscus", load_cutouts(WORLD), 256)


@pytest.fixture
async def finding_pipeline(reader, models, engine):
    encoders, find_matte = models[QUALITY].encoders, Matting.load().find_alpha
    with ThreadPoolExecutor(2) as workers:
        held = hold(models)
        yield open_pipeline(reader, held, encoders, engine, workers, find_matte=find_matte)


def to_png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def decode(result):
    return np.asarray(Image.open(io.BytesIO(result.images[0].data)).convert("RGB")).astype(int)


async def test_of_a_packshot_on_a_scene_only_the_product_is_pasted_back(
    finding_pipeline, before_a_scene
):
    """The scene of the packshot is nowhere in the creative: it is that of the bare product."""
    packshot, alpha = before_a_scene
    rgba = np.dstack((packshot, np.rint(255 * alpha).astype(np.uint8)))
    results = []
    for pixels in (packshot, rgba):
        product = InlineProduct("hibiscus", to_png(pixels), {})
        asked = ask(product=product, seed=5, output=OutputSpec(longest_side=256), max_tries=1)
        results.append(await finding_pipeline.generate(asked))
    found, expected = results
    assert not found.images[0].is_original and not found.warnings
    told, true = (each.images[0].fidelity for each in results)
    assert (told.mask_source, true.mask_source) == (MaskSource.MATTING, MaskSource.ALPHA)
    assert told.max_difference == true.max_difference == 0
    matte = Matting.load().find_alpha(packshot)
    assert told.mask_uncertainty == pytest.approx(matte.uncertainty)
    assert told.mask_uncertainty > true.mask_uncertainty
    apart = np.abs(decode(found) - decode(expected)).max(axis=2)
    assert (apart > 16).mean() < 0.1, "all but its outline"
    assert np.abs(decode(found)[:30, :30] - packshot[:30, :30]).mean() > 10


async def test_what_a_matting_model_cut_out_is_not_shown_as_the_merchant_s_own_picture(
    finding_pipeline, before_a_scene
):
    packshot, _ = before_a_scene
    product = InlineProduct("hibiscus", to_png(packshot), {})
    asked = ask(product=product, arm=Arm.ORIGINAL, output=OutputSpec(longest_side=256))
    result = await finding_pipeline.generate(asked)
    assert np.array_equal(decode(result), packshot)


async def test_where_nothing_tells_the_product_that_is_said(pipeline, before_a_scene):
    packshot, _ = before_a_scene
    result = await pipeline.generate(ask(product=InlineProduct("hibiscus", to_png(packshot), {})))
    fidelity = result.images[0].fidelity
    assert (fidelity.mask_source, fidelity.mask_uncertainty) == (MaskSource.WHOLE_PICTURE, 1)
    assert result.warnings == (UNTOLD,)


async def test_a_product_of_the_catalogue_says_what_told_its_mask(
    finding_pipeline, reader, before_a_scene, tmp_path
):
    by_alpha = await finding_pipeline.generate(ask())
    Image.fromarray(before_a_scene[0]).save(tmp_path / "hibiscus.png")
    reader.packshot = str(tmp_path / "hibiscus.png")
    by_matting = await finding_pipeline.generate(ask())
    told = [each.images[0].fidelity.mask_source for each in (by_alpha, by_matting)]
    assert told == [MaskSource.ALPHA, MaskSource.MATTING]


async def test_without_a_device_it_is_unavailable(reader, models):
    engine = Engine(list(models.values()))
    with ThreadPoolExecutor(1) as workers:
        encoders = models[QUALITY].encoders
        pipeline = open_pipeline(reader, hold(models), encoders, engine, workers)
        for deadline_s in (None, time.monotonic() + 9):
            with pytest.raises(Unavailable) as caught:
                await pipeline.generate(ask(deadline_s=deadline_s))
            assert caught.value.reason == "ENGINE_STOPPED"
