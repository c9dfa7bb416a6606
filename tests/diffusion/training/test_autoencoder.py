"""Training of the autoencoder: the projection is fitted, the decoder trained, nothing leaks."""

import torch
from torch.nn import functional as F

from diffusion.training.autoencoder import train_autoencoder
from diffusion.training.loop import Schedule


def test_the_autoencoder_is_trained_without_products_held_out(guarded, tmp_path):
    network = train_autoencoder(guarded, Schedule(1, 1e-2, 1), tmp_path, batch=4)
    (line,) = (tmp_path / "autoencoder.csv").read_text().splitlines()
    step, _, loss, psnr_db = map(float, line.split(","))
    assert step == 0 and 0 < loss < 3 and 10 < psnr_db < 60
    rows = F.normalize(network.project.weight.flatten(1), dim=1)
    overlap = (rows @ rows.T - torch.eye(len(rows))).abs().max()
    assert overlap <= 1e-4, "the projection stays as it was fitted: principal components"
