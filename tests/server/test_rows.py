"""A request becomes rows: seeds, scales, and what fits before the deadline."""

import time
from dataclasses import replace

import numpy as np
import pytest

from diffusion.fusion import CERTAINTY
from diffusion.guidance import Given, Guidance
from diffusion.noise import MAX_SEED, derive_seed
from diffusion.taste import embed_shopper
from features.records import LastClicks, Shopper, Status
from server.core import Arm, DeadlinePolicy, ImageRequest, Mode, SamplerName
from server.errors import DeadlineExceeded, Overloaded
from server.experiments import assign
from server.personalization import decide
from server.products import PreparedProduct
from server.rows import Defaults, choose_seed, fit_deadline, plan_rows
from server.sampling.engine import Engine, EngineLimits
from tests.diffusion.tiny import WIDTH, load_model
from tests.server.sampling.closed_model import Gated, Record, make_request, running

TASTE = np.linspace(-1, 1, WIDTH, dtype=np.float32)
DEFAULTS = Defaults(num_steps=20, min_steps=4, strength=0.5, max_shopper_scale=2.0, finish_s=0.1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def product(model):
    cutout = np.full((16, 16, 4), 200, np.uint8)
    return PreparedProduct("shoe", cutout, model.prepare_product(cutout, TASTE, TASTE))


@pytest.fixture
def plan(model, product):
    def plan(shopper=None, **fields):
        """Rows of a request by u1, for whom `shopper` was read."""
        request = ImageRequest("shoe", **{"user_id": "u1", **fields})
        assignment = assign(request, DEFAULTS.strength)
        taste = decide(assignment, request.user_id, shopper, "service", "fingerprint")
        return plan_rows(request, assignment, taste, product, model, DEFAULTS)

    return plan


KNOWN = Shopper(Status.FOUND, TASTE, consent=True)


def seeds(rows):
    return [row.seed for row in rows]


def test_an_explicit_seed_counts_up_from_itself(plan):
    assert seeds(plan(seed=7, num_images=3)) == [7, 8, 9]


def test_seed_zero_is_a_seed(plan):
    assert seeds(plan(seed=0, num_images=2)) == [0, 1]
    assert seeds(plan(KNOWN, seed=0)) == [0]


def test_the_largest_seed_is_followed_by_the_smallest(plan):
    assert seeds(plan(seed=MAX_SEED, num_images=2)) == [MAX_SEED, 0]


def test_a_derived_seed_is_of_product_arm_and_number(plan):
    assert seeds(plan(num_images=2)) == [
        derive_seed("shoe", "generic", "0"),
        derive_seed("shoe", "generic", "1"),
    ]
    assert seeds(plan(KNOWN)) == [derive_seed("shoe", "personalized", "0")]


def test_a_shopper_sees_the_same_image_again(plan):
    assert seeds(plan(KNOWN, num_images=4)) == seeds(plan(KNOWN, num_images=4))
    other = Shopper(Status.FOUND, -TASTE, consent=True)
    assert seeds(plan(KNOWN)) == seeds(plan(other)), "a prefix can be shared"


GENERIC = {
    "anonymous": ({"user_id": ""}, None),
    "strength zero": ({"strength": 0.0}, KNOWN),
    "no consent": ({}, Shopper(Status.FOUND, TASTE, consent=False)),
    "unknown": ({}, Shopper(Status.MISSING)),
    "stale": ({}, Shopper(Status.STALE, consent=True)),
    "invalid": ({}, Shopper(Status.INVALID, consent=True)),
    "unavailable": ({}, Shopper(Status.UNAVAILABLE)),
    "generic arm": ({"arm": Arm.GENERIC}, KNOWN),
}


@pytest.mark.parametrize(("fields", "shopper"), GENERIC.values(), ids=GENERIC)
def test_every_way_to_the_generic_image_leads_to_the_same_rows(plan, fields, shopper):
    (row,), (expected,) = plan(shopper, **fields), plan(user_id="")
    assert row.seed == expected.seed and row.plan == expected.plan
    assert row.guidance == expected.guidance == Guidance(1.0, 0.0)
    assert set(row.conditions) == {Given.NOTHING, Given.PRODUCT}
    for cond in row.conditions.values():
        assert not cond["shopper"].any() and not cond["has_shopper"].any()


@pytest.mark.parametrize(("strength", "scale"), [(None, 1.0), (0.25, 0.5), (1.0, 2.0)])
def test_strength_is_mapped_onto_the_capped_scale(plan, strength, scale):
    (row,) = plan(KNOWN, strength=strength)
    assert row.guidance == Guidance(1.0, scale)
    assert row.conditions[Given.BOTH]["shopper"][0].numpy() == pytest.approx(CERTAINTY * TASTE)


def test_last_clicks_move_the_shopper_towards_those_like_the_product(plan, product):
    embeddings = np.eye(8, WIDTH, dtype=np.float32)
    weights = np.ones(8, np.float32)
    clicked = replace(KNOWN, last_clicks=LastClicks(embeddings, weights))
    (row,) = plan(clicked)
    expected = embed_shopper(TASTE, embeddings, weights, product.condition.image_embedding)
    assert row.conditions[Given.BOTH]["shopper"][0].numpy() == pytest.approx(CERTAINTY * expected)
    assert not np.allclose(expected, TASTE)


@pytest.mark.parametrize(("asked", "scale"), [(None, 1.0), (0.0, 0.0), (2.5, 2.5)])
def test_product_scale_zero_is_a_value(plan, asked, scale):
    (row,) = plan(product_scale=asked)
    assert row.guidance.product_scale == scale


def test_steps_sampler_and_mode_are_those_of_the_request(plan, model):
    (silent,) = plan()
    assert silent.plan[-1].step == len(silent.plan) == DEFAULTS.num_steps
    (asked,) = plan(steps=3, sampler=SamplerName.HEUN, mode=Mode.RESTYLE)
    assert asked.plan[-1].step == 3 and len(asked.plan) == 5
    task = {mode: plan(mode=mode)[0].conditions[Given.PRODUCT]["task"].item() for mode in Mode}
    assert task[Mode.PRESERVE] != task[Mode.RESTYLE]


def test_time_to_finish_is_kept_back_from_the_deadline(plan):
    assert plan(deadline_s=50.0)[0].deadline_s == pytest.approx(49.8)
    assert plan(deadline_s=50.0, num_images=3)[0].deadline_s == pytest.approx(49.6)
    assert plan()[0].deadline_s is None


def test_an_inline_product_draws_its_seed_from_its_title(product):
    inline = PreparedProduct("Red shoe", product.cutout, product.condition)
    assert choose_seed(None, inline, Arm.GENERIC, 0) == derive_seed("Red shoe", "generic", "0")
    assert choose_seed(5, inline, Arm.GENERIC, 2) == 7


@pytest.fixture
def fit(model):
    def fit(engine, left_s, policy=DeadlinePolicy.STRICT, count=1, steps=20, **fields):
        """Rows of `steps` euler steps with so many seconds left before their own deadline."""
        request = ImageRequest("shoe", deadline_policy=policy, **fields)
        deadline_s = None if left_s is None else time.monotonic() + left_s
        rows = [make_request(steps=steps, deadline_s=deadline_s) for _ in range(count)]
        return fit_deadline(rows, request, engine, model, DEFAULTS)

    return fit


@pytest.fixture
def engine():
    """An engine whose every tick was measured to take ten seconds; nothing walks in it."""
    engine = Engine(Gated(), EngineLimits(buckets=(1, 2, 4)), Record())
    for bucket in engine.pace.buckets:
        engine.pace.record(bucket, 10.0)
    return engine


def test_rows_that_can_be_done_in_time_stay_as_they_are(fit, engine):
    for policy in DeadlinePolicy:
        assert fit(engine, 250, policy)[0].plan[-1].step == 20
        assert fit(engine, None, policy)[0].plan[-1].step == 20
    assert engine.observer.refusals == []


def test_degrading_takes_as_many_steps_as_there_is_time_for(fit, engine):
    rows = fit(engine, 105, DeadlinePolicy.DEGRADE, count=2)
    assert {row.plan[-1].step for row in rows} == {10}
    assert len(rows) == 2 and None not in {row.deadline_s for row in rows}
    assert engine.predict_s(rows) <= 105


def test_degrading_keeps_the_sampler_that_was_asked_for(fit, engine):
    (row,) = fit(engine, 105, DeadlinePolicy.DEGRADE, sampler=SamplerName.HEUN)
    assert len(row.plan) == 2 * row.plan[-1].step - 1


@pytest.mark.parametrize("left_s", [39, 1, 0, -5])
def test_nobody_is_shown_an_image_of_too_few_steps(fit, engine, left_s):
    with pytest.raises(DeadlineExceeded):
        fit(engine, left_s, DeadlinePolicy.DEGRADE)
    assert engine.observer.refusals == ["deadline"]


@pytest.mark.parametrize("left_s", [150, 1, -5])
def test_a_strict_deadline_that_is_too_near_is_exceeded_at_once(fit, engine, left_s):
    with pytest.raises(DeadlineExceeded):
        fit(engine, left_s)


async def test_where_others_are_in_the_way_the_request_may_come_again(fit):
    async with running(Gated(), EngineLimits(buckets=(1, 2, 4))) as engine:
        for bucket in engine.pace.buckets:
            for _ in range(500):
                engine.pace.record(bucket, 10.0)
        ahead = engine.submit([make_request(steps=50)] * 15)
        with pytest.raises(Overloaded) as refused:
            fit(engine, 300)  # 200 s alone, 800 s behind fifteen others
        assert refused.value.retry_after_s == pytest.approx(500, abs=30)
        with pytest.raises(DeadlineExceeded):
            fit(engine, 150)  # too near even without them
        assert fit(engine, 450, DeadlinePolicy.DEGRADE)[0].plan[-1].step == 11
        ahead.release()
