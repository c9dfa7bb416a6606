"""Samplers and adapters against diffusers' own schedulers, on the same noise levels."""

import itertools

import pytest
import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
)
from diffusers.schedulers import scheduling_euler_ancestral_discrete, scheduling_lcm

from diffusion.denoiser import FlowDenoiser, NoiseDenoiser, SampleDenoiser, VelocityDenoiser
from diffusion.samplers import SAMPLERS, advance, flow_sigmas, plan_heun_on_flow
from tests.diffusion.closed_forms import Gaussian, TwoPoints

# diffusers turns tensors into arrays in a way that numpy is about to forbid.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TOLERANCE = 1e-4
DATA = {"gaussian": Gaussian(), "two_points": TwoPoints()}
ADAPTERS = {
    "epsilon": NoiseDenoiser,
    "v_prediction": VelocityDenoiser,
    "sample": SampleDenoiser,
}


def predict(kind, data, scaled, sigma):
    """What a perfect network of this kind answers at x / sqrt(1 + sigma²)."""
    sigma = torch.as_tensor(sigma, dtype=scaled.dtype).reshape(-1, *(1,) * (scaled.dim() - 1))
    total = (1 + sigma**2).sqrt()
    image = data.denoise(scaled * total, sigma)
    noise = (scaled * total - image) / sigma
    answers = {"sample": image, "epsilon": noise, "v_prediction": (noise - sigma * image) / total}
    return answers[kind]


def draw_start(sigma):
    return sigma * torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(7))


def walk_ours(sampler, denoiser, sigmas):
    x = draw_start(sigmas[0])
    h = torch.zeros_like(x)
    for tick in SAMPLERS[sampler](sigmas):
        sigma = torch.full((len(x),), tick.sigma)
        x, h = advance(x, denoiser(x, sigma, {}), h, [tick] * len(x))
    return x


def walk_theirs(scheduler, network, x):
    """diffusers' loop; `network(scaled, sigma)` knows the noise level instead of a timestep."""
    levels = [sigma.item() for sigma in scheduler.sigmas]
    for level, t in zip(levels, scheduler.timesteps, strict=False):
        scaled = scheduler.scale_model_input(x, t)
        x = scheduler.step(network(scaled, level), t, x).prev_sample
    return x


def adapted(kind, data):
    network = lambda scaled, time: predict(kind, data, scaled, time)  # noqa: E731
    return ADAPTERS[kind](network, lambda sigma: sigma)


