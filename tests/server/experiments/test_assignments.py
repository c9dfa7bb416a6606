"""What the experiments of a server make of a request, before and after the shopper is read."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from diffusion.choices import narrow
from diffusion.looks import ANYWHERE, SceneWish
from diffusion.scenes import PALETTES, SETTINGS
from features.records import Shopper, Status
from server.core import Arm, Enrolment, ImageRequest, InlineProduct, Mode
from server.errors import InvalidRequest
from server.experiments.assigner import Choice
from server.experiments.assignment import (
    NUM_SEEDS,
    Assignment,
    Assignments,
    apply,
    fits_locale,
    fits_shopper,
    is_held_out,
)
from server.experiments.definition import (
    BanditSettings,
    Changes,
    Experiment,
    ExperimentArm,
    Holdout,
    Targeting,
)
from server.experiments.growthbook_assigner import GrowthBookAssigner
from server.experiments.programme import Programme
from server.experiments.sticky import StickyMemory
from tests.server.experiments.shoppers import PSEUDONYMS, chi_square, make_arms, make_experiment

NOW = datetime(2026, 11, 15, 12, tzinfo=UTC)
DEFAULT = 0.5
THIRDS = (1 / 3, 1 / 3, 1 / 3)
NOBODY = Holdout()
ALICE = ImageRequest("shoe", user_id="alice")
FOODIE = Shopper(Status.FOUND, np.ones(4, np.float32), consent=True, interests=("food", "art"))
NEWCOMER = Shopper(Status.MISSING, consent=True)


def only(name: str, key: str = "any", **fields: object) -> Experiment:
    """Everybody is given one arm; the other is there to be compared with."""
    arms = tuple(replace(arm, weight=float(arm.name == name)) for arm in make_arms(0, 0, 0))
    return Experiment(key, arms, **fields)  # type: ignore[arg-type]


def make(*experiments, holdout=NOBODY, now=NOW, sticky=None, bandit=None):
    assigner = GrowthBookAssigner(experiments, sticky)
    programme = Programme(tuple(experiments), holdout)
    return Assignments(programme, assigner, PSEUDONYMS.name, lambda: now, bandit)


GENERIC, PERSONALIZED = "1", "2"


def test_without_experiments_everybody_is_personalized_under_their_pseudonym():
    assignment = make().assign(ALICE, DEFAULT)
    assert assignment == Assignment(Arm.PERSONALIZED, DEFAULT, PSEUDONYMS.name("alice"))
    assert assignment.wants_shopper and make().settle(assignment, FOODIE) is assignment


def test_an_experiment_decides_what_is_shown_and_says_so():
    assignments = make(make_experiment("faces", *THIRDS))
    shown: Counter[Arm] = Counter()
    for number in range(900):
        told = assignments.assign(replace(ALICE, user_id=f"shopper-{number}"), DEFAULT)
        enrolment = told.enrolment
        assert enrolment == Enrolment("faces", enrolment.arm, 1 / 3)
        assert told.changes == Changes(told.arm) and told.pending is None
        assert told.strength == (DEFAULT if told.arm is Arm.PERSONALIZED else 0.0)
        assert told.arm is [*Arm][int(enrolment.arm)]
        shown[told.arm] += 1
    assert chi_square([shown[arm] for arm in Arm], [300] * 3) < 13.82


def test_the_first_experiment_that_takes_a_shopper_in_is_the_only_one():
    first, second = make_experiment("first", coverage=0.5), make_experiment("second")
    assignments = make(first, second)
    keys = Counter(
        assignments.assign(replace(ALICE, user_id=str(number)), DEFAULT).enrolment.experiment
        for number in range(1_000)
    )
    assert chi_square([keys["first"], keys["second"]], [500, 500]) < 10.83


@pytest.mark.parametrize(
    ("start", "end", "is_in"),
    [(None, None, True), (0, 1, True), (-1, 0, False), (1, None, False), (None, 1, True)],
)
def test_an_experiment_takes_shoppers_in_from_its_start_to_its_end(start, end, is_in):
    times = [None if day is None else NOW + timedelta(days=day) for day in (start, end)]
    assignments = make(only(GENERIC, start=times[0], end=times[1]))
    assert (assignments.assign(ALICE, DEFAULT).enrolment is not None) == is_in


def test_a_session_stands_for_who_is_not_known_and_nobody_for_neither():
    assignments = make(make_experiment("faces", *THIRDS), holdout=Holdout(0.0))
    session = ImageRequest("shoe", session_id="alice")
    told = assignments.assign(session, DEFAULT)
    assert told.unit == PSEUDONYMS.name("", "alice") != assignments.assign(ALICE, DEFAULT).unit
    assert told.enrolment and told == assignments.assign(session, DEFAULT)
    both = assignments.assign(replace(ALICE, session_id="other"), DEFAULT)
    assert both == assignments.assign(ALICE, DEFAULT)
    nobody = make(only(GENERIC), holdout=Holdout(1.0)).assign(ImageRequest("shoe"), DEFAULT)
    assert nobody == Assignment(Arm.PERSONALIZED, DEFAULT)


# Overrides


@pytest.mark.parametrize("arm", Arm)
def test_a_forced_arm_goes_before_experiments_and_the_holdout_and_is_in_none(arm):
    assignments = make(only(GENERIC), holdout=Holdout(1.0))
    told = assignments.assign(replace(ALICE, arm=arm), DEFAULT)
    assert told.arm is arm and told.enrolment is None and not told.is_held_out


def test_a_forced_arm_of_an_experiment_is_marked_even_before_it_starts():
    bold = ExperimentArm("bold", 0.5, Changes(Arm.PERSONALIZED, "fast", strength=0.9))
    experiment = Experiment(
        "faces",
        (*make_arms(0.5), bold),
        Targeting(interests=("food",)),
        start=NOW + timedelta(days=9),
    )
    forced = replace(ALICE, experiment="faces", arm_name="bold", strength=0.0)
    told = make(experiment, holdout=Holdout(1.0)).assign(forced, DEFAULT)
    assert told.enrolment == Enrolment("faces", "bold", 1.0, is_override=True)
    assert (told.arm, told.strength, told.changes) == (Arm.PERSONALIZED, 0.9, bold.changes)
    nobody = replace(forced, user_id="")
    assert make(experiment).assign(nobody, DEFAULT).enrolment == told.enrolment


@pytest.mark.parametrize(
    ("experiment", "arm", "field"),
    [("winter", "1", "experiment.experiment"), ("any", "bold", "experiment.arm")],
)
def test_an_override_of_what_there_is_not_is_refused(experiment, arm, field):
    request = replace(ALICE, experiment=experiment, arm_name=arm)
    with pytest.raises(InvalidRequest) as caught:
        make(only(GENERIC)).assign(request, DEFAULT)
    assert [violation.field for violation in caught.value.violations] == [field]


# Holdout


@pytest.mark.parametrize("shows", Arm)
def test_the_holdout_is_in_no_experiment_and_sees_one_thing(shows):
    assignments = make(only(GENERIC), holdout=Holdout(0.1, shows))
    told = [
        assignments.assign(replace(ALICE, user_id=str(number)), DEFAULT) for number in range(2_000)
    ]
    held = [each for each in told if each.is_held_out]
    assert chi_square([len(held), 2_000 - len(held)], [200, 1_800]) < 10.83
    assert {(each.arm, each.enrolment, each.changes) for each in held} == {(shows, None, None)}
    assert {each.strength for each in held} == {DEFAULT if shows is Arm.PERSONALIZED else 0.0}
    assert all(each.enrolment for each in told if not each.is_held_out)


def test_a_larger_holdout_keeps_those_of_the_smaller_one():
    units = [PSEUDONYMS.name(str(number)) for number in range(2_000)]
    small, large = ({unit for unit in units if is_held_out(unit, s)} for s in (0.05, 0.1))
    assert small < large
    assert not any(is_held_out(unit, 0.0) for unit in units)
    assert all(is_held_out(unit, 1.0) for unit in units)


# Who takes no part


def test_who_turns_the_dial_to_zero_takes_no_part():
    assignments = make(only(PERSONALIZED))
    assert assignments.assign(replace(ALICE, strength=0.0), DEFAULT).enrolment is None
    assert assignments.assign(replace(ALICE, strength=0.1), DEFAULT).strength == 0.1


def test_a_product_without_a_packshot_is_in_no_experiment_that_needs_one():
    bare = replace(ALICE, product=InlineProduct("shoe", b"", {}), mode=Mode.CREATE)
    packed = replace(ALICE, product=InlineProduct("shoe", b"png", {}))
    original = make(only(GENERIC))  # its first arm, of weight 0, shows the original
    assert original.assign(bare, DEFAULT).enrolment is None
    assert original.assign(packed, DEFAULT).enrolment is not None
    arms = [
        ExperimentArm(n, 0.5, Changes(Arm.GENERIC, mode=m))
        for n, m in zip("abc", Mode, strict=True)
    ]
    modes = make(Experiment("modes", tuple(arms)))
    assert modes.assign(bare, DEFAULT).enrolment is None
    plain = make(Experiment("plain", tuple(replace(a, changes=Changes(Arm.GENERIC)) for a in arms)))
    assert plain.assign(bare, DEFAULT).enrolment is not None
    held = make(holdout=Holdout(1.0, Arm.ORIGINAL))
    assert held.assign(bare, DEFAULT).arm is Arm.GENERIC
    assert held.assign(packed, DEFAULT).arm is Arm.ORIGINAL


@pytest.mark.parametrize(
    ("targeted", "asked", "fits"),
    [
        ((), "en", True),
        (("pt",), "pt", True),
        (("pt",), "pt-BR", True),
        (("pt",), "PT-br", True),
        (("pt-BR",), "pt", False),
        (("pt-BR",), "pt-PT", False),
        (("de", "pt-BR"), "pt-BR", True),
        (("zh-Hant",), "zh-TW", True),
        (("zh-Hant",), "zh-CN", False),
        (("nb",), "no", True),
        (("pt",), "?", False),
    ],
)
def test_locales_are_targeted_by_prefix(targeted, asked, fits):
    assert fits_locale(targeted, asked) == fits
    assignments = make(only(GENERIC, targeting=Targeting(targeted)))
    told = assignments.assign(replace(ALICE, locale=asked), DEFAULT)
    assert (told.enrolment is not None) == fits and told.pending is None


# Targeting by features


@pytest.mark.parametrize(
    ("targeting", "shopper", "fits"),
    [
        (Targeting(interests=("food",)), FOODIE, True),
        (Targeting(interests=("sports", "art")), FOODIE, True),
        (Targeting(interests=("sports",)), FOODIE, False),
        (Targeting(is_known=True), FOODIE, True),
        (Targeting(is_known=True), replace(FOODIE, status=Status.STALE), True),
        (Targeting(is_known=False), FOODIE, False),
        (Targeting(is_known=False), NEWCOMER, True),
        (Targeting(is_known=True), NEWCOMER, False),
        (Targeting(interests=("food",), is_known=False), FOODIE, False),
    ],
)
def test_features_are_targeted_once_they_are_read(targeting, shopper, fits):
    assignments = make(only(GENERIC, targeting=targeting))
    before = assignments.assign(replace(ALICE, strength=0.3), DEFAULT)
    assert before.pending and before.wants_shopper and before.enrolment is None
    after = assignments.settle(before, shopper)
    assert fits_shopper(targeting, shopper) == fits == (after.enrolment is not None)
    assert after.pending is None and after.unit == before.unit
    assert (after.arm, after.strength) == ((Arm.GENERIC, 0.0) if fits else (Arm.PERSONALIZED, 0.3))
    assert assignments.settle(after, shopper) is after


@pytest.mark.parametrize(
    "shopper",
    [
        None,
        replace(FOODIE, consent=False),
        replace(FOODIE, status=Status.UNAVAILABLE),
        Shopper(Status.MISSING),
    ],
)
def test_without_consent_or_features_nobody_is_targeted_and_the_next_experiment_follows(shopper):
    for targeting in (Targeting(interests=("food",)), Targeting(is_known=False)):
        targeted = only(GENERIC, "targeted", targeting=targeting)
        assignments = make(targeted, only(PERSONALIZED, "open"))
        settled = assignments.settle(assignments.assign(ALICE, DEFAULT), shopper)
        assert settled.enrolment == Enrolment("open", PERSONALIZED, 1.0)
        alone = make(targeted)
        told = alone.settle(alone.assign(ALICE, DEFAULT), shopper)
        assert told == make().assign(ALICE, DEFAULT)


def test_an_earlier_experiment_without_targeting_needs_no_features():
    assignments = make(
        only(GENERIC, "open"), only(GENERIC, "b", targeting=Targeting((), ("food",)))
    )
    told = assignments.assign(ALICE, DEFAULT)
    assert told.pending is None and told.enrolment.experiment == "open"
    assert not told.wants_shopper


def test_a_session_has_no_features_and_is_not_kept_waiting():
    assignments = make(only(GENERIC, targeting=Targeting(is_known=False)))
    told = assignments.assign(ImageRequest("shoe", session_id="s"), DEFAULT)
    assert told.pending is None and told.enrolment is None


def test_a_new_shopper_who_becomes_known_stays_in_but_not_against_their_consent():
    experiment = only(GENERIC, targeting=Targeting(is_known=False))
    assignments = make(experiment, sticky=StickyMemory())
    pending = assignments.assign(ALICE, DEFAULT)
    assert assignments.settle(pending, FOODIE).enrolment is None
    first = assignments.settle(pending, NEWCOMER)
    assert first.enrolment and assignments.settle(pending, FOODIE).enrolment == first.enrolment
    unwilling = replace(FOODIE, consent=False)
    assert assignments.settle(pending, unwilling).enrolment is None
    forgetful = make(experiment)
    assert forgetful.settle(pending, NEWCOMER).enrolment
    assert forgetful.settle(pending, FOODIE).enrolment is None


# Bandits


class Favouring:
    """Always the last arm, and lists what it was told."""

    def __init__(self):
        self.told = []

    def choose(self, experiment, unit, choice, request, shopper):
        self.told.append((experiment.key, unit, choice.arm.name, request, shopper))
        return Choice(experiment.arms[-1], 0.9, context=(1.0, 0.5))


def test_a_bandit_chooses_in_place_of_the_weights_once_the_shopper_is_read():
    bandit, experiment = Favouring(), only(GENERIC, bandit=BanditSettings())
    assignments = make(experiment, bandit=bandit)
    pending = assignments.assign(ALICE, DEFAULT)
    assert pending.pending and not bandit.told
    for shopper, told in ((FOODIE, FOODIE), (None, None), (replace(FOODIE, consent=False), None)):
        settled = assignments.settle(pending, shopper)
        assert settled.enrolment == Enrolment("any", "2", 0.9, context=(1.0, 0.5))
        assert settled.arm is Arm.PERSONALIZED
        assert bandit.told.pop() == ("any", pending.unit, GENERIC, ALICE, told)
    session = assignments.assign(ImageRequest("shoe", session_id="s"), DEFAULT)
    assert session.enrolment and session.enrolment.arm == "2"


def test_without_a_bandit_the_weights_decide_at_once():
    told = make(only(GENERIC, bandit=BanditSettings())).assign(ALICE, DEFAULT)
    assert told.enrolment == Enrolment("any", GENERIC, 1.0)


# What an arm makes of a request


def test_an_arm_changes_what_it_names_whatever_the_request_says():
    asked = replace(
        ALICE,
        model="quality",
        steps=20,
        strength=0.2,
        scene=SceneWish("rose", "indoor", avoided_palettes=frozenset({"mint", "sand"})),
    )
    changes = Changes(Arm.PERSONALIZED, "fast", Mode.RESTYLE, 0.7, 4, "mint")
    scene = SceneWish("mint", "indoor", avoided_palettes=frozenset({"sand"}))
    changed = replace(asked, model="fast", mode=Mode.RESTYLE, strength=0.7, steps=4, scene=scene)
    assert apply(asked, enrolled(changes)) == changed
    assert apply(asked, enrolled(Changes(Arm.GENERIC))) == asked == apply(asked, enrolled(None))
    assert apply(asked, enrolled(Changes(Arm.PERSONALIZED, strength=0.0))).strength == 0.0


def enrolled(changes, unit="a"):
    return Assignment(Arm.GENERIC, 0.0, unit, changes=changes)


def test_an_arm_of_chance_deals_each_shopper_a_look_of_their_own_for_good():
    changes = Changes(Arm.GENERIC, diversity=1.0)
    dealt = {
        (unit, product): apply(ImageRequest(product, seed=3), enrolled(changes, unit))
        for unit in map(str, range(300))
        for product in ("shoe", "lamp")
    }
    assert {request.diversity for request in dealt.values()} == {1.0}
    seeds = {each: request.seed or 0 for each, request in dealt.items()}
    assert all(0 <= seed < NUM_SEEDS for seed in seeds.values())
    assert len(set(seeds.values())) > NUM_SEEDS / 2
    assert sum(seeds[unit, "shoe"] == seeds[unit, "lamp"] for unit, _ in seeds) < 20
    assert apply(ImageRequest("shoe"), enrolled(changes, "7")).seed == dealt["7", "shoe"].seed


def test_chance_deals_every_look_about_as_often():
    looks = [tuple(narrow(ANYWHERE).choose(seed, 1.0).values()) for seed in range(NUM_SEEDS)]
    for axis, names in ((0, PALETTES), (1, SETTINGS)):
        counts = Counter(look[axis] for look in looks)
        assert set(counts) == set(names)
        assert max(counts.values()) < 3 * min(counts.values())


def test_the_strength_of_an_arm_is_that_of_its_assignment():
    bold = ExperimentArm("bold", 1.0, Changes(Arm.PERSONALIZED, strength=0.9))
    experiment = Experiment("faces", (*make_arms(0.0), bold))
    for asked in (None, 0.2):
        told = make(experiment).assign(replace(ALICE, strength=asked), DEFAULT)
        assert told.strength == 0.9
