"""A request becomes rows: seeds, scales, and what fits before the deadline."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diffusion.cutout import Cutout, MaskSource
from diffusion.fusion import CERTAINTY
from diffusion.guidance import Guidance
from diffusion.image_model import Preset
from diffusion.noise import MAX_SEED, derive_seed
from diffusion.samplers import flow_sigmas, karras_sigmas
from diffusion.taste import embed_shopper
from diffusion.taste_buckets import TasteBuckets
from diffusion.walks import Intervals, Rules
from features.records import LastClicks, Shopper, Status
from server.core import Arm, ImageRequest, Mode, SamplerName, Sigmas
from server.experiments.assignment import assign
from server.localization.titles import Title
from server.personalization import decide
from server.products import PreparedProduct
from server.rows import Defaults, choose_seeds, choose_style, plan_rows, point
from tests.diffusion.tiny import WIDTH, load_model

TASTE = np.linspace(-1, 1, WIDTH, dtype=np.float32)
DEFAULTS = Defaults(min_steps=4, strength=0.5, finish_s=0.1)
PRESET = Preset(num_steps=20, max_shopper_scale=2.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    tiny = load_model(tmp_path_factory.mktemp("tiny"))
    tiny.preset = PRESET
    return tiny


@pytest.fixture(scope="module")
def product(model):
    cutout = Cutout.by_own(np.full((16, 16, 4), 200, np.uint8), MaskSource.ALPHA)
    condition = model.prepare_product(cutout.pixels, TASTE, TASTE)
    return PreparedProduct("shoe", cutout, condition, Title("Shoe", "en"), b"")


@pytest.fixture
def with_rules(model):
    """The model with other rules, and its own again afterwards."""

    def give(rules):
        model.rules = rules

    before = model.rules
    yield give
    model.rules = before


@pytest.fixture
def plan(model, product):
    def plan(shopper=None, num_steps=None, product=product, **fields):
        """Rows of a request by u1, for whom `shopper` was read."""
        request = ImageRequest("shoe", **{"user_id": "u1", **fields})
        assignment = assign(request, DEFAULTS.strength)
        taste = decide(assignment, request.user_id, shopper, "service", "fingerprint")
        return plan_rows(request, assignment, taste, product, model, DEFAULTS, num_steps=num_steps)

    return plan


KNOWN = Shopper(Status.FOUND, TASTE, consent=True)


def seeds(rows):
    return [row.seed for row in rows]


def terms(row):
    """Of a walk with everything known everywhere."""
    (segment,) = row.walk
    return segment.terms


def weights(row):
    """(product, shopper) that each forward row knows, and its weight."""
    return {
        (bool(term.cond["has_product"]), bool(term.cond["has_shopper"])): term.weight
        for term in terms(row)
    }


def weigh(guidance):
    return {(given.has_product, given.has_shopper): weight for given, weight in guidance.terms}


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


@pytest.mark.parametrize("rules", [Rules(), Rules({"preserve": Intervals(5.0, 2.0, (0.0, 5.0))})])
@pytest.mark.parametrize(("fields", "shopper"), GENERIC.values(), ids=GENERIC)
def test_every_way_to_the_generic_image_leads_to_the_same_rows(
    plan, with_rules, rules, fields, shopper
):
    with_rules(rules)
    (row,), (expected,) = plan(shopper, **fields), plan(user_id="")
    assert row.seed == expected.seed and row.plan == expected.plan
    assert [s.key for s in row.walk] == [s.key for s in expected.walk], "one walk, to the last bit"
    for segment in row.walk:
        assert [term.weight for term in segment.terms] == [1.0]
        for term in segment.terms:
            assert not term.cond["shopper"].any() and not term.cond["has_shopper"].any()


@pytest.mark.parametrize(("strength", "scale"), [(None, 1.0), (0.25, 0.5), (1.0, 2.0)])
def test_strength_is_mapped_onto_the_capped_scale(plan, strength, scale):
    (row,) = plan(KNOWN, strength=strength)
    assert weights(row) == weigh(Guidance(1.0, scale))
    assert terms(row)[-1].cond["shopper"][0].numpy() == pytest.approx(CERTAINTY * TASTE)


def test_last_clicks_move_the_shopper_towards_those_like_the_product(plan, product):
    embeddings = np.eye(8, WIDTH, dtype=np.float32)
    ones = np.ones(8, np.float32)
    clicked = replace(KNOWN, last_clicks=LastClicks(embeddings, ones))
    (row,) = plan(clicked)
    expected = embed_shopper(TASTE, embeddings, ones, product.condition.image_embedding)
    assert terms(row)[-1].cond["shopper"][0].numpy() == pytest.approx(CERTAINTY * expected)
    assert not np.allclose(expected, TASTE)


def test_a_shopper_is_of_one_taste_whatever_is_shown(plan, product, with_rules):
    """While the product is not known, last clicks count alike, and the bucket's centroid stands."""
    axis = np.eye(2, WIDTH, dtype=np.float32)
    with_rules(Rules({"preserve": Intervals(3.0, 1.0)}, TasteBuckets((axis,), axis)))
    clicks = LastClicks(np.eye(8, WIDTH, dtype=np.float32), np.ones(8, np.float32))
    shopper = Shopper(Status.FOUND, 2 * axis[1], clicks, consent=True)
    seen = replace(product.condition, image_embedding=axis[0])
    other = replace(product, name="drum", condition=seen)
    one, two = plan(shopper, seed=1)[0].walk, plan(shopper, seed=1, product=other)[0].walk
    assert len(one) == len(two) == 3 and one[0].key == two[0].key and one[1].key != two[1].key
    for segment in (one[0], one[1], two[0], two[1]):
        shown = segment.terms[-1].cond["shopper"][0].numpy()
        assert shown == pytest.approx(CERTAINTY * axis[1])
    vectors = [walk[2].terms[-1].cond["shopper"] for walk in (one, two)]
    assert not np.allclose(*vectors), "shown the product, they differ"


