"""Qwen-Image: what the stock pipeline makes, its guidance of kept length included."""

import threading
import time

import numpy as np
import pytest
import torch

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.loading import load_model
from diffusion.families.model import PretrainedDiffusion
from diffusion.families.qwen_image import QwenImage
from diffusion.families.schedules import FlowSchedule
from diffusion.families.specification import ModelSpecification
from diffusion.guidance import combine
from diffusion.image_model import Wish
from diffusion.noise import draw_noise
from tests.diffusion.families.tiny_qwen_image import tiny_qwen_image
from tests.diffusion.families.walking import facts, shopper, walk

STEPS = 5
TEXTS = ("", "red shoe", "a red shoe on a shelf of dark wood, at night", "x" * 100)


def specify(**told):
    plain = {
        "name": "tiny",
        "family": "qwen_image",
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
    return ModelSpecification.model_validate(plain | told)


def make(**told):
    specification = specify(**told)
    return PretrainedDiffusion(QwenImage(tiny_qwen_image(), specification), specification, "0" * 8)


@pytest.fixture(scope="module")
def model():
    return make()


@pytest.fixture(scope="module")
def stock():
    pipe = tiny_qwen_image()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(stock, prompt, size, seed, true_cfg_scale, negative_prompt=""):
    width, height = size
    noise = draw_noise(seed, (1, 16, height // 8, width // 8))
    made = stock(
        prompt=prompt,
        negative_prompt=negative_prompt,
        width=width,
        height=height,
        num_inference_steps=STEPS,
        true_cfg_scale=true_cfg_scale,
        latents=stock._pack_latents(noise, *noise.shape),
        max_sequence_length=64,
        output_type="np",
    )
    return made.images[0] * 255


@pytest.mark.parametrize("size", [(64, 64), (96, 64), (80, 112)])
def test_an_image_is_that_of_the_stock_pipeline(model, stock, size):
    expected = draw(stock, "studio red shoe", size, 1, 3.0)
    found = walk(model, facts(), seed=1, aspect_ratio=size[0] / size[1])
    assert np.abs(found - expected).max() <= 2
    assert expected.std() > 20 and np.abs(draw(stock, "studio hat", size, 1, 3.0) - found).max() > 9


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_a_shopper_is_the_stock_pipeline_with_their_interests(model, stock, strength):
    prompt = "studio red shoe" + ", for someone who loves jazz, hiking" * (strength == 1)
    who = shopper(8, interests=("jazz", "hiking"))
    found = walk(model, facts(), who, Wish("preserve", strength=strength), seed=2)
    assert np.abs(found - draw(stock, prompt, (64, 64), 2, 3.0)).max() <= 2


@pytest.mark.parametrize("guidance", [1.0, 1.5, 5.0])
def test_guidance_is_that_of_the_stock_pipeline(stock, guidance):
    model = make(guidance=guidance, negative_prompt="a blurred sketch")
    found = walk(model, facts(), seed=3)
    negative_prompt = "a blurred sketch" if guidance > 1 else None
    expected = draw(stock, "studio red shoe", (64, 64), 3, guidance, negative_prompt)
    assert np.abs(found - expected).max() <= 2


def test_without_the_kept_length_guidance_is_another(stock, monkeypatch):
    model = make(guidance=5.0)
    monkeypatch.setattr(model.family, "combine", combine)
    expected = draw(stock, "studio red shoe", (64, 64), 3, 5.0)
    assert np.abs(walk(model, facts(), seed=3) - expected).max() > 9


@torch.inference_mode()
def test_rows_are_what_the_stock_transformer_gives_for_prompts_of_many_lengths(model, stock):
    """Stock diffusers is isolated here, with a mask: rows alone and rows in a batch agree."""
    x = torch.randn(len(TEXTS), 16, 8, 14, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.1, 1.0, 9.0, 0.4])
    t = sigma / (1 + sigma)

    def velocity(rows):
        tokens, mask = stock.encode_prompt([TEXTS[row] for row in rows], max_sequence_length=64)
        assert (mask is None) == (len(rows) == 1)
        packed = stock.transformer(
            hidden_states=stock._pack_latents(x[rows], len(rows), *x.shape[1:]),
            timestep=t[rows],
            encoder_hidden_states=tokens,
            encoder_hidden_states_mask=mask,
            img_shapes=[[(1, 4, 7)]] * len(rows),
        ).sample
        return stock._unpack_latents(packed, 64, 112, 8)[:, :, 0]

    together = velocity([0, 1, 2, 3])
    alone = torch.cat([velocity([row]) for row in range(4)])
    prompts = [model.encode_prompt(text).conditions for text in TEXTS]
    cond = {name: torch.cat([prompt[name] for prompt in prompts]) for name in prompts[0]}
    column = (1 + sigma).reshape(-1, 1, 1, 1)
    found = model.family.denoise(x * column, sigma, cond)
    assert torch.allclose(together, alone, atol=1e-5) and together.std() > 0.1
    assert torch.allclose(found, x - t.reshape(-1, 1, 1, 1) * together, atol=1e-5)


def guide(negative, positive, scale):
    """The stock pipeline's lines, on packed velocities [n, channels]."""
    combined = negative + scale * (positive - negative)
    lengths = torch.norm(positive, dim=-1, keepdim=True), torch.norm(combined, dim=-1, keepdim=True)
    return combined * (lengths[0] / lengths[1])


def test_guidance_keeps_the_length_of_the_prompts_velocity(model, stock):
    """Three images in a batch: with a guidance of 4, with none, and with one of 2.5."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 16, 4, 6, generator=generator) * 3
    predicted = torch.randn(5, 16, 4, 6, generator=generator)
    weight, owner = torch.tensor([-3.0, 4.0, 1.0, -1.5, 2.5]), torch.tensor([0, 0, 1, 2, 2])
    sigma = torch.tensor([2.0, 2.0, 0.3, 0.5, 0.5])
    found = model.combine(predicted, weight, owner, x, sigma)
    for image, (low, high), scale in ((0, (0, 1), 4.0), (2, (3, 4), 2.5)):
        t = sigma[high] / (1 + sigma[high])
        x_t = x[image] / (1 + sigma[high])
        velocities = [(x_t - predicted[term]) / t for term in (low, high)]
        packed = [stock._pack_latents(v[None], 1, *v.shape)[0] for v in velocities]
        guided = guide(packed[0], packed[1], scale)
        kept = stock._unpack_latents(guided[None], 32, 48, 8)[0, :, 0]
        assert torch.allclose(found[image], x_t - t * kept, atol=1e-4)
    assert torch.equal(found[1], predicted[2])
    plain = combine(predicted, weight, owner, x, sigma)
    assert (found - plain).abs().amax(dim=(1, 2, 3))[[0, 2]].min() > 1


def test_where_nothing_is_predicted_guidance_has_nothing_to_keep(model):
    """A prediction that is the sample itself has a velocity of 0."""
    x, sigma = torch.ones(1, 16, 4, 4), torch.ones(2)
    predicted = torch.full((2, 16, 4, 4), 0.5)
    weight, owner = torch.tensor([-2.0, 3.0]), torch.zeros(2, dtype=torch.long)
    found = model.combine(predicted, weight, owner, x, sigma)
    assert torch.allclose(found, torch.full_like(x, 0.5))


def test_the_schedule_shifts_with_the_size_and_ends_as_the_stock_one(model, stock):
    draw(stock, "shoe", (96, 64), 0, 1.0, None)
    expected = stock.scheduler.sigmas.numpy()
    sigmas = np.array(FlowSchedule(stock.scheduler.config).own_sigmas(STEPS, num_tokens=4 * 6))
    assert np.allclose(sigmas / (1 + sigmas), expected, atol=2e-4) and len(expected) == STEPS + 1
    assert expected[-2] == pytest.approx(0.02) and model.sigmas()[1] != sigmas[1]


@torch.inference_mode()
def test_pictures_become_latents_as_the_stock_autoencoder_has_them(model, stock):
    pixels = torch.rand(2, 3, 64, 64) * 2 - 1
    latents = model.family.encode_image(pixels)
    moments = stock.vae.encode(pixels[:, :, None]).latent_dist.mean
    config = stock.vae.config
    for channel, (mean, std) in enumerate(
        zip(config.latents_mean, config.latents_std, strict=True)
    ):
        expected = (moments[:, channel, 0] - mean) / std
        assert torch.allclose(latents[:, channel], expected, atol=1e-5)
    pictures = stock.vae.decode(moments).sample[:, :, 0]
    assert torch.allclose(model.family.decode(latents), pictures, atol=1e-4)


def test_one_thread_at_a_time_uses_the_autoencoder(monkeypatch):
    """It keeps what it has seen in itself while it works: two at once would mix two products."""
    model = make()
    inside: list[None] = []
    most: list[int] = []
    encode = model.family.pipe.vae.encode

    def slow(pixels):
        inside.append(None)
        most.append(len(inside))
        time.sleep(0.05)
        inside.pop()
        return encode(pixels)

    monkeypatch.setattr(model.family.pipe.vae, "encode", slow)
    threads = [threading.Thread(target=model.prepare, args=(facts(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]


def test_the_template_is_cut_off_where_the_stock_pipeline_cuts_it(stock):
    before, _, _ = stock.prompt_template_encode.partition("{}")
    num_tokens = len(stock.tokenizer(before).input_ids)
    assert num_tokens == stock.prompt_template_encode_start_idx == 34


def test_the_edit_pipeline_is_refused(tmp_path):
    tiny_qwen_image().save_pretrained(tmp_path)
    index = tmp_path / "model_index.json"
    index.write_text(index.read_text().replace("QwenImagePipeline", "QwenImageEditPipeline"))
    with pytest.raises(CheckpointUnusable, match="takes QwenImagePipeline"):
        load_model(specify(source=str(tmp_path)))


@torch.inference_mode()
def test_half_precision_weights_serve(model):
    family = QwenImage(tiny_qwen_image().to(torch.bfloat16), specify(dtype="bfloat16"))
    x, sigma = torch.randn(1, 16, 8, 8), torch.ones(1)
    conditions = family.encode_prompt("red shoe").conditions
    denoised = family.denoise(x, sigma, conditions)
    expected = model.family.denoise(x, sigma, model.encode_prompt("red shoe").conditions)
    assert denoised.dtype == torch.float32 and denoised.shape == x.shape
    assert (denoised - expected).abs().max() < 0.1 * expected.abs().max()
