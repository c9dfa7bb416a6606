"""Explanations of the shipped model, through a real engine: what is said is what was done."""

import asyncio
import io
from dataclasses import replace

import numpy as np
import pytest
from annotated_types import Ge
from PIL import Image

from diffusion.composition import place
from diffusion.families.model import PretrainedDiffusion
from diffusion.families.specification import ModelSpecification
from diffusion.families.z_image import ZImage
from diffusion.image_model import ProductFacts, Wish
from diffusion.looks import AXES, SceneWish
from diffusion.taste import NUM_RECENT
from features.packshots import open_packshot, show_product
from features.records import LastClicks, Shopper, Status
from server.commands.workshop import warm_request
from server.configuration import EngineSlice
from server.core import Mode
from server.explanation import CLICKS, DRAWN, PROFILE, SCENE, explain, plan_explanation
from server.imaging.compose import compose_in
from server.imaging.frame import Frame
from server.sampling.engine import Engine, EngineLimits
from server.sampling.observer import Silence
from tests.diffusion.families.tiny_z_image import tiny_z_image
from tests.diffusion.families.walking import facts
from tests.server.scripted_reader import WORLD

SEED = 7
BACKPACK = str(WORLD / "packshots" / "backpack.webp")
SQUARE = Frame.around(128, 128)
WISH = Wish("preserve", strength=0.5)
MAX_ROWS = EngineSlice.model_fields["max_rows"].metadata


@pytest.fixture(scope="module")
def buckets(shipped):
    return shipped.rules.buckets


@pytest.fixture(scope="module")
def product(shipped):
    cutout = open_packshot(BACKPACK)
    seen = shipped.encoders.encode_images(show_product(cutout)[None])[0]
    told = shipped.encoders.encode_texts(["backpack"])[0]
    return shipped.prepare(ProductFacts(cutout, "backpack", seen, told))


@pytest.fixture(scope="module")
def roomy_engine(shipped):
    engine = Engine([shipped], EngineLimits(buckets=(1, 8), max_rows=32))
    engine.start([warm_request(shipped)])
    yield engine
    engine.close()


@pytest.fixture
def ask(shipped, product, roomy_engine, buckets):
    """The explanation of a shopper and a wish, with a map of this frame, if any."""

    async def explained(shopper, wish=WISH, frame=SQUARE):
        probe = plan_explanation(shipped, product, shopper, wish, SEED, buckets)
        pixels = await asyncio.wait_for(roomy_engine.submit(probe.rows).result, 60)
        return explain(probe, pixels, frame and deliver_in(frame))

    return explained


def deliver_in(frame):
    def show(pixels):
        return compose_in(pixels, open_packshot(BACKPACK), frame, Mode.PRESERVE).pixels

    return show


def look(buckets, palette, setting, length=1.0):
    """The embedding of a shopper who likes just that, times `length`."""
    number = AXES["palette"].index(palette) * 8 + AXES["setting"].index(setting)
    return length * buckets.centroids[number]


def someone(profile, *clicks, weight=1.0):
    """`clicks` from old to new."""
    embeddings = np.zeros((NUM_RECENT, len(profile)), np.float32)
    weights = np.zeros(NUM_RECENT, np.float32)
    for place_, click in enumerate(clicks):
        embeddings[place_], weights[place_] = click, weight
    return Shopper(Status.FOUND, profile, LastClicks(embeddings, weights), consent=True)


def by_input(explanation):
    return {influence.input: influence for influence in explanation.influences}


async def test_leaving_the_profile_out_moves_the_picture_back(ask, buckets):
    shopper = someone(look(buckets, "mint", "outdoor"))
    told = await ask(shopper)
    profile = by_input(told)[PROFILE]
    assert profile.share == pytest.approx(1.0)
    assert profile.change == pytest.approx(told.shopper_effect)
    assert profile.description == "mint, outdoor"
    assert told.shopper_effect > 20 and "mint, outdoor" in told.text
    assert CLICKS not in by_input(told)


async def test_shares_of_profile_and_clicks_add_up(ask, buckets):
    shopper = someone(
        look(buckets, "mint", "outdoor"),
        look(buckets, "mint", "outdoor", 2),
        look(buckets, "sky", "studio", 2),
        look(buckets, "lemon", "glow", 2),
    )
    told = by_input(await ask(shopper))
    assert told[PROFILE].share + told[CLICKS].share == pytest.approx(1.0)
    assert told[PROFILE].share > told[CLICKS].share


async def test_a_click_of_opposite_taste_speaks_against_the_picture(ask, buckets):
    """Away from the grey that nobody gets, graphite at night lies opposite to lemon."""
    shopper = someone(
        look(buckets, "lemon", "studio"),
        look(buckets, "graphite", "night", 2),
        look(buckets, "lemon", "studio", 2),
    )
    told = await ask(shopper)
    clicks = by_input(told)
    assert clicks["click 1"].description == "lemon, studio" and clicks["click 1"].share > 0.3
    assert clicks["click 2"].description == "graphite, night" and clicks["click 2"].share < -0.1
    assert "click 1 (lemon, studio) speaks most for it" in told.text
    assert "Against it speaks click 2 (graphite, night)" in told.text


