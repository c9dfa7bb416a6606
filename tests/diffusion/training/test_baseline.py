"""Training of the baseline: it learns, pulls are balanced, and interruptions leave no trace."""

import csv

import pytest
import torch
from torch.nn import functional as F

from diffusion.baseline import FACTS, GanGenerator, concatenate, condition_width
from diffusion.training.baseline import (
    Discriminator,
    augment,
    train_rivals,
    weigh_pulls,
)
from diffusion.training.examples import Examples
from diffusion.training.loop import Schedule
from diffusion.transformer import TASKS

WIDTH, SIDE, NUM_PRODUCTS, BATCH = 8, 16, 4, 8
SCHEDULE = Schedule(81, 5e-3, num_warmup_steps=5, ema_decay=0.9, checkpoint_every_s=-1)


class Interruption(Exception):
    pass


def draw_batch(generator, count):
    """Four products, each a colour of its own; the shopper decides how bright the lower half is."""
    product = torch.randint(NUM_PRODUCTS, (count,), generator=generator)
    bright = torch.randint(2, (count,), generator=generator) * 2.0 - 1
    colours = torch.linspace(-0.8, 0.8, NUM_PRODUCTS * 3).reshape(NUM_PRODUCTS, 3)
    pixels = colours[product][:, :, None, None].repeat(1, 1, SIDE, SIDE)
    pixels[:, :, SIDE // 2 :] = 0.7 * bright[:, None, None, None]
    vector = F.one_hot(product, WIDTH).float()
    return Examples(
        pixels=pixels,
        packshot=torch.zeros(count, 1, 1, 1),
        product=vector,
        title=vector,
        shopper=0.3 * bright[:, None].repeat(1, WIDTH),
        task=torch.randint(len(TASKS), (count,), generator=generator),
        has_product=torch.ones(count, dtype=torch.bool),
        has_shopper=torch.ones(count, dtype=torch.bool),
    )


def interrupt_at(num_steps):
    """A source of batches that breaks off where batch number `num_steps` would be drawn."""
    seen: list[None] = []

    def interrupted(generator, count):
        seen.append(None)
        if len(seen) > num_steps:
            raise Interruption
        return draw_batch(generator, count)

    return interrupted


def train(folder, source=draw_batch, schedule=SCHEDULE):
    torch.manual_seed(0)
    generator = GanGenerator(WIDTH, noise_width=2, width=32, channels=(16, 8))
    discriminator = Discriminator(condition_width(WIDTH), channels=(8, 16))
    average = train_rivals(generator, discriminator, source, schedule, folder, BATCH)
    return generator, discriminator, average


def read_curve(folder):
    with (folder / "baseline.csv").open() as file:
        return [(int(row[0]), *map(float, row[2:])) for row in csv.reader(file)]


def weights(network):
    return torch.cat([value.flatten() for value in network.state_dict().values()])


def score_l1(network):
    shown = draw_batch(torch.Generator().manual_seed(999), 32)
    z = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
    made = network(z, **{fact: getattr(shown, fact) for fact in FACTS})
    return (made - shown.pixels).abs().mean().item()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing interrupted: its folder, both networks and the average."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, *train(folder)


def test_a_few_steps_bring_the_pictures_nearer(whole):
    folder, _, _, average = whole
    torch.manual_seed(0)
    start = score_l1(GanGenerator(WIDTH, noise_width=2, width=32, channels=(16, 8)))
    curve = read_curve(folder)
    assert [step for step, *_ in curve] == [0, 20, 40, 60, 80]
    assert curve[-1][1] < 0.6 * curve[0][1]
    assert score_l1(average) < 0.6 * start


def test_what_comes_back_is_the_average_ready_to_use(whole):
    _, generator, _, average = whole
    assert not average.training and not any(p.requires_grad for p in average.parameters())
    distance = (weights(average) - weights(generator)).norm()
    assert 0 < distance < 0.3 * weights(generator).norm()


@pytest.mark.parametrize("num_steps", [1, 47])
def test_an_interrupted_training_walks_the_curve_of_a_whole_one(whole, tmp_path, num_steps):
    folder, *networks = whole
    with pytest.raises(Interruption):
        train(tmp_path, interrupt_at(num_steps))
    for resumed, expected in zip(train(tmp_path), networks, strict=True):
        assert torch.equal(weights(resumed), weights(expected))
    assert read_curve(tmp_path) == read_curve(folder)


def test_the_discriminator_is_told_the_condition(whole):
    """It prefers a picture under its own product to the same picture under another's."""
    _, _, discriminator, _ = whole
    shown = draw_batch(torch.Generator().manual_seed(5), 64)
    told = concatenate(**{fact: getattr(shown, fact) for fact in FACTS})
    with torch.no_grad():
        own = discriminator(shown.pixels, told)
        other = discriminator(shown.pixels, told.roll(1, 0))
        one = discriminator(shown.pixels[:1], told[:1])
    assert own.shape == (64,) and (own - other).abs().max() > 0.01
    assert torch.allclose(one, own[:1], atol=1e-3)


def test_the_adversarial_pull_has_its_share_whatever_its_scale():
    made, real = torch.zeros(2, 3, 4, 4, requires_grad=True), torch.ones(2, 3, 4, 4)
    direction = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    near = torch.full_like(real, -1 / real.numel())
    for scale in (1e-4, 1.0, 1e4):
        distance, adversarial = F.l1_loss(made, real), (scale * direction * made).sum()
        pull = weigh_pulls(made, distance, adversarial, 0.4) - near
        assert pull.norm().item() == pytest.approx(0.4 * near.norm().item(), rel=1e-3)
        assert F.cosine_similarity(pull.flatten(), direction.flatten(), dim=0) > 0.999
    silent = weigh_pulls(made, F.l1_loss(made, real), (0 * made).sum(), 0.4)
    assert torch.allclose(silent, near)


def test_augmented_pictures_are_shifted_and_of_another_brightness():
    pixels = torch.zeros(40, 3, 16, 16)
    pixels[:, :, 8, 8] = 1.0
    found = augment(pixels, torch.Generator().manual_seed(0))
    places = {divmod(int(row[0].argmax()), 16) for row in found}
    assert {y for y, _ in places} == {x for _, x in places} == {6, 7, 8, 9, 10}
    ground = found[:, 0, 4, 4]
    assert -0.5 <= ground.min() < -0.3 and 0.3 < ground.max() <= 0.5
    assert torch.allclose(found.amax(dim=(1, 2, 3)) - ground, torch.ones(40))


def test_augmentation_lets_gradients_through():
    pixels = torch.randn(4, 3, 16, 16, requires_grad=True)
    total = augment(pixels, torch.Generator().manual_seed(0)).sum()
    inner = torch.autograd.grad(total, pixels)[0][:, :, 2:-2, 2:-2]
    assert torch.equal(inner, torch.ones_like(inner)), "what is not shifted out of sight counts"
