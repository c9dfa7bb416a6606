"""Images that fail verification are tried again, so often and in time; then it is the packshot."""

from __future__ import annotations

import io
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Lock

import numpy as np
import pytest
from PIL import Image

from diffusion.noise import derive_seed
from server.commands.workshop import warm_request
from server.core import (
    QUALITY,
    CachePolicy,
    Degradation,
    InlineProduct,
    Mode,
    OutputSpec,
    Progress,
    Source,
)
from server.creative import Caption, Kind, Try
from server.errors import DeadlineExceeded, FailedPrecondition, InvalidRequest
from server.imaging.verification import LIMITS, Limits
from server.rows import Defaults
from server.sampling.engine import Engine
from tests.diffusion.families.tiny_unet import furnish, serve
from tests.server.opening import open_pipeline
from tests.server.registry import hold
from tests.server.sampling.closed_model import level
from tests.server.scripted_reader import ask, hurry

UNSAFE = ("unsafe", "logo of another shop")


class Refusing:
    """A plug-in that refuses the first pictures it sees, and then does what a test says."""

    def __init__(self, num_refused, then=lambda: None):
        self.num_seen, self._num_refused, self._then = 0, num_refused, then
        self._lock = Lock()

    def check(self, pixels):
        with self._lock:
            self.num_seen += 1
            if self.num_seen > self._num_refused:
                return ()
        self._then()
        return UNSAFE


class Tally:
    """What an observer is told."""

    def __init__(self):
        self.reasons: Counter[str] = Counter()
        self.num_fallbacks = 0

    def tried(self, reasons):
        self.reasons.update(reasons)

    def fell_back(self, count):
        self.num_fallbacks += count


@pytest.fixture
def tally():
    return Tally()


@pytest.fixture
def open_shop(reader, models, engine, tally):
    """A pipeline with that plug-in."""
    encoders = models[QUALITY].encoders
    with ThreadPoolExecutor(2) as workers:

        def open_it(safety, **options):
            told = {"safety": safety, "observer": tally, **options}
            return open_pipeline(reader, hold(models), encoders, engine, workers, **told)

        yield open_it


def pixels(image):
    return np.asarray(Image.open(io.BytesIO(image.data)).convert("RGB")).astype(int)


def gap(one, other):
    return np.abs(pixels(one) - pixels(other)).max()


async def test_an_image_that_is_refused_is_made_again_from_another_seed(open_shop, tally):
    shop = open_shop(Refusing(1))
    result = await shop.generate(ask(seed=3))
    (image,) = result.images
    assert result.source is Source.GENERATED and not image.is_original
    assert result.tries == (Try(3, UNSAFE),)
    assert image.seed == derive_seed("3", "try", "1")
    assert result.num_forward_rows == 4, "two steps, twice"
    assert tally.reasons == Counter(UNSAFE) and tally.num_fallbacks == 0


async def test_the_seed_that_is_told_makes_the_image_again(open_shop):
    retried = (await open_shop(Refusing(1)).generate(ask(seed=3))).images[0]
    plain = open_shop(None)
    again = (await plain.generate(ask(seed=retried.seed))).images[0]
    assert gap(again, retried) <= 1
    first = (await plain.generate(ask(seed=3))).images[0]
    assert gap(first, retried) > 1


async def test_of_two_images_only_the_bad_one_is_made_again(open_shop, tally):
    good = (await open_shop(None).generate(ask(seed=3, num_images=2))).images
    refusing = Refusing(1)
    result = await open_shop(refusing).generate(ask(seed=3, num_images=2))
    (tried,) = result.tries
    bad = tried.seed - 3
    assert gap(result.images[1 - bad], good[1 - bad]) <= 1
    assert result.images[1 - bad].seed == good[1 - bad].seed
    assert result.images[bad].seed == derive_seed(str(tried.seed), "try", "1")
    assert refusing.num_seen == 3 and tally.reasons.total() == len(UNSAFE)


@pytest.mark.parametrize(("asked", "num_tries"), [(None, 3), (1, 1), (4, 4)])
async def test_after_the_last_try_the_packshot_is_shown(open_shop, tally, asked, num_tries):
    shop = open_shop(Refusing(99), defaults=Defaults(max_tries=3))
    result = await shop.generate(ask(seed=3, max_tries=asked))
    seeds = [derive_seed("3", "try", str(number)) for number in range(1, num_tries)]
    assert result.tries == tuple(Try(seed, UNSAFE) for seed in (3, *seeds))
    (image,) = result.images
    assert image.is_original and image.seed == 3 and image.fidelity is None
    assert tally.reasons == Counter(dict.fromkeys(UNSAFE, num_tries))
    assert tally.num_fallbacks == 1


async def test_a_packshot_that_is_shown_in_the_end_has_no_model_and_no_steps(open_shop):
    result = await open_shop(Refusing(99)).generate(ask(num_images=2))
    assert result.source is Source.ORIGINAL and result.num_missing == 0
    assert (result.model, result.sampler, result.steps, result.style) == (None, None, 0, "")
    assert result.num_forward_rows == 8, "what was spent is told"
    assert result.degradation is Degradation.NONE and len(result.images) == 2


async def test_one_packshot_among_good_images_is_told(open_shop):
    result = await open_shop(Refusing(1)).generate(ask(seed=3, num_images=2, max_tries=1))
    assert sorted(image.is_original for image in result.images) == [False, True]
    assert result.source is Source.GENERATED and result.steps == 2
    assert [image.seed for image in result.images] == [3, 4]


