"""Stable Diffusion 3: as its own pipeline has it for one picture, and many rows at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.loading import load_model
from diffusion.families.model import PretrainedDiffusion
from diffusion.families.sd3 import StableDiffusion3
from diffusion.image_model import Wish
from diffusion.noise import draw_noise
from diffusion.samplers import SAMPLERS
from tests.diffusion.families.rows import ask, draw, join
from tests.diffusion.families.tiny_sd3 import (
    KINDS,
    NUM_ATTENTIONS,
    build,
    draw_stock,
    save_adapter,
    specify,
    tiny_sd3,
    with_adapter,
)
from tests.diffusion.families.walking import facts, shopper, walk, walk_latents

WIDTH = 12
NOISE = draw_noise(0, (1, 4, 16, 16))
SIGMA = torch.tensor([9.0, 0.5])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """An adapter for each kind."""
    found = {}
    for kind, num in NUM_ATTENTIONS.items():
        found[kind] = tmp_path_factory.mktemp("adapter")
        save_adapter(found[kind], WIDTH, num_attentions=num)
    return found


@pytest.fixture(scope="module")
def folder(folders):
    return folders["3"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_its_own_pipelines(kind):
    expected = draw_stock(tiny_sd3(**KINDS[kind]), NOISE)
    difference = np.abs(draw(build(kind)) - expected).max()
    print(f"\n{kind}: {difference:.3f} of 255")
    assert difference <= 2 and expected.std() > 20


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strength", [0.7, 1.0])
def test_a_shoppers_picture_is_its_own_pipelines(kind, strength, folders):
    model, who = build(kind, folders[kind]), shopper(WIDTH)
    vector = torch.from_numpy(who.vector)[None, None]
    shown = torch.cat([torch.zeros_like(vector), vector])
    pipe = with_adapter(kind, folders[kind], strength)
    expected = draw_stock(pipe, NOISE, ip_adapter_image_embeds=shown)
    difference = np.abs(draw(model, who, strength) - expected).max()
    print(f"\n{kind}, shopper at {strength}: {difference:.3f} of 255")
    assert difference <= 2
    assert np.abs(draw(model) - expected).max() > 5


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_two_shoppers_are_what_they_are_alone(kind, folders):
    model = build(kind, folders[kind])
    one = ask(model, "red shoe", shopper(WIDTH, 1), 0.4)
    two = ask(model, "a hat", shopper(WIDTH, 2), 1.0)
    x = draw_noise(3, (2, 4, 16, 16))
    both = model.denoise(x, SIGMA, join(one, two))
    for row, cond in enumerate((one, two)):
        alone = model.denoise(x[row : row + 1], SIGMA[row : row + 1], cond)
        assert (both[row] - alone[0]).abs().max() <= 1e-4
    assert (both[0] - both[1]).abs().max() > 0.1


def test_a_shopper_changes_no_other_row(folder):
    model, x = build("3", folder), NOISE.repeat(2, 1, 1, 1)
    mine, yours, another = (ask(model, who=shopper(WIDTH, seed)) for seed in (1, 2, 3))
    found = [model.denoise(x, SIGMA, join(mine, other)) for other in (yours, another)]
    assert torch.equal(found[0][0], found[1][0])
    assert (found[0][1] - found[1][1]).abs().max() > 0.02


def test_the_stock_pipeline_takes_no_shopper_for_each_row(folder):
    """It repeats the rows for each prompt and stops at the surplus, since its resampler adds each
    row's time to them. It takes one shopper for all prompts, and leaks nothing."""
    pipe = with_adapter("3", folder)
    pipe.set_progress_bar_config(disable=True)
    shown = torch.randn(4, 1, WIDTH)
    with pytest.raises(RuntimeError, match="must match the size"):
        pipe(["shoe", "hat"], height=32, width=32, ip_adapter_image_embeds=shown)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("sigmas", [None, "karras"])
def test_every_sampler_walks_to_a_picture(sampler, sigmas, folder):
    model = build("3", folder)
    wish = Wish("preserve", sampler=sampler, num_steps=4, sigmas=sigmas, strength=0.5)
    latents = walk_latents(model, facts(), shopper(WIDTH), wish)
    assert latents.shape == (1, 4, 16, 16) and latents.isfinite().all()


@pytest.mark.parametrize(("kind", "lost"), [("3", 201 - 40), ("3 without T5", 102 - 77)])
def test_a_prompt_that_is_too_long_is_cut_and_counted(kind, lost):
    """A word of one letter is two tokens of T5's, and one of CLIP's; a text ends in one token more,
    and CLIP's begins with one. T5 reads as far as it is told to, CLIP 77 tokens."""
    family = build(kind).family
    prompts = [family.encode_prompt(text) for text in ("", "a red shoe", "a " * 100)]
    assert [prompt.num_lost_tokens for prompt in prompts] == [0, 0, lost]
    for prompt in prompts:
        assert prompt.conditions["prompt"].shape == (1, 77 + 40, 32)
        assert prompt.conditions["pooled"].shape == (1, 24)


def test_a_picture_has_the_proportions_that_were_asked_for():
    model = build()
    assert model.shapes == {(32, 32): (4, 16, 16), (48, 32): (4, 16, 24)}
    assert walk(model, facts(), aspect_ratio=1.4).shape == (32, 48, 3)


@pytest.mark.parametrize("size", [(32, 34), (30, 32), (0, 32), (32, 68)])
def test_a_size_that_cannot_be_is_refused(size):
    with pytest.raises(ValueError, match=f"{size[0]} x {size[1]}: .* of 4, at most 64"):
        build().family.latent_shape(size)


def test_latents_of_a_picture_are_its_autoencoders():
    family, pixels = build().family, torch.rand(2, 3, 32, 32) * 2 - 1
    assert isinstance(family, StableDiffusion3)
    vae, latents = family.pipe.vae, family.encode_image(pixels)
    raw = latents / 0.8 + 0.1
    assert torch.allclose(raw, vae.encode(pixels).latent_dist.mode(), atol=1e-5)
    assert torch.allclose(family.decode(latents), vae.decode(raw).sample, atol=1e-4)


def test_half_precision_takes_and_gives_single(folder):
    specification = specify(folder)
    family = StableDiffusion3(tiny_sd3().to(dtype=torch.bfloat16), specification)
    model = PretrainedDiffusion(family, specification, "0" * 16)
    denoised = model.denoise(NOISE, SIGMA[:1], ask(model, who=shopper(WIDTH)))
    assert denoised.dtype == torch.float32 and denoised.isfinite().all()


def test_a_saved_folder_and_its_adapter_load_to_the_same_pictures(folder, tmp_path):
    tiny_sd3().save_pretrained(tmp_path)
    built, loaded = build("3", folder), load_model(specify(folder, source=str(tmp_path)))
    wish = Wish("preserve", strength=0.5)
    found = [walk_latents(model, facts(), shopper(WIDTH), wish) for model in (built, loaded)]
    assert torch.equal(*found) and loaded.family.shopper_width == WIDTH


def test_a_longer_prompt_than_the_pipeline_takes_is_refused():
    with pytest.raises(CheckpointUnusable, match="max_prompt_tokens: 600, but sd3 reads 512"):
        build(max_prompt_tokens=600)
