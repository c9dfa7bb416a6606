"""Edges of shapes whose outlines are known."""

import numpy as np
import pytest
import torch

from diffusion.families.adapters.canny import connect, find_edges


def paint(shape, inside=1.0, outside=-1.0):
    """bool [H, W] → pixels [1, 3, H, W]."""
    return torch.where(torch.as_tensor(shape), inside, outside)[None, None].expand(-1, 3, -1, -1)


def edges_of(pixels, **told):
    found = find_edges(pixels, **told)
    assert found.shape == pixels.shape and found.dtype == torch.float32
    assert torch.equal(found[:, :1].expand_as(found), found)
    assert set(found.unique().tolist()) <= {0.0, 1.0}
    return found[:, 0].bool().numpy()


def grid(side):
    """Down and right from the middle."""
    return np.mgrid[:side, :side] - (side - 1) / 2


def test_a_square_has_four_lines_of_one_pixel():
    shape = np.zeros((64, 64), bool)
    shape[16:48, 16:48] = True
    (found,) = edges_of(paint(shape))
    down, right = grid(64)
    outline = np.maximum(abs(down), abs(right))
    assert abs(outline[found] - 16).max() <= 0.5
    for line in (found[28:36, :32], found[28:36, 32:], found[:32, 28:36].T, found[32:, 28:36].T):
        assert (line.sum(axis=1) == 1).all()


@pytest.mark.parametrize("radius", [10, 20.3, 27])
def test_a_disc_has_a_closed_thin_circle(radius):
    down, right = grid(64)
    distance = np.hypot(down, right)
    (found,) = edges_of(paint(distance < radius))
    assert abs(distance[found] - radius).max() <= 1
    turns = np.floor(np.degrees(np.arctan2(down, right))[found] / 10)
    assert len(set(turns)) == 36
    assert found.sum() <= 8 * radius  # as many as a circle has whose pixels share sides


def test_an_even_picture_has_no_edges_and_neither_has_its_border():
    assert not edges_of(torch.full((2, 3, 9, 12), 0.3)).any()
    ramp = torch.linspace(-1, 1, 64).expand(1, 3, 16, 64)
    assert not edges_of(ramp).any()


def test_an_edge_between_colours_of_one_brightness_is_seen():
    pixels = torch.full((1, 3, 16, 16), -1.0)
    pixels[:, 0, :, :8], pixels[:, 1, :, 8:] = 1.0, 1.0
    (found,) = edges_of(pixels)
    assert (found.sum(axis=1) == 1).all() and found[:, 7:9].any(axis=1).all()


def step(contrasts):
    """Rows of dark pixels, and right of the middle brighter by these of 255."""
    pixels = torch.full((1, 3, len(contrasts), 32), -0.5)
    pixels[..., 16:] += torch.tensor(contrasts)[None, None, :, None] / 127.5
    return pixels


def test_a_weak_line_counts_where_it_hangs_on_a_strong_one():
    strong, weak, faint = 120.0, 60.0, 20.0
    (found,) = edges_of(step([strong] * 4 + [weak] * 40))
    assert found.any(axis=1).all()
    (found,) = edges_of(step([weak] * 44))
    assert not found.any()
    (found,) = edges_of(step([strong] * 10 + [faint] * 10 + [weak] * 24))
    assert found[:9].any(axis=1).all() and not found[11:].any()


def test_thresholds_are_of_the_gradients_length():
    """Sobel's weights are 4 on each side, and 1 + 4 + 6 + 4 + 1 sixteenths of a blurred step lie
    between five pixels, so 4 + 6 between the neighbours of one beside it."""
    length = 4 * (4 + 6) / 16 * 100
    pixels = step([100.0] * 8)
    assert edges_of(pixels, low=length - 3, high=length - 2).any()
    assert not edges_of(pixels, low=length - 3, high=length + 2).any()


def test_a_long_line_is_followed_round_every_corner():
    """Every second row, and one pixel between, by turns on the right and on the left."""
    weak = torch.zeros(1, 1, 129, 129, dtype=torch.bool)
    weak[..., ::2, :] = True
    weak[..., 1::4, -1] = weak[..., 3::4, 0] = True
    strong = torch.zeros_like(weak)
    strong[..., 0, 0] = True
    assert torch.equal(connect(weak, strong), weak)
    assert not connect(weak, torch.zeros_like(weak)).any()
    weak[..., 65, :] = False
    found = connect(weak, strong)
    assert torch.equal(found[..., :65, :], weak[..., :65, :]) and not found[..., 65:, :].any()


def test_pictures_of_one_batch_are_what_they_are_alone():
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(3, 3, 6, 9, generator=generator) * 2 - 1
    pixels = torch.nn.functional.interpolate(coarse, (48, 72), mode="bicubic").clamp(-1, 1)
    together = edges_of(pixels)
    assert together.any(axis=(1, 2)).all()
    for number in range(3):
        assert np.array_equal(edges_of(pixels[number : number + 1])[0], together[number])