async def test_words_are_set_beside_a_packshot_that_is_shown_in_the_end(open_shop):
    wish = ask(caption=Caption(badge="New"), output=OutputSpec(longest_side=256))
    (image,) = (await open_shop(Refusing(99)).generate(wish)).images
    assert image.is_original and (image.width, image.height) == (256, 256)
    assert [each.kind for each in image.layout.elements] == [Kind.PRODUCT, Kind.BADGE]


async def test_where_time_is_up_after_a_try_the_packshot_is_shown(
    open_shop, engine, shipped, tally
):
    safety = Refusing(9, then=lambda: level(engine, shipped.name, tick_s=1e6))
    level(engine, shipped.name, tick_s=0.001)
    request = ask(deadline_s=time.monotonic() + 300, max_tries=5)
    result = await open_shop(safety).generate(request)
    assert result.source is Source.ORIGINAL and result.images[0].is_original
    assert len(result.tries) == 1 and tally.num_fallbacks == 1


async def test_a_deadline_before_the_first_try_is_exceeded(open_shop, tally):
    with pytest.raises(DeadlineExceeded):
        await open_shop(Refusing(9)).generate(ask(deadline_s=time.monotonic()))
    assert not tally.reasons and not tally.num_fallbacks


async def test_what_verification_itself_refuses_is_tried_again_too(open_shop):
    strict = Defaults(max_tries=2, limits=Limits(min_sharpness=1e6))
    result = await open_shop(None, defaults=strict).generate(ask(seed=3))
    assert [each.reasons for each in result.tries] == [("blurred",)] * 2
    assert result.images[0].is_original


async def test_an_image_that_was_refused_is_neither_kept_nor_shown_to_who_is_near(open_shop):
    shop = open_shop(Refusing(1), cache={"memory_bytes": 2**24})
    refused = await shop.generate(ask(max_tries=1))
    assert refused.images[0].is_original
    near = await shop.generate(hurry(cache_policy=CachePolicy.BYPASS))
    assert near.source is Source.ORIGINAL, "nothing good is there to be shown"
    assert (await shop.generate(ask(max_tries=1))).source is Source.GENERATED


@pytest.mark.parametrize(
    "change", [{"limits": replace(LIMITS, min_contrast=7.0)}, {"safety": "a check"}], ids=str
)
async def test_images_do_not_outlive_the_rules_that_they_passed(open_shop, tmp_path, change):
    sources = []
    for defaults in (Defaults(), Defaults(), Defaults(**change)):
        shop = open_shop(None, defaults=defaults, cache={"folder": tmp_path})
        sources.append((await shop.generate(ask())).source)
        await shop._cache.close()
    assert sources == [Source.GENERATED, Source.CACHE, Source.GENERATED]


@pytest.mark.parametrize("is_checked", [False, True])
async def test_previews_are_withheld_where_pictures_are_checked(open_shop, is_checked):
    events: list[object] = []
    shop = open_shop(Refusing(0) if is_checked else None)
    await shop.generate(ask(steps=40, preview_side=32), events.append)
    previews = [e.preview for e in events if isinstance(e, Progress) and e.preview is not None]
    assert bool(previews) is not is_checked


@pytest.fixture(scope="module")
def draughtsman(tmp_path_factory):
    """A tiny untrained model that makes pictures from titles, in an engine of its own."""
    model = serve(furnish(tmp_path_factory.mktemp("sd15")), "sd15")
    engine = Engine([model])
    engine.start([warm_request(model)])
    yield model, engine
    engine.close()


TOLERANT = Limits(100, 100.0, 0.0, 0.0, 1e6)
UNSEEN = ask(
    product=InlineProduct("red shoe", b"", {}), user_id="", mode=Mode.CREATE, num_images=3, seed=5
)


@pytest.fixture
def open_studio(reader, draughtsman, shipped):
    model, engine = draughtsman
    with ThreadPoolExecutor(2) as workers:

        def open_it(safety):
            held, defaults = hold({QUALITY: model}), Defaults(max_tries=1, limits=TOLERANT)
            return open_pipeline(
                reader,
                held,
                shipped.encoders,
                engine,
                workers,
                defaults,
                safety=safety,
                cache={"memory_bytes": 2**24},
            )

        yield open_it


async def test_without_a_packshot_the_good_images_are_shown_alone(open_studio):
    shop = open_studio(Refusing(1))
    result = await shop.generate(UNSEEN)
    (tried,) = result.tries
    assert [image.seed for image in result.images] == sorted({5, 6, 7} - {tried.seed})
    assert not any(image.is_original for image in result.images)
    assert result.num_missing == 1
    assert result.warnings == ("left out, as no try was good enough: 1 of the images",)
    again = await shop.generate(UNSEEN)
    assert again.source is Source.GENERATED and len(again.images) == 3, "nothing less is kept"
    assert (await shop.generate(UNSEEN)).source is Source.CACHE


async def test_without_a_packshot_and_a_good_image_that_is_said(open_studio):
    with pytest.raises(FailedPrecondition) as caught:
        await open_studio(Refusing(9)).generate(UNSEEN)
    assert caught.value.reason == "NO_PACKSHOT"


@pytest.mark.parametrize("mode", [Mode.PRESERVE, Mode.RESTYLE])
async def test_what_needs_a_packshot_is_refused_without_one_by_that_name(open_studio, mode):
    with pytest.raises(InvalidRequest, match="needs a packshot") as caught:
        await open_studio(Refusing(0)).generate(replace(UNSEEN, mode=mode))
    assert [each.field for each in caught.value.violations] == ["inline_product.packshot"]
