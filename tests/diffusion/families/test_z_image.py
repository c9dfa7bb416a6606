"""Z-Image: what the stock pipeline makes, from rows that know nothing of each other's prompts."""

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from diffusion.families.model import PretrainedDiffusion
from diffusion.families.schedules import FlowSchedule
from diffusion.families.specification import ModelSpecification
from diffusion.families.z_image import ZImage, ZImageRows, merge, split
from diffusion.image_model import Wish
from diffusion.noise import draw_noise
from tests.diffusion.families.tiny_z_image import tiny_z_image
from tests.diffusion.families.walking import facts, shopper, walk

STEPS = 5
TEXTS = ("", "red shoe", "a red shoe on a shelf of dark wood, at night", "x" * 100)


def make(**told):
    plain = {
        "name": "tiny",
        "family": "z_image",
        "source": "nowhere",
        "licence": "Apache-2.0",
        "sizes": [[64, 64], [96, 64], [80, 112]],
        "steps": STEPS,
        "guidance": 3.0,
        "prompt": "studio {title}",
        "max_prompt_tokens": 64,
        "shopper": {"kind": "prompt", "suffix": ", for someone who loves {interests}"},
        "product": {"preserve": [], "restyle": []},
    }
    specification = ModelSpecification.model_validate(plain | told)
    return PretrainedDiffusion(ZImage(tiny_z_image(), specification), specification, "0" * 8)


@pytest.fixture(scope="module")
def model():
    return make()


@pytest.fixture(scope="module")
def stock():
    pipe = tiny_z_image()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(stock, prompt, size, seed, guidance_scale, negative_prompt=""):
    width, height = size
    made = stock(
        prompt=prompt,
        negative_prompt=negative_prompt,
        width=width,
        height=height,
        num_inference_steps=STEPS,
        guidance_scale=guidance_scale,
        latents=draw_noise(seed, (1, 4, height // 8, width // 8)),
        max_sequence_length=64,
        output_type="np",
    )
    return made.images[0] * 255


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (80, 112)])
def test_an_image_is_that_of_the_stock_pipeline(model, stock, size):
    expected = draw(stock, "studio red shoe", size, 1, 2.0)
    found = walk(model, facts(), seed=1, aspect_ratio=size[0] / size[1])
    assert np.abs(found - expected).max() <= 2
    assert expected.std() > 20 and np.abs(draw(stock, "studio hat", size, 1, 2.0) - found).max() > 9


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_a_shopper_is_the_stock_pipeline_with_their_interests(model, stock, strength):
    prompt = "studio red shoe" + ", for someone who loves jazz, hiking" * (strength == 1)
    who = shopper(8, interests=("jazz", "hiking"))
    found = walk(model, facts(), who, Wish("preserve", strength=strength), seed=2)
    assert np.abs(found - draw(stock, prompt, (64, 64), 2, 2.0)).max() <= 2


@pytest.mark.parametrize("guidance", [1.0, 1.5, 5.0])
def test_guidance_is_one_more_than_that_of_the_stock_pipeline(stock, guidance):
    model = make(guidance=guidance, negative_prompt="a blurred sketch")
    found = walk(model, facts(), seed=3)
    expected = draw(stock, "studio red shoe", (64, 64), 3, guidance - 1, "a blurred sketch")
    assert np.abs(found - expected).max() <= 2


@torch.inference_mode()
def test_rows_are_what_the_stock_transformer_gives_for_lists_of_prompts(model, stock):
    """Stock diffusers is isolated here, with masks: rows alone and rows in a batch agree."""
    x = torch.randn(len(TEXTS), 4, 8, 14, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0.1, 0.5, 0.9, 0.3])
    captions, _ = stock.encode_prompt(
        list(TEXTS), do_classifier_free_guidance=False, max_sequence_length=64
    )
    assert len({len(caption) for caption in captions}) == 4
    pictures = list(x[:, :, None].unbind())
    together = torch.stack(stock.transformer(pictures, t, captions, return_dict=False)[0])
    alone = [
        stock.transformer([picture], t[i : i + 1], [caption], return_dict=False)[0][0]
        for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True))
    ]
    prompts = [model.encode_prompt(text).conditions for text in TEXTS]
    cond = {name: torch.cat([prompt[name] for prompt in prompts]) for name in prompts[0]}
    found = model.family.network(x, t, **cond)
    assert torch.allclose(together, torch.stack(alone), atol=1e-5)
    assert torch.allclose(found, together[:, :, 0], atol=1e-5) and found.std() > 0.1


def test_places_turn_as_in_the_stock_table_and_evenly_between_its_entries(model, stock):
    network = model.family.network
    places = torch.tensor([[0, 0, 0], [33, 5, 7], [255, 63, 1]])
    expected = stock.transformer.rope_embedder(places)
    assert torch.equal(network.rotate(places[None])[0], expected)
    middle = network.rotate(torch.tensor([[[32.5, 5.0, 7.0]]]))[0, 0]
    ends = network.rotate(torch.tensor([[[32.0, 5.0, 7.0], [33.0, 5.0, 7.0]]]))[0]
    assert torch.allclose(middle**2, ends[0] * ends[1], atol=1e-4)


def test_patches_are_those_of_the_stock_transformer(stock):
    x = torch.randn(2, 4, 6, 10)
    patches = split(x)
    for row, patch in zip(x, patches, strict=True):
        assert torch.equal(stock.transformer._patchify_image(row[:, None], 2, 1)[0], patch)
    assert torch.equal(merge(patches, x), x)


def test_the_weights_are_shared_and_not_copied(stock):
    network = ZImageRows.from_stock(stock.transformer)
    shared = dict(stock.transformer.named_parameters())
    assert all(shared[name].data_ptr() == p.data_ptr() for name, p in network.named_parameters())
    assert shared.keys() == dict(network.named_parameters()).keys()


@pytest.mark.parametrize("told", [{"shift": 3.0}, {"use_dynamic_shifting": True}])
def test_the_schedule_is_that_of_the_stock_pipeline(told):
    pipe = tiny_z_image()
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(**told)
    pipe("shoe", 64, 96, num_inference_steps=STEPS, guidance_scale=0.0, output_type="latent")
    expected = pipe.scheduler.sigmas.numpy()
    sigmas = np.array(FlowSchedule(pipe.scheduler.config).own_sigmas(STEPS, num_tokens=4 * 6))
    assert np.allclose(sigmas / (1 + sigmas), expected, atol=2e-4) and len(expected) == STEPS + 1


@torch.inference_mode()
def test_pictures_become_latents_as_the_stock_autoencoder_has_them(model, stock):
    pixels = torch.rand(2, 3, 64, 64) * 2 - 1
    latents = model.family.encode_image(pixels)
    moments = stock.vae.encode(pixels).latent_dist.mean
    assert torch.allclose(latents, (moments - 0.1159) * 0.3611, atol=1e-5)
    assert torch.allclose(model.family.decode(latents), stock.vae.decode(moments).sample, atol=1e-4)


@torch.inference_mode()
def test_half_precision_weights_serve(model):
    specification = model.specification.model_copy(update={"dtype": "bfloat16"})
    family = ZImage(tiny_z_image().to(torch.bfloat16), specification)
    x, sigma = torch.randn(1, 4, 8, 8), torch.ones(1)
    conditions = family.encode_prompt("red shoe").conditions
    denoised = family.denoise(x, sigma, conditions)
    expected = model.family.denoise(x, sigma, model.encode_prompt("red shoe").conditions)
    assert denoised.dtype == torch.float32 and denoised.shape == x.shape
    assert (denoised - expected).abs().max() < 0.1 * expected.abs().max()
