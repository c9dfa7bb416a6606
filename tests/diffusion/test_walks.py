"""Walks told before they begin: who is known when, and which walks are the same up to where."""

import math

import numpy as np
import pytest
import torch

from diffusion.fusion import CERTAINTY, ProductCondition, ShopperCondition
from diffusion.guidance import Guidance
from diffusion.samplers import flow_sigmas, plan_euler, plan_heun
from diffusion.taste_buckets import TasteBuckets
from diffusion.walks import Intervals, Rules

WIDTH = 4
PLAN = plan_euler([8.0, 6.0, 4.0, 2.0, 1.0, 0.0])
PAIR = Guidance(1.0, 1.0)
USUAL = Intervals(product=5.0, shopper=3.0)
CENTROID = np.full(WIDTH, 0.5, np.float32)


def make_product(seed=0):
    generator = torch.Generator().manual_seed(seed)
    packshot = torch.randn(1, 9, 4, 4, generator=generator)
    return ProductCondition(packshot, *np.random.default_rng(seed).normal(size=(2, WIDTH)))


def make_shopper(seed=0, centroid=CENTROID):
    vector = np.random.default_rng(100 + seed).normal(size=WIDTH).astype(np.float32)
    return ShopperCondition(vector, centroid)


def plan(
    product=0,
    shopper=0,
    task="preserve",
    guidance=PAIR,
    ticks=PLAN,
    seed=1,
    *,
    centroid=CENTROID,
    intervals=USUAL,
):
    """By default: two ticks without the product, one with the centroid, two with everything."""
    rules = Rules({"preserve": intervals})
    known = None if shopper is None else make_shopper(shopper, centroid)
    return rules.plan(make_product(product), known, task, guidance, ticks, seed)


def stops(walk):
    return [segment.stop for segment in walk]


def num_agreed(one, other):
    """Segments from the start whose keys are the same."""
    keys = list(zip(one, other, strict=False))
    return next((n for n, (a, b) in enumerate(keys) if a.key != b.key), len(keys))


def is_same(one, other):
    return len(one.terms) == len(other.terms) and all(
        a.weight == b.weight
        and a.cond.keys() == b.cond.keys()
        and all(torch.equal(a.cond[name], b.cond[name]) for name in a.cond)
        for a, b in zip(one.terms, other.terms, strict=True)
    )


def test_a_walk_falls_into_segments_by_what_is_known():
    nobody, alike, own = plan()
    assert stops((nobody, alike, own)) == [2, 3, 5]
    (first,), (second,), (third,) = nobody.terms, alike.terms, own.terms
    assert [term.weight for term in (first, second, third)] == [1, 1, 1]
    assert [bool(term.cond["has_product"]) for term in (first, second, third)] == [0, 1, 1]
    assert all(term.cond["has_shopper"] for term in (first, second, third))
    for term in (first, second):
        assert term.cond["shopper"][0].numpy() == pytest.approx(CERTAINTY * CENTROID)
    assert third.cond["shopper"][0].numpy() == pytest.approx(CERTAINTY * make_shopper().vector)


def test_an_interval_holds_its_own_end():
    assert stops(plan(intervals=Intervals(product=4.0, shopper=4.0))) == [2, 5]
    assert stops(plan(intervals=Intervals(product=3.9, shopper=3.9))) == [3, 5]


def test_nothing_of_the_product_is_in_a_segment_that_does_not_know_it():
    for term in plan()[0].terms:
        for name in ("packshot", "product", "title", "has_product"):
            assert not term.cond[name].any(), name


def test_nothing_of_the_shopper_is_in_a_segment_that_does_not_know_them():
    for one, other in zip(plan(shopper=0)[:2], plan(shopper=1)[:2], strict=True):
        assert is_same(one, other) and one.key == other.key


def test_another_product_leaves_the_first_segment_as_it_is():
    one, other = plan(product=0), plan(product=1)
    assert num_agreed(one, other) == 1 and is_same(one[0], other[0])
    assert not is_same(one[1], other[1])


def test_another_shopper_of_the_same_taste_parts_last():
    assert num_agreed(plan(shopper=0), plan(shopper=1)) == 2
    other = plan(shopper=1, centroid=2 * CENTROID)
    assert num_agreed(plan(shopper=0), other) == 0


def test_a_shopper_of_no_bucket_is_who_they_are_from_the_start():
    one, other = plan(shopper=0, centroid=None), plan(shopper=1, centroid=None)
    assert num_agreed(one, other) == 0
    shown = one[0].terms[0].cond["shopper"][0].numpy()
    assert shown == pytest.approx(CERTAINTY * make_shopper().vector)
    assert not one[0].terms[0].cond["has_product"]


