"""FLUX.1: as its own pipelines have it for one picture, and many rows at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.flux import Flux
from diffusion.families.loading import load_model
from diffusion.families.model import PretrainedDiffusion
from diffusion.image_model import Wish
from diffusion.noise import draw_noise
from diffusion.samplers import SAMPLERS
from tests.diffusion.families.rows import ask, draw, join
from tests.diffusion.families.tiny_flux import (
    build,
    build_whole,
    draw_stock,
    save_adapter,
    specify,
    tiny_flux,
    with_adapter,
)
from tests.diffusion.families.walking import facts, shopper, walk, walk_latents

WIDTH = 12
NOISE = draw_noise(0, (1, 4, 16, 16))
SIGMA = torch.tensor([9.0, 0.5])
KINDS = ("dev", "schnell", "kontext")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapter")
    save_adapter(folder, WIDTH)
    return folder


def refer(kind, model):
    """What Kontext's pipeline is shown beside the prompt."""
    if kind != "kontext":
        return {}
    return {"image": model.prepare(facts()).start, "max_area": 32 * 32}


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_its_own_pipelines(kind):
    model = build_whole(kind)
    expected = draw_stock(tiny_flux(kind), NOISE, **refer(kind, model))
    difference = np.abs(draw(model) - expected).max()
    print(f"\n{kind}: {difference:.3f} of 255")
    assert difference <= 2 and expected.std() > 20


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strength", [0.7, 1.0])
def test_a_shoppers_picture_is_its_own_pipelines(kind, strength, folder):
    model, who = build_whole(kind, folder), shopper(WIDTH)
    vector = torch.from_numpy(who.vector)[None, None]
    expected = draw_stock(
        with_adapter(kind, folder, strength),
        NOISE,
        ip_adapter_image_embeds=[vector],
        negative_ip_adapter_image_embeds=[torch.zeros_like(vector)],
        **refer(kind, model),
    )
    difference = np.abs(draw(model, who, strength) - expected).max()
    print(f"\n{kind}, shopper at {strength}: {difference:.3f} of 255")
    assert difference <= 2
    assert np.abs(draw(model) - expected).max() > 20


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_two_shoppers_are_what_they_are_alone(kind, folder):
    model = build_whole(kind, folder)
    one = ask(model, "red shoe", shopper(WIDTH, 1), 0.4)
    two = ask(model, "a hat", shopper(WIDTH, 2), 1.0)
    x = draw_noise(3, (2, 4, 16, 16))
    both = model.denoise(x, SIGMA, join(one, two))
    for row, cond in enumerate((one, two)):
        alone = model.denoise(x[row : row + 1], SIGMA[row : row + 1], cond)
        assert (both[row] - alone[0]).abs().max() <= 1e-4
    assert (both[0] - both[1]).abs().max() > 0.1


def leak(evaluate):
    """How far the first row moves when the second row's shopper is another one."""
    first, *others = (torch.from_numpy(shopper(WIDTH, seed).vector) for seed in (1, 2, 3))
    found = [evaluate(torch.stack([first, other])) for other in others]
    assert (found[0][1] - found[1][1]).abs().max() > 0.1
    return (found[0][0] - found[1][0]).abs().max()


def test_a_shopper_changes_no_other_row(folder):
    model = build("dev", folder)
    cond, x = ask(model, who=shopper(WIDTH)), NOISE.repeat(2, 1, 1, 1)
    assert leak(lambda shown: model.denoise(x, SIGMA, {**join(cond, cond), "shopper": shown})) == 0


@torch.inference_mode()
def test_stock_preparation_shows_every_row_all_shoppers(folder):
    """Rows are repeated for each prompt, and attention takes the surplus for more tokens of a row's
    own (huggingface/diffusers#9813)."""
    pipe = with_adapter("dev", folder)
    embeds, pooled, text_ids = pipe.encode_prompt(["red shoe"] * 2, max_sequence_length=40)

    def evaluate(shown):
        shown = pipe.prepare_ip_adapter_image_embeds(None, [shown[:, None]], "cpu", 2)
        return pipe.transformer(
            hidden_states=pipe._pack_latents(NOISE.repeat(2, 1, 1, 1), 2, 4, 16, 16),
            timestep=SIGMA / (1 + SIGMA),
            guidance=torch.full((2,), 3.5),
            pooled_projections=pooled,
            encoder_hidden_states=embeds,
            txt_ids=text_ids,
            img_ids=pipe._prepare_latent_image_ids(2, 8, 8, "cpu", torch.float32),
            joint_attention_kwargs={"ip_adapter_image_embeds": shown},
        ).sample

    assert leak(evaluate) > 0.1


