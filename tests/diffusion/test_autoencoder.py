"""The autoencoder: shapes, islands, and the linear map that it starts as."""

import pytest
import torch

from diffusion.autoencoder import PATCH, Autoencoder
from tests.diffusion.tiny import LATENT_CHANNELS, make_autoencoder


@pytest.fixture(scope="module")
def network():
    return make_autoencoder().requires_grad_(False)


def draw_pictures(num_directions, count=6, side=32, seed=0):
    """Pictures whose patches lie in a space of so many dimensions, around a plain colour."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(num_directions, 3, PATCH, PATCH, generator=generator)
    cells = side // PATCH
    shares = torch.randn(count, num_directions, cells, cells, generator=generator)
    shares -= shares.mean(dim=(0, 2, 3), keepdim=True)
    patches = torch.einsum("nkij,kcyx->nciyjx", shares, directions)
    colour = torch.tensor([0.5, -0.2, 0.1]).view(1, 3, 1, 1)
    return patches.reshape(count, 3, side, side) + colour


@pytest.mark.parametrize(("height", "width"), [(32, 32), (128, 128), (64, 40)])
def test_eight_pixels_become_one_latent_and_eight_again(network, height, width):
    latents = network.encode(torch.rand(2, 3, height, width) * 2 - 1)
    assert latents.shape == (2, LATENT_CHANNELS, height // 8, width // 8)
    assert network.decode(latents).shape == (2, 3, height, width)


def test_one_picture_does_not_change_another(network):
    latents = torch.randn(3, LATENT_CHANNELS, 4, 4)
    other = latents.clone()
    other[1] = -other[1]
    before, after = network.decode(latents), network.decode(other)
    assert (before[[0, 2]] - after[[0, 2]]).abs().max() <= 1e-6
    assert (before[1] - after[1]).abs().max() > 1e-3
    assert (network.decode(latents[:1]) - before[:1]).abs().max() <= 1e-5


def test_a_fitted_projection_keeps_all_that_its_components_can_say():
    pictures, network = draw_pictures(num_directions=5), Autoencoder(5, (16, 8), (1, 1))
    network.fit_projection(pictures)
    with torch.no_grad():
        assert (network(pictures) - pictures).abs().max() <= 1e-3
        other = draw_pictures(num_directions=5, count=2) * 0.5 + pictures[:2] * 0.5
        assert (network(other) - other).abs().max() <= 1e-3


def test_fewer_components_keep_the_strongest():
    pictures, errors = draw_pictures(num_directions=6), []
    for count in (2, 4, 6):
        network = Autoencoder(count, (16, 8), (1, 1))
        network.fit_projection(pictures)
        with torch.no_grad():
            errors.append((network(pictures) - pictures).square().mean().item())
    assert errors[0] > errors[1] > errors[2] and errors[2] < 1e-5


def test_fitted_latents_are_centred_and_of_variance_about_one():
    pictures, network = draw_pictures(num_directions=40, count=40), Autoencoder(16, (16, 8), (1, 1))
    network.fit_projection(pictures)
    with torch.no_grad():
        latents = network.encode(pictures)
    assert latents.mean(dim=(0, 2, 3)).abs().max() <= 1e-3
    assert 0.5 < latents.std().item() < 2
    deviations = latents.std(dim=(0, 2, 3))
    assert (deviations.diff() < 1e-3).all(), "the strongest component comes first"


def test_a_saved_autoencoder_codes_as_before(network, tmp_path):
    network.save_pretrained(tmp_path)
    loaded = Autoencoder.from_pretrained(tmp_path).eval()
    pixels = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        assert torch.equal(loaded(pixels), network(pixels))
