"""The student: taught by its teacher's own walks, under the rules that it is served by."""

import numpy as np
import pytest
import torch

from diffusion.evaluation.generation import Order, walk
from diffusion.fusion import CERTAINTY, ProductCondition
from diffusion.model import ProductDiffusion
from diffusion.samplers import plan_euler
from diffusion.taste_buckets import TasteBuckets
from diffusion.training.distillation import (
    ROWS,
    STUDENT_STEPS,
    TEACHER_STEPS,
    gather,
    measure_steps,
    plan_walks,
    record_walks,
    train_student,
    walk_teacher,
)
from diffusion.training.examples import PRESERVE, RESTYLE, Examples
from diffusion.training.loop import Schedule
from diffusion.walks import Intervals, Rules
from tests.diffusion.tiny import (
    LATENT_CHANNELS,
    LATENT_SIDE,
    WIDTH,
    make_transformer,
    save_checkpoint,
)

CPU = torch.device("cpu")
INTERVALS = {"preserve": Intervals(product=12.5, shopper=5.67)}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    model = ProductDiffusion.load(save_checkpoint(tmp_path_factory.mktemp("teacher")))
    rng = np.random.default_rng(0)
    axes = [rng.normal(size=(2, WIDTH)).astype(np.float32) for _ in range(2)]
    shoppers = rng.normal(size=(40, WIDTH)).astype(np.float32)
    model.rules, model.shift = Rules(INTERVALS, TasteBuckets.fit(axes, shoppers)), 4.0
    return model


