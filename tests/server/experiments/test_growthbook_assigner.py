"""Arms by GrowthBook's hashing: as published, and as the statistics of it should be."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from growthbook import InMemoryStickyBucketService, Options, UserContext
from growthbook.common_types import EvaluationContext, GlobalContext, StackContext
from growthbook.core import run_experiment

from server.experiments.assigner import Choice
from server.experiments.definition import Namespace
from server.experiments.growthbook_assigner import GrowthBookAssigner, StickyService, draw, prepare
from server.experiments.sticky import Bucket, StickyMemory, name_slot
from tests.server.experiments.shoppers import (
    CHI_SQUARE,
    chi_square,
    count,
    deal,
    make_arms,
    make_experiment,
    name_units,
)

GOLDEN = json.loads((Path(__file__).parent / "golden" / "growthbook_cases.json").read_text())
UNITS = name_units(20_000)
THIRDS = (1 / 3, 1 / 3, 1 / 3)


def choose(experiment, unit, sticky=None):
    return GrowthBookAssigner([experiment], sticky).choose(experiment, unit)


@pytest.mark.parametrize(("name", "how", "ranges"), GOLDEN["getBucketRange"])
def test_an_arm_is_where_the_published_hash_falls_into_the_published_ranges(name, how, ranges):
    num_arms, coverage, weights = how
    weights = weights or [1 / num_arms] * num_arms
    for seed, unit, _, place in GOLDEN["hash"]:
        choice = choose(make_experiment(seed, *weights, coverage=coverage), unit)
        expected = [number for number, (low, high) in enumerate(ranges) if low <= place < high]
        assert ([] if choice is None else [int(choice.arm.name)]) == expected
        assert choice is None or choice.propensity == weights[expected[0]]


@pytest.mark.parametrize(("name", "unit", "namespace", "is_in"), GOLDEN["inNamespace"])
def test_a_namespace_lets_in_whom_the_published_cases_say(name, unit, namespace, is_in):
    experiment = make_experiment("any", namespace=Namespace(*namespace))
    assert (choose(experiment, unit) is not None) == is_in


@pytest.mark.parametrize(("name", "context", "told", "value", "is_in", "is_hashed"), GOLDEN["run"])
def test_the_published_runs_of_this_hash_version_come_out(
    name, context, told, value, is_in, is_hashed
):
    weights = told.get("weights", [0.5, 0.5])
    experiment = make_experiment(told["seed"], *weights, coverage=told.get("coverage", 1.0))
    choice = choose(experiment, context["attributes"]["id"])
    assert choice is not None and choice.arm.name == str(value) and is_in and is_hashed


@pytest.mark.parametrize(
    ("name", "context", "stored", "feature", "result", "after"), GOLDEN["stickyBucket"]
)
def test_the_published_sticky_buckets_are_used_and_saved(
    name, context, stored, feature, result, after
):
    rule = context["features"][feature]["rules"][0]
    experiment = make_experiment(rule["key"], *rule["weights"], version=rule["bucketVersion"])
    memory = StickyMemory()
    for doc in stored:
        for slot, arm in doc["assignments"].items():
            memory.put(doc["attributeValue"], slot, Bucket(arm, 0.25))
    choice = choose(experiment, result["hashValue"], memory)
    assert choice is not None and choice.arm.name == result["key"]
    assert choice.is_sticky == result["stickyBucketUsed"]
    assert choice.propensity == (0.25 if choice.is_sticky else rule["weights"][int(result["key"])])
    for doc in after.values():
        kept = StickyService(memory, [prepare(experiment)]).get_assignments(
            "id", doc["attributeValue"]
        )
        assert kept == {**doc, "attributeName": "id"}


@pytest.mark.parametrize("is_sticky", [False, True])
@pytest.mark.parametrize(
    "experiment",
    [
        make_experiment("plain", *THIRDS),
        make_experiment("some", 0.1, 0.2, 0.3, 0.4, coverage=0.35),
        make_experiment("spaced", namespace=Namespace("n", 0.15, 0.62)),
        make_experiment("all", *THIRDS, coverage=0.9, namespace=Namespace("n", 0, 0.8), version=3),
    ],
)
def test_a_draw_is_what_the_sdk_comes_to_by_its_whole_way(experiment, is_sticky):
    """With all that its own client does: documents read, and saved anew."""
    test = prepare(experiment).test
    service = InMemoryStickyBucketService() if is_sticky else None
    world = GlobalContext(Options(sticky_bucket_service=service))
    for unit in UNITS[:2_000]:
        user = UserContext(attributes={"id": unit})
        result = run_experiment(test, None, EvaluationContext(user, world, StackContext()))
        assert draw(test, unit) == (result.value if result.inExperiment else None)
        if service and result.inExperiment:
            doc = service.get_assignments("id", unit)
            assert doc and doc["assignments"] == {
                name_slot(experiment.key, experiment.version): result.key
            }


@pytest.mark.parametrize("weights", [THIRDS, (0.1, 0.2, 0.7), (0.5, 0.5)])
def test_arms_get_shoppers_by_their_weights(weights):
    experiment = make_experiment("shares", *weights)
    dealt = deal(GrowthBookAssigner([experiment]), experiment, UNITS)
    assert len(dealt) == len(UNITS)
    observed = count(dealt.values(), experiment.arms)
    expected = [len(UNITS) * weight for weight in weights]
    assert chi_square(observed, expected) < CHI_SQUARE[len(weights) - 1]


def test_two_experiments_deal_their_arms_independently():
    one, other = make_experiment("one", *THIRDS), make_experiment("other", *THIRDS)
    assigner = GrowthBookAssigner([one, other])
    first, second = deal(assigner, one, UNITS), deal(assigner, other, UNITS)
    pairs = Counter((first[unit], second[unit]) for unit in UNITS)
    assert chi_square(list(pairs.values()), [len(UNITS) / 9] * 9) < CHI_SQUARE[8]


def test_experiments_of_one_namespace_share_nobody_and_leave_out_the_rest():
    low = make_experiment("low", namespace=Namespace("faces", 0.0, 0.3))
    high = make_experiment("high", namespace=Namespace("faces", 0.3, 0.8))
    assigner = GrowthBookAssigner([low, high])
    in_low, in_high = (set(deal(assigner, each, UNITS)) for each in (low, high))
    assert not in_low & in_high
    rest = len(UNITS) - len(in_low) - len(in_high)
    shares = chi_square([len(in_low), len(in_high), rest], [6_000, 10_000, 4_000])
    assert shares < CHI_SQUARE[2]


def test_coverage_leaves_out_a_share_and_more_of_it_moves_nobody():
    some, more = (make_experiment("cover", *THIRDS, coverage=share) for share in (0.3, 0.6))
    before = deal(GrowthBookAssigner([some]), some, UNITS)
    after = deal(GrowthBookAssigner([more]), more, UNITS)
    assert chi_square([len(before), len(UNITS) - len(before)], [6_000, 14_000]) < CHI_SQUARE[1]
    assert before.items() <= after.items() and len(after) > 1.8 * len(before)
    assert choose(make_experiment("cover", coverage=0.0), UNITS[0]) is None


def test_a_change_of_weights_moves_nobody_who_is_kept_and_their_propensity_stays():
    before, after = make_experiment("weights", 0.9, 0.1), make_experiment("weights", 0.1, 0.9)
    memory, units = StickyMemory(), UNITS[:2_000]
    first = deal(GrowthBookAssigner([before], memory), before, units)
    assigner = GrowthBookAssigner([after], memory)
    assert deal(assigner, after, units) == first
    assert deal(GrowthBookAssigner([after]), after, units) != first
    choices = [assigner.choose(after, unit) for unit in units]
    assert {(c.arm.name, c.propensity, c.is_sticky) for c in choices if c} == {
        ("0", 0.9, True),
        ("1", 0.1, True),
    }
    newcomers = deal(assigner, after, UNITS[2_000:4_000])
    assert chi_square(count(newcomers.values(), after.arms), [200, 1_800]) < CHI_SQUARE[1]


def test_without_a_store_nothing_sticks_and_the_hash_alone_decides():
    before, after = make_experiment("loose", 0.9, 0.1), make_experiment("loose", 0.1, 0.9)
    moved = [
        unit
        for unit in UNITS[:2_000]
        if choose(before, unit).arm.name != choose(after, unit).arm.name  # type: ignore[union-attr]
    ]
    assert chi_square([len(moved), 2_000 - len(moved)], [1_600, 400]) < CHI_SQUARE[1]


def test_a_new_version_deals_everybody_anew_though_old_buckets_are_kept():
    memory, units = StickyMemory(), UNITS[:2_000]
    old, new = (make_experiment("version", version=version) for version in (0, 1))
    first = deal(GrowthBookAssigner([old], memory), old, units)
    second = deal(GrowthBookAssigner([new], memory), new, units)
    same = sum(first[unit] == second[unit] for unit in units)
    assert chi_square([same, 2_000 - same], [1_000, 1_000]) < CHI_SQUARE[1]
    assert set(memory.get(units[0])) == {name_slot("version", 0), name_slot("version", 1)}


def test_who_is_not_eligible_does_not_get_in_but_stays_in():
    experiment, memory = make_experiment("guests"), StickyMemory()
    assigner = GrowthBookAssigner([experiment], memory)
    guest, stranger = UNITS[:2]
    assert assigner.choose(experiment, guest, is_eligible=False) is None
    inside = assigner.choose(experiment, guest)
    assert assigner.choose(experiment, guest, is_eligible=False) == inside
    assert assigner.choose(experiment, stranger, is_eligible=False) is None
    assert not memory.get(stranger)
    again = GrowthBookAssigner([experiment], memory).choose(experiment, guest, is_eligible=False)
    assert isinstance(again, Choice) and isinstance(inside, Choice) and again.arm == inside.arm
    loose = GrowthBookAssigner([experiment])
    assert loose.choose(experiment, guest) and not loose.choose(experiment, guest, False)


def test_who_was_kept_for_an_arm_that_is_gone_is_dealt_again():
    memory, unit = StickyMemory(), UNITS[0]
    memory.put(unit, name_slot("gone", 0), Bucket("old", 0.5))
    experiment = make_experiment("gone")
    choice = choose(experiment, unit, memory)
    assert choice == choose(experiment, unit) and not choice.is_sticky
    assert GrowthBookAssigner([experiment], memory).choose(experiment, unit, False) is None


def test_what_was_kept_for_another_experiment_is_left_alone():
    memory, unit = StickyMemory(), UNITS[0]
    memory.put(unit, name_slot("ended", 3), Bucket("1", 0.5))
    assert choose(make_experiment("next"), unit, memory) is not None
    assert memory.get(unit)[name_slot("ended", 3)] == Bucket("1", 0.5)
    assert set(memory.get(unit)) == {name_slot("ended", 3), name_slot("next", 0)}


def test_remembering_changes_no_choice():
    experiment = make_experiment("memo", *THIRDS, coverage=0.7, namespace=Namespace("n", 0.1, 0.9))
    without, few = (GrowthBookAssigner([experiment], None, num) for num in (0, 10))
    units = UNITS[:300] * 2
    assert deal(without, experiment, units) == deal(few, experiment, units)


PROGRAM = """
import json, sys
from server.experiments.growthbook_assigner import GrowthBookAssigner
from tests.server.experiments.shoppers import deal, make_experiment, name_units
experiment = make_experiment("processes", 0.2, 0.3, 0.5)
print(json.dumps(deal(GrowthBookAssigner([experiment]), experiment, name_units(300))))
"""


def test_every_process_deals_the_same():
    dealt = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", PROGRAM],
                env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
                capture_output=True,
                check=True,
                text=True,
            ).stdout
        )
        for seed in ("1", "2")
    ]
    experiment = make_experiment("processes", 0.2, 0.3, 0.5)
    here = deal(GrowthBookAssigner([experiment]), experiment, name_units(300))
    assert dealt == [here, here]
    assert set(here.values()) == {arm.name for arm in make_arms(0.2, 0.3, 0.5)}
