"""Training of the generator: held-out products stay out, and every condition is listened to."""

import pytest
import torch

from diffusion.encoders import Encoders
from diffusion.training.clicks import load_moments
from diffusion.training.examples import ExampleSource
from diffusion.training.generator import build_generator, train_generator
from diffusion.training.loop import Schedule
from tests.diffusion.tiny import LATENT_CHANNELS, WIDTH, make_autoencoder, make_encoders
from tests.diffusion.training.moments import write_training_set


# Under autocast torch has no fused kernel for a norm whose weights are float32, and says so.
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning")
def test_the_generator_is_trained_without_products_held_out(watched, tmp_path):
    moments = load_moments(write_training_set(tmp_path, WIDTH), "digest", WIDTH)
    autoencoder = make_autoencoder().requires_grad_(False)
    encoders = Encoders(make_encoders(), "digest")
    source = ExampleSource(watched, moments, autoencoder, encoders)
    network = build_generator(source, width=32, depth=2, num_heads=2)
    network = train_generator(source, network, Schedule(2, 1e-2, 1), tmp_path, 16)
    assert network.config.latent_channels == LATENT_CHANNELS
    assert network.config.embedding_width == WIDTH
    assert network.config.depth == 2
    assert all(torch.isfinite(parameter).all() for parameter in network.parameters())
    assert network.unembed.weight.any(), "it has begun to predict"
    step, _, loss, mse = map(float, (tmp_path / "generator.csv").read_text().split(","))
    assert step == 0 and 0.3 < mse < 5, "nothing predicted: the velocity's own variance"
    assert loss != mse, "errors count by the task"
