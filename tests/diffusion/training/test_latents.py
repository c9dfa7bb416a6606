"""Latents are made once for a model, a size and a set of pictures, and outlive interruptions."""

import numpy as np
import pytest
import torch

from diffusion.training import latents as module
from diffusion.training.latents import encode, encode_pictures
from diffusion.training.pictures import read_dataset
from tests.diffusion.families.tiny_unet import tiny_vae
from tests.diffusion.training.shop import COLOURS, write_shop

SIZE = (16, 8)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = write_shop(tmp_path_factory.mktemp("shop"))
    return read_dataset(folder, folder, typical_share=1.0).pictures


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    monkeypatch.setattr(module, "ROWS", 3)


class Watched:
    """An autoencoder that counts what it is shown."""

    def __init__(self, num_allowed=99):
        self.vae, self.num_shown, self.num_allowed = tiny_vae(), 0, num_allowed
        self.config, self.dtype, self.device = self.vae.config, self.vae.dtype, self.vae.device

    def encode(self, pixels):
        self.num_shown += len(pixels)
        if self.num_shown > self.num_allowed:
            raise KeyboardInterrupt
        return self.vae.encode(pixels)


def test_latents_are_the_autoencoders_in_the_order_of_the_pictures(pictures, tmp_path):
    found = encode_pictures(pictures, tiny_vae(), SIZE, tmp_path, "model")
    wanted = torch.tensor(COLOURS).float()[:, :, None, None].expand(-1, -1, 8, 16) / 127.5 - 1
    vae = tiny_vae()
    mean = vae.encode(wanted).latent_dist.mean.detach() * vae.config.scaling_factor
    rows = np.array([3, 0, 2, 3])
    assert found[rows].shape == (4, 4, 4, 8) and found[rows].dtype == torch.float32
    assert torch.allclose(found[rows], mean[rows], atol=2e-3)
    assert (mean[0] - mean[1]).abs().max() > 0.01


def test_what_is_encoded_is_not_encoded_again(pictures, tmp_path):
    vae = Watched()
    one = encode_pictures(pictures, vae, SIZE, tmp_path, "model")
    again = encode_pictures(pictures, vae, SIZE, tmp_path, "model")
    assert vae.num_shown == 4
    assert torch.equal(one[np.arange(4)], again[np.arange(4)])


def test_another_model_or_size_is_encoded_anew(pictures, tmp_path):
    vae = Watched()
    for size, model in ((SIZE, "model"), (SIZE, "another"), ((16, 16), "model")):
        encode_pictures(pictures, vae, size, tmp_path, model)
    assert vae.num_shown == 12


def test_an_interrupted_run_goes_on_where_it_was(pictures, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        encode_pictures(pictures, Watched(num_allowed=3), SIZE, tmp_path, "model")
    vae = Watched()
    found = encode_pictures(pictures, vae, SIZE, tmp_path, "model")
    assert vae.num_shown == 1, "three were kept"
    whole = encode_pictures(pictures, tiny_vae(), SIZE, tmp_path / "anew", "model")
    assert torch.equal(found[np.arange(4)], whole[np.arange(4)])
    assert not list(tmp_path.rglob("*.part"))


def test_latents_are_shifted_and_scaled_as_the_autoencoder_says():
    pixels = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    vae = tiny_vae()
    mean = vae.encode(pixels).latent_dist.mean.detach()
    shifted = tiny_vae(shift_factor=0.5, scaling_factor=2.0)
    assert torch.allclose(encode(shifted, pixels), (mean - 0.5) * 2, atol=1e-6)
    means, deviations = [0.1, 0.2, 0.3, 0.4], [1.0, 2.0, 4.0, 8.0]
    by_channel = tiny_vae(latents_mean=means, latents_std=deviations, scaling_factor=2.0)
    centre, spread = (torch.tensor(told).reshape(1, 4, 1, 1) for told in (means, deviations))
    assert torch.allclose(encode(by_channel, pixels), (mean - centre) / spread * 2, atol=1e-6)
