"""Samplers against closed forms: orders of convergence, rows of many kinds in one update."""

import math
from functools import partial

import pytest
import torch

from diffusion.samplers import (
    SAMPLERS,
    advance,
    flow_sigmas,
    intervals,
    karras_sigmas,
    plan_dpmpp_2m,
    plan_euler,
    plan_heun,
    update,
)
from tests.diffusion.closed_forms import Gaussian, TwoPoints


def walk(plan, x, denoise):
    """All rows of x [rows, ...] by one plan."""
    h = torch.zeros_like(x)
    for tick in plan:
        x, h = advance(x, denoise(x, torch.tensor(tick.sigma, dtype=x.dtype)), h, [tick] * len(x))
    return x


def spread_sigmas(num_steps, first=3.0, last=0.2):
    """Noise levels evenly spaced in their logarithm, where every sampler has its proper order."""
    return [first * (last / first) ** (i / num_steps) for i in range(num_steps + 1)]


def miss(sampler, num_steps):
    """How far a sampler ends from the exact flow of Gaussian data."""
    data, x = Gaussian(), torch.linspace(-4, 4, 9, dtype=torch.float64)[None]
    sigmas = spread_sigmas(num_steps)
    found = walk(SAMPLERS[sampler](sigmas), x, data.denoise)
    return (found - data.walk(x, sigmas[0], sigmas[-1])).abs().max().item()


@pytest.mark.parametrize(("sampler", "gain"), [("euler", 2), ("heun", 4), ("dpmpp_2m", 4)])
def test_the_error_shrinks_by_the_samplers_order_when_steps_double(sampler, gain):
    errors = [miss(sampler, num_steps) for num_steps in (32, 64, 128)]
    assert errors[0] < 0.15
    assert errors[0] / errors[1] == pytest.approx(gain, rel=0.15)
    assert errors[1] / errors[2] == pytest.approx(gain, rel=0.1)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_schedule_that_ends_in_zero_ends_in_the_last_prediction(sampler):
    data, x = TwoPoints(), torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    last = {}

    def denoise(x, sigma):
        last["denoised"] = data.denoise(x, sigma)
        return last["denoised"]

    found = walk(SAMPLERS[sampler](karras_sigmas(8, 0.05, 10)), 10 * x, denoise)
    assert torch.allclose(found, last["denoised"], atol=1e-6)
    assert torch.allclose(found.abs(), torch.ones_like(found), atol=1e-4)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_step_is_one_prediction(sampler):
    (tick,) = SAMPLERS[sampler]([2.0, 0.0])
    x, denoised = torch.randn(1, 4), torch.randn(1, 4)
    found, _ = advance(x, denoised, torch.zeros_like(x), [tick])
    assert torch.equal(found, denoised) and tick.step == 1


def test_ticks_count_finished_steps():
    sigmas = [3.0, 2.0, 1.0, 0.0]
    assert [tick.step for tick in plan_euler(sigmas)] == [1, 2, 3]
    assert [tick.step for tick in plan_heun(sigmas)] == [0, 1, 1, 2, 3]
    assert [tick.step for tick in plan_dpmpp_2m(sigmas)] == [1, 2, 3]


def test_a_tick_is_evaluated_at_the_noise_level_of_its_sample():
    assert [tick.sigma for tick in plan_euler([3.0, 2.0, 0.0])] == [3.0, 2.0]
    assert [tick.sigma for tick in plan_heun([3.0, 2.0, 0.0])] == [3.0, 2.0, 2.0]


@pytest.mark.parametrize(
    "sigmas",
    [[], [1.0], [0.0], [1.0, 1.0], [1.0, 2.0, 0.0], [1.0, 0.0, 0.0], [1.0, -0.5], [math.nan, 0.0]],
)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_schedule_that_does_not_fall_is_refused(sampler, sigmas):
    with pytest.raises(ValueError, match="fall strictly"):
        SAMPLERS[sampler](sigmas)


def test_rows_of_different_samplers_schedules_and_lengths_share_every_update():
    data = TwoPoints()
    schedules = [flow_sigmas(4), flow_sigmas(9), karras_sigmas(6, 0.02, 80)]
    plans = [plan(sigmas) for plan in SAMPLERS.values() for sigmas in schedules]
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(len(plans), 2, 5, 5, generator=generator)
    start = noise * torch.tensor([plan[0].sigma for plan in plans]).view(-1, 1, 1, 1)
    x, h, done = start.clone(), torch.zeros_like(start), [0] * len(plans)
    while moving := [i for i, plan in enumerate(plans) if done[i] < len(plan)]:
        ticks = [plans[i][done[i]] for i in moving]
        sigma = torch.tensor([tick.sigma for tick in ticks]).view(-1, 1, 1, 1)
        x[moving], h[moving] = advance(x[moving], data.denoise(x[moving], sigma), h[moving], ticks)
        done = [count + (i in moving) for i, count in enumerate(done)]
    alone = torch.cat([walk(plan, start[i : i + 1], data.denoise) for i, plan in enumerate(plans)])
    assert (x - alone).abs().max() <= 1e-6


def test_an_update_by_a_table_is_the_update_by_ticks():
    ticks = [plan(flow_sigmas(5))[2] for plan in SAMPLERS.values()]
    x, denoised, h = torch.randn(3, len(ticks), 2, 4, 4, generator=torch.Generator().manual_seed(1))
    table = torch.tensor([tick.coefficients for tick in ticks])
    by_ticks, by_table = advance(x, denoised, h, ticks), update(x, denoised, h, table)
    assert all(torch.equal(one, other) for one, other in zip(by_ticks, by_table, strict=True))


def test_a_tick_knows_its_time():
    times = [tick.t for tick in plan_euler(flow_sigmas(4, t_max=0.8))]
    assert times == pytest.approx([0.8, 0.6, 0.4, 0.2])


def test_flow_sigmas_are_evenly_spaced_times():
    sigmas = flow_sigmas(4, t_max=0.8)
    times = [sigma / (1 + sigma) for sigma in sigmas]
    assert times == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.0])


def test_a_shifted_flow_spends_more_steps_at_high_noise():
    shifted = [sigma / (1 + sigma) for sigma in flow_sigmas(4, t_max=0.8, shift=3.0)]
    assert shifted == pytest.approx([3 * t / (1 + 2 * t) for t in (0.8, 0.6, 0.4, 0.2, 0.0)])


def test_karras_sigmas_run_from_the_largest_to_the_smallest_and_zero():
    sigmas = karras_sigmas(5, 0.02, 80)
    assert sigmas[0] == pytest.approx(80) and sigmas[4] == pytest.approx(0.02) and sigmas[5] == 0
    assert sigmas[2] == pytest.approx(((80 ** (1 / 7) + 0.02 ** (1 / 7)) / 2) ** 7)
    assert karras_sigmas(1, 0.02, 80) == pytest.approx([80, 0])


@pytest.mark.parametrize("num_steps", [1, 2, 7, 100])
@pytest.mark.parametrize(
    "schedule", [flow_sigmas, partial(karras_sigmas, sigma_min=1, sigma_max=9)]
)
def test_schedules_have_as_many_steps_as_asked_for(schedule, num_steps):
    assert len(intervals(schedule(num_steps))) == num_steps
