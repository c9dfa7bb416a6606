"""What a bandit makes of what it is told: better choices, and propensities to be trusted."""

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from features.records import Shopper, Status
from server.core import ImageRequest
from server.experiments.analysis.off_policy import Decisions, estimate_policy, predict_rewards
from server.experiments.assigner import Choice
from server.experiments.bandit import ThompsonBandit
from server.experiments.bandit_context import NUM_FACTS, SIZE
from server.experiments.bandit_learning import NUM_DRAWS, Learner
from server.experiments.bandit_log import Rows
from server.experiments.definition import BanditSettings
from tests.server.experiments.shoppers import make_experiment, name_units

ALICE = ImageRequest("shoe", user_id="alice")
WEIGHTS = (0.25, 0.25, 0.5)
FACES = make_experiment("faces", *WEIGHTS, bandit=BanditSettings(explore=0.1))
ARMS = [arm.name for arm in FACES.arms]
DEALT = Choice(FACES.arms[0], 0.25)
RATES = np.array([0.3, 0.1, 0.1]), np.array([0.05, 0.25, 0.1])
"""Of rewards by arm, for shoppers of one taste and of the other."""

Floats = NDArray[np.float64]


def draw_contexts(rng, count: int):
    contexts = 0.35 * rng.normal(size=(count, SIZE))
    contexts[:, :NUM_FACTS] = 1, 0, 1, 0
    return contexts


def draw_log(seed: int, count: int = 2000, arms=ARMS):
    """Decisions at random, and whether each was rewarded: the second arm more than the others."""
    rng = np.random.default_rng(seed)
    chosen = [str(arm) for arm in rng.choice(arms, count)]
    contexts = draw_contexts(rng, count)
    rates = 0.1 + 0.1 * (np.array(chosen) == "1") + 0.1 * contexts[:, -1]
    return chosen, contexts, rng.random(count) < rates


def teach(learner: Learner, arms, contexts, rewarded) -> Learner:
    learner.learn(Rows(arms, contexts, False))
    learner.learn(
        Rows([a for a, r in zip(arms, rewarded, strict=True) if r], contexts[rewarded], True)
    )
    return learner


def draw(learner: Learner):
    draws = learner.decide().draws
    assert draws is not None
    return draws


# What is learned


def find_posterior(arm: str, arms, contexts, rewarded):
    """Ridge regression in closed form: mean and covariance."""
    mine = np.array(arms) == arm
    rate = (rewarded.sum() + 1) / (len(arms) + 2)
    inverse = np.linalg.inv(np.eye(SIZE) + contexts[mine].T @ contexts[mine])
    return inverse @ contexts[mine].T @ rewarded[mine], rate * (1 - rate) * inverse


def test_draws_are_of_the_posterior_of_a_linear_regression():
    told = draw_log(1)
    draws = draw(teach(Learner(FACES), *told))
    for number, arm in enumerate(ARMS):
        mean, covariance = find_posterior(arm, *told)
        whitened = np.linalg.solve(np.linalg.cholesky(covariance), (draws[:, number] - mean).T)
        assert np.abs(whitened.mean(axis=1)).max() < 4 / np.sqrt(NUM_DRAWS)
        assert np.cov(whitened) == pytest.approx(np.eye(SIZE), abs=0.25)


def test_draws_of_different_arms_know_nothing_of_each_other():
    draws = draw(teach(Learner(FACES), *draw_log(1)))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        both = np.corrcoef(draws[:, one], draws[:, other], rowvar=False)
        assert np.abs(both[:SIZE, SIZE:]).max() < 0.2


def test_an_arm_is_as_probable_as_it_is_the_best_by_the_posterior():
    """By many more draws, of the closed form."""
    told, rng = draw_log(2, 300), np.random.default_rng(3)
    policy = teach(Learner(FACES), *told).decide()
    for context in draw_contexts(rng, 10):
        worth = [
            rng.multivariate_normal(mean, covariance, 20_000)
            for mean, covariance in (find_posterior(arm, *told) for arm in ARMS)
        ]
        best = np.argmax(np.array(worth) @ context, axis=0)
        expected = 0.1 * np.array(WEIGHTS) + 0.9 * np.bincount(best, minlength=3) / len(best)
        assert policy.weigh(context) == pytest.approx(expected, abs=0.07)


def test_what_is_learned_in_pieces_is_what_is_learned_at_once():
    arms, contexts, rewarded = draw_log(4)
    whole, pieces = teach(Learner(FACES), arms, contexts, rewarded), Learner(FACES)
    for first in range(0, len(arms), 300):
        piece = slice(first, first + 300)
        teach(pieces, arms[piece], contexts[piece], rewarded[piece])
    assert draw(pieces) == pytest.approx(draw(whole), abs=1e-9)


