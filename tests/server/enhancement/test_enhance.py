"""The way of an EnhanceImage request: what is done, what is told, and what is refused."""

import asyncio
import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from diffusion.composition import as_share
from diffusion.cutout import MaskSource, Matte
from diffusion.training.damage import add_noise
from features.records import FeaturesUnavailable, ProductUnknown
from server.core import ImageFormat, OutputSpec
from server.enhancement import restoring as restoring_module
from server.enhancement.enhance import WITHOUT_MODEL, Enhancer
from server.enhancement.nouns import Defect, EnhanceRequest, Repair
from server.enhancement.restoring import Restoring
from server.errors import DeadlineExceeded, InvalidRequest, Unavailable
from tests.server.enhancement.pictures import (
    PACKSHOTS,
    decode,
    draw_box,
    encode,
    expose,
    open_cutout,
    open_on_white,
    open_with_margins,
)
from tests.server.enhancement.test_overlay import write


def ask(pixels, *repairs, **changes):
    source = pixels if isinstance(pixels, (bytes, str)) else encode(pixels)
    return EnhanceRequest(source, frozenset(repairs), **changes)


def scores(result, defect):
    finding = next(each for each in result.findings if each.defect is defect)
    return finding.score_before, finding.score_after


def found(result):
    return {each.defect for each in result.findings if each.is_found}


def measure_error(one, other):
    return float(np.abs(one.astype(int) - other).mean())


class TrueAlpha:
    """A matting model that was told where the product is."""

    name, digest = "true", "0" * 16

    def __init__(self, alpha):
        self.alpha, self.num_asked = alpha, 0

    def find_alpha(self, rgb):
        self.num_asked += 1
        return Matte.of(self.alpha)

    def find_alphas(self, pictures):
        return [self.find_alpha(picture) for picture in pictures]


# --- what is done ---


@pytest.mark.parametrize("name", ["backpack", "abacus", "bagel"])
async def test_an_undamaged_packshot_comes_back_with_equal_pixels(enhancer, name):
    for pixels in (open_on_white(name), open_cutout(name)):
        result = await enhancer.enhance(ask(pixels, request_id="r"))
        assert np.array_equal(decode(result.image.data), pixels)
        assert (result.repairs, result.difference, result.model) == ((), None, None)
        assert found(result) == set() and result.request_id == "r"


async def test_a_dark_picture_becomes_light(enhancer):
    truth = open_on_white()
    result = await enhancer.enhance(ask(expose(truth, 0.2), Repair.EXPOSURE))
    assert result.repairs == (Repair.EXPOSURE,)
    before, after = scores(result, Defect.EXPOSURE)
    assert after == 0 < before
    # Light was lost evenly, codes were not: the middle is nearer than before, not the same.
    restored, dark = decode(result.image.data), expose(truth, 0.2)
    assert measure_error(restored, truth) < 0.3 * measure_error(dark, truth)


async def test_a_cast_is_taken_out(enhancer):
    truth = open_on_white()
    result = await enhancer.enhance(ask(expose(truth, (1, 0.85, 0.7))))
    assert result.repairs == (Repair.COLOUR,)
    assert measure_error(decode(result.image.data), truth) < 1
    assert decode(result.difference.data).shape == truth.shape[:2]


async def test_a_product_is_moved_to_the_middle_where_that_is_asked_for(enhancer):
    aside = draw_box(240, 320, slice(20, 120), slice(160, 300))
    only_told = await enhancer.enhance(ask(aside))
    assert only_told.repairs == () and Defect.OFF_CENTRE in found(only_told)
    result = await enhancer.enhance(ask(aside, Repair.RECENTRE))
    assert result.repairs == (Repair.RECENTRE,)
    middle = draw_box(240, 320, slice(70, 170), slice(90, 230))
    assert np.array_equal(decode(result.image.data), middle)
    before, after = scores(result, Defect.OFF_CENTRE)
    assert before > 0.2 > after


async def test_a_plain_background_becomes_white(enhancer):
    pixels = draw_box(240, 320, slice(60, 180), slice(80, 240), ground=(180, 205, 230))
    result = await enhancer.enhance(ask(pixels, Repair.WHITE_BACKGROUND))
    assert result.repairs == (Repair.WHITE_BACKGROUND,)
    truth = draw_box(240, 320, slice(60, 180), slice(80, 240))
    assert measure_error(decode(result.image.data), truth) < 0.5
    assert 0 <= result.mask_uncertainty < 0.1
    assert result.mask_source is MaskSource.PLAIN_GROUND