async def test_a_click_that_agrees_is_given_its_part_though_nobody_would_miss_it(ask, buckets):
    mint = look(buckets, "mint", "outdoor")
    told = by_input(await ask(someone(mint, 2 * mint, 2 * mint, 2 * mint)))
    assert told["click 1"].change < 3
    assert told["click 1"].share > 0.25


async def test_at_strength_zero_nothing_goes_back_to_the_shopper(ask, buckets):
    shopper = someone(look(buckets, "mint", "outdoor"), look(buckets, "mint", "outdoor"))
    none, nobody = await ask(shopper, replace(WISH, strength=0.0)), await ask(None)
    assert none == nobody
    assert none.shopper_map == b"" and none.map_width == 0 and none.shopper_effect == 0.0
    assert none.text.startswith("No shopper took part")
    assert not {PROFILE, CLICKS, "click 1"} & by_input(none).keys()


async def test_more_strength_is_more_effect(ask, buckets):
    shopper = someone(look(buckets, "mint", "outdoor"))
    effects = [
        (await ask(shopper, replace(WISH, strength=strength))).shopper_effect
        for strength in (0.05, 0.25, 0.5)
    ]
    assert effects == sorted(effects) and effects[0] < effects[2] / 3


async def test_the_map_is_dark_on_the_product_and_bright_around_it(ask, buckets, product):
    told = await ask(someone(look(buckets, "mint", "outdoor")))
    with Image.open(io.BytesIO(told.shopper_map)) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (128, 128))
        bright = np.asarray(image).astype(float)
    alpha = place(open_packshot(BACKPACK), 128)[1]
    assert not bright[alpha == 1].any(), "its own pixels are put there, whoever asks"
    assert bright[alpha < 0.02].mean() > 20 and bright.max() > 250


@pytest.mark.parametrize("size", [(32, 32), (300, 100), (1, 1)])
async def test_a_map_has_the_proportions_of_the_image(ask, buckets, size):
    told = await ask(someone(look(buckets, "mint", "outdoor")), frame=Frame.around(*size))
    assert (told.map_width, told.map_height) == size
    assert Image.open(io.BytesIO(told.shopper_map)).size == size


async def test_no_map_is_drawn_where_none_is_wanted(ask, buckets):
    told = await ask(someone(look(buckets, "mint", "outdoor")), frame=None)
    assert (told.shopper_map, told.map_width, told.map_height) == (b"", 0, 0)
    assert told.shopper_effect > 20


async def test_a_map_is_mirrored_where_the_surroundings_are(ask, buckets):
    shopper = someone(look(buckets, "mint", "outdoor"))
    plain, mirrored = [
        np.asarray(Image.open(io.BytesIO((await ask(shopper, frame=frame)).shopper_map)), float)
        for frame in (SQUARE, replace(SQUARE, is_mirrored=True))
    ]
    around = np.ones((128, 128), bool)
    around[16:, 24:104] = False  # the product is never mirrored, nor is its shadow
    turned, kept = np.abs(mirrored - plain[:, ::-1])[around], np.abs(mirrored - plain)[around]
    assert turned.mean() < 1 and kept.mean() > 10


async def test_a_faint_shopper_is_not_blown_up(ask, buckets):
    """White stands for a change that can be seen."""
    told = await ask(someone(look(buckets, "mint", "outdoor")), replace(WISH, strength=0.004))
    assert np.asarray(Image.open(io.BytesIO(told.shopper_map))).max() < 200
    assert told.shopper_effect < 1


async def test_influences_come_by_size_and_say_no_more_of_a_click_than_its_look(ask, buckets):
    shopper = someone(look(buckets, "mint", "outdoor"), look(buckets, "sky", "table", 2))
    told = await ask(shopper)
    changes = [influence.change for influence in told.influences]
    assert changes == sorted(changes, reverse=True)
    words = {word for axis in AXES.values() for word in axis}
    for influence in told.influences:
        assert set(influence.description.split(", ")) <= words | {""}


async def test_clicks_are_counted_from_the_last_and_the_five_heaviest_are_shown(ask, buckets):
    mint, sky = look(buckets, "mint", "outdoor"), look(buckets, "sky", "table")
    shopper = someone(mint, sky, *[mint] * 7)
    weights = np.array([0.1, 1, 1, 1, 1, 1, 0.2, 0.3], np.float32)
    shopper = replace(shopper, last_clicks=LastClicks(shopper.last_clicks.embeddings, weights))
    told = by_input(await ask(shopper, frame=None))
    shown = {name for name in told if name.startswith("click ")}
    assert shown == {f"click {number}" for number in range(3, 8)}


