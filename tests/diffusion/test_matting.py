"""Matting: pictures of any size are seen as they are."""

import shutil
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from diffusion.checkpoint import CheckpointUnusable
from diffusion.matting import Matting, save_index, shrink
from diffusion.unet import UNet

SIDE = 32


class Red(nn.Module):
    """Takes what is red for the product."""

    def __init__(self):
        super().__init__()
        self.anything = nn.Parameter(torch.zeros(1))
        self.device = torch.device("cpu")

    def forward(self, pixels):
        return 20 * (pixels[:, :1] - pixels[:, 1:2])


@pytest.fixture
def red():
    network: Any = Red()
    return Matting(network, "red", "0" * 16, SIDE)


def draw_box(height, width, rows, columns):
    picture = np.full((height, width, 3), (20, 200, 60), np.uint8)
    picture[rows, columns] = (220, 30, 20)
    truth = np.zeros((height, width), np.float32)
    truth[rows, columns] = 1
    return picture, truth


@pytest.mark.parametrize("size", [(32, 32), (256, 256), (300, 150), (90, 201)])
def test_a_product_is_found_at_the_pictures_own_resolution(red, size):
    height, width = size
    rows, columns = slice(height // 4, height // 2), slice(width // 4, 3 * width // 4)
    picture, truth = draw_box(height, width, rows, columns)
    matte = red.find_alpha(picture)
    assert matte.alpha.shape == size and matte.alpha.dtype == np.float32
    found = matte.alpha > 0.5
    overlap = (found & (truth > 0)).sum() / (found | (truth > 0)).sum()
    assert overlap > 0.93
    assert matte.uncertainty < 0.5


def test_pictures_found_together_are_found_as_alone(red):
    pictures = [draw_box(h, 80, slice(5, 20), slice(9, 50))[0] for h in (40, 77, 128)]
    together = red.find_alphas(pictures, batch_size=2)
    for picture, matte in zip(pictures, together, strict=True):
        alone = red.find_alpha(picture)
        assert np.allclose(alone.alpha, matte.alpha, atol=1e-6)
    assert red.find_alphas([]) == []


def test_a_picture_of_the_networks_size_is_not_resampled():
    picture, _ = draw_box(SIDE, SIDE, slice(5, 20), slice(9, 20))
    assert shrink(picture, SIDE) is picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matting")
    torch.manual_seed(0)
    network = UNet(3, 1, widths=(8, 12), num_blocks=(1, 1))
    nn.init.normal_(network.leave.weight, std=0.1)
    network.save_pretrained(folder / "network")
    save_index(folder, "tiny", SIDE)
    return folder


def test_a_saved_network_is_loaded(folder):
    matting = Matting.load(folder)
    picture, _ = draw_box(50, 60, slice(5, 20), slice(9, 20))
    alpha = matting.find_alpha(picture).alpha
    assert alpha.shape == (50, 60) and alpha.std() > 0
    assert matting.name == "tiny" and matting.digest == Matting.load(folder).digest


def test_a_folder_that_is_none_is_refused(folder, tmp_path):
    with pytest.raises(CheckpointUnusable, match="finds no products"):
        Matting.load(tmp_path)
    other = shutil.copytree(folder, tmp_path / "other")
    UNet(7, 3, widths=(8, 12), num_blocks=(1, 1)).save_pretrained(other / "network")
    with pytest.raises(CheckpointUnusable, match="another kind"):
        Matting.load(other)
