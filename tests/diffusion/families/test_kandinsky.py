"""Kandinsky 2.2 beside its stock pipelines: product, prompt and shopper in one embedding."""

import json

import numpy as np
import pytest
import torch
from diffusers import KandinskyV22Img2ImgPipeline, KandinskyV22Pipeline
from PIL import Image

from diffusion.checkpoint import CheckpointUnusable
from diffusion.composition import place_in
from diffusion.families.kandinsky import PROMPT_SHARE
from diffusion.image_model import Wish
from diffusion.noise import draw_noise
from diffusion.samplers import SAMPLERS
from tests.diffusion.families.tiny_kandinsky import (
    WIDTH,
    load_kandinsky,
    rotate,
    save_kandinsky,
    stock_pipeline,
    tiny_kandinsky,
    tiny_prior,
)
from tests.diffusion.families.walking import facts, shopper, walk, walk_latents


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kandinsky")
    save_kandinsky(folder / "base")
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return load_kandinsky(folder)


def show(product, width, height):
    """The packshot on grey."""
    rgb, alpha = place_in(product.cutout, width, height)
    shown = rgb * alpha[..., None] + 128 * (1 - alpha[..., None])
    return Image.fromarray(np.rint(shown).astype(np.uint8))


def look(prior, packshot):
    """Its embedding, as the stock prior sees a picture."""
    seen = prior.image_processor(packshot, return_tensors="pt").pixel_values
    with torch.inference_mode():
        return prior.image_encoder(seen).image_embeds[0].numpy()


def imagine(prior, text):
    """The stock prior's embeddings of a text, and of nothing."""
    prior.set_progress_bar_config(disable=True)
    found = prior(text, generator=torch.Generator().manual_seed(0))
    return found.image_embeds[0].numpy(), found.negative_image_embeds


def difference(found, expected):
    """The largest in 255ths; a picture of nothing but black and white would hide any."""
    assert ((expected > 0) & (expected < 1)).mean() > 0.5
    return np.abs(found.astype(int) - np.rint(expected * 255)).max()


def to_row(embedding):
    return torch.tensor(embedding, dtype=torch.float32)[None]


