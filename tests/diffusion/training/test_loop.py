"""The training loop: its rate, its average, and that interruptions leave no trace."""

import csv
import math
import shutil
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from diffusion.training.loop import Schedule, draw, fit

SCHEDULE = Schedule(60, 0.02, num_warmup_steps=5, ema_decay=0.9, checkpoint_every_s=-1)


class Interruption(Exception):
    pass


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        self.register_buffer("num_seen", torch.zeros(()))

    def forward(self, x):
        return self.layers(x)


def loss(network, generator):
    """Regression onto a known function."""
    x = torch.randn(16, 3, generator=generator)
    network.num_seen += len(x)
    error = F.mse_loss(network(x).float(), x.sum(dim=1, keepdim=True))
    return error, {"root": error.item() ** 0.5}


def interrupt_at(num_steps, before=lambda: None):
    """A loss during whose evaluation number `num_steps` the machine goes down."""
    seen: list[None] = []

    def interrupted(network, generator):
        seen.append(None)
        if len(seen) > num_steps:
            before()
            raise Interruption
        return loss(network, generator)

    return interrupted


def read_curve(folder):
    with (folder / "net.csv").open() as file:
        return [(int(row[0]), float(row[2]), float(row[3])) for row in csv.reader(file)]


def weights(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupted: its folder, its network and the average."""
    folder, network = tmp_path_factory.mktemp("whole"), Net()
    return folder, network, fit("net", network, loss, SCHEDULE, folder)


def test_training_learns(whole):
    folder, _, _ = whole
    curve = read_curve(folder)
    assert [step for step, *_ in curve] == [0, 20, 40]
    assert curve[-1][1] < 0.7 * curve[0][1]
    assert curve[0][2] == pytest.approx(curve[0][1] ** 0.5)


@pytest.mark.parametrize("num_steps", [1, 33, 59])
def test_an_interrupted_training_walks_the_curve_of_a_whole_one(whole, tmp_path, num_steps):
    folder, network, average = whole
    with pytest.raises(Interruption):
        fit("net", Net(), interrupt_at(num_steps), SCHEDULE, tmp_path)
    resumed = Net()
    resumed_average = fit("net", resumed, loss, SCHEDULE, tmp_path)
    assert torch.equal(weights(resumed), weights(network))
    assert torch.equal(weights(resumed_average), weights(average))
    assert read_curve(tmp_path) == read_curve(folder)


def test_steps_that_were_not_kept_are_walked_again_and_written_once(whole, tmp_path):
    """Interrupted at 50, but what was kept is the state of step 30."""
    folder, network, _ = whole
    state, kept = tmp_path / "net.pt", tmp_path / "kept"
    with pytest.raises(Interruption):
        fit("net", Net(), interrupt_at(30, lambda: shutil.copy(state, kept)), SCHEDULE, tmp_path)
    with pytest.raises(Interruption):
        fit("net", Net(), interrupt_at(20), SCHEDULE, tmp_path)
    kept.rename(state)
    resumed = Net()
    fit("net", resumed, loss, SCHEDULE, tmp_path)
    assert torch.equal(weights(resumed), weights(network))
    assert read_curve(tmp_path) == read_curve(folder)


def test_a_finished_training_is_not_trained_again(whole, tmp_path):
    folder, network, average = whole
    shutil.copytree(folder, tmp_path / "copy")

    def forbidden(network, generator):
        raise AssertionError("no step is left")

    again = Net()
    found = fit("net", again, forbidden, SCHEDULE, tmp_path / "copy")
    assert torch.equal(weights(again), weights(network))
    assert torch.equal(weights(found), weights(average))
    assert read_curve(tmp_path / "copy") == read_curve(folder)


def test_what_comes_back_is_the_average_ready_to_use(whole):
    _, network, average = whole
    assert not average.training and not any(p.requires_grad for p in average.parameters())
    distance = (weights(average) - weights(network)).norm()
    assert 0 < distance < 0.2 * weights(network).norm()
    assert average.num_seen == network.num_seen == 60 * 16


def test_the_average_of_one_step_is_a_tenth_of_the_start(tmp_path):
    start, network = weights(Net()), Net()
    average = fit("net", network, loss, Schedule(1, 0.02), tmp_path)
    expected = 0.1 * start + 0.9 * weights(network)
    assert torch.allclose(weights(average), expected, atol=1e-6)


def test_no_half_written_state_is_left(whole):
    folder, _, _ = whole
    assert {path.name for path in folder.iterdir()} == {"net.pt", "net.csv"}


def test_the_rate_rises_linearly_and_falls_to_a_tenth():
    schedule = Schedule(num_steps=110, learning_rate=1.0, num_warmup_steps=10)
    rates = [schedule.rate(step) for step in range(111)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10] == 1.0
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == pytest.approx(0.1)
    assert rates[35] == pytest.approx(0.55 + 0.45 * math.cos(math.pi / 4))
    assert all(a >= b for a, b in pairwise(rates[10:]))
    assert schedule.rate(500) == pytest.approx(0.1)


def test_a_run_shorter_than_its_warm_up_has_a_rate():
    schedule = Schedule(num_steps=5, learning_rate=1.0, num_warmup_steps=100)
    assert [schedule.rate(step) for step in (0, 4)] == pytest.approx([0.01, 0.05])


def test_draws_are_whole_numbers_below_the_bound():
    found = draw(torch.Generator().manual_seed(0), 3, 40, 5)
    assert found.shape == (40, 5) and set(found.unique().tolist()) == {0, 1, 2}
