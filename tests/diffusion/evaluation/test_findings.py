"""From hand-made outcomes to figures that can be checked by eye."""

import numpy as np
import pytest

from diffusion.evaluation.findings import (
    Finding,
    find_dial,
    find_history,
    find_identity,
    find_quality,
    find_steps,
    find_taste,
    keep_away,
)
from diffusion.evaluation.metrics import Figure, Reference
from diffusion.evaluation.study import Settings, Trial
from tests.diffusion.evaluation.small import make_outcome

TASTES = [[0, 1, 2], [3, 1, 0], [5, 6, 4], [0, 2, 1]]
WRONG = [[7, 7, 3]] * 4
HALF = [*TASTES[:2], *WRONG[2:]]


@pytest.fixture
def outcomes():
    def arm(looks, **more):
        return make_outcome(TASTES, looks, **more)

    return {
        "preserve/oracle": arm(TASTES),
        "preserve/personalized": arm(HALF, raw_found=[True, True, True, False]),
        "preserve/generic": arm(WRONG),
        "restyle/oracle": arm(TASTES),
        "restyle/personalized": arm(
            HALF, found=[True, False, True, True], held_out=[True, True, False, False]
        ),
        "restyle/generic": arm(WRONG),
        "dial/1": arm(TASTES),
        "steps/4": make_outcome(TASTES[:3], TASTES[:3]),
    }


def index(findings):
    return {(f.measure, f.at): f for f in findings}


def test_taste_is_compared_with_the_oracle_and_with_everybody_else(outcomes):
    found = index(find_taste("m", outcomes))
    values = {at: f.figure.value for (measure, at), f in found.items() if measure.endswith("serve")}
    assert set(values) == {
        *("oracle", "personalized", "generic", "mismatched"),
        *("personalized / oracle", "mismatched - chance"),
    }
    palette = {at: f.figure.value for (m, at), f in found.items() if m == "palette, preserve"}
    assert (palette["oracle"], palette["personalized"], palette["generic"]) == (1, 0.5, 0)
    assert palette["personalized / oracle"] == 0.5
    # Reads 0, 3, 7, 7 against the tastes 0, 3, 5, 0: of 12 pairs of two, only the first meets the
    # fourth one's.
    assert palette["mismatched"] == pytest.approx(1 / 12)
    assert palette["mismatched - chance"] == pytest.approx(1 / 8 - 1 / 12)


def test_each_axis_has_its_targets_once(outcomes):
    targeted = [f for f in find_taste("m", outcomes) if f.target is not None]
    assert [(f.measure, f.at, f.target) for f in targeted] == [
        ("palette, preserve", "personalized / oracle", 0.85),
        ("palette, preserve", "mismatched - chance", 0.03),
        ("setting, preserve", "personalized / oracle", 0.85),
        ("setting, preserve", "mismatched - chance", 0.03),
        ("treatment, restyle", "personalized / oracle", 0.85),
        ("treatment, restyle", "mismatched - chance", 0.03),
    ]
    assert not any(f.holds for f in targeted if f.at == "personalized / oracle")


def test_the_distance_from_chance_has_an_interval_that_may_reach_it():
    off = keep_away(Figure(0.1, 0.05, 0.15, 9), 0.125)
    assert (off.value, off.low, off.high) == pytest.approx((0.025, 0, 0.075))
    assert keep_away(Figure(0.3, 0.2, 0.4, 9), 0.1).low == pytest.approx(0.1)


def test_identity_is_told_before_and_after_paste_back_and_by_split(outcomes):
    found = index(find_identity("m", outcomes))
    assert found["preserve, as shown", "all"].figure.value == 1
    assert found["preserve, as shown", "all"].holds
    assert found["preserve, before paste-back", "all"].figure.value == 0.75
    assert found["preserve, before paste-back", "all"].holds is False
    assert found["restyle, as shown", "trained products"].figure.value == 1
    assert found["restyle, as shown", "held-out products"].figure.value == 0.5
    assert ("preserve, as shown", "held-out products") not in found
    targets = sorted(f.target for f in found.values() if f.target is not None)
    assert targets == [0.90, 0.95, 0.95, 0.99]


def test_the_dial_runs_from_generic_over_the_default(outcomes):
    found = index(find_dial("m", outcomes, Settings(strengths=(0.0, 0.5, 1.0))))
    palette = [found["palette", at].figure.value for at in ("0", "0.5", "1")]
    assert palette == [0, 0.5, 1]
    lost = found["identity lost", "0 to 0.5"]
    assert (lost.figure.value, lost.target, lost.holds) == (0.25, 0.02, False)


def test_steps_are_compared_on_as_many_pictures(outcomes):
    reference = Reference.of(outcomes["preserve/oracle"].raw_features, 2)
    found = find_steps("m", outcomes, Settings(steps=(4, 20)), reference)
    assert {(f.at, f.figure.n) for f in found} == {("4", 3), ("20", 3)}
    del outcomes["steps/4"]
    assert not list(find_steps("m", outcomes, Settings(steps=(4, 20)), reference))


def test_quality_stands_beside_other_real_pictures(outcomes):
    known = outcomes["preserve/oracle"].raw_features
    found = index(find_quality("m", outcomes, Reference.of(known, 2), known))
    assert {at for _, at in found} == {"personalized", "generic", "real composites"}
    real = found["Fréchet distance, as shown", "real composites"]
    assert real.figure.value == pytest.approx(0, abs=1e-6)
    assert (real.unit, real.better) == ("distance", "lower")


def test_histories_come_from_their_bins(outcomes):
    trials = [Trial(0, shopper, 0, "preserve", "clicks", 0.5, 20) for shopper in range(4)]
    outcomes["history/3-5"] = outcomes["preserve/oracle"]
    num_clicks = np.array([20, 49, 50, 200])
    found = index(find_history("m", outcomes, trials, num_clicks))
    values = {at: f.figure.value for (axis, at), f in found.items() if axis == "palette"}
    assert values == {"0": 0, "3-5": 1, "20-49": 1, "50+": 0}


def test_a_name_is_a_word():
    figure = Figure(1, 1, 1, 1)
    finding = Finding(
        "taste", "palette, preserve", "personalized / oracle", "conditional GAN", figure
    )
    assert finding.name == "taste_palette_preserve_personalized_oracle_conditional_gan"
    assert finding.holds is None