@pytest.mark.parametrize("aspect_ratio", [1.0, 2.0])
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_an_image_is_the_stock_pipelines(model, strength, aspect_ratio):
    width, height = model.choose_size(aspect_ratio)
    prior, who = tiny_prior(), shopper(WIDTH)
    prompt, nothing = imagine(prior, "a product photograph of red shoe")
    product = look(prior, show(facts(), width, height))
    vector = who.vector * np.linalg.norm(product) / np.linalg.norm(who.vector)
    embedding = rotate(rotate(product, vector, 0.6 * strength), prompt, PROMPT_SHARE)
    noise = draw_noise(3, (1, 4, height // 2, width // 2))
    told = {"num_inference_steps": 5, "guidance_scale": 4.0, "output_type": "np"}
    pipe = stock_pipeline(KandinskyV22Pipeline)
    (expected,) = pipe(to_row(embedding), nothing, height, width, latents=noise, **told).images
    wish = Wish("preserve", strength=strength)
    found = walk(model, facts(), who, wish, seed=3, aspect_ratio=aspect_ratio)
    assert difference(found, expected) <= 2


def test_an_image_from_the_packshot_is_the_stock_pipelines(folder):
    """With a negative prompt, which the prior imagines, and without a prompt."""
    model = load_kandinsky(folder, prompt="", negative_prompt="blur", steps=3)
    prior, packshot = tiny_prior(), show(facts(), 32, 32)
    negative, _ = imagine(prior, "blur")
    pipe = stock_pipeline(KandinskyV22Img2ImgPipeline)
    (expected,) = pipe(
        to_row(look(prior, packshot)),
        packshot,
        to_row(negative),
        32,
        32,
        num_inference_steps=6,
        strength=0.5,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(3),
        output_type="np",
    ).images
    found = walk(model, facts(), wish=Wish("restyle"), seed=3)
    assert difference(found, expected) <= 2


def known(model, title="red shoe", who=None, strength=0.0):
    """The condition of a prompt's row."""
    product = model.prepare(facts(title))
    return model.plan(product, who, Wish("preserve", strength=strength), 0).walk[0].terms[-1].cond


def denoise(model, conditions, sigmas, first=0):
    x = 5 * draw_noise(1, (4, 4, 16, 16))[first : first + len(sigmas)]
    cond = {name: torch.cat([row[name] for row in conditions]) for name in conditions[0]}
    return model.denoise(x, torch.tensor(sigmas), cond)


def test_rows_of_one_batch_are_each_as_if_alone(model):
    """So they are in the stock pipeline: each row has one embedding, and nothing is shared."""
    first, second, third = shopper(WIDTH, 1), shopper(WIDTH, 2), shopper(WIDTH, 3)
    rows = [
        known(model, "red shoe", first, 1.0),
        known(model, "blue bag", second, 0.3),
        known(model, "red shoe"),
    ]
    sigmas = [8.0, 1.5, 0.2]
    together = denoise(model, rows, sigmas)
    for number, row in enumerate(rows):
        (alone,) = denoise(model, [row], sigmas[number : number + 1], number)
        assert torch.allclose(alone, together[number], atol=1e-4), number
    rows[1] = known(model, "blue bag", third, 0.9)
    others = denoise(model, rows, sigmas)
    assert torch.equal(others[[0, 2]], together[[0, 2]])
    assert (others[1] - together[1]).abs().max() > 0.05


def test_without_strength_a_shopper_is_nobody_to_the_last_bit(model):
    generic = walk_latents(model, facts())
    assert torch.equal(walk_latents(model, facts(), shopper(WIDTH), Wish("preserve")), generic)
    half, full = (
        walk_latents(model, facts(), shopper(WIDTH), Wish("preserve", strength=strength))
        for strength in (0.5, 1.0)
    )
    assert (half - generic).abs().max() > 0.05 and (full - half).abs().max() > 0.05


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_arrives(model, sampler):
    latents = walk_latents(model, facts(), shopper(WIDTH), Wish("preserve", sampler, strength=1.0))
    assert latents.shape == (1, 4, 16, 16) and latents.isfinite().all()


def test_prompts_have_one_shape_and_say_what_was_cut(model):
    texts = ["red shoe", "", "  ", "violin " * 60]
    found = [model.family.encode_prompt(text) for text in texts]
    shapes = [{k: (v.shape, v.dtype) for k, v in p.conditions.items()} for p in found]
    assert shapes == [shapes[0]] * 4
    assert [prompt.num_lost_tokens for prompt in found] == [0, 0, 0, 60 * 6 + 2 - 77]
    assert model.prepare(facts("violin " * 60)).warnings
    again = model.family.encode_prompt("red shoe")
    for name, value in found[0].conditions.items():
        assert torch.equal(value, again.conditions[name]), name


def test_titles_matter(model):
    red, blue = (walk_latents(model, facts(title)) for title in ("red shoe", "blue bag"))
    assert (red - blue).abs().max() > 0.05


@pytest.mark.parametrize(
    ("size", "shape"), [((32, 32), (4, 16, 16)), ((48, 24), (4, 12, 24)), ((4, 64), (4, 32, 2))]
)
def test_latents_have_the_proportions_of_the_picture(model, size, shape):
    assert model.family.latent_shape(size) == shape


@pytest.mark.parametrize("size", [(30, 32), (32, 33), (0, 32)])
def test_other_sizes_are_refused_with_what_is_allowed(model, size):
    with pytest.raises(ValueError, match="sides must be multiples of 4"):
        model.family.latent_shape(size)
    width, height = size
    with pytest.raises(ValueError, match=f"{width} x {height}"):
        model.family.latent_shape(size)


def test_the_networks_time_is_the_schedulers(tmp_path):
    """Also where its file leaves out the spacing: Euler's own would be another."""
    save_kandinsky(tmp_path / "base")
    file = tmp_path / "base" / "scheduler" / "scheduler_config.json"
    told = json.loads(file.read_text())
    assert told.pop("timestep_spacing") == "leading"
    file.write_text(json.dumps(told))
    model = load_kandinsky(tmp_path)
    times = model.family.schedule.time(torch.tensor(model.sigmas()[:-1]))
    assert torch.allclose(times, torch.tensor([800.0, 600, 400, 200, 0]), atol=1e-2)


def test_people_are_told_how_product_and_shopper_enter(model):
    told = model.family.describe()
    assert "24 numbers" in told["shopper"] and "clipping" in told["sampling"]


def refuse(folder, **told):
    with pytest.raises(CheckpointUnusable) as caught:
        load_kandinsky(folder, **told)
    return str(caught.value)


def test_a_decoder_without_its_prior_is_refused(tmp_path):
    tiny_kandinsky().save_pretrained(tmp_path / "base")
    assert f"source: {tmp_path / 'base' / 'prior'} is missing" in refuse(tmp_path)


def test_a_prior_of_another_width_is_refused(tmp_path):
    save_kandinsky(tmp_path / "base", prior_width=16)
    told = refuse(tmp_path)
    assert "prior/prior/config.json: embedding_dim is 16" in told and "of 24" in told


def test_a_decoder_in_the_priors_place_is_refused(tmp_path):
    save_kandinsky(tmp_path / "base")
    index = tmp_path / "base" / "prior" / "model_index.json"
    index.write_text(json.dumps({"_class_name": "KandinskyV22Pipeline"}))
    assert "prior/model_index.json: _class_name is KandinskyV22Pipeline" in refuse(tmp_path)


def test_another_prediction_is_refused(tmp_path):
    save_kandinsky(tmp_path / "base", prediction_type="v_prediction")
    assert "prediction_type is v_prediction, and can be epsilon" in refuse(tmp_path)


def test_an_adapter_is_refused(folder):
    told = {"kind": "ip_adapter", "source": ".", "weights": "x.safetensors"}
    assert "kandinsky22 has no image-prompt adapters" in refuse(folder, shopper=told)