def distinct(sigmas):
    """The schedule without the repeats that diffusers keeps for second evaluations."""
    return list(dict.fromkeys(sigma.item() for sigma in sigmas))


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("karras", [False, True])
def test_euler_is_diffusers_euler(kind, data, karras):
    scheduler = EulerDiscreteScheduler(prediction_type=kind, use_karras_sigmas=karras)
    scheduler.set_timesteps(17)
    sigmas = distinct(scheduler.sigmas)
    theirs = walk_theirs(
        scheduler, lambda x, sigma: predict(kind, data, x, sigma), draw_start(sigmas[0])
    )
    ours = walk_ours("euler", adapted(kind, data), sigmas)
    assert (ours - theirs).abs().max() <= TOLERANCE


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("karras", [False, True])
def test_heun_is_diffusers_heun(kind, data, karras):
    scheduler = HeunDiscreteScheduler(prediction_type=kind, use_karras_sigmas=karras)
    scheduler.set_timesteps(13)
    sigmas = distinct(scheduler.sigmas)
    theirs = walk_theirs(
        scheduler, lambda x, sigma: predict(kind, data, x, sigma), draw_start(sigmas[0])
    )
    ours = walk_ours("heun", adapted(kind, data), sigmas)
    assert (ours - theirs).abs().max() <= TOLERANCE


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize(
    "options",
    [
        {"final_sigmas_type": "zero"},
        {"final_sigmas_type": "zero", "use_karras_sigmas": True},
        {"final_sigmas_type": "sigma_min", "lower_order_final": False},
    ],
    ids=["to_zero", "karras", "to_a_positive_level"],
)
def test_dpm_solver_2m_is_diffusers_dpm_solver(kind, data, options):
    scheduler = DPMSolverMultistepScheduler(
        prediction_type=kind, algorithm_type="dpmsolver++", solver_order=2, **options
    )
    scheduler.set_timesteps(12)
    levels = [sigma.item() for sigma in scheduler.sigmas]
    # diffusers walks the variance-preserving sample x / sqrt(1 + sigma²).
    start, end = ((1 + levels[i] ** 2) ** 0.5 for i in (0, -1))
    theirs = end * walk_theirs(
        scheduler, lambda x, sigma: predict(kind, data, x, sigma), draw_start(levels[0]) / start
    )
    ours = walk_ours("dpmpp_2m", adapted(kind, data), levels)
    assert (ours - theirs).abs().max() <= TOLERANCE


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_euler_on_a_flow_is_diffusers_flow_matching(data, shift):
    def network(x_t, t):
        t = torch.as_tensor(t, dtype=x_t.dtype).reshape(-1, 1, 1, 1)
        sigma = t / (1 - t)
        return (x_t - data.denoise(x_t / (1 - t), sigma)) / t

    sigmas = flow_sigmas(15, shift=shift)
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=[sigma / (1 + sigma) for sigma in sigmas[:-1]])
    x = draw_start(sigmas[0]) / (1 + sigmas[0])
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t / 1000), t, x).prev_sample
    ours = walk_ours("euler", FlowDenoiser(network), sigmas)
    assert (ours - x).abs().max() <= TOLERANCE


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
@pytest.mark.parametrize("t_max", [0.995, 0.999999])
def test_heun_on_a_flow_is_diffusers_flow_matching_heun(data, t_max):
    def network(x_t, t):
        t = torch.as_tensor(t, dtype=x_t.dtype).reshape(-1, 1, 1, 1)
        return (x_t - data.denoise(x_t / (1 - t), t / (1 - t))) / t

    scheduler = FlowMatchHeunDiscreteScheduler()
    scheduler.set_timesteps(6)
    levels = t_max * scheduler.sigmas  # theirs begin at 1, where a sample has no end
    scheduler.sigmas, scheduler.timesteps = levels, 1000 * levels[:-1]
    times = list(dict.fromkeys(levels.tolist()))
    sigmas = [t / (1 - t) for t in times]
    x = draw_start(sigmas[0]) / (1 + sigmas[0])
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t / 1000), t, x).prev_sample
    start = draw_start(sigmas[0])
    h = torch.zeros_like(start)
    ours = start
    for tick in plan_heun_on_flow(sigmas):
        sigma = torch.full((2,), tick.sigma)
        ours, h = advance(ours, FlowDenoiser(network)(ours, sigma, {}), h, [tick] * 2)
    assert (ours - x).abs().max() <= 10 * TOLERANCE


def draw_fresh(tag: int) -> torch.Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1000 + tag))


def walk_with_noise(sampler, denoiser, sigmas):
    """Our loop, with the noise of `draw_fresh` after each tick that takes some."""
    x = draw_start(sigmas[0])
    h = torch.zeros_like(x)
    for number, tick in enumerate(SAMPLERS[sampler](sigmas)):
        sigma = torch.full((len(x),), tick.sigma)
        x, h = advance(x, denoiser(x, sigma, {}), h, [tick] * len(x))
        x = x + tick.noise * draw_fresh(number)
    return x


def feed_noise(monkeypatch, module):
    """diffusers' scheduler of this module takes the same noise, call by call."""
    numbers = itertools.count()
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: draw_fresh(next(numbers)))


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_euler_ancestral_is_diffusers_euler_ancestral(kind, data, monkeypatch):
    feed_noise(monkeypatch, scheduling_euler_ancestral_discrete)
    scheduler = EulerAncestralDiscreteScheduler(prediction_type=kind)
    scheduler.set_timesteps(11)
    sigmas = distinct(scheduler.sigmas)
    theirs = walk_theirs(
        scheduler, lambda x, sigma: predict(kind, data, x, sigma), draw_start(sigmas[0])
    )
    ours = walk_with_noise("euler_ancestral", adapted(kind, data), sigmas)
    assert (ours - theirs).abs().max() <= TOLERANCE


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_lcm_is_diffusers_lcm(data, monkeypatch):
    """Its boundary takes in a millionth of the sample at these times; ours leaves that out."""
    feed_noise(monkeypatch, scheduling_lcm)
    scheduler = LCMScheduler()
    scheduler.set_timesteps(4)
    alphas = [scheduler.alphas_cumprod[int(t)].item() for t in scheduler.timesteps]
    sigmas = [((1 - alpha) / alpha) ** 0.5 for alpha in alphas] + [0.0]
    x = draw_start(sigmas[0]) * alphas[0] ** 0.5  # diffusers walks x / sqrt(1 + sigma²)
    for sigma, t in zip(sigmas, scheduler.timesteps, strict=False):
        x = scheduler.step(predict("epsilon", data, x, sigma), t, x).prev_sample
    ours = walk_with_noise("lcm", adapted("epsilon", data), sigmas)
    assert (ours - x).abs().max() <= 1e-3
