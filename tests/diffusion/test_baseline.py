"""The baseline: behind the generator's interface, in one step, every row for itself."""

import numpy as np
import pytest
import torch

from diffusion.baseline import FACTS, ConditionalGan, GanGenerator, concatenate, condition_width
from diffusion.checkpoint import CheckpointUnusable, digest_folder
from diffusion.encoders import Encoders
from diffusion.fusion import fuse
from diffusion.guidance import Given
from diffusion.model import ProductDiffusion
from diffusion.noise import draw_noise
from diffusion.samplers import SAMPLERS, advance
from diffusion.transformer import TASKS
from tests.diffusion.tiny import WIDTH, load_model, make_encoders

SHOPPER = np.linspace(-1, 1, WIDTH, dtype=np.float32)
SIDE = 32
NUM_NOISE = 4


def make_generator(seed=0):
    torch.manual_seed(seed)
    return GanGenerator(WIDTH, noise_width=NUM_NOISE, width=32, channels=(16, 16, 8))


@pytest.fixture(scope="module")
def encoders():
    return Encoders(make_encoders(), "digest")


@pytest.fixture(scope="module")
def gan(encoders):
    return ConditionalGan(make_generator(), encoders, "gan", "digest")


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory) -> ProductDiffusion:
    return load_model(tmp_path_factory.mktemp("tiny"))


def prepare(model):
    packshot = np.random.default_rng(0).integers(0, 256, (40, 40, 4), dtype=np.uint8)
    return model.prepare_product(
        packshot, np.linspace(0.2, -0.3, WIDTH, dtype=np.float32), np.full(WIDTH, 0.25, np.float32)
    )


def walk(model, plan, conditions, seed=3):
    """As the engine walks a plan: noise from the seed, one forward a tick."""
    x = draw_noise(seed, (1, *model.latent_shape)) * plan[0].sigma
    h = torch.zeros_like(x)
    for tick in plan:
        denoised = model.denoise(x, torch.tensor([tick.sigma]), conditions)
        x, h = advance(x, denoised, h, [tick])
    return x


def draw_conditions(rows=4):
    generator = torch.Generator().manual_seed(0)
    return {
        **{
            name: 0.3 * torch.randn(rows, WIDTH, generator=generator)
            for name in ("product", "title", "shopper")
        },
        "packshot": torch.zeros(rows, 1, 1, 1),
        "task": torch.arange(rows) % len(TASKS),
        "has_product": torch.ones(rows, dtype=torch.bool),
        "has_shopper": torch.ones(rows, dtype=torch.bool),
    }


def predict(gan, conditions):
    rows = len(conditions["task"])
    x = torch.randn(rows, *gan.latent_shape, generator=torch.Generator().manual_seed(1))
    return gan.denoise(x, torch.ones(rows), conditions)


def test_it_offers_what_the_diffusion_model_offers(gan, diffusion):
    offered = {name for name in dir(diffusion) if not name.startswith("_")}
    own = {"autoencoder", "transformer", "shift", "compile", "load_student"}
    assert offered - set(dir(gan)) == own, "its networks, and what belongs to them"
    assert gan.pixel_side == diffusion.pixel_side == SIDE and gan.latent_shape == (3, SIDE, SIDE)
    assert gan.device == diffusion.device and gan.encoders.width == diffusion.encoders.width


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("family", ["gan", "diffusion"])
def test_one_plan_walks_both_families(gan, diffusion, family, sampler):
    model = {"gan": gan, "diffusion": diffusion}[family]
    conditions = fuse(prepare(model), SHOPPER, "preserve")[Given.BOTH]
    for sigmas in (gan.sigmas(1), diffusion.sigmas(5)):
        latents = walk(model, SAMPLERS[sampler](sigmas), conditions)
        pictures = model.decode(latents)
        assert torch.isfinite(latents).all()
        assert pictures.shape == (1, SIDE, SIDE, 3) and pictures.dtype == np.uint8


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("num_steps", [1, 20])
def test_its_plan_is_one_step_that_ends_in_the_prediction_exactly(gan, sampler, num_steps):
    plan = SAMPLERS[sampler](gan.sigmas(num_steps))
    conditions = fuse(prepare(gan), SHOPPER, "restyle")[Given.BOTH]
    x = draw_noise(3, (1, *gan.latent_shape)) * plan[0].sigma
    expected = gan.denoise(x, torch.tensor([plan[0].sigma]), conditions)
    assert len(plan) == 1 and plan[0].step == 1
    assert torch.equal(walk(gan, plan, conditions, seed=3), expected)


def test_pictures_are_pixels(gan):
    found = predict(gan, draw_conditions())
    assert found.abs().max() <= 1 and found.dtype == torch.float32
    shades = torch.tensor([-1.0, 0.0, 1.0, 9.0]).view(4, 1, 1, 1).expand(4, *gan.latent_shape)
    assert gan.decode(shades)[:, 5, 7, 1].tolist() == [0, 128, 255, 255]


@pytest.mark.parametrize(
    "changed",
    [
        {"shopper": 9.0},
        {"shopper": float("nan")},
        {"has_shopper": False},
        {"has_product": False},
        {"product": 5.0, "title": 2.0},
        {"task": 2},
    ],
    ids=lambda changed: "+".join(changed),
)
def test_what_happens_to_row_b_leaves_row_a_bit_for_bit(gan, changed):
    conditions, b = draw_conditions(), 3
    other = {name: value.clone() for name, value in conditions.items()}
    for name, value in changed.items():
        other[name][b] = value
    before, after = predict(gan, conditions), predict(gan, other)
    assert torch.equal(before[:b], after[:b])
    assert not torch.allclose(before[b], after[b], atol=1e-4)


