"""Who comes into the simulated shop, and what makes them click."""

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from diffusion.evaluation.judge import load_judge
from diffusion.looks import AXES
from features.simulate import LATENT_TASTES
from server.demo.shop.shoppers import (
    CLICK_SHARE,
    LIKED,
    SURROUNDED,
    Eyes,
    Viewer,
    find_click_share,
    read_viewers,
)

FAVOURITES = {axis: AXES[axis][0] for axis in LIKED}
OTHERS = {axis: AXES[axis][1] for axis in LIKED}
ANNA = Viewer("anna", FAVOURITES)


def test_any_surroundings_lift_clicks_and_a_favourite_lifts_them_more():
    plain = find_click_share(ANNA, None)
    strange = find_click_share(ANNA, OTHERS)
    half = {axis: find_click_share(ANNA, OTHERS | {axis: FAVOURITES[axis]}) for axis in LIKED}
    loved = find_click_share(ANNA, FAVOURITES)
    assert plain == CLICK_SHARE and strange == CLICK_SHARE * SURROUNDED
    assert half == pytest.approx({axis: strange * (1 + LIKED[axis]) for axis in LIKED})
    assert loved == pytest.approx(strange * (1 + sum(LIKED.values())))
    assert 0 < plain < strange < min(half.values()) and max(half.values()) < loved < 1


def test_a_shopper_has_the_same_chances_in_every_run_and_others_have_others():
    assert ANNA.draw("visit 0").random(3).tolist() == ANNA.draw("visit 0").random(3).tolist()
    names = [(viewer, name) for viewer in "abc" for name in ("visit 0", "visit 1", "0/mug")]
    drawn = {Viewer(viewer, FAVOURITES).draw(name).random() for viewer, name in names}
    assert len(drawn) == len(names)


def test_chances_are_even():
    drawn = [Viewer(f"u{n}", FAVOURITES).draw("0/mug").random() for n in range(2000)]
    counts, _ = np.histogram(drawn, 10, (0, 1))
    assert ((counts - 200) ** 2 / 200).sum() < 27.9, "one of a thousand exceeds it by chance"


def test_all_shoppers_of_the_world_come_with_their_hidden_tastes(tmp_path):
    path = tmp_path / LATENT_TASTES
    path.parent.mkdir(parents=True)
    columns = {"user_id": ["a", "b"], "treatment": ["flat", "flat"]}
    columns |= {axis: [FAVOURITES[axis], OTHERS[axis]] for axis in LIKED}
    pq.write_table(pa.table(columns), path)
    assert read_viewers(tmp_path) == [Viewer("a", FAVOURITES), Viewer("b", OTHERS)]


@dataclass
class Counting:
    """A judge that counts the pictures it is shown."""

    judge: Any = field(default_factory=load_judge)
    num_seen: int = 0

    def read(self, pixels):
        self.num_seen += len(pixels)
        return self.judge.read(pixels)


def paint(colour, format="PNG"):
    file = io.BytesIO()
    Image.new("RGB", (128, 128), colour).save(file, format)
    return file.getvalue()


def test_a_picture_is_looked_at_once_however_many_see_it():
    judge: Any = Counting()
    eyes, (green, red) = Eyes(judge), (paint((90, 200, 120)), paint((200, 60, 60)))
    first = eyes.read(green)
    assert eyes.read(green) == first and judge.num_seen == 1
    eyes.read(red)
    assert judge.num_seen == 2
    assert first.keys() == LIKED.keys() and all(first[axis] in AXES[axis] for axis in LIKED)


def test_the_format_and_the_transparency_of_a_picture_do_not_matter():
    judge: Any = Counting()
    eyes, file = Eyes(judge), io.BytesIO()
    Image.new("RGBA", (128, 128), (90, 200, 120, 255)).save(file, "PNG")
    assert eyes.read(file.getvalue()) == eyes.read(paint((90, 200, 120)))