CHANGES = {
    "seed": {"seed": 2},
    "sampler": {"ticks": plan_heun([8.0, 6.0, 4.0, 2.0, 1.0, 0.0])},
    "steps": {"ticks": plan_euler(flow_sigmas(5))},
    "scale of the shopper": {"guidance": Guidance(1.0, 0.9)},
    "task": {"task": "restyle"},
    "nobody": {"shopper": None, "guidance": Guidance()},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_decides_the_first_ticks_is_in_every_key(change):
    assert num_agreed(plan(), plan(**change)) == 0
    assert not {segment.key for segment in plan()} & {segment.key for segment in plan(**change)}


def test_tasks_of_the_same_intervals_share_nothing():
    rules = Rules({"preserve": USUAL, "restyle": USUAL})
    one, other = (
        rules.plan(make_product(), make_shopper(), task, PAIR, PLAN, 1)
        for task in ("preserve", "restyle")
    )
    assert stops(one) == stops(other) and num_agreed(one, other) == 0


def test_the_same_walk_has_the_same_keys_and_each_segment_its_own():
    assert [s.key for s in plan()] == [s.key for s in plan()]
    assert len({s.key for s in plan()}) == 3


def test_a_schedule_that_differs_at_the_end_agrees_before_it():
    longer = plan_euler([8.0, 6.0, 4.0, 2.0, 1.0, 0.5, 0.0])
    assert num_agreed(plan(), plan(ticks=longer)) == 2


def test_a_product_scale_acts_in_its_interval_only():
    interval = Intervals(guidance=(1.5, 5.0))
    walk = plan(guidance=Guidance(2.0, 0.5), intervals=interval)
    assert stops(walk) == [2, 4, 5]
    plain = {True: 0.5, False: 0.5}
    assert [[term.weight for term in segment.terms] for segment in walk] == [
        [0.5, 0.5],
        [-1.0, 1.5, 0.5],
        [0.5, 0.5],
    ]
    for segment in (walk[0], walk[2]):
        assert {bool(t.cond["has_shopper"]): t.weight for t in segment.terms} == plain


def test_a_scale_of_one_agrees_outside_the_interval_with_any_other():
    interval = Intervals(guidance=(0.0, 5.0))
    one, other = (plan(guidance=Guidance(s, 1.0), intervals=interval) for s in (1.0, 3.0))
    assert num_agreed(one, other) == 1
    assert [len(segment.terms) for segment in other] == [1, 3]


def test_without_the_product_its_scale_says_nothing():
    one, other = plan(guidance=Guidance(1.0, 0.6)), plan(guidance=Guidance(3.0, 0.6))
    assert num_agreed(one, other) == 1
    assert [term.weight for term in one[0].terms] == pytest.approx([0.4, 0.6])


@pytest.mark.parametrize("scale", [1.0, 2.5, 0.0])
def test_a_walk_for_nobody_never_has_a_shopper(scale):
    for segment in plan(shopper=None, guidance=Guidance(scale, 0.0)):
        for term in segment.terms:
            assert not term.cond["shopper"].any() and not term.cond["has_shopper"].any()


def test_strength_zero_is_the_walk_for_nobody():
    zero = plan(guidance=Guidance(1.0, 0.0))
    nobody = plan(shopper=None, guidance=Guidance())
    assert [s.key for s in zero] == [s.key for s in nobody]
    assert all(is_same(one, other) for one, other in zip(zero, nobody, strict=True))


def test_rules_that_say_nothing_know_everything_everywhere():
    for rules in (Rules(), Rules({"preserve": Intervals(1, 1)}).without_intervals()):
        shopper = make_shopper()
        (segment,) = rules.plan(make_product(), shopper, "preserve", Guidance(2, 0.5), PLAN, 1)
        assert segment.stop == len(PLAN)
        assert [term.weight for term in segment.terms] == [-1.0, 1.5, 0.5]
        vector = segment.terms[-1].cond["shopper"][0].numpy()
        assert vector == pytest.approx(CERTAINTY * shopper.vector)


def test_a_task_without_intervals_knows_everything_everywhere():
    (segment,) = plan(task="restyle")
    assert segment.stop == 5 and segment.terms[0].cond["has_product"]


@pytest.mark.parametrize("num_steps", [1, 4, 20, 100])
def test_segments_rise_to_the_end_of_the_plan_and_none_is_empty(num_steps):
    for sampler in (plan_euler, plan_heun):
        ticks = sampler(flow_sigmas(num_steps, shift=4.0))
        walk = plan(ticks=ticks, intervals=Intervals(11.5, 5.67, (0.0, 11.5)))
        assert stops(walk)[-1] == len(ticks) and all(segment.terms for segment in walk)
        assert stops(walk) == sorted(set(stops(walk)))


def test_an_interval_above_all_ticks_changes_nothing():
    always = plan(intervals=Intervals())
    assert plan(intervals=Intervals(math.inf, 8.0))[0].key == always[0].key


def test_a_shopper_is_known_with_the_centroid_of_their_taste():
    axis = np.array([[1, 0, 0, 0], [-1, 0, 0, 0]], np.float32)
    buckets = TasteBuckets((axis,), axis)
    vector, taste = np.ones(WIDTH, np.float32), np.array([-3, 1, 0, 0], np.float32)
    known = Rules({}, buckets).know(vector, taste)
    assert known.vector is vector and known.centroid is not None
    assert known.centroid.tolist() == [-1, 0, 0, 0]
    assert Rules().know(vector, taste).centroid is None
    assert Rules({}, buckets).know(vector, 0.1 * taste).centroid is None