def test_guidance_is_a_condition_of_each_row_where_it_is_embedded():
    dev, schnell = build("dev"), build("schnell")
    cond = ask(dev)
    low, high = ({**cond, "guidance": torch.tensor([scale])} for scale in (1.0, 30.0))
    found = dev.denoise(NOISE.repeat(2, 1, 1, 1), SIGMA[:1].repeat(2), join(low, high))
    assert cond["guidance"] == 3.5 and (found[0] - found[1]).abs().max() > 0.01
    assert "guidance" not in ask(schnell)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("sigmas", [None, "karras"])
def test_every_sampler_walks_to_a_picture(sampler, sigmas, folder):
    model = build("dev", folder)
    wish = Wish("preserve", sampler=sampler, num_steps=4, sigmas=sigmas, strength=0.5)
    latents = walk_latents(model, facts(), shopper(WIDTH), wish)
    assert latents.shape == (1, 4, 16, 16) and latents.isfinite().all()


def test_a_prompt_that_is_too_long_is_cut_and_counted():
    """A word of one letter is two tokens, and a text ends in one."""
    family = build("dev").family
    prompts = [family.encode_prompt(text) for text in ("", "a red shoe", "a " * 30)]
    assert [prompt.num_lost_tokens for prompt in prompts] == [0, 0, 61 - 40]
    for prompt in prompts:
        assert prompt.conditions["prompt"].shape == (1, 40, 32)
        assert prompt.conditions["pooled"].shape == (1, 16)


def test_a_picture_has_the_proportions_that_were_asked_for():
    model = build("dev")
    assert model.shapes == {(32, 32): (4, 16, 16), (48, 32): (4, 16, 24)}
    assert walk(model, facts(), aspect_ratio=1.4).shape == (32, 48, 3)


@pytest.mark.parametrize("size", [(32, 34), (30, 32), (0, 32)])
def test_a_size_that_cannot_be_is_refused(size):
    with pytest.raises(ValueError, match=f"{size[0]} x {size[1]}: .* multiples of 4"):
        build("dev").family.latent_shape(size)


def test_latents_of_a_picture_are_its_autoencoders():
    family, pixels = build("dev").family, torch.rand(2, 3, 32, 32) * 2 - 1
    assert isinstance(family, Flux)
    vae, latents = family.pipe.vae, family.encode_image(pixels)
    raw = latents / 0.8 + 0.1
    assert torch.allclose(raw, vae.encode(pixels).latent_dist.mode(), atol=1e-5)
    assert torch.allclose(family.decode(latents), vae.decode(raw).sample, atol=1e-4)


def test_half_precision_takes_and_gives_single(folder):
    specification = specify(folder)
    family = Flux(tiny_flux("dev").to(dtype=torch.bfloat16), specification)
    model = PretrainedDiffusion(family, specification, "0" * 16)
    denoised = model.denoise(NOISE, SIGMA[:1], ask(model, who=shopper(WIDTH)))
    assert denoised.dtype == torch.float32 and denoised.isfinite().all()


def test_a_saved_folder_and_its_adapter_load_to_the_same_pictures(folder, tmp_path):
    tiny_flux("dev").save_pretrained(tmp_path)
    built, loaded = build("dev", folder), load_model(specify(folder, source=str(tmp_path)))
    wish = Wish("preserve", strength=0.5)
    found = [walk_latents(model, facts(), shopper(WIDTH), wish) for model in (built, loaded)]
    assert torch.equal(*found) and loaded.family.shopper_width == WIDTH


def test_what_the_folder_cannot_do_is_refused():
    with pytest.raises(CheckpointUnusable, match="max_prompt_tokens: 600, but flux reads 512"):
        build("dev", max_prompt_tokens=600)
    pipe = tiny_flux("dev")
    pipe.register_modules(transformer=tiny_flux("fill").transformer)
    with pytest.raises(CheckpointUnusable, match="gives 16 numbers .* takes 48"):
        Flux(pipe, specify())