def test_a_taste_points_the_same_way_for_every_product():
    clicks = LastClicks(np.eye(8, WIDTH, dtype=np.float32), np.ones(8, np.float32))
    shopper = replace(KNOWN, last_clicks=clicks)
    request = ImageRequest("shoe", user_id="u1")
    taste = decide(assign(request, 0.5), "u1", shopper, "service", "fingerprint")
    expected = embed_shopper(TASTE, clicks.embeddings, clicks.weights, np.zeros(WIDTH, np.float32))
    assert point(taste) == pytest.approx(expected)
    nobody = decide(assign(request, 0.5), "u1", None, "service", "fingerprint")
    assert point(nobody) is None


@pytest.mark.parametrize(("asked", "scale"), [(None, 1.0), (0.0, 0.0), (2.5, 2.5)])
def test_product_scale_zero_is_a_value(plan, asked, scale):
    (row,) = plan(product_scale=asked)
    assert weights(row) == weigh(Guidance(scale, 0.0))


def test_steps_sampler_and_mode_are_those_of_the_request(plan, model):
    (silent,) = plan()
    assert silent.plan[-1].step == len(silent.plan) == PRESET.num_steps
    (asked,) = plan(steps=3, sampler=SamplerName.HEUN, mode=Mode.RESTYLE)
    assert asked.plan[-1].step == 3 and len(asked.plan) == 5
    task = {mode: terms(plan(mode=mode)[0])[0].cond["task"].item() for mode in Mode}
    assert task[Mode.PRESERVE] != task[Mode.RESTYLE]
    assert silent.model == model.name


def test_fewer_steps_change_nothing_else(plan):
    (whole,), (fewer,) = plan(KNOWN, steps=9), plan(KNOWN, num_steps=5, steps=9)
    assert fewer.plan[-1].step == 5 and fewer.seed == whole.seed
    assert weights(fewer) == weights(whole)


