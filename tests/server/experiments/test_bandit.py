"""Who gets which arm by what is known of them, and with which probability."""

from collections import Counter

import numpy as np
import pytest

from features.records import Shopper, Status
from server.core import ImageRequest
from server.experiments.assigner import Choice
from server.experiments.bandit import Policy, ThompsonBandit, begin, find_place
from server.experiments.bandit_context import SIZE, describe
from server.experiments.definition import BanditSettings
from tests.server.experiments.shoppers import CHI_SQUARE, chi_square, make_experiment, name_units

ALICE = ImageRequest("shoe", user_id="alice")
WEIGHTS = (0.2, 0.3, 0.5)
FACES = make_experiment("faces", *WEIGHTS, bandit=BanditSettings(explore=0.1))
UNITS = name_units(4000)


def draw_shopper(seed: int) -> Shopper:
    profile = np.random.default_rng(seed).normal(size=64).astype(np.float32)
    return Shopper(Status.FOUND, profile, consent=True)


def draw_worlds(seed: int):
    """In which no arm is the best for everybody."""
    return np.random.default_rng(seed).normal(size=(500, len(WEIGHTS), SIZE))


def draw_policy(seed: int = 1, explore: float = 0.1) -> Policy:
    return Policy(np.array(WEIGHTS), explore, draw_worlds(seed))


def choose(bandit: ThompsonBandit, unit: str, shopper=None, experiment=FACES, request=ALICE):
    return bandit.choose(experiment, unit, Choice(FACES.arms[0], 0.2), request, shopper)


def following(policy: Policy) -> ThompsonBandit:
    bandit = ThompsonBandit([FACES])
    bandit.follow("faces", policy)
    return bandit


def test_before_anything_is_learned_it_goes_by_the_weights():
    bandit = ThompsonBandit([FACES])
    choices = [choose(bandit, unit, draw_shopper(3)) for unit in UNITS]
    counts = Counter(choice.arm.name for choice in choices)
    expected = [len(UNITS) * weight for weight in WEIGHTS]
    assert chi_square([counts[name] for name in "012"], expected) < CHI_SQUARE[2]
    assert all(choice.propensity == WEIGHTS[int(choice.arm.name)] for choice in choices)


def test_weights_that_sum_to_nearly_one_are_made_to():
    nearly = make_experiment("faces", 0.3333333, 0.3333333, 0.3333333, bandit=BanditSettings())
    assert begin(nearly).weigh(describe(ALICE, None)).sum() == pytest.approx(1.0, abs=1e-15)


def test_an_arm_is_as_probable_as_it_is_often_the_best_for_that_context():
    """In 3 of 4 worlds the first arm is better for those with a taste, in all of them the second
    is for the others."""
    draws = np.zeros((4, 2, SIZE))
    draws[:, 1, 0] = 1.0
    draws[:3, 0, 2] = 2.0
    policy = Policy(np.array([0.5, 0.5]), 0.2, draws)
    known, unknown = describe(ALICE, draw_shopper(1)), describe(ALICE, None)
    assert policy.weigh(known) == pytest.approx([0.8 * 0.75 + 0.1, 0.8 * 0.25 + 0.1])
    assert policy.weigh(unknown) == pytest.approx([0.1, 0.9])


def test_propensities_sum_to_one_and_no_arm_has_less_than_its_share_of_exploring():
    for explore in (0.0, 0.05, 0.5, 1.0):
        policy = draw_policy(explore=explore)
        for seed in range(50):
            propensities = policy.weigh(describe(ALICE, draw_shopper(seed)))
            assert propensities.sum() == pytest.approx(1.0, abs=1e-12)
            assert np.all(propensities >= explore * np.array(WEIGHTS))


@pytest.mark.parametrize("seed", range(5))
def test_arms_come_as_often_as_their_propensities_say(seed):
    policy, shopper = draw_policy(seed), draw_shopper(seed)
    context = describe(ALICE, shopper)
    choices = [choose(following(policy), unit, shopper) for unit in UNITS]
    expected = policy.weigh(context)
    counts = Counter(choice.arm.name for choice in choices)
    assert (
        chi_square([counts[n] for n in "012"], [len(UNITS) * each for each in expected])
        < CHI_SQUARE[2]
    )
    for choice in choices:
        assert choice.propensity == expected[int(choice.arm.name)] and choice.context == context


def test_the_numbers_that_decide_are_those_that_are_logged():
    """Where a token or the log has rounded nothing, the propensity can be computed again."""
    policy = draw_policy()
    for seed in range(20):
        choice = choose(following(policy), UNITS[seed], draw_shopper(seed))
        assert policy.weigh(choice.context)[int(choice.arm.name)] == choice.propensity


def test_one_shopper_gets_the_same_arm_for_every_product_and_on_every_server():
    one, other = following(draw_policy()), following(draw_policy())
    shopper = draw_shopper(1)
    for unit in UNITS[:200]:
        choice = choose(one, unit, shopper)
        assert choose(one, unit, shopper, request=ImageRequest("hat", user_id="alice")) == choice
        assert choose(other, unit, shopper) == choice


def test_where_little_is_learned_hardly_anybody_gets_another_arm():
    shopper, worlds = draw_shopper(2), draw_worlds(1)
    worlds[:20] = draw_worlds(99)[:20]
    before, after = draw_policy(1), Policy(np.array(WEIGHTS), 0.1, worlds)
    ends = [np.cumsum(each.weigh(describe(ALICE, shopper))) for each in (before, after)]
    moved = np.abs(ends[1] - ends[0]).sum()
    changed = [
        choose(following(before), unit, shopper).arm
        is not choose(following(after), unit, shopper).arm
        for unit in UNITS[:2000]
    ]
    assert 0 < np.mean(changed) < moved + 0.02 < 0.1


def test_whoever_does_not_consent_is_treated_as_unknown():
    bandit, told = following(draw_policy()), draw_shopper(1)
    silent = Shopper(Status.FOUND, told.profile)
    assert choose(bandit, UNITS[0], silent) == choose(bandit, UNITS[0], None)
    assert choose(bandit, UNITS[0], told).context != choose(bandit, UNITS[0], None).context


def test_places_are_even_and_know_nothing_of_other_experiments_and_versions():
    others = make_experiment("looks", *WEIGHTS), make_experiment("faces", *WEIGHTS, version=1)
    rows = [[find_place(each, unit) for unit in UNITS] for each in (FACES, *others)]
    for row in rows:
        counts, _ = np.histogram(row, bins=9, range=(0, 1))
        assert chi_square(list(counts), [len(UNITS) / 9] * 9) < CHI_SQUARE[8]
    assert np.abs(np.corrcoef(rows) - np.eye(3)).max() < 0.05


def test_bandits_of_two_experiments_follow_their_own_policies():
    looks = make_experiment("looks", *WEIGHTS, bandit=BanditSettings())
    bandit = ThompsonBandit([FACES, make_experiment("plain"), looks])
    bandit.follow("looks", Policy(np.array([0.0, 0.0, 1.0]), 1.0))
    assert choose(bandit, UNITS[0], experiment=looks).propensity == 1.0
    assert choose(bandit, UNITS[0]).propensity < 1.0
