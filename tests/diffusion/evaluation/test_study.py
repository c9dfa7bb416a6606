"""The study: who is shown what, and that arms differ in one thing each."""

from dataclasses import replace

import numpy as np
import pytest

from diffusion.evaluation.study import (
    HISTORY_BINS,
    Reader,
    Settings,
    Shop,
    Size,
    Trial,
    pick_products,
    plan_study,
    run_study,
)
from diffusion.looks import AXES
from tests.diffusion.evaluation.small import make_judge
from tests.diffusion.tiny import WIDTH, load_model

NUM_PRODUCTS = 12
SIZE = Size(pairs=8, restyle_generic=3, history=4, dial=3, steps=2)
SETTINGS = Settings(num_steps=2, steps=(1, 2))


class Guests:
    """Whose embeddings say who they are, and for which product."""

    def __init__(self, count=80):
        rng = np.random.default_rng(0)
        self.tastes = rng.integers([len(axis) for axis in AXES.values()], size=(count, 3))
        self.num_clicks = np.arange(count)
        self.asked = []

    def embed(self, shopper, product):
        self.asked.append(("clicks", shopper, product))
        return np.full(WIDTH, 0.01 * shopper, np.float32)

    def embed_oracle(self, shopper, product):
        self.asked.append(("oracle", shopper, product))
        return np.full(WIDTH, -0.01 * shopper, np.float32)


@pytest.fixture(scope="module")
def shop():
    rng = np.random.default_rng(0)
    return Shop(
        ids=[f"product-{number}" for number in range(NUM_PRODUCTS)],
        is_held_out=np.arange(NUM_PRODUCTS) < 4,
        cutouts=list(rng.integers(256, size=(NUM_PRODUCTS, 24, 20, 4), dtype=np.uint8)),
        image_embeddings=rng.normal(size=(NUM_PRODUCTS, WIDTH)).astype(np.float32),
        title_embeddings=rng.normal(size=(NUM_PRODUCTS, WIDTH)).astype(np.float32),
    )


@pytest.fixture
def arms(shop):
    return plan_study(Guests(), shop, SIZE, SETTINGS)


def test_there_is_an_arm_for_everything_that_is_asked(arms):
    tasks = {f"{t}/{a}" for t in ("preserve", "restyle") for a in ("personalized", "oracle")}
    history = {f"history/{name}" for name in ("1-2", "3-5", "6-10", "11-19")}
    dial = {"dial/0.25", "dial/0.75", "dial/1"}
    generic = {"preserve/generic", "restyle/generic"}
    assert set(arms) == tasks | generic | history | dial | {"steps/1"}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("preserve/oracle", {"given": "oracle"}),
        ("preserve/generic", {"given": "nothing"}),
        ("dial/0.75", {"strength": 0.75}),
        ("steps/1", {"num_steps": 1}),
    ],
)
def test_arms_differ_in_one_thing(arms, name, change):
    personalized = arms["preserve/personalized"][: len(arms[name])]
    assert arms[name] == [replace(trial, **change) for trial in personalized]


def test_targets_are_about_shoppers_of_20_clicks_or_more_half_of_them_of_50(arms):
    for name in ("preserve/personalized", "restyle/personalized"):
        clicks = [trial.shopper for trial in arms[name]]
        assert min(clicks) >= 20
        assert sum(count >= 50 for count in clicks) == SIZE.pairs // 2


def test_histories_are_as_long_as_they_are_said_to_be(arms):
    for name, (fewest, most) in HISTORY_BINS.items():
        for trial in arms.get(f"history/{name}", ()):
            assert fewest <= trial.shopper <= most


def test_the_same_seed_plans_the_same_study(arms, shop):
    assert arms == plan_study(Guests(), shop, SIZE, SETTINGS)
    assert arms != plan_study(Guests(), shop, SIZE, SETTINGS, seed=1)


def test_products_are_held_out_as_often_as_asked_and_none_comes_twice_too_early(shop):
    rng = np.random.default_rng(0)
    picked = pick_products(shop, 8, 0.5, rng)
    assert shop.is_held_out[picked].sum() == 4
    assert len(set(picked.tolist())) == 8
    assert len(pick_products(shop, 40, 0.25, rng)) == 40


def test_a_shop_without_held_out_products_is_studied_all_the_same(shop):
    everything = replace(shop, is_held_out=np.zeros(NUM_PRODUCTS, np.bool_))
    assert len(pick_products(everything, 8, 0.5, np.random.default_rng(0))) == 8


def leave(pixels, cutout, task):
    return pixels


def paste_white(pixels, cutout, task):
    return pixels if task == "restyle" else np.full_like(pixels, 255)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def reader():
    rng = np.random.default_rng(1)
    return Reader(make_judge(), rng.normal(size=(NUM_PRODUCTS, 8)).astype(np.float32))


def test_every_arm_is_told_of_its_own_shoppers_and_products(arms, shop, model, reader):
    guests = Guests()
    outcomes = run_study(model, arms, shop, guests, SETTINGS, reader, leave)
    assert set(outcomes) == set(arms)
    for name, arm in arms.items():
        assert (outcomes[name].tastes == guests.tastes[[t.shopper for t in arm]]).all()
        assert (outcomes[name].is_held_out == shop.is_held_out[[t.product for t in arm]]).all()
    wanted = [
        (t.given, t.shopper, shown)
        for arm in arms.values()
        for t in arm
        if t.given != "nothing"
        for shown in (t.product, None)
    ]
    assert guests.asked == wanted


def test_shown_is_after_paste_back_and_raw_before(shop, model, reader):
    trial = Trial(0, 30, 0, "preserve", "clicks", 0.5, 2)
    arms = {"a": [trial, replace(trial, shopper=31)], "b": [replace(trial, task="restyle")]}
    outcomes = run_study(model, arms, shop, Guests(), SETTINGS, reader, paste_white)
    a, b = outcomes["a"], outcomes["b"]
    assert (a.shown_features[0] == a.shown_features[1]).all()
    assert (a.raw_features[0] != a.raw_features[1]).any()
    assert b.shown_features == pytest.approx(b.raw_features)


def test_hits_are_where_what_is_read_is_what_is_liked(shop, model, reader):
    trial = Trial(0, 30, 0, "preserve", "clicks", 0.5, 2)
    guests = Guests()
    found = run_study(model, {"a": [trial]}, shop, guests, SETTINGS, reader, leave)["a"]
    guests.tastes[30] = found.shown_looks[0]
    again = run_study(model, {"a": [trial]}, shop, guests, SETTINGS, reader, leave)["a"]
    assert all(again.hits(axis).all() for axis in AXES)


class OneStep:
    def __init__(self, model):
        self.model = model

    def __getattr__(self, name):
        return getattr(self.model, name)

    def sigmas(self, num_steps):
        return [1.0, 0.0]


def test_a_family_of_one_step_is_not_asked_for_more(arms, shop, model, reader):
    outcomes = run_study(OneStep(model), arms, shop, Guests(), SETTINGS, reader, leave)
    assert set(arms) - set(outcomes) == {"steps/1"}
