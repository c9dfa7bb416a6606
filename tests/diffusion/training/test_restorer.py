"""Training of the restorer: what it is shown, that it learns, and that it can be interrupted."""

import shutil
from typing import Any

import numpy as np
import pytest
import torch

from diffusion.damage_levels import KINDS, expect
from diffusion.tiles import GRID
from diffusion.training.loop import Schedule
from diffusion.training.restorer import (
    measure_psnr,
    sample_pairs,
    train_estimator,
    train_restorer,
)
from tests.diffusion.training.workshop import load_packshots

SMALL: dict[str, Any] = {"widths": (12, 16), "num_blocks": (1, 1)}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def packshots(tmp_path_factory):
    return load_packshots(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def pairs(packshots):
    return sample_pairs(packshots, generator(), 64, side=32)


def test_a_pair_is_the_same_piece_before_and_after(pairs):
    assert pairs.clean.shape == pairs.damaged.shape == (64, 3, 32, 32)
    assert pairs.mask.shape == (64, 1, 32, 32) and pairs.levels.shape == (64, len(KINDS))
    assert pairs.clean.abs().max() <= 1 and pairs.damaged.abs().max() <= 1
    assert measure_psnr(pairs.damaged, pairs.clean).median() > 15


def test_what_is_neither_damaged_nor_holed_is_the_same(pairs):
    whole = (pairs.levels == 0).all(dim=1) & ~pairs.mask.flatten(1).any(dim=1)
    assert 0 < whole.sum() < 20
    assert torch.equal(pairs.damaged[whole], pairs.clean[whole])


def test_holes_are_made_up_from_around(packshots):
    many = sample_pairs(packshots, generator(1), 120, side=32)
    holed = many.mask.flatten(1).any(dim=1)
    assert 0.06 < holed.float().mean() < 0.3
    only = holed & (many.levels == 0).all(dim=1)
    assert only.any()
    kept = (many.mask[only] == 0).expand(-1, 3, -1, -1)
    assert torch.equal(many.damaged[only][kept], many.clean[only][kept])


def test_the_same_generator_samples_the_same(packshots, pairs):
    again = sample_pairs(packshots, generator(), 64, side=32)
    assert torch.equal(again.damaged, pairs.damaged)
    assert not torch.equal(sample_pairs(packshots, generator(2), 64, 32).damaged, pairs.damaged)


def test_pieces_lie_on_the_grid_of_tiles(packshots, monkeypatch):
    """Where the damage is a mark in the corner of every block, it stays there."""
    marks = np.zeros((48, 48, 3), np.uint8)
    marks[::GRID, ::GRID] = 255

    def mark(pixels, rng):
        return marks, np.ones(len(KINDS), np.float32)

    monkeypatch.setattr("diffusion.training.restorer.damage", mark)
    monkeypatch.setattr("diffusion.training.restorer.HOLE_SHARE", 0)
    seen = sample_pairs(packshots, generator(), 8, side=32).damaged
    assert (seen[..., ::GRID, ::GRID] == 1).all()


def test_it_learns_to_remove_noise(packshots, tmp_path, monkeypatch):
    monkeypatch.setattr("diffusion.training.damage.KIND_SHARES", {"noise": 1.0})
    torch.manual_seed(0)
    schedule = Schedule(160, 8e-3, num_warmup_steps=5, ema_decay=0.9)
    network = train_restorer(packshots, schedule, tmp_path, 8, side=32, **SMALL)
    assert not network.training
    lines = (tmp_path / "restorer.csv").read_text().splitlines()
    first, last = (list(map(float, line.split(","))) for line in (lines[0], lines[-1]))
    assert first[0] == 0 and first[3] == pytest.approx(0, abs=0.01), "a fresh one changes nothing"
    assert last[3] > 1, "dB over the input"


def test_an_interrupted_training_ends_as_an_uninterrupted_one(packshots, tmp_path):
    def train(folder, num_steps):
        torch.manual_seed(0)
        schedule = Schedule(num_steps, 1e-3, num_warmup_steps=1)
        return train_restorer(packshots, schedule, folder, 2, side=32, **SMALL)

    whole = train(tmp_path / "whole", 4)
    # The rate of the first steps does not know how many there will be: warm-up and its peak.
    train(tmp_path / "parts", 2)
    shutil.copy(tmp_path / "parts" / "restorer.pt", tmp_path / "kept.pt")
    resumed = train(tmp_path / "parts", 4)
    curve = (tmp_path / "parts/restorer.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in curve] == ["0"]
    pairs_of = zip(whole.parameters(), resumed.parameters(), strict=True)
    assert max(float((a - b).abs().max()) for a, b in pairs_of) < 2e-3


def test_the_estimator_learns_how_much_noise_there_is(packshots, tmp_path, monkeypatch):
    monkeypatch.setattr("diffusion.training.damage.KIND_SHARES", {"noise": 0.8, "none": 0.2})
    torch.manual_seed(0)
    schedule = Schedule(250, 1e-2, num_warmup_steps=20, ema_decay=0.9)
    widths: dict[str, Any] = {"widths": (8, 12, 16, 16)}
    network = train_estimator(packshots, schedule, tmp_path, 8, side=32, **widths)
    seen = sample_pairs(packshots, generator(1 << 20), 64, side=32)
    with torch.no_grad():
        levels = expect(network(seen.damaged))
    truth = seen.levels[:, 0]
    assert np.corrcoef(levels[:, 0], truth)[0, 1] > 0.7
    assert levels[:, 1:].max() < 0.2