async def test_alpha_tells_the_product_and_nobody_tells_it_who_was_not_asked(enhancer):
    result = await enhancer.enhance(ask(open_cutout(), Repair.WHITE_BACKGROUND))
    assert (result.mask_source, result.mask_uncertainty) == (MaskSource.ALPHA, None)
    assert (await enhancer.enhance(ask(open_cutout()))).mask_source is None


async def test_a_restless_background_becomes_white_by_what_a_model_sees(reader, workers):
    rgba = open_cutout()
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    alpha = as_share(rgba[..., 3])
    mixed = rgba[..., :3] * alpha[..., None] + tiles * (1 - alpha[..., None])
    pixels = np.rint(mixed).astype(np.uint8)
    enhancer = Enhancer(reader, None, TrueAlpha(alpha), workers)
    result = await enhancer.enhance(ask(pixels, Repair.WHITE_BACKGROUND))
    assert result.repairs == (Repair.WHITE_BACKGROUND,)
    assert scores(result, Defect.CLUTTERED_BACKGROUND)[1] == 0
    assert result.image is not None
    assert measure_error(decode(result.image.data), open_on_white()) < 1
    assert result.mask_uncertainty == pytest.approx(Matte.of(alpha).uncertainty)
    assert result.mask_source is MaskSource.MATTING


async def test_what_told_the_product_before_its_background_went_is_told(reader, workers):
    rng, alpha = np.random.default_rng(0), np.zeros((256, 256), np.float32)
    pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    alpha[40:120, 30:150], alpha[40, 30:150] = 1, 0.5
    result = await Enhancer(reader, None, TrueAlpha(alpha), workers).enhance(
        ask(pixels, Repair.WHITE_BACKGROUND, Repair.RECENTRE)
    )
    assert result.repairs == (Repair.WHITE_BACKGROUND, Repair.RECENTRE)
    assert result.mask_source is MaskSource.MATTING
    assert result.mask_uncertainty == pytest.approx(Matte.of(alpha).uncertainty)


async def test_a_plain_background_that_is_too_grainy_is_told_by_a_model(reader, workers):
    clean = draw_box(240, 320, slice(60, 180), slice(80, 240), ground=(180, 205, 230))
    grainy = add_noise(clean, 18, np.random.default_rng(0))
    alpha = np.zeros((240, 320), np.float32)
    alpha[60:180, 80:240] = 1
    matting = TrueAlpha(alpha)
    enhancer = Enhancer(reader, None, matting, workers)
    result = await enhancer.enhance(ask(grainy, Repair.WHITE_BACKGROUND))
    assert result.repairs == (Repair.WHITE_BACKGROUND,) and result.mask_uncertainty == 0
    assert result.image is not None
    white = decode(result.image.data)
    assert (white[alpha == 0] == 255).all()
    assert np.array_equal(white[alpha == 1], grainy[alpha == 1])
    assert matting.num_asked == 1


async def test_without_a_matting_model_a_restless_background_stays_and_that_is_said(enhancer):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    result = await enhancer.enhance(ask(pixels, Repair.WHITE_BACKGROUND))
    assert result.repairs == ()
    assert "could not be told from its background" in result.warnings[0]


async def test_an_unsure_matte_is_not_trusted(reader, workers):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    unsure = TrueAlpha(np.full((256, 256), 0.5, np.float32))
    result = await Enhancer(reader, None, unsure, workers).enhance(
        ask(pixels, Repair.WHITE_BACKGROUND)
    )
    assert result.repairs == () and result.warnings
    assert result.mask_uncertainty == pytest.approx(2)
    assert result.mask_source is MaskSource.WHOLE_PICTURE


@pytest.mark.parametrize("is_whole", [True, False])
async def test_a_matte_that_takes_a_part_of_the_product_is_undone(reader, workers, is_whole):
    """Cut off below, so that the border does not tell the product."""
    pixels, alpha = open_on_white()[:330], as_share(open_cutout()[..., 3])[:330].copy()
    if not is_whole:
        alpha[:, 300:] = 0
    result = await Enhancer(reader, None, TrueAlpha(alpha), workers).enhance(
        ask(pixels, Repair.WHITE_BACKGROUND)
    )
    assert result.image is not None and result.mask_source is MaskSource.MATTING
    assert measure_error(decode(result.image.data), pixels) < 0.5
    if not is_whole:
        assert result.repairs == ()
        assert result.warnings == (
            "white_background: undone, since a part of the product went with its background",
        )
    else:
        assert not result.warnings


