"""What a bandit decided, read from events."""

import numpy as np
import pytest

from server.experiments.analysis.decisions import evaluate_bandit
from server.experiments.analysis.settings import AnalysisSettings
from server.experiments.analysis.tables import open_tables
from server.experiments.definition import BanditSettings
from tests.server.experiments.analysis.shop import NOW_S, START_S, Shop, define

ARMS = ("generic", "personalized")


def evaluate(shop, folder, bandit=None):
    bandit = bandit or BanditSettings()
    experiment, settings = define(ARMS, bandit=bandit), AnalysisSettings()
    with open_tables(shop.write(folder), experiment, settings, NOW_S) as tables:
        return evaluate_bandit(tables, experiment, bandit, settings, NOW_S)


def learn(num_shoppers: int = 600, seed: int = 0) -> Shop:
    """Personalized pictures are clicked by those who like them, generic ones by a fifth; a bandit
    knows from the context who likes them, and shows them to four in five of those."""
    shop, rng = Shop(), np.random.default_rng(seed)
    for number in range(num_shoppers):
        likes = number % 2
        for _ in range(3):
            favoured = ARMS[likes]
            is_favoured = rng.random() < 0.8
            arm = favoured if is_favoured else ARMS[1 - likes]
            propensity = 0.8 if is_favoured else 0.2
            context = [float(likes), 1.0] if number > 50 else [float(likes)]
            image = shop.show(f"s{number}", arm, propensity=propensity, context=context)
            chance = 0.2 if arm == "generic" else 0.6 * likes
            if rng.random() < chance:
                shop.tell(image, "click", START_S + 5)
                shop.tell(image, "click", START_S + 6)
    return shop


def test_each_arm_is_worth_what_it_would_have_brought(tmp_path):
    found = evaluate(learn(), tmp_path)
    assert (found.num_decisions, found.num_units, found.sampled) == (1800, 600, 1.0)
    generic, personalized = found.policies
    assert not generic.dr.interval.excludes(0.2) and not personalized.dr.interval.excludes(0.3)
    assert found.logged.value == pytest.approx(0.8 * 0.2 / 2 + 0.8 * 0.6 / 2 + 0.1 * 0.2, abs=0.03)
    assert not generic.mean_weight.interval.excludes(1.0)


def test_a_shopper_may_see_several_arms_of_a_bandit(tmp_path):
    shop = Shop()
    shop.show("ann", "generic", propensity=0.5)
    shop.show("ann", "personalized", propensity=0.5)
    shop.show("ben", "personalized", propensity=0.5)
    assert evaluate(shop, tmp_path).num_decisions == 3


def test_what_is_rewarded_is_what_the_bandit_was_told_to(tmp_path):
    shop = Shop()
    for unit in ("ann", "ben"):
        image = shop.show(unit, "generic", propensity=0.5)
        shop.tell(image, "click")
    shop.tell(image, "purchase", value=30.0)
    assert evaluate(shop, tmp_path / "click").logged.value == 1.0
    purchases = BanditSettings(reward="purchase")
    assert evaluate(shop, tmp_path / "purchase", purchases).logged.value == 0.5


def test_forced_images_and_impossible_propensities_are_no_decisions(tmp_path):
    shop = Shop()
    shop.show("ann", "generic", propensity=0.5)
    shop.show("ann", "generic", propensity=0.0)
    shop.show("ann", "generic", propensity=1.5)
    shop.show("", "generic", propensity=0.5)
    shop.show("qa", "generic", propensity=0.5, is_override=True)
    assert evaluate(shop, tmp_path).num_decisions == 1


def test_too_many_decisions_are_told_from_a_sample_of_shoppers(tmp_path, monkeypatch):
    monkeypatch.setattr("server.experiments.analysis.decisions.MAX_DECISIONS", 600)
    found = evaluate(learn(), tmp_path)
    assert found.sampled == pytest.approx(1 / 3)
    assert found.num_decisions == 3 * found.num_units and 150 < found.num_units < 250


def test_of_nobody_nothing_is_told(tmp_path):
    assert evaluate(Shop(), tmp_path) is None
