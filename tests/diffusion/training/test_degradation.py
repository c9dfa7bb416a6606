"""Poor packshots: worse in every way that merchants know, and the same for the same generator."""

import torch

from diffusion.training.degradation import degrade, light, save_badly, shrink


def checkers(count=4, side=64):
    field = ((torch.arange(side) // 2)[:, None] + torch.arange(side) // 2) % 2
    return (field * 2.0 - 1).expand(count, 3, side, side).clone()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_poor_packshot_is_a_picture_of_the_same_size():
    poor = degrade(checkers(), generator())
    assert poor.shape == (4, 3, 64, 64)
    assert poor.min() >= -1 and poor.max() <= 1


def test_the_same_generator_spoils_in_the_same_way():
    one, same, other = (degrade(checkers(), generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_shrinking_loses_detail_and_keeps_the_mean():
    blurred = shrink(checkers(1), generator(2))
    assert blurred.std() < 0.9 * checkers(1).std()
    assert abs(blurred.mean().item()) < 0.05


def test_light_only_moves_colours():
    grey = torch.zeros(8, 3, 4, 4)
    lit = light(grey, generator())
    assert torch.allclose(lit.std(dim=(2, 3)), torch.zeros(8, 3), atol=1e-6)
    assert lit.mean(dim=(1, 2, 3)).std() > 0.01, "each differently"


def test_a_good_jpeg_is_near_and_a_bad_one_further():
    soft = torch.linspace(-1, 1, 64).expand(3, 64, 64)
    noisy = (soft + 0.3 * torch.randn(3, 64, 64, generator=generator())).clamp(-1, 1)
    far, near = ((save_badly(noisy, q) - noisy).abs().mean() for q in (12, 95))
    assert near < far
