"""The benchmark of creation: what it claims of the dial of diversity follows from its pictures."""

from typing import Any

import numpy as np
import pytest

from benchmarks.creation import DIVERSITIES, QUICK, Measurement, count_rises
from benchmarks.creation_pictures import Answer
from diffusion.looks import AXES

SIDE = 16


class Painter:
    """A studio whose pictures are as far apart as the dial says, and where a share of the products
    is no longer known at its end."""

    held_out = np.arange(4)

    def __init__(self, lost=0, is_dead=False):
        self.lost, self.is_dead = lost, is_dead

    def find_shoppers(self, fewest, most=0):
        return np.arange(4)

    def ask(self, questions):
        diversity = 0.0 if self.is_dead else questions[0].wish.diversity
        n = len(questions)
        shown = np.zeros((n, SIDE, SIDE, 3), np.uint8)
        shown[::2] = round(255 * diversity)
        found = np.arange(n) >= (self.lost if diversity == 1 else 0)
        features = np.where(np.arange(n)[:, None] % 2, 0, diversity).astype(np.float32)
        looks = np.zeros((n, len(AXES)), np.int64)
        return Answer(shown, shown, [()] * n, looks, found, found, features)


def measure(**told):
    painter: Any = Painter(**told)
    claims = Measurement(painter, QUICK).measure_diversity()
    return {claim.name.removeprefix("creation.diversity."): claim for claim in claims}


def test_a_dial_that_works_rises_with_every_step_and_costs_no_product():
    claims = measure()
    for name in ("preserve.shopper", "preserve.nobody", "create.shopper"):
        for kind in ("pixels", "features"):
            rises = claims[f"{name}.rises.{kind}"]
            assert rises.value == len(DIVERSITIES) - 1
            assert (rises.target, rises.holds) == ((None, None) if "nobody" in name else (4, True))
        lost = claims[f"{name}.product_lost"]
        assert (lost.value, lost.target, lost.better, lost.holds) == (0, 2, "lower", True)


def test_a_dial_that_does_nothing_is_no_rise():
    claims = measure(is_dead=True)
    assert claims["create.shopper.rises.pixels"].value == 0
    assert claims["create.shopper.rises.pixels"].holds is False


def test_products_that_are_lost_on_the_way_are_counted_in_points():
    lost = measure(lost=1)["create.shopper.product_lost"]
    assert lost.value == pytest.approx(100 / 8) and lost.holds is False


def test_rises_are_counted_step_by_step():
    assert count_rises([1, 2, 2, 3, 2]).value == 2