def draw_examples(generator, count):
    """The first row has no shopper, the second no product either, the last is another task."""
    product, title, shopper = torch.randn(3, count, WIDTH, generator=generator)
    packshot = torch.randn(
        count, LATENT_CHANNELS + 1, LATENT_SIDE, LATENT_SIDE, generator=generator
    )
    task = torch.full([count], PRESERVE)
    task[-1] = RESTYLE if count > 1 else PRESERVE
    rows = torch.arange(count)
    pixels, has_shopper = torch.zeros(count, 3, 1, 1), (rows > 1) | (count == 1)
    return Examples(pixels, packshot, product, title, shopper, task, rows != 1, has_shopper)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_few_steps_meet_the_teachers_at_every_sigma(teacher):
    few, many = teacher.sigmas(STUDENT_STEPS), teacher.sigmas(TEACHER_STEPS)
    assert many[:: TEACHER_STEPS // STUDENT_STEPS] == pytest.approx(few)


def test_a_recorded_walk_is_the_one_that_is_served(teacher):
    shown = draw_examples(seeded(), 1)
    found = walk_teacher(teacher, shown, seeded(7))["states"]
    product = ProductCondition(shown.packshot, shown.product[0].numpy(), shown.title[0].numpy())
    shopper = shown.shopper[0].numpy()
    order = Order(product, shopper, "preserve", 1.0, TEACHER_STEPS, seed=7)
    assert found.shape == (1, STUDENT_STEPS + 1, *teacher.latent_shape)
    torch.testing.assert_close(found[:, -1].float(), walk(teacher, [order]), rtol=1e-3, atol=1e-3)
    sigma = teacher.sigmas(STUDENT_STEPS)[0]
    noise = torch.randn(1, *teacher.latent_shape, generator=seeded(7))
    expected = noise * sigma / (1 + sigma)
    torch.testing.assert_close(found[:, 0].float(), expected, rtol=1e-3, atol=1e-3)


def test_each_step_is_taught_what_it_will_be_told(teacher):
    shown = draw_examples(seeded(), 5)
    known = {name: getattr(shown, name) for name in vars(shown)}
    plan = plan_euler(teacher.sigmas(STUDENT_STEPS))
    walks = plan_walks(teacher.rules, known, plan, CPU)
    told = [gather(walks, number) for number in range(STUDENT_STEPS)]
    has_product = [cond["has_product"].tolist() for cond in told]
    assert has_product[0] == [False] * 4 + [True], "RESTYLE has no intervals"
    assert has_product[1:] == [[True, False, True, True, True]] * 3
    assert all(cond["has_shopper"].tolist() == [False] * 2 + [True] * 3 for cond in told)
    centroid = teacher.rules.buckets.find_centroid(shown.shopper[2].numpy())
    for number, expected in enumerate([centroid, centroid, shown.shopper[2], shown.shopper[2]]):
        expected = CERTAINTY * torch.as_tensor(expected)
        torch.testing.assert_close(told[number]["shopper"][2], expected)


def test_walks_are_recorded_once_for_each_teacher(teacher, tmp_path):
    drawn = []

    def draw(generator, count):
        drawn.append(count)
        return draw_examples(generator, count)

    first = record_walks(teacher, draw, ROWS + 3, tmp_path)
    assert drawn == [ROWS, ROWS] and len(first["states"]) == ROWS + 3
    assert first["states"].dtype == torch.float16
    assert (first["states"][0] != first["states"][ROWS]).any()
    again = record_walks(teacher, draw, ROWS + 3, tmp_path)
    assert len(drawn) == 2 and all(torch.equal(first[name], again[name]) for name in first)
    other = ProductDiffusion.load(save_checkpoint(tmp_path / "other", seed=1))
    record_walks(other, draw, 2, tmp_path)
    assert len(drawn) == 3


def predict(image):
    """A network that always finds this image."""
    return lambda x, t, **cond: (x - image) / t.reshape(-1, 1, 1, 1)


def make_straight(sigmas, image, noise):
    """States x / (1 + sigma) of a walk whose every prediction is `image`."""
    return torch.stack([(image + sigma * noise) / (1 + sigma) for sigma in sigmas], dim=1)


def test_a_student_that_lands_where_its_teacher_did_has_no_error(teacher):
    sigmas = [3.0, 2.0, 1.0, 0.0]
    image, noise = torch.randn(2, 5, *teacher.latent_shape, generator=seeded())
    known = {name: value for name, value in vars(draw_examples(seeded(), 5)).items()}
    walks = plan_walks(Rules(), known, plan_euler(sigmas), CPU)
    errors = measure_steps(predict(image), walks, make_straight(sigmas, image, noise), sigmas)
    assert errors.shape == (3, 5, *teacher.latent_shape) and errors.max() < 1e-9


def test_a_step_is_asked_to_make_good_what_its_own_steps_before_did(teacher):
    sigmas = [3.0, 2.0, 1.0, 0.0]
    noise = torch.randn(5, *teacher.latent_shape, generator=seeded())
    states = make_straight(sigmas, torch.zeros_like(noise), noise)
    walks = plan_walks(Rules(), vars(draw_examples(seeded(), 5)), plan_euler(sigmas), CPU)
    errors = measure_steps(predict(torch.full_like(noise, 0.6)), walks, states, sigmas)
    # Predicting 0.6 for 0 leads to 2·noise + 0.2, from where only -0.2 lands on 1·noise.
    assert errors[0].sqrt().mean().item() == pytest.approx(0.6 / 0.75, rel=1e-4)
    assert errors[1].sqrt().mean().item() == pytest.approx((0.6 + 0.2) / (2 / 3), rel=1e-4)


# Under autocast torch has no fused kernel for a norm whose weights are float32, and says so.
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning")
def test_training_brings_the_student_closer_to_its_teacher(teacher, tmp_path):
    record = record_walks(teacher, draw_examples, ROWS, tmp_path)
    sigmas, states = teacher.sigmas(STUDENT_STEPS), record["states"].float()
    walks = plan_walks(teacher.rules, record, plan_euler(sigmas), CPU)

    def measure(network):
        with torch.inference_mode():
            return measure_steps(network, walks, states, sigmas).mean().item()

    before = measure(teacher.transformer)
    schedule = Schedule(60, 3e-3, 5, ema_decay=0.9)
    start = make_transformer()
    trained = train_student(record, start, teacher.rules, sigmas, schedule, tmp_path, 16)
    assert measure(trained) < 0.7 * before
    row = (tmp_path / "student.csv").read_text().splitlines()[0].split(",")
    assert len(row) == 3 + STUDENT_STEPS and row[0] == "0"
