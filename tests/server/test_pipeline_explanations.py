"""Explanations of what a request is answered with, with the shipped model and engine."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from server.core import Arm, ImageRequest, Mode, OutputSpec
from server.creative import Caption, Placement
from server.doors.messages import answer_to_proto
from server.explanation import DRAWN
from server.imaging.placements import PRESETS

ASKED = ImageRequest(
    "shoe", user_id="known", steps=2, seed=1, locale="ar", output=OutputSpec(longest_side=256)
)


async def draw(pipeline, **changes):
    """The map of where the shopper acted [H, W]."""
    told = (await pipeline.explain(replace(ASKED, **changes), 128)).explanation
    with Image.open(io.BytesIO(told.shopper_map)) as image:
        assert image.size == (told.map_width, told.map_height)
        return np.asarray(image, float)


async def test_a_map_lies_on_the_image_as_it_is_delivered(pipeline):
    plain = await draw(pipeline)
    wide = await draw(pipeline, output=OutputSpec(longest_side=256, aspect_ratio=2))
    banner = await draw(pipeline, placement=Placement.BANNER)
    assert (plain.shape, wide.shape, banner.shape) == ((128, 128), (64, 128), (43, 128))
    for is_mirrored in (False, True):
        shown = await draw(pipeline, placement=Placement.BANNER, caption=Caption(title=is_mirrored))
        box = PRESETS[Placement.BANNER].find_product_box(128, 43, is_mirrored)
        row, column = round(box.top + box.height / 2), round(box.left + box.width / 2)
        assert not shown[row - 4 : row + 5, column - 4 : column + 5].any(), "its own pixels"
        assert shown[:, 127 - column].mean() > 10


async def test_a_map_is_mirrored_with_the_surroundings_of_texts_from_the_right(pipeline):
    plain, mirrored = await draw(pipeline), await draw(pipeline, caption=Caption(badge="x"))
    drawn = await draw(pipeline, caption=Caption(badge="x"), mode=Mode.RESTYLE)
    around = np.ones((128, 128), bool)
    around[16:, 24:104] = False  # the product is never mirrored, nor is its shadow
    assert np.abs(mirrored - plain[:, ::-1])[around].mean() < 1
    assert np.abs(mirrored - plain)[around].mean() > 3
    unmarked = await draw(pipeline, mode=Mode.RESTYLE)
    assert np.array_equal(drawn, unmarked), "what is drawn with its product is not mirrored"


async def test_the_look_of_a_creation_is_explained(pipeline):
    """Where nothing is said of diversity, half of all creations go their own way."""
    answers = [
        await pipeline.explain(replace(ASKED, mode=Mode.CREATE, seed=seed), 0) for seed in range(4)
    ]
    inputs = [{each.input for each in answer.explanation.influences} for answer in answers]
    assert any(DRAWN in each for each in inputs)


async def test_of_the_merchants_own_picture_there_is_nothing_to_explain(pipeline):
    answer = await pipeline.explain(replace(ASKED, arm=Arm.ORIGINAL), 64)
    assert answer.explanation.influences == () and "no model made it" in answer.explanation.text
    message = answer_to_proto(answer)
    assert message.arm == "original" and not message.HasField("model")
    assert not message.explanation.HasField("shopper_map")


@pytest.mark.parametrize("arm", [Arm.GENERIC, Arm.PERSONALIZED])
async def test_of_all_other_arms_there_is(pipeline, arm):
    answer = await pipeline.explain(replace(ASKED, arm=arm), 64)
    message = answer_to_proto(answer)
    assert message.HasField("model") and message.explanation.influences
    is_personal = arm is Arm.PERSONALIZED
    assert message.explanation.HasField("shopper_map") == is_personal
