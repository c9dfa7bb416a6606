"""The parts of the benchmark of reliability, which is itself the test of what it promises: servers
that are stopped under load lose nobody."""

from collections import Counter

import pytest

from benchmarks.measurement import Options, Report
from benchmarks.reliability_drain import Outcome, roll
from benchmarks.reliability_limits import Aimd, Constant, Gradient, measure
from benchmarks.soak import Soak, add_claims, find_growth


async def test_two_servers_are_restarted_in_turn_and_no_caller_sees_it(tmp_path):
    outcome = await roll(tmp_path, num_rounds=1)
    assert outcome.endings["answered"] > 200
    assert (outcome.num_lost, outcome.num_failed) == (0, 0), outcome


def test_who_is_lost_is_who_was_let_in_and_got_no_answer():
    calm = Outcome(Counter(answered=5, refused=2, **{"nobody there": 1}), Counter(OK=5))
    assert (calm.num_lost, calm.num_odd, calm.num_failed) == (0, 0, 3)
    torn = Outcome(Counter(answered=5, **{"CANCELLED ": 2}), Counter(OK=6, CANCELLED=1))
    assert (torn.num_lost, torn.num_cancelled_unseen, torn.num_odd) == (2, 1, 1)


def test_no_limit_on_how_many_are_inside_does_as_well_as_predicted_time(tmp_path):
    report = Report("reliability", Options(True, False, tmp_path))
    measure(report, is_quick=True)
    held = [claim.holds for claim in report.claims if claim.target is not None]
    assert len(held) == 8 and all(held), report.claims


@pytest.mark.parametrize("limit", [Aimd(), Gradient()])
def test_a_limit_that_learns_grows_while_it_is_quick_and_shrinks_when_it_is_not(limit):
    for _ in range(200):
        limit.note(1.0)
    grown = limit.value
    for _ in range(200):
        limit.note(20.0)
    assert grown > 8 > limit.value >= 1
    assert Constant(3).value == 3


def test_growth_is_what_the_end_of_a_soak_has_more_than_its_middle():
    flat = [100.0, 200.0, *[300.0, 310.0] * 20]
    assert find_growth(flat) == 0
    assert find_growth([float(number) for number in range(80)]) == pytest.approx(40, abs=2)
    assert find_growth([100.0] * 70 + [5000.0] + [100.0] * 9) == 0, "one peak is no growth"


def test_a_soak_holds_only_where_nothing_grows(tmp_path):
    report = Report("soak", Options(False, True, tmp_path))
    calm = {"memory_bytes": 1e9, "descriptors": 50.0, "tasks": 9.0, "rows": 0.0}
    add_claims(report, Soak({name: [value] * 40 for name, value in calm.items()}))
    assert report.finish() == 0
    leaking = [50.0 + number for number in range(40)]
    seen = {name: [value] * 40 for name, value in calm.items()} | {"descriptors": leaking}
    add_claims(report, Soak(seen))
    assert report.finish() == 1