async def test_what_a_mask_marks_is_painted_anew_and_all_else_stays(enhancer):
    pixels = open_on_white()
    spoilt = pixels.copy()
    spoilt[240:260, 200:300] = 0
    mask = np.zeros(pixels.shape[:2], np.uint8)
    mask[240:260, 200:300] = 255
    result = await enhancer.enhance(ask(spoilt, Repair.INPAINT, defect_mask=encode(mask)))
    restored = decode(result.image.data)
    assert result.repairs == (Repair.INPAINT,) and result.model.name == "tiny"
    assert np.array_equal(restored[mask == 0], spoilt[mask == 0])
    assert measure_error(restored[mask > 0], pixels[mask > 0]) < measure_error(
        spoilt[mask > 0], pixels[mask > 0]
    )


async def test_a_mask_that_marks_nothing_changes_nothing_and_that_is_said(enhancer):
    pixels = open_on_white()
    mask = encode(np.zeros(pixels.shape[:2], np.uint8))
    result = await enhancer.enhance(ask(pixels, Repair.INPAINT, defect_mask=mask))
    assert np.array_equal(decode(result.image.data), pixels) and not result.repairs
    assert result.warnings == ("defect_mask: marks nothing",)


async def test_letters_that_were_found_are_painted_over(enhancer):
    truth = open_with_margins("abacus")
    spoilt = write(truth, "www.example.com", (20, 474), 26)
    result = await enhancer.enhance(ask(spoilt))
    assert result.repairs == (Repair.INPAINT,)
    assert scores(result, Defect.OVERLAY)[1] == 0
    restored = decode(result.image.data)
    assert measure_error(restored[470:], truth[470:]) < 0.3 * measure_error(
        spoilt[470:], truth[470:]
    )


@pytest.mark.parametrize("factor", [2, 3])
async def test_a_larger_picture_is_as_large_as_asked(enhancer, factor):
    rgba = open_cutout(side=128)
    for pixels in (rgba, draw_box()):
        request = ask(pixels, Repair.UPSCALE, upscale_factor=factor)
        result = await enhancer.enhance(request)
        height, width = pixels.shape[:2]
        assert (result.image.height, result.image.width) == (factor * height, factor * width)
        assert decode(result.image.data).shape == (factor * height, factor * width, pixels.shape[2])
        assert result.repairs == (Repair.UPSCALE,) and result.difference is None


class Harmful(Restoring):
    """Makes a picture worse, as a model may that never saw its like."""

    async def restore(self, pixels, mask=None, num_steps=None, deadline_s=None):
        return add_noise(pixels, 60, np.random.default_rng(1))


async def test_what_does_harm_is_undone(reader, router, workers, restorer):
    async def open_model():
        return restorer

    harmful = Harmful(router, workers, open_model)
    noisy = add_noise(open_on_white("bagel", 256), 10, np.random.default_rng(0))
    result = await Enhancer(reader, harmful, None, workers).enhance(ask(noisy, Repair.RESTORE))
    assert result.image is not None and result.repairs == ()
    assert np.array_equal(decode(result.image.data), noisy)
    assert result.warnings == ("restore: undone, since the picture was worse after it",)
    before, after = scores(result, Defect.NOISE)
    assert before == after > 0


async def test_only_a_diagnosis_has_no_picture_and_nothing_after(enhancer):
    result = await enhancer.enhance(ask(expose(open_on_white(), 0.2), is_diagnosed_only=True))
    assert result.image is None and result.difference is None and result.repairs == ()
    assert found(result) == {Defect.EXPOSURE}
    assert all(each.score_after is None for each in result.findings)


async def test_without_a_restorer_that_is_said(reader, workers):
    noisy = add_noise(open_on_white(), 20, np.random.default_rng(0))
    result = await Enhancer(reader, None, None, workers).enhance(ask(noisy))
    assert Repair.RESTORE not in result.repairs and result.model is None
    assert "restore: not done, this server has no restorer" in result.warnings


def ask_in_the_product(repair):
    """For a repair that the model takes part in."""
    pixels = open_on_white("bagel", 256)
    if repair is Repair.RESTORE:
        pixels = add_noise(pixels, 20, np.random.default_rng(0))
    mask = np.zeros(pixels.shape[:2], np.uint8)
    mask[100:150, 100:150] = 255
    marked = {"defect_mask": encode(mask)} if repair is Repair.INPAINT else {}
    return ask(pixels, repair, **marked)


