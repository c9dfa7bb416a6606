"""Seed is identity."""

import pytest
import torch

from diffusion.noise import MAX_SEED, derive_seed, draw_noise

SHAPE = (4, 16, 16)


def test_the_same_seed_gives_the_same_noise():
    assert torch.equal(draw_noise(5, SHAPE), draw_noise(5, SHAPE))


def test_different_seeds_give_different_noise():
    drawn = [draw_noise(seed, SHAPE) for seed in (0, 1, 2, 2**31, 2**32, 2**32 + 1, 2**63 + 1)]
    for i, one in enumerate(drawn):
        assert all((one - other).abs().max() > 1 for other in drawn[i + 1 :])


def test_nothing_else_is_drawn_from():
    torch.manual_seed(1)
    first = draw_noise(5, SHAPE)
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    draw_noise(9, SHAPE)
    assert torch.equal(draw_noise(5, SHAPE), first)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_noise_is_standard_normal():
    noise = draw_noise(0, (64, 64, 64))
    assert noise.dtype == torch.float32
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.std().item() == pytest.approx(1, abs=0.01)


def test_every_seed_of_a_request_can_be_drawn():
    for seed in (0, MAX_SEED, 2**64 - 1):
        assert torch.isfinite(draw_noise(seed, SHAPE)).all()


def test_a_derived_seed_is_stable_for_ever():
    assert derive_seed("shoe-1", "generic", "0") == 0xFDE653FF99839A3A
    assert derive_seed("shoe-1", "generic", "0") == derive_seed("shoe-1", "generic", "0")


def test_a_derived_seed_tells_its_words_apart():
    words = [("ab", "c"), ("a", "bc"), ("abc",), ("a", "b", "c"), ("ab", "d")]
    seeds = {derive_seed(*parts) for parts in words}
    assert len(seeds) == len(words) and all(0 <= seed <= MAX_SEED for seed in seeds)
