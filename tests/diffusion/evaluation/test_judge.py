"""The judge: what it answers, and that it comes back from disk as it was."""

import numpy as np
import pytest
import torch

from diffusion.encoders import to_pixels
from diffusion.evaluation.judge import Judge, Judgement, load_judge
from diffusion.looks import AXES
from tests.diffusion.evaluation.small import make_judge


def make_images(count, side=128, seed=0):
    return np.random.default_rng(seed).integers(256, size=(count, side, side, 3), dtype=np.uint8)


def test_it_answers_for_every_axis_and_the_product():
    seen = Judge().eval().read(make_images(3))
    shapes = {axis: tuple(seen.of(axis).shape) for axis in AXES}
    assert shapes == {"palette": (3, 8), "setting": (3, 8), "treatment": (3, 5)}
    assert seen.product.shape == (3, 64)
    assert seen.product.norm(dim=1).tolist() == pytest.approx([1, 1, 1], rel=1e-5)
    assert seen.features.shape == (3, 256)


def test_it_is_as_small_as_a_processor_likes():
    assert 0.8e6 < sum(p.numel() for p in Judge().parameters()) < 1.5e6


def test_a_picture_is_read_the_same_in_any_batch_and_from_any_size():
    judge = make_judge()
    images = make_images(5)
    together = judge.read(images, batch_size=2)
    alone = Judgement.join([judge.read(image[None]) for image in images])
    assert torch.allclose(together.product, alone.product, atol=1e-4)
    assert torch.allclose(together.features, judge(to_pixels(images)).features, atol=1e-4)
    assert judge.read(make_images(1, side=64)).palette.shape == (1, 8)


def test_it_comes_back_from_disk_as_it_was(tmp_path):
    judge = make_judge()
    judge.save_pretrained(tmp_path)
    images = make_images(2)
    again = load_judge(tmp_path)
    assert torch.allclose(again.read(images).palette, judge.read(images).palette, atol=1e-4)
    assert not again.training


def test_a_folder_without_a_judge_is_an_error(tmp_path):
    with pytest.raises(OSError):
        load_judge(tmp_path / "nowhere")
