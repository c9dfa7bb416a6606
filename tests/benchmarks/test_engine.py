"""The parts of the engine's benchmark: what they count, on models whose walks are known."""

import asyncio
import json

import numpy as np
import pytest

from benchmarks.engine_crowd import Verdict, copy_part
from benchmarks.engine_runs import (
    MAX_PSNR,
    ask_engine,
    count_equal,
    find_gap,
    find_psnr,
    measure_saturated,
    running_engine,
    sample,
    sample_bare,
    time_forwards,
)
from benchmarks.engine_sharing import add_losses
from benchmarks.engine_storm import Victim, measure_decisions, measure_refusals, storm
from benchmarks.measurement import Options, Report
from server.sampling.engine import EngineLimits
from server.sampling.pace import Pace
from tests.server.sampling.closed_model import ClosedModel, make_request

GREY = np.full((4, 4, 3), 100, np.uint8)
WARM = [make_request(-1)]


@pytest.fixture
def report(tmp_path):
    return Report("engine", Options(True, False, tmp_path))


def test_psnr_gap_and_equality_of_pictures_are_what_they_are_called():
    other = GREY + np.uint8(51)  # a fifth of the range
    assert find_psnr(GREY, other) == pytest.approx(20 * np.log10(5))
    assert find_psnr(GREY, GREY) == MAX_PSNR
    assert find_gap([GREY, GREY], [GREY, other]) == find_gap([other, GREY], [GREY, GREY]) == 51
    assert count_equal([GREY, GREY], [GREY, other]) == 1


async def test_the_bare_loop_and_the_engine_walk_the_same():
    model = ClosedModel()
    forks = ((2, "prefix", 0.3),)
    requests = [make_request(tag, seed=tag, mean=tag / 9, forks=forks) for tag in range(5)]
    with running_engine([model], WARM) as engine:
        run = await sample(engine, requests)
    assert find_gap(run.pixels, sample_bare(model, requests)) <= 1
    assert run.num_forward_rows == 5 * 4


async def test_what_is_shared_is_counted_once():
    rows = [make_request(tag, forks=((3, "prefix", 0.3),)) for tag in range(4)]
    with running_engine([ClosedModel()], WARM) as engine:
        run = await sample(engine, rows)
    assert run.num_forward_rows == 3 + 4


async def test_saturation_keeps_so_many_open_and_never_more():
    now_open, most_open, asked = 0, 0, []

    async def ask(number):
        nonlocal now_open, most_open
        asked.append(number)
        now_open += 1
        most_open = max(most_open, now_open)
        await asyncio.sleep(0.001)
        now_open -= 1

    assert await measure_saturated(ask, num_open=3, num_before=2, num_counted=10) > 0
    assert most_open == 3
    assert len(set(asked)) == len(asked) >= 12


async def test_saturation_fails_where_asking_fails():
    async def ask(number):
        raise ValueError("no such product")

    with pytest.raises(ValueError, match="no such product"):
        await measure_saturated(ask, 2, 1, 1)


async def test_nothing_is_left_at_an_engine_that_was_saturated():
    with running_engine([ClosedModel()], WARM) as engine:
        ask = ask_engine(engine, lambda number: make_request(number, seed=number))
        await measure_saturated(ask, 4, 4, 8)
        while engine.num_rows:
            await asyncio.sleep(0.001)


def test_as_many_forwards_are_timed_as_are_asked_for():
    assert len(time_forwards(ClosedModel(), WARM[0], 2, 3)) == 3


async def test_after_a_storm_nothing_is_held_and_those_who_stayed_are_unharmed():
    limits = EngineLimits((4,), is_strict=True)
    stayers = [make_request(tag, seed=tag, steps=6) for tag in range(5)]
    leavers = [make_request(tag, seed=tag, steps=6) for tag in range(50, 70)]
    with running_engine([ClosedModel()], WARM, limits) as engine:
        calm = await sample(engine, stayers)
        victims = [Victim(row, number % 6) for number, row in enumerate(leavers)]
        found = await storm(engine, stayers, victims)
    assert found.num_rows_held == 0
    assert count_equal(found.pixels, calm.pixels) == len(stayers)
    assert len(found.rows_after) == len(leavers)
    done = [victim.ticket.num_forward_rows for victim in victims if victim.ticket]
    assert all(rows >= victim.stop for rows, victim in zip(done, victims, strict=True))
    assert sum(done) < 20 * 6


async def test_a_full_engine_refuses_both_ways_and_is_empty_afterwards(report):
    limits = EngineLimits(max_rows=16)
    with running_engine([ClosedModel()], WARM, limits) as engine:
        await measure_refusals(report, engine, lambda n: make_request(n, seed=n, steps=900), 1, 3)
        assert engine.num_rows == 0
    names = [claim.name for claim in report.claims]
    assert names == ["engine.refusal_deadline_p99", "engine.refusal_full_p99"]


def test_a_decision_is_told_as_a_share_of_a_tick(report):
    pace = Pace((1, 4, 16))
    pace.record("key", 16, 0.1)
    measure_decisions(report, pace, "key", tick_s=1e6, num_rows=100)
    assert 0 < report.claims[0].value < 1e-3


def test_losses_are_points_by_which_a_rate_fell(report):
    yes, half = np.ones(100, bool), np.arange(100) < 50
    add_losses(
        report, "x", Verdict(yes, yes, yes, half), Verdict(half, yes, yes, yes), {"palette": 2.0}
    )
    lost = {claim.name: claim for claim in report.claims}
    assert lost["engine.x_taste_lost_palette"].value == pytest.approx(50)
    assert lost["engine.x_taste_lost_palette"].holds is False
    assert lost["engine.x_taste_lost_setting"].value == 0
    assert lost["engine.x_identity_lost_raw"].value == pytest.approx(-50)
    low, high = lost["engine.x_taste_lost_palette"].spread
    assert low < 50 < high


def test_a_part_of_the_shop_is_a_shop(tmp_path):
    folder = copy_part(tmp_path / "part", 3)
    rows = [
        json.loads(line) for line in (folder / "products.jsonl").read_text("utf-8").splitlines()
    ]
    assert len({row["product_id"] for row in rows}) == 3
    assert all((folder / row["packshot"]).exists() for row in rows)