def test_a_row_alone_is_the_row_in_a_batch(gan):
    conditions = draw_conditions()
    x, sigma = torch.randn(4, *gan.latent_shape), torch.tensor([1.0, 2.0, 0.5, 80.0])
    together = gan.denoise(x, sigma, conditions)
    for row in range(4):
        one = slice(row, row + 1)
        alone = gan.denoise(x[one], sigma[one], {k: v[one] for k, v in conditions.items()})
        assert (together[one] - alone).abs().max() <= 1e-5


def test_without_a_shopper_the_image_is_the_generic_one(gan):
    conditions = draw_conditions()
    conditions["has_shopper"][:] = False
    generic = predict(gan, conditions)
    for taste in (7.0, 0.0, float("nan")):
        other = {**conditions, "shopper": torch.full_like(conditions["shopper"], taste)}
        assert torch.equal(predict(gan, other), generic)
    given = fuse(prepare(gan), SHOPPER, "preserve")
    nobody = fuse(prepare(gan), None, "preserve")
    assert torch.equal(predict(gan, given[Given.PRODUCT]), predict(gan, nobody[Given.PRODUCT]))
    assert not torch.equal(predict(gan, given[Given.BOTH]), predict(gan, given[Given.PRODUCT]))


def test_what_is_told_is_side_by_side_and_zero_where_nothing_is_known():
    conditions = {fact: draw_conditions()[fact] for fact in FACTS}
    conditions["has_shopper"][1] = conditions["has_product"][2] = False
    told = concatenate(**conditions)
    assert told.shape == (4, condition_width(WIDTH))
    product, title, shopper, task = told.split([WIDTH, WIDTH, WIDTH, len(TASKS)], dim=1)
    assert torch.equal(product[0], conditions["product"][0])
    assert torch.equal(title[3], conditions["title"][3])
    assert torch.equal(shopper[2], conditions["shopper"][2])
    assert not shopper[1].any() and not product[2].any() and not title[2].any()
    assert task.argmax(dim=1).tolist() == [0, 1, 2, 0] and torch.equal(
        task.sum(dim=1), torch.ones(4)
    )


def test_the_packshot_goes_unseen_but_not_the_seed(gan):
    conditions = fuse(prepare(gan), SHOPPER, "preserve")[Given.BOTH]
    other = {**conditions, "packshot": torch.ones(1, 9, 4, 4)}
    plan = SAMPLERS["euler"](gan.sigmas(1))
    assert torch.equal(walk(gan, plan, conditions), walk(gan, plan, other))
    assert not torch.equal(walk(gan, plan, conditions, seed=1), walk(gan, plan, conditions, seed=2))


def test_noise_is_the_same_at_every_level(gan):
    """Sample and sigma grow together; only the direction of the noise is looked at."""
    conditions, x = draw_conditions(), torch.randn(4, *gan.latent_shape)
    expected = gan.denoise(x, torch.ones(4), conditions)
    far = gan.denoise(80 * x, torch.full((4,), 80.0), conditions)
    assert torch.allclose(far, expected, atol=1e-5)
    assert torch.allclose(gan.denoise(3 * x, torch.ones(4), conditions), expected, atol=1e-5)


def test_a_saved_gan_paints_as_before(gan, encoders, tmp_path):
    gan.save(tmp_path / "gan")
    loaded = ConditionalGan.load(tmp_path / "gan", encoders)
    assert loaded.name == "conditional-gan" and loaded.digest == digest_folder(tmp_path / "gan")
    weights = loaded.network.state_dict()
    for name, value in gan.network.state_dict().items():
        assert torch.equal(weights[name], value.bfloat16().float())
        assert value.dtype == torch.float32, "saving leaves the model as it is"
    loaded.save(tmp_path / "again")
    assert digest_folder(tmp_path / "again") == loaded.digest
    found, expected = predict(loaded, draw_conditions()), predict(gan, draw_conditions())
    assert (found - expected).abs().max() <= 0.05


def test_it_computes_in_the_type_asked_for_and_answers_in_full(gan, encoders, tmp_path):
    gan.save(tmp_path)
    half = ConditionalGan.load(tmp_path, encoders, torch.bfloat16)
    assert half.network.join.weight.dtype == torch.bfloat16
    found = predict(half, draw_conditions())
    assert found.dtype == torch.float32
    assert (found - predict(gan, draw_conditions())).abs().max() <= 0.1


def lose_the_configuration(folder):
    (folder / "config.json").unlink()


def cut_the_weights(folder):
    file = folder / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def tell_another_width(folder):
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"width": 32', '"width": 64'))


@pytest.mark.parametrize("damage", [lose_the_configuration, cut_the_weights, tell_another_width])
def test_a_damaged_checkpoint_is_named(gan, encoders, tmp_path, damage):
    gan.save(tmp_path / "mine")
    damage(tmp_path / "mine")
    with pytest.raises(CheckpointUnusable, match="mine is no checkpoint"):
        ConditionalGan.load(tmp_path / "mine", encoders)


def test_encoders_of_another_width_are_refused(encoders, tmp_path):
    network = GanGenerator(2 * WIDTH, noise_width=2, width=8, channels=(8, 8))
    ConditionalGan(network, encoders, "gan", "").save(tmp_path)
    with pytest.raises(CheckpointUnusable, match="of 32 numbers, the encoders give 16"):
        ConditionalGan.load(tmp_path, encoders)


def test_at_full_size_it_is_small_enough_to_ship(tmp_path):
    network = GanGenerator()
    assert network.side == 128
    assert 3e6 < sum(parameter.numel() for parameter in network.parameters()) < 5e6
    network.bfloat16().save_pretrained(tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 10e6
