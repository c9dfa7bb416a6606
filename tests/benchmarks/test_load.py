"""Open-loop load: arrivals by rate, latency from the due moment, and what is counted as good."""

import asyncio
import math

import numpy as np
import pytest
from PIL import Image

from benchmarks.load import KINDS, Answer, Call, Crowd, Ending, Kind, drive, sum_up
from benchmarks.plots import HEIGHT, WIDTH, Point, draw_lines
from diffusion.guidance import Guidance

DEADLINES_S = {kind: 0.01 * kind.num_steps for kind in KINDS}
CROWD = Crowd(["bag", "ring"], ["ann", "ben", "cem"], DEADLINES_S)


def call_at(at_s, deadline_s=1.0):
    return Call(at_s, KINDS[0], "bag", "ann", 0, deadline_s)


def test_there_are_twelve_kinds_and_each_takes_its_forward_rows():
    assert len(set(KINDS)) == 12
    for kind in KINDS:
        guidance = Guidance(kind.product_scale, kind.shopper_scale)
        assert len(guidance.terms) == kind.num_terms
        assert any(given.has_shopper for given, _ in guidance.terms)


def test_arrivals_are_poisson_at_the_rate_and_repeat_by_seed():
    calls = CROWD.draw(50.0, 200.0, seed=3)
    gaps_s = np.diff([0.0, *(call.at_s for call in calls)])
    assert len(calls) == pytest.approx(10_000, rel=0.05)
    assert gaps_s.std() == pytest.approx(gaps_s.mean(), rel=0.05)  # of an exponential
    assert calls == CROWD.draw(50.0, 200.0, seed=3)
    assert calls != CROWD.draw(50.0, 200.0, seed=4)


def test_a_crowd_asks_for_everything_and_repeats_no_seed():
    calls = CROWD.draw(10.0, 100.0, seed=1)
    assert {call.kind for call in calls} == set(KINDS)
    assert {call.product for call in calls} == set(CROWD.products)
    assert {call.shopper for call in calls} == set(CROWD.shoppers)
    assert len({call.seed for call in calls}) == len(calls)
    assert all(call.deadline_s == DEADLINES_S[call.kind] for call in calls)


async def test_a_slow_system_does_not_slow_its_own_load_down():
    begun_s = []

    async def send(call):
        begun_s.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.3)
        return Ending.DONE

    answers = await drive(send, [call_at(0.05 * number) for number in range(4)])
    assert begun_s[-1] - begun_s[0] < 0.3  # all were under way before the first was answered
    assert [answer.ending for answer in answers] == [Ending.DONE] * 4


async def test_latency_counts_from_the_moment_at_which_the_call_was_due():
    lock = asyncio.Lock()

    async def send(call):
        async with lock:
            await asyncio.sleep(0.1)
        return Ending.DONE

    first, second = await drive(send, [call_at(0.0), call_at(0.0)])
    assert first.latency_s >= 0.1
    assert second.latency_s >= 0.2


async def test_callers_hang_up_at_their_deadline_and_the_system_is_told():
    told = []

    async def send(call):
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            told.append(call)
            raise
        return Ending.DONE

    call = call_at(0.0, deadline_s=0.05)
    (answer,) = await drive(send, [call])
    assert answer.ending is Ending.EXPIRED
    assert told == [call]


async def test_patient_callers_get_late_images_which_are_not_good():
    async def send(call):
        await asyncio.sleep(0.1)
        return Ending.DONE

    (answer,) = await drive(send, [call_at(0.0, deadline_s=0.05)], patience=20.0)
    assert answer.ending is Ending.DONE
    assert not answer.is_in_time
    assert answer.share > 2.0


def test_a_summary_counts_what_was_due_in_the_window_only():
    answers = [
        Answer(call_at(0.5), Ending.DONE, 0.1),  # before the window
        Answer(call_at(1.0), Ending.DONE, 0.5),
        Answer(call_at(1.5), Ending.DONE, 1.5),  # late
        Answer(call_at(2.0), Ending.REFUSED, 0.002),
        Answer(call_at(2.5), Ending.EXPIRED, 1.0),
        Answer(call_at(3.0), Ending.DONE, 0.5),  # after it
    ]
    summary = sum_up(answers, 1.0, 3.0)
    assert (summary.offered, summary.goodput) == (2.0, 0.5)
    assert (summary.num_calls, summary.num_late) == (4, 1)
    assert (summary.num_refused, summary.num_expired, summary.num_failed) == (1, 1, 0)
    assert summary.p50_s == pytest.approx(1.0)
    assert summary.p99_s == pytest.approx(1.49)
    assert summary.refusal_p99_s == pytest.approx(0.002)
    assert summary.admitted_in_time == pytest.approx(1 / 3)


def test_a_summary_of_nothing_has_no_quantiles():
    summary = sum_up([], 0.0, 1.0)
    assert summary.goodput == 0.0
    assert math.isnan(summary.p99_s) and math.isnan(summary.admitted_in_time)


def test_kinds_are_ordered_and_hold_their_scales():
    assert Kind(4, 3) < Kind(8, 1)
    assert (Kind(4, 1).product_scale, Kind(4, 1).shopper_scale) == (1.0, 1.0)


def test_lines_become_a_picture_with_every_colour(tmp_path):
    lines = {
        "ours": [Point(0.5, 1.0), Point(3.0, 4.0)],
        "theirs": [Point(0.5, 1.0), Point(3.0, math.nan)],
        "nobody's": [Point(0.5, math.nan)],
    }
    draw_lines(tmp_path / "a" / "lines.png", "goodput", lines, "load", "images/s")
    with Image.open(tmp_path / "a" / "lines.png") as image:
        assert image.size == (WIDTH, HEIGHT)
        pixels = np.asarray(image.convert("RGB"), np.int64)
    for colour in ((0xC4, 0x54, 0x34), (0x2F, 0x6F, 0x73)):
        assert (np.abs(pixels - colour).sum(axis=2) < 30).any()


def test_lines_without_points_are_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_lines(tmp_path / "lines.png", "goodput", {"ours": []}, "load", "images/s")
