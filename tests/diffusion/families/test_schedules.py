"""A family's own noise levels in our sigmas, against diffusers' schedulers."""

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler, LCMScheduler

from diffusion.families.schedules import T_MAX, DiscreteSchedule, FlowSchedule

# diffusers turns tensors into arrays in a way that numpy is about to forbid; only its own do here.
theirs = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SD15 = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SPACINGS = [
    {"timestep_spacing": "leading", "steps_offset": 1},
    {"timestep_spacing": "trailing"},
    {"timestep_spacing": "linspace"},
]


@theirs
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("num_steps", [1, 4, 20])
def test_a_discrete_schedule_stops_where_diffusers_stops(spacing, num_steps):
    config = SD15 | spacing
    scheduler = EulerDiscreteScheduler.from_config(config)
    scheduler.set_timesteps(num_steps)
    schedule = DiscreteSchedule(config)
    sigmas = schedule.sigmas(num_steps, num_tokens=0)
    assert sigmas == pytest.approx(scheduler.sigmas.tolist()) and sigmas[-1] == 0
    assert schedule.noise_scale(sigmas[0]) == pytest.approx(float(scheduler.init_noise_sigma))
    times = schedule.time(torch.tensor(sigmas[:-1]))
    assert times.numpy() == pytest.approx(scheduler.timesteps.numpy(), abs=0.02)


@theirs
@pytest.mark.parametrize("kind", ["lightning", "turbo"])
def test_distillations_stop_at_trailing_levels(kind):
    scheduler = EulerDiscreteScheduler.from_config(SD15 | {"timestep_spacing": "trailing"})
    scheduler.set_timesteps(4)
    leading = SD15 | {"timestep_spacing": "leading", "steps_offset": 1}
    assert DiscreteSchedule(leading, kind).sigmas(4, 0) == pytest.approx(scheduler.sigmas.tolist())


def test_a_consistency_models_levels_are_those_of_its_distillation():
    scheduler = LCMScheduler.from_config(SD15)
    scheduler.set_timesteps(4)
    alphas = scheduler.alphas_cumprod[scheduler.timesteps]
    schedule = DiscreteSchedule(SD15, "lcm")
    sigmas = schedule.sigmas(4, 0)
    assert sigmas[:-1] == pytest.approx(((1 - alphas) / alphas).sqrt().tolist(), rel=1e-4)
    times = schedule.time(torch.tensor(sigmas[:-1]))
    assert times.numpy() == pytest.approx(scheduler.timesteps.numpy(), abs=0.02)


def test_times_beyond_the_training_are_its_ends():
    schedule = DiscreteSchedule(SD15)
    times = schedule.time(torch.tensor([1e-5, schedule.sigma_min, schedule.sigma_max, 1e5]))
    assert times.tolist() == pytest.approx([0, 0, 999, 999], abs=0.02)


FLOWS = [
    ({"shift": 3.0}, False, 0),
    ({"shift": 1.0}, True, 0),
    ({"use_dynamic_shifting": True}, True, 4096),
    ({"use_dynamic_shifting": True, "max_shift": 0.9, "shift_terminal": 0.02}, True, 1024),
]


@pytest.mark.parametrize(("config", "is_spaced", "num_tokens"), FLOWS)
def test_a_flow_stops_where_diffusers_stops(config, is_spaced, num_tokens):
    schedule = FlowSchedule(config, is_spaced)
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(config)
    told: dict[str, object] = {"num_inference_steps": 8}
    if is_spaced:
        told = {"sigmas": np.linspace(1, 1 / 8, 8)}
    if "use_dynamic_shifting" in config:
        told["mu"] = schedule.find_mu(num_tokens)
    scheduler.set_timesteps(**told)
    times = [sigma / (1 + sigma) for sigma in schedule.sigmas(8, num_tokens)]
    assert times[0] == pytest.approx(T_MAX)
    assert times[1:] == pytest.approx(scheduler.sigmas[1:].tolist(), abs=1e-6)


@pytest.mark.parametrize(("config", "is_spaced", "num_tokens"), FLOWS)
def test_a_single_step_goes_all_of_the_way(config, is_spaced, num_tokens):
    sigma, last = FlowSchedule(config, is_spaced).sigmas(1, num_tokens)
    assert sigma / (1 + sigma) == pytest.approx(T_MAX) and last == 0


def test_the_shift_grows_with_the_picture():
    """Flux: 256 places are shifted by 0.5, 4096 by 1.15."""
    schedule = FlowSchedule({"use_dynamic_shifting": True})
    assert schedule.find_mu(256) == pytest.approx(0.5)
    assert schedule.find_mu(4096) == pytest.approx(1.15)


@pytest.mark.parametrize("schedule", [DiscreteSchedule(SD15), FlowSchedule({}, scale=1000.0)])
@pytest.mark.parametrize("name", [None, "karras", "uniform"])
@pytest.mark.parametrize("num_steps", [1, 2, 9])
def test_sigmas_fall_to_zero_whatever_their_name(schedule, name, num_steps):
    sigmas = schedule.sigmas(num_steps, 64, name)
    assert len(sigmas) == num_steps + 1 and sigmas[-1] == 0
    assert all(a > b for a, b in zip(sigmas[:-1], sigmas[1:], strict=True))