def test_the_same_log_makes_the_same_policy():
    log = draw_log(5)
    one, other = teach(Learner(FACES), *log), teach(Learner(FACES), *log)
    assert np.array_equal(draw(one), draw(other))
    assert np.array_equal(draw(one), draw(one))


def test_of_nothing_the_weights_are_the_policy():
    learner = Learner(FACES)
    learner.learn(Rows([], np.zeros((0, SIZE)), False))
    assert learner.decide().draws is None
    assert learner.decide().weigh((0.0,) * SIZE) == pytest.approx(WEIGHTS)


def test_rows_that_cant_be_are_skipped_and_the_rest_is_learned():
    arms, contexts, rewarded = draw_log(6, 400)
    spoilt = np.tile(contexts[:1], (5, 1))
    spoilt[np.arange(4), np.arange(4)] = np.nan, np.inf, -np.inf, 1e200
    learner = teach(Learner(FACES), arms, contexts, rewarded)
    for are_rewards in (False, True):
        learner.learn(Rows(["0", "1", "2", "0", "gone"], spoilt, are_rewards))
    assert np.array_equal(draw(learner), draw(teach(Learner(FACES), arms, contexts, rewarded)))


def test_an_arm_of_which_nothing_is_known_is_tried():
    learner = teach(Learner(FACES), *draw_log(7, arms=["0", "1"]))
    policy = learner.decide()
    known = np.array([policy.weigh(c) for c in draw_contexts(np.random.default_rng(8), 50)])
    assert known[:, 2].min() > 0.2 and known[:, :2].max(axis=1).mean() > 0.2


# What comes of it


class Served(NamedTuple):
    """A decision: of which shopper, what each arm would have brought, and what this one did."""

    shopper: int
    rates: Floats
    choice: Choice
    reward: bool


def serve(seed: int, num_shoppers: int = 4800, num_rounds: int = 12) -> list[Served]:
    """4800 visits by shoppers of two tastes, who want different arms."""
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], num_shoppers)
    profiles = np.outer(signs, rng.normal(size=64)) + 0.7 * rng.normal(size=(num_shoppers, 64))
    units, all_rates = name_units(num_shoppers), np.where(signs[:, None] > 0, *RATES)
    bandit, learner, served = ThompsonBandit([FACES]), Learner(FACES), []
    for visits in np.array_split(np.arange(4800) % num_shoppers, num_rounds):
        for number in visits:
            shopper = Shopper(Status.FOUND, profiles[number].astype(np.float32), consent=True)
            choice = bandit.choose(FACES, units[number], DEALT, ALICE, shopper)
            reward = rng.random() < all_rates[number][int(choice.arm.name)]
            served.append(Served(int(number), all_rates[number], choice, bool(reward)))
        last = served[-len(visits) :]
        contexts, rewarded = np.array([s.choice.context for s in last]), [s.reward for s in last]
        teach(learner, [s.choice.arm.name for s in last], contexts, np.array(rewarded))
        bandit.follow("faces", learner.decide())
    return served


@pytest.mark.parametrize("seed", range(4))
def test_regret_falls_to_little_more_than_what_exploring_costs(seed):
    served = serve(seed)
    regrets = np.array([s.rates.max() - s.rates[int(s.choice.arm.name)] for s in served])
    first, last = regrets[:400].mean(), regrets[-1600:].mean()
    exploring = 0.1 * first  # by the weights, as all of the first round was
    assert last < 0.3 * first and last < exploring + 0.03


@pytest.mark.parametrize("num_shoppers", [4800, 1600])
def test_the_propensities_that_were_logged_tell_what_another_policy_would_have_brought(
    num_shoppers,
):
    """Of shoppers who come once, and of some who come again and keep their place: always the
    second arm, and a policy by context, whose true values are known."""
    served = serve(7, num_shoppers)
    contexts = np.array([s.choice.context for s in served])
    decisions = Decisions(
        units=np.array([s.shopper for s in served]),
        arms=np.array([int(s.choice.arm.name) for s in served]),
        propensities=np.array([s.choice.propensity for s in served]),
        rewards=np.array([float(s.reward) for s in served]),
        contexts=contexts,
        num_arms=3,
    )
    second = np.tile([0.0, 1.0, 0.0], (len(served), 1))
    by_context = np.where(contexts[:, [-1]] > 0, [0.5, 0.5, 0.0], [0.2, 0.0, 0.8])
    for policy in (second, by_context):
        truth = (policy * np.array([s.rates for s in served])).sum(axis=1).mean()
        found = estimate_policy("policy", decisions, policy, predict_rewards(decisions), 0.01)
        for value in (found.ips, found.snips, found.dr):
            assert value.interval.low < truth < value.interval.high
            assert value.value == pytest.approx(truth, abs=0.04)
        assert not found.mean_weight.interval.excludes(1.0)