@pytest.mark.parametrize("repair", WITHOUT_MODEL)
async def test_where_the_model_took_no_part_that_is_said_of_what_was_asked(
    reader, workers, enhancer, monkeypatch, repair
):
    request = ask_in_the_product(repair)
    told = WITHOUT_MODEL[repair]
    without = await Enhancer(reader, None, None, workers).enhance(request)
    assert without.warnings == (f"{told}, this server has no restorer",)
    monkeypatch.setattr(restoring_module, "MAX_TILES", 0)
    small = await enhancer.enhance(request)
    assert small.warnings == (f"{told}, the picture is too large for the model",)
    for result in (without, small):
        assert result.model is None
        assert result.repairs == (() if repair is Repair.RESTORE else (repair,))


async def test_a_picture_is_answered_in_the_format_asked_for(enhancer):
    output = OutputSpec(ImageFormat.JPEG, quality=95)
    result = await enhancer.enhance(ask(open_cutout(), output=output))
    assert result.image.mime_type == "image/jpeg"
    assert measure_error(decode(result.image.data), open_on_white()) < 2


async def test_the_same_request_is_the_same_picture(enhancer):
    pixels = expose(open_on_white("bagel", 256), (1, 0.85, 0.7))
    both = [await enhancer.enhance(ask(pixels, Repair.COLOUR, Repair.UPSCALE)) for _ in range(2)]
    assert both[0].image.data == both[1].image.data


async def test_an_observer_is_told_what_was_found_and_done(reader, workers):
    told = []

    class Observer:
        def repaired(self, defects, repairs):
            told.append((list(defects), list(repairs)))

    enhancer = Enhancer(reader, None, None, workers, observer=Observer())
    await enhancer.enhance(ask(expose(open_on_white(), (1, 0.85, 0.7))))
    assert told == [(["colour_cast"], ["colour"])]


# --- where it comes from ---


async def test_a_product_is_read_from_the_catalogue(enhancer):
    result = await enhancer.enhance(ask("backpack"))
    assert np.array_equal(decode(result.image.data), open_cutout())
    assert {"read", "open", "diagnose", "encode"} <= set(result.timings_s)


async def test_a_product_that_is_not_there_is_told(enhancer, reader):
    with pytest.raises(ProductUnknown):
        await enhancer.enhance(ask("unknown"))
    with pytest.raises(FeaturesUnavailable):
        await enhancer.enhance(ask("unavailable"))
    reader.packshot = "nowhere/nothing.webp"
    with pytest.raises(Unavailable, match="packshot can't be read") as raised:
        await enhancer.enhance(ask("backpack"))
    assert raised.value.reason == "PACKSHOT_UNAVAILABLE"


