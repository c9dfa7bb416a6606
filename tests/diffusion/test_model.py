"""The embedded default as a whole, at a toy size and as it is shipped."""

import json

import numpy as np
import pytest
import torch

from diffusion.checkpoint import (
    DEFAULT_CHECKPOINT,
    FAST_CHECKPOINT,
    CheckpointUnusable,
    digest_folder,
)
from diffusion.fusion import fuse
from diffusion.guidance import Given
from diffusion.model import ProductDiffusion, encode_packshot
from diffusion.noise import draw_noise
from diffusion.samplers import SAMPLERS, advance
from tests.diffusion.tiny import (
    LATENT_CHANNELS,
    LATENT_SIDE,
    WIDTH,
    load_model,
    make_autoencoder,
    save_checkpoint,
    save_student,
)

SHOPPER = np.linspace(-1, 1, WIDTH, dtype=np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> ProductDiffusion:
    return load_model(tmp_path_factory.mktemp("tiny"))


def draw_packshot(side=40):
    """A disc of noise on nothing."""
    rgba = np.random.default_rng(0).integers(0, 256, (side, side, 4), dtype=np.uint8)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    rgba[..., 3] = np.where(np.hypot(x, y) < side / 2, 255, 0)
    return rgba


def prepare(model):
    width = model.encoders.width
    return model.prepare_product(
        draw_packshot(), np.ones(width, np.float32), np.zeros(width, np.float32)
    )


def test_a_checkpoint_says_what_it_is(tmp_path):
    folder = save_checkpoint(tmp_path)
    model = ProductDiffusion.load(folder)
    assert model.name == "tiny" and model.digest == digest_folder(folder)
    assert model.latent_shape == (LATENT_CHANNELS, LATENT_SIDE, LATENT_SIDE)
    assert model.pixel_side == 8 * LATENT_SIDE and model.encoders.width == WIDTH
    assert model.device == torch.device("cpu")
    index = json.loads((folder / "model_index.json").read_text())
    assert set(index) >= {"_class_name", "autoencoder", "transformer", "encoders"}


def test_other_weights_are_another_model(tmp_path, model):
    assert ProductDiffusion.load(save_checkpoint(tmp_path, seed=1)).digest != model.digest


def lose_the_index(folder):
    (folder / "model_index.json").unlink()


def cut_the_weights(folder):
    file = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def mix_up_the_networks(folder):
    config = folder / "autoencoder" / "config.json"
    config.write_text(
        config.read_text().replace('"num_blocks": [\n    1', '"num_blocks": [\n    2')
    )


def lose_the_encoders(folder):
    (folder / "encoders" / "projections.safetensors").unlink()


def lose_the_titles_weights(folder):
    (folder / "encoders" / "text_encoder" / "model.safetensors").unlink()


@pytest.mark.parametrize(
    "damage",
    [
        lose_the_index,
        cut_the_weights,
        mix_up_the_networks,
        lose_the_encoders,
        lose_the_titles_weights,
    ],
)
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    folder = save_checkpoint(tmp_path / "mine")
    damage(folder)
    with pytest.raises(CheckpointUnusable, match="mine is no checkpoint"):
        ProductDiffusion.load(folder)


def test_a_student_borrows_all_but_its_transformer(tmp_path, model):
    student = ProductDiffusion.load_student(save_student(tmp_path, model), model)
    assert student.name == "tiny-fast" and student.shift == 4.0
    assert student.rules.intervals["preserve"].guidance == (0.0, 12.5)
    assert student.autoencoder is model.autoencoder and student.encoders is model.encoders
    assert student.latent_shape == model.latent_shape
    assert not torch.equal(student.transformer.embed.weight, model.transformer.embed.weight)
    assert {path.name for path in tmp_path.iterdir()} == {"model_index.json", "transformer"}


def test_a_student_of_another_teacher_is_another_model(tmp_path, model):
    folder = save_student(tmp_path / "student", model)
    twin = save_checkpoint(tmp_path / "twin")
    (twin / "autoencoder" / "more.json").write_text("{}")
    digests = [
        ProductDiffusion.load_student(folder, teacher).digest
        for teacher in (model, ProductDiffusion.load(twin))
    ]
    assert len({*digests, model.digest, digest_folder(folder)}) == 4


@pytest.mark.parametrize("damage", [lose_the_index, cut_the_weights])
def test_a_damaged_student_is_named(tmp_path, model, damage):
    folder = save_student(tmp_path / "mine", model)
    damage(folder)
    with pytest.raises(CheckpointUnusable, match="mine is no student"):
        ProductDiffusion.load_student(folder, model)


def test_a_student_is_not_loaded_beside_other_encoders(tmp_path, model):
    other = ProductDiffusion.load(save_checkpoint(tmp_path / "other", seed=1))
    folder = save_student(tmp_path / "student", other)
    with pytest.raises(CheckpointUnusable, match="taught with encoders .*, not with tiny"):
        ProductDiffusion.load_student(folder, model)


def test_the_shipped_student_is_one_of_the_shipped_checkpoint():
    teacher = ProductDiffusion.load(DEFAULT_CHECKPOINT)
    student = ProductDiffusion.load_student(FAST_CHECKPOINT, teacher)
    assert student.name == "etalage-fast" and student.latent_shape == teacher.latent_shape
    assert student.rules.buckets is not None
    assert student.sigmas(4) == pytest.approx(teacher.sigmas(20)[::5])


def test_the_network_computes_in_the_type_asked_for_and_answers_in_full(tmp_path, model):
    half = ProductDiffusion.load(save_checkpoint(tmp_path), dtype=torch.bfloat16)
    assert half.transformer.embed.weight.dtype == torch.bfloat16
    assert half.autoencoder.project.weight.dtype == torch.float32
    x, sigma = torch.randn(1, *model.latent_shape), torch.tensor([1.5])
    cond = fuse(prepare(half), SHOPPER, "preserve")[Given.BOTH]
    found, expected = half.denoise(x, sigma, cond), model.denoise(x, sigma, cond)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() <= 0.05 * expected.abs().max()


def test_a_product_is_prepared_as_latents_and_a_mask(model):
    condition = prepare(model)
    assert condition.packshot.shape == (1, LATENT_CHANNELS + 1, LATENT_SIDE, LATENT_SIDE)
    mask = condition.packshot[0, -1]
    assert mask.min() >= -1 and mask.max() <= 1
    assert mask[0].max() == -1, "nothing stands at the top of the frame"
    assert mask.mean() > -1


def test_a_mask_is_the_mean_cover_of_its_pixels():
    pixels, alpha = torch.ones(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)
    alpha[..., :8, :8], alpha[..., 8:16, :4] = 1.0, 1.0
    mask = encode_packshot(make_autoencoder(), pixels, alpha)[0, -1]
    assert mask[0, 0] == 1 and mask[1, 0] == 0 and mask[2, 2] == -1


def test_latents_become_pictures(model):
    pixels = model.decode(torch.randn(2, *model.latent_shape) * 5)
    assert pixels.shape == (2, 32, 32, 3) and pixels.dtype == np.uint8
    alone = model.decode(torch.zeros(1, *model.latent_shape))
    together = model.decode(torch.zeros(3, *model.latent_shape))
    assert np.abs(alone.astype(int) - together[1:2].astype(int)).max() <= 1


def test_changing_shopper_b_leaves_image_a(model):
    product = prepare(model)
    batch = [fuse(product, shopper, "preserve")[Given.BOTH] for shopper in (SHOPPER, -SHOPPER)]
    other = [batch[0], fuse(product, 3 * SHOPPER[::-1], "preserve")[Given.BOTH]]
    x, sigma = torch.randn(2, *model.latent_shape), torch.tensor([2.0, 0.3])
    found = [
        model.denoise(x, sigma, {name: torch.cat([c[name] for c in conds]) for name in batch[0]})
        for conds in (batch, other)
    ]
    assert (found[0][0] - found[1][0]).abs().max() <= 1e-6
    assert (found[0][1] - found[1][1]).abs().max() > 1e-4


def test_schedules_end_in_an_image(model):
    sigmas = model.sigmas(7)
    assert len(sigmas) == 8 and sigmas[-1] == 0 and sigmas == sorted(sigmas, reverse=True)


def test_the_shipped_checkpoint_makes_the_same_picture_twice():
    model = ProductDiffusion.load(DEFAULT_CHECKPOINT)
    assert model.latent_shape[1:] == (16, 16) and model.encoders.width == 128
    taste = np.random.default_rng(0).normal(0, 0.1, 128).astype(np.float32)
    cond = fuse(prepare(model), taste, "preserve")[Given.BOTH]
    pictures = []
    for _ in range(2):
        plan = SAMPLERS["euler"](model.sigmas(2))
        x = draw_noise(1, (1, *model.latent_shape)) * plan[0].sigma
        h = torch.zeros_like(x)
        for tick in plan:
            x, h = advance(x, model.denoise(x, torch.tensor([tick.sigma]), cond), h, [tick])
        assert torch.isfinite(x).all()
        pictures.append(model.decode(x))
    assert pictures[0].shape == (1, 128, 128, 3)
    assert np.array_equal(pictures[0], pictures[1])
