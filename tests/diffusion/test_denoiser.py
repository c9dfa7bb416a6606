"""Adapters: however a network says it, the denoised sample is the same."""

import pytest
import torch

from diffusion.denoiser import (
    FlowDenoiser,
    NoiseDenoiser,
    SampleDenoiser,
    VelocityDenoiser,
    per_row,
)
from tests.diffusion.closed_forms import Gaussian

DATA = Gaussian(mean=-0.4, deviation=0.5)
SIGMA = torch.tensor([0.01, 0.3, 1.0, 7.0, 80.0])


def at(sigma):
    """Samples [rows, 2, 3, 3] with noise of each row's own level."""
    noise = torch.randn(len(sigma), 2, 3, 3, generator=torch.Generator().manual_seed(1))
    return DATA.mean + per_row((DATA.deviation**2 + sigma**2).sqrt(), noise) * noise


def in_rows(sigma):
    return sigma.view(-1, 1, 1, 1)


def predict_noise(scaled, sigma):
    x = scaled * in_rows((1 + sigma**2).sqrt())
    return (x - DATA.denoise(x, in_rows(sigma))) / in_rows(sigma)


def predict_image(scaled, sigma):
    return DATA.denoise(scaled * in_rows((1 + sigma**2).sqrt()), in_rows(sigma))


def predict_v(scaled, sigma):
    """alpha · noise - sigma · image, of the variance-preserving process."""
    total = in_rows((1 + sigma**2).sqrt())
    return predict_noise(scaled, sigma) / total - in_rows(sigma) / total * predict_image(
        scaled, sigma
    )


def predict_flow(x_t, t):
    """noise - image, along x_t = (1 - t) image + t noise."""
    sigma = t / (1 - t)
    image = DATA.denoise(x_t / in_rows(1 - t), in_rows(sigma))
    return (x_t - image) / in_rows(t)


ADAPTED = {
    "noise": NoiseDenoiser(predict_noise, lambda sigma: sigma),
    "velocity": VelocityDenoiser(predict_v, lambda sigma: sigma),
    "sample": SampleDenoiser(predict_image, lambda sigma: sigma),
    "flow": FlowDenoiser(predict_flow),
}


@pytest.mark.parametrize("denoiser", ADAPTED.values(), ids=ADAPTED)
def test_every_prediction_gives_the_expected_image(denoiser):
    x = at(SIGMA)
    expected = DATA.denoise(x, in_rows(SIGMA))
    assert torch.allclose(denoiser(x, SIGMA, {}), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("denoiser", ADAPTED.values(), ids=ADAPTED)
def test_each_row_has_a_noise_level_of_its_own(denoiser):
    x = at(SIGMA)
    together = denoiser(x, SIGMA, {})
    for i in range(len(x)):
        alone = denoiser(x[i : i + 1], SIGMA[i : i + 1], {})
        assert torch.allclose(together[i], alone[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("adapter", [NoiseDenoiser, VelocityDenoiser, SampleDenoiser])
def test_a_network_is_told_its_own_time_and_its_conditions(adapter):
    told: dict[str, torch.Tensor] = {}

    def network(x, t, **cond):
        told.update(t=t, **cond)
        return x

    hint = torch.tensor([4.0])
    adapter(network, lambda sigma: 1000 * sigma)(torch.ones(1, 2), torch.tensor([0.5]), {"h": hint})
    assert told["t"].item() == 500 and told["h"] is hint


def test_a_flow_is_told_the_time_between_image_and_noise():
    times = {}

    def network(x, t):
        times["t"] = t
        return torch.zeros_like(x)

    x = torch.ones(3, 2)
    image = FlowDenoiser(network)(x, torch.tensor([0.0, 1.0, 199.0]), {})
    assert times["t"].tolist() == pytest.approx([0.0, 0.5, 0.995])
    assert image[:, 0].tolist() == pytest.approx([1.0, 0.5, 0.005])


def test_rows_are_widened_to_the_shape_and_type_of_what_they_multiply():
    like = torch.zeros(3, 2, 4, 4, dtype=torch.float64)
    widened = per_row(torch.arange(3.0), like)
    assert widened.shape == (3, 1, 1, 1) and widened.dtype == torch.float64