async def test_a_packshot_that_is_no_picture_is_not_the_callers_fault(enhancer, reader, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    reader.packshot = str(tmp_path / "broken.png")
    with pytest.raises(Unavailable, match="packshot can't be read"):
        await enhancer.enhance(ask("backpack"))


# --- pictures of all kinds ---


def encode_image(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


async def test_a_camera_that_was_held_sideways_is_turned_upright(enhancer):
    pixels = draw_box(120, 200, slice(30, 90), slice(60, 140))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees, clockwise
    sideways = Image.fromarray(np.ascontiguousarray(np.rot90(pixels)))
    data = encode_image(sideways, exif=exif)
    result = await enhancer.enhance(ask(data, Repair.COLOUR))
    assert np.array_equal(decode(result.image.data), pixels)


async def test_pictures_of_other_kinds_are_converted(enhancer):
    pixels = draw_box(240, 320, slice(60, 180), slice(80, 240))
    image = Image.fromarray(pixels)
    grey = np.asarray(image.convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    kinds = {
        "palette": (encode_image(image.convert("P", palette=Image.Palette.ADAPTIVE)), pixels),
        "16 bit": (encode_image(deep), grey[..., None].repeat(3, axis=-1)),
        "grey": (encode_image(Image.fromarray(grey)), grey[..., None].repeat(3, axis=-1)),
        "CMYK": (encode_image(image.convert("CMYK"), "TIFF"), pixels),
        "BMP": (encode_image(image, "BMP"), pixels),
    }
    for name, (data, expected) in kinds.items():
        result = await enhancer.enhance(ask(data, Repair.COLOUR))
        assert measure_error(decode(result.image.data), expected) < 0.6, name


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (1, 300)])
async def test_the_smallest_pictures_are_answered(enhancer, size):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    result = await enhancer.enhance(ask(pixels, *Repair))
    assert (result.image.height, result.image.width) == (2 * size[0], 2 * size[1])


async def test_a_picture_that_nothing_can_be_seen_on_is_left_alone(enhancer):
    empty = np.zeros((300, 300, 4), np.uint8)
    result = await enhancer.enhance(ask(empty))
    assert np.array_equal(decode(result.image.data), empty)


# --- what is refused ---


async def refuse(enhancer, request):
    with pytest.raises(InvalidRequest) as raised:
        await enhancer.enhance(request)
    (violation,) = raised.value.violations
    return violation.field, violation.description


async def test_what_is_no_still_picture_is_refused_by_name(enhancer):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    animated = encode_image(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    field, text = await refuse(enhancer, ask(animated))
    assert (field, text) == ("image", "is an animated image; a still one is needed")
    field, text = await refuse(enhancer, ask(b"no picture"))
    assert field == "image" and text.startswith("does not decode")
    half = encode(open_on_white("bagel", 128))
    assert (await refuse(enhancer, ask(half[: len(half) // 2])))[0] == "image"
    assert (await refuse(enhancer, ask(b"")))[0] == "image"


async def test_numbers_that_are_no_colours_are_refused_by_name(enhancer):
    floats = encode_image(Image.fromarray(np.zeros((9, 9), np.float32)), "TIFF")
    field, text = await refuse(enhancer, ask(floats))
    assert field == "image" and "floating point numbers" in text


async def test_a_mask_must_fit_the_picture(enhancer):
    request = ask(draw_box(), defect_mask=encode(np.zeros((120, 159), np.uint8)))
    field, text = await refuse(enhancer, request)
    assert field == "defect_mask"
    assert text == "is 159 × 120 pixels, but the picture is 160 × 120"
    assert (await refuse(enhancer, replace(request, defect_mask=b"none")))[0] == "defect_mask"


async def test_a_picture_does_not_grow_beyond_all_bounds(enhancer):
    pixels = np.full((1200, 1200, 3), 255, np.uint8)
    field, text = await refuse(enhancer, ask(pixels, Repair.UPSCALE, upscale_factor=4))
    assert field == "upscale_factor"
    assert text == "is 4, which makes the picture larger than 20 megapixels"


async def test_a_deadline_that_passed_is_told(enhancer):
    dark = ask(expose(open_on_white(), 0.2), deadline_s=time.monotonic() - 1)
    with pytest.raises(DeadlineExceeded):
        await enhancer.enhance(dark)


class Halting(TrueAlpha):
    """Sees nothing before it is told to go on."""

    def __init__(self, alpha):
        super().__init__(alpha)
        self.is_asked, self.go = threading.Event(), threading.Event()

    def find_alpha(self, rgb):
        self.is_asked.set()
        assert self.go.wait(60)
        return super().find_alpha(rgb)


class Counting(ThreadPoolExecutor):
    num_begun = 0

    def submit(self, *work, **options):
        self.num_begun += 1
        return super().submit(*work, **options)


@pytest.fixture
def halted(reader):
    """An enhancer in the middle of a diagnosis: (how to ask it, its matting, its threads)."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    matting = Halting(np.ones((64, 64), np.float32))
    with Counting(1) as workers:
        enhancer = Enhancer(reader, None, matting, workers)

        async def begin(**options):
            asked = asyncio.ensure_future(enhancer.enhance(ask(pixels, **options)))
            await asyncio.to_thread(matting.is_asked.wait, 60)
            return asked

        try:
            yield begin, matting, workers
        finally:
            matting.go.set()


async def test_a_diagnosis_ends_with_its_deadline(halted):
    begin, matting, _ = halted
    deadline_s = time.monotonic() + 0.5
    asked = await begin(is_diagnosed_only=True, deadline_s=deadline_s)
    await asyncio.sleep(max(0.0, deadline_s - time.monotonic()))
    matting.go.set()
    with pytest.raises(DeadlineExceeded):
        await asked


async def test_a_diagnosis_that_nobody_waits_for_ends_with_the_part_that_is_under_way(halted):
    begin, matting, workers = halted
    asked = await begin()
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    num_begun = workers.num_begun
    matting.go.set()
    await asyncio.to_thread(workers.submit(int).result)
    assert workers.num_begun == num_begun + 1 and matting.num_asked == 1


def test_the_packshots_that_tests_stand_on_are_there():
    assert (PACKSHOTS / "backpack.webp").is_file()