def test_a_model_takes_its_own_steps_and_sampler(plan, model, monkeypatch):
    monkeypatch.setattr(model, "preset", Preset("heun", 4))
    assert plan()[0].plan[-1].step == 4 and len(plan()[0].plan) == 7
    assert len(plan(steps=7, sampler=SamplerName.EULER)[0].plan) == 7


def test_noise_levels_are_chosen_by_name(plan, model, monkeypatch):
    monkeypatch.setattr(model, "shift", 4.0)

    def levels(**fields):
        return [tick.sigma for tick in plan(steps=4, **fields)[0].plan]

    assert levels() == pytest.approx(flow_sigmas(4, shift=4.0)[:4])
    assert levels(sigmas=Sigmas.UNIFORM) == pytest.approx(flow_sigmas(4)[:4])
    assert levels(sigmas=Sigmas.KARRAS) == pytest.approx(karras_sigmas(4, 0.02, 200.0)[:4])


@pytest.mark.parametrize(("asked", "allowed"), [(False, 0.0), (True, DEFAULTS.max_reuse_error)])
def test_predictions_are_reused_where_asked_for_and_as_far_as_the_server_allows(
    plan, asked, allowed
):
    assert plan(reuse_predictions=asked)[0].max_reuse_error == allowed


def test_the_products_of_a_slate_share_seeds_and_others_do_not(plan, product):
    drum = replace(product, name="drum")
    slate, single = (
        [plan(KNOWN, product=p, num_images=2, slate_rank=s) for p in (product, drum)]
        for s in (0, None)
    )
    assert seeds(slate[0]) == seeds(slate[1]) and len(set(seeds(slate[0]))) == 2
    assert not set(seeds(single[0])) & set(seeds(single[1]))
    assert seeds(plan(slate_rank=0)) != seeds(slate[0])[:1], "generic images have their own"
    assert seeds(plan(KNOWN, slate_rank=0, seed=7)) == [7]


def test_time_to_finish_is_kept_back_from_the_deadline(plan):
    assert plan(deadline_s=50.0)[0].deadline_s == pytest.approx(49.8)
    assert plan(deadline_s=50.0, num_images=3)[0].deadline_s == pytest.approx(49.6)
    assert plan()[0].deadline_s is None


def test_the_best_of_a_slate_are_due_first_and_the_very_best_hardly_waits_for_the_others(plan):
    ranks = 0, 1, 2, 99
    rows = [plan(deadline_s=50.0, slate_rank=rank, slate_size=100)[0] for rank in ranks]
    dues_s = [row.deadline_s for row in rows]
    assert dues_s == sorted(set(dues_s)) and dues_s[-1] < plan(deadline_s=50.0)[0].deadline_s
    assert [row.is_first for row in rows] == [True, False, False, False]
    assert not plan(deadline_s=50.0)[0].is_first


def test_an_inline_product_draws_its_seed_from_its_title(product):
    inline = replace(product, name="Red shoe")
    silent, asked = ImageRequest("shoe"), ImageRequest("shoe", seed=5, num_images=3)
    nobody = decide(assign(silent, 0.5), "", None, "service", "fingerprint")
    assert choose_seeds(silent, nobody, inline) == [derive_seed("Red shoe", "generic", "0")]
    assert choose_seeds(asked, nobody, inline) == [5, 6, 7]


def test_a_style_is_that_of_the_request_or_of_the_shoppers_interests():
    class Styled:
        def choose_style(self, interests):
            return "noir" if "film" in interests else ""

    model: Any = Styled()

    def style(shopper, **fields):
        request = ImageRequest("shoe", user_id="u1", **fields)
        taste = decide(assign(request, 0.5), "u1", shopper, "service", "fingerprint")
        return choose_style(request, taste, model)

    fan = replace(KNOWN, interests=("chess", "film"))
    assert style(fan) == "noir" and style(KNOWN) == ""
    assert style(fan, style="sepia") == style(None, style="sepia") == "sepia"
    assert style(fan, strength=0.0) == style(replace(fan, consent=False)) == "", "nobody's"