async def test_title_and_picture_of_the_product_are_told_also_for_nobody(ask):
    told = by_input(await ask(None))
    assert {"title", "product image"} <= told.keys()
    assert told["title"].share + told["product image"].share == pytest.approx(1.0)


async def test_a_scene_that_is_wished_for_is_an_influence(ask):
    """For nobody in particular, the wish is all that chooses the surroundings."""
    plain = await ask(None)
    told = by_input(await ask(None, replace(WISH, scene=SceneWish("mint", "outdoor"))))
    assert SCENE not in by_input(plain)
    assert told[SCENE].description == "mint, outdoor"
    assert told[SCENE].share == pytest.approx(1.0) and told[SCENE].change > 20


async def test_the_look_that_diversity_drew_is_an_influence(ask):
    """Of this seed a palette and a setting are drawn; less diversity draws nothing of it."""
    told = await ask(None, replace(WISH, diversity=1.0))
    drawn = by_input(told)[DRAWN]
    palette, setting = drawn.description.split(", ")
    assert palette in AXES["palette"] and setting in AXES["setting"]
    assert drawn.share == pytest.approx(1.0) and drawn.change > 20
    assert f"drawn look ({drawn.description})" in told.text
    assert DRAWN not in by_input(await ask(None, replace(WISH, diversity=0.0)))


async def test_what_was_wished_for_is_not_told_as_drawn(ask):
    wish = replace(WISH, scene=SceneWish("mint"), diversity=1.0)
    told = by_input(await ask(None, wish))
    assert told[SCENE].description == "mint"
    assert told[DRAWN].description in AXES["setting"]


async def test_every_row_takes_one_tick_and_one_that_holds_them_all_is_enough(
    shipped, product, buckets
):
    """A strict engine has one size of a tick, and fills it."""
    counted = Ticks()
    engine = Engine([shipped], EngineLimits(buckets=(24,), is_strict=True), counted)
    engine.start([warm_request(shipped)])
    try:
        liked = [look(buckets, palette, "outdoor") for palette in AXES["palette"]]
        probe = plan_explanation(shipped, product, someone(*liked), WISH, SEED, buckets)
        await asyncio.wait_for(engine.submit(probe.rows).result, 60)
    finally:
        engine.close()
    assert counted.num_rows == [len(probe.rows)] and len(probe.rows) > 16


class Ticks(Silence):
    """Counts the forward rows of each tick."""

    def __init__(self):
        self.num_rows = []

    def tick(self, model, bucket, num_forward_rows, elapsed_s):
        self.num_rows.append(num_forward_rows)


def test_of_a_model_that_reads_interests_alone_the_profile_is_all_there_is():
    told = {
        "name": "tiny",
        "family": "z_image",
        "source": "nowhere",
        "licence": "Apache-2.0",
        "sizes": [[64, 64]],
        "prompt": "studio {title}",
        "max_prompt_tokens": 96,
        "shopper": {"kind": "prompt", "suffix": ", for someone who loves {interests}"},
        "product": {"preserve": [], "restyle": []},
    }
    specification = ModelSpecification.model_validate(told)
    model = PretrainedDiffusion(ZImage(tiny_z_image(), specification), specification, "0" * 8)
    vectors = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)
    shopper = replace(someone(vectors[0], vectors[1]), interests=("music",))
    probe = plan_explanation(model, model.prepare(facts("lamp")), shopper, WISH, SEED)
    parts = {part.input: part for part in probe.parts}
    assert parts.keys() == {PROFILE, "title"}
    assert parts[PROFILE].bare == probe.nobody > 0 and parts[PROFILE].alone == 0
    assert len(probe.rows) == 4


def test_a_shopper_who_is_not_explained_costs_few_rows_and_any_engine_has_room_for_all(
    shipped, product, buckets
):
    mint = look(buckets, "mint", "outdoor")
    known = someone(*[look(buckets, palette, "outdoor") for palette in AXES["palette"]])
    room = next(limit.ge for limit in MAX_ROWS if isinstance(limit, Ge))
    told = replace(WISH, scene=SceneWish("mint"), diversity=1.0)
    for shopper, wish, most in (
        (None, WISH, 4),
        (someone(mint), WISH, 6),
        (known, WISH, 18),
        (known, told, room),
    ):
        probe = plan_explanation(shipped, product, shopper, wish, SEED, buckets)
        assert len(probe.rows) <= most
        assert all(len(row.plan) == 1 for row in probe.rows)
        keys = [row.walk[0].key for row in probe.rows]
        assert len(set(keys)) == len(keys)


async def test_the_same_question_has_the_same_answer(ask, buckets):
    shopper = someone(look(buckets, "mint", "outdoor"), look(buckets, "sky", "table"))
    assert await ask(shopper) == await ask(shopper)
