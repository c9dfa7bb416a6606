"""What UNets are trained to undo: by each kind of schedule the clean picture can be found again."""

import pytest
import torch
from diffusers import (
    DDPMScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)

from diffusion.checkpoint import CheckpointUnusable
from diffusion.training.noising import DiscreteNoising, FlowNoising, find_noising

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def latents(num_rows=8):
    return torch.randn(num_rows, 4, 4, 4, generator=torch.Generator().manual_seed(9))


def spoil(noising, num_rows=8, seed=0):
    return noising.spoil(latents(num_rows), torch.Generator().manual_seed(seed))


def levels(time):
    """Of image and noise in x, by definition: sqrt of the product of 1 - beta, and its rest."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas = (1 - betas).cumprod(0)[time].reshape(-1, 1, 1, 1).float()
    return alphas.sqrt(), (1 - alphas).sqrt()


@pytest.mark.parametrize(
    ("prediction", "find_image"),
    [
        ("epsilon", lambda x, target, a, s: (x - s * target) / a),
        ("v_prediction", lambda x, target, a, s: a * x - s * target),
        ("sample", lambda x, target, a, s: target),
    ],
)
def test_what_is_asked_for_leads_back_to_the_picture(prediction, find_image):
    scheduler = EulerDiscreteScheduler(**BETAS, prediction_type=prediction)
    noising = find_noising(scheduler)
    assert isinstance(noising, DiscreteNoising)
    noisy = spoil(noising)
    found = find_image(noisy.x, noisy.target, *levels(noisy.time))
    assert torch.allclose(found, latents(), atol=2e-4)
    assert (noisy.x - latents()).abs().max() > 0.1
    assert noisy.time.dtype == torch.long and len(set(noisy.time.tolist())) > 4


def test_a_flow_asks_for_the_way_from_picture_to_noise():
    noising = find_noising(FlowMatchEulerDiscreteScheduler(shift=3.0))
    assert isinstance(noising, FlowNoising)
    noisy = spoil(noising)
    t = noisy.time.reshape(-1, 1, 1, 1) / 1000
    assert torch.allclose(noisy.x - t * noisy.target, latents(), atol=1e-5)
    assert (0 < t).all() and (t < 1).all()


def test_a_shift_moves_times_towards_noise():
    """t = 3 s / (1 + 2 s): the middle goes to three quarters."""
    even, moved = (
        spoil(find_noising(FlowMatchEulerDiscreteScheduler(shift=shift)), 2001).time
        for shift in (1.0, 3.0)
    )
    assert even.median() == pytest.approx(500, abs=25)
    assert moved.median() == pytest.approx(750, abs=25)


@pytest.mark.parametrize(
    "told", [{"use_flow_sigmas": True}, {"prediction_type": "flow_prediction"}]
)
def test_other_names_of_flows_are_known(told):
    assert isinstance(find_noising(UniPCMultistepScheduler(**BETAS, **told)), FlowNoising)


def test_all_times_are_drawn_alike():
    time = spoil(find_noising(DDPMScheduler(**BETAS)), 4000).time
    assert time.min() < 10 and time.max() > 990
    assert time.float().mean() == pytest.approx(499.5, abs=15)


def test_noise_is_a_function_of_the_generator():
    noising = find_noising(DDPMScheduler(**BETAS))
    one, same, other = spoil(noising), spoil(noising), spoil(noising, seed=1)
    assert torch.equal(one.x, same.x) and not torch.equal(one.x, other.x)


@pytest.mark.parametrize(
    "scheduler", [EDMEulerScheduler(), DDPMScheduler(**BETAS, prediction_type="score")]
)
def test_a_schedule_that_nothing_is_known_of_is_refused(scheduler):
    named = f"scheduler_config.json: a {type(scheduler).__name__} with prediction_type"
    with pytest.raises(CheckpointUnusable, match=named):
        find_noising(scheduler)
