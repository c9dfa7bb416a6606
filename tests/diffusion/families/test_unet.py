"""Stable Diffusion 1.5 and XL against their stock pipelines."""

import functools

import numpy as np
import pytest
import torch
from diffusers import (
    EulerAncestralDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionXLImg2ImgPipeline,
)
from torch.utils._python_dispatch import TorchDispatchMode

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.loading import load_model
from diffusion.image_model import Wish
from diffusion.noise import draw_noise
from diffusion.samplers import SAMPLERS
from tests.diffusion.families.stock_unet import draw_stock, find_difference, redraw_noise
from tests.diffusion.families.tiny_unet import (
    FAMILIES,
    SHOPPER_WIDTH,
    adapter,
    furnish,
    serve,
    specify,
    tiny_sdxl,
    tiny_vae,
)
from tests.diffusion.families.walking import facts, shopper, walk, walk_latents

# Stock schedulers hand tensors to numpy.array, of which numpy and torch have different ideas.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

WHO = shopper(SHOPPER_WIDTH)
ZERO_SNR = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
V_PREDICTION = {"prediction_type": "v_prediction", **ZERO_SNR}
families = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return furnish(tmp_path_factory.mktemp("models"))


@functools.cache
def draw_usual(family):
    return draw_stock(FAMILIES[family]())


def serve_built(tmp_path, family, pipe, **told):
    pipe.save_pretrained(tmp_path / "built")
    return load_model(specify(tmp_path, family, source="built", **told))


@families
@pytest.mark.parametrize("size", [(16, 16), (24, 16), (16, 32)])
def test_a_picture_is_that_of_the_stock_pipeline(home, family, size):
    told = {"sizes": [size], "negative_prompt": "blurred"}
    ours = walk(serve(home, family, **told), facts())
    theirs = draw_stock(FAMILIES[family](), size=size, negative_prompt="blurred")
    assert find_difference(ours, theirs) <= 2


@families
@pytest.mark.parametrize(
    "scheduling",
    [
        {"timestep_spacing": "linspace"},
        {"use_karras_sigmas": True},
        {"prediction_type": "v_prediction"},
        V_PREDICTION,
    ],
    ids=lambda told: "-".join(map(str, told.values())),
)
def test_the_scheduler_is_that_of_the_folder(tmp_path, family, scheduling):
    pipe = FAMILIES[family](**scheduling)
    ours = walk(serve_built(tmp_path, family, pipe), facts())
    assert find_difference(ours, draw_stock(pipe)) <= 2
    assert find_difference(ours, draw_usual(family)) > 10


@families
def test_the_ancestral_sampler_is_the_stock_one(home, monkeypatch, family):
    redraw_noise(monkeypatch, "scheduling_euler_ancestral_discrete")
    ours = walk(serve(home, family, sampler="euler_ancestral"), facts())
    theirs = draw_stock(FAMILIES[family](), scheduler=EulerAncestralDiscreteScheduler)
    assert find_difference(ours, theirs) <= 2


@families
def test_a_turbo_walks_one_row_along_trailing_levels(home, monkeypatch, family):
    redraw_noise(monkeypatch, "scheduling_euler_ancestral_discrete")
    told = {"schedule": "turbo", "sampler": "euler_ancestral", "guidance": 1.0, "steps": 2}
    theirs = draw_stock(
        FAMILIES[family](),
        scheduler=EulerAncestralDiscreteScheduler,
        scheduling={"timestep_spacing": "trailing"},
        guidance_scale=0.0,
        num_inference_steps=2,
    )
    assert find_difference(walk(serve(home, family, **told), facts()), theirs) <= 2


@families
def test_a_lightning_walks_along_trailing_levels(home, family):
    told = {"schedule": "lightning", "guidance": 1.0, "steps": 4}
    theirs = draw_stock(
        FAMILIES[family](),
        scheduling={"timestep_spacing": "trailing"},
        guidance_scale=0.0,
        num_inference_steps=4,
    )
    assert find_difference(walk(serve(home, family, **told), facts()), theirs) <= 2


@families
@pytest.mark.parametrize("guidance", [1.5, 8.0])
def test_an_lcm_is_told_of_guidance_and_draws_fresh_noise(tmp_path, monkeypatch, family, guidance):
    redraw_noise(monkeypatch, "scheduling_lcm")
    pipe = FAMILIES[family](time_cond=8)
    told = {"schedule": "lcm", "sampler": "lcm", "guidance": 1.0, "embedded_guidance": guidance}
    ours = walk(serve_built(tmp_path, family, pipe, **told), facts())
    theirs = draw_stock(pipe, scheduler=LCMScheduler, guidance_scale=guidance)
    assert find_difference(ours, theirs) <= 2


def test_the_pipeline_of_latent_consistency_models_is_taken(tmp_path, monkeypatch):
    redraw_noise(monkeypatch, "scheduling_lcm")
    parts = FAMILIES["sd15"](time_cond=8).components
    pipe = LatentConsistencyModelPipeline(**parts, requires_safety_checker=False)
    told = {"schedule": "lcm", "sampler": "lcm", "guidance": 1.0, "embedded_guidance": 8.0}
    ours = walk(serve_built(tmp_path, "sd15", pipe, **told), facts())
    theirs = draw_stock(pipe, scheduler=LCMScheduler, guidance_scale=8.0)
    assert find_difference(ours, theirs) <= 2


@families
def test_an_lcm_that_is_told_of_no_guidance_is_refused(tmp_path, family):
    with pytest.raises(CheckpointUnusable, match="embedded_guidance must be set"):
        serve_built(tmp_path, family, FAMILIES[family](time_cond=8), schedule="lcm")


def test_a_vae_may_have_a_mean_and_a_deviation_for_each_channel(tmp_path):
    told = {"latents_mean": [0.3, -0.2, 0.1, 0.5], "latents_std": [1.5, 0.7, 1.2, 0.9]}
    pipe = tiny_sdxl(vae=tiny_vae(0, scaling_factor=0.5, **told))
    model = serve_built(tmp_path, "sdxl", pipe)
    ours = walk(model, facts())
    assert find_difference(ours, draw_stock(pipe)) <= 2
    assert find_difference(ours, draw_usual("sdxl")) > 10
    latents = draw_noise(3, (2, 4, 8, 8))
    pixels = model.family.decode(latents)
    encoded = pipe.vae.encode(pixels).latent_dist.mode()
    mean, deviation = (torch.tensor(told[name])[:, None, None] for name in told)
    expected = (encoded - mean) * 0.5 / deviation
    assert torch.allclose(model.family.encode_image(pixels), expected, atol=1e-5)


@families
def test_a_walk_from_the_product_is_the_stock_image_to_image(home, monkeypatch, family):
    kinds = {"sd15": StableDiffusionImg2ImgPipeline, "sdxl": StableDiffusionXLImg2ImgPipeline}
    model = serve(home, family, product={"restyle": ["image"], "image_strength": 0.75})
    ours = walk(model, facts(), None, Wish("restyle"))
    module = kinds[family].__module__
    monkeypatch.setattr(f"{module}.randn_tensor", lambda shape, **told: draw_noise(0, shape))
    pipe = kinds[family].from_pipe(FAMILIES[family]())
    theirs = pipe_from(pipe, model.prepare(facts()).start)
    assert find_difference(ours, theirs) <= 2
    assert find_difference(ours, walk(serve(home, family), facts())) > 10


def pipe_from(pipe, start):
    """7 steps of which 0.75, rounded down, are left: 5."""
    pipe.set_progress_bar_config(disable=True)
    told = {"num_inference_steps": 7, "strength": 0.75, "guidance_scale": 4.0}
    prompt = "a product photograph of red shoe"
    return np.asarray(pipe(prompt=prompt, image=start, output_type="pil", **told).images[0])


@families
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_ends_in_a_picture(home, family, sampler):
    model = serve(home, family, shopper=adapter(family))
    latents = walk_latents(model, facts(), WHO, Wish("preserve", sampler, 3, strength=0.8))
    assert latents.isfinite().all() and latents.std() > 0.1


@families
def test_a_long_prompt_is_cut_and_what_was_lost_is_counted(home, family):
    model = serve(home, family, prompt="{title}")
    short, long = model.encode_prompt("violin"), model.encode_prompt("violin " * 100)
    assert {name: value.shape for name, value in short.conditions.items()} == {
        name: value.shape for name, value in long.conditions.items()
    }
    # The tiny tokenizer reads letter by letter; its 77 places have a beginning and an end.
    assert (short.num_lost_tokens, long.num_lost_tokens) == (0, 600 - 75)
    product = model.prepare(facts("violin " * 100))
    assert product.warnings == ("the prompt is longer than the model reads: 525 tokens were cut",)


def test_an_empty_prompt_is_zeros_where_xl_was_trained_so(home, tmp_path):
    told = serve(home, "sdxl").encode_prompt("").conditions
    assert not told["prompt"].any() and not told["pooled"].any()
    pipe = tiny_sdxl()
    pipe.register_to_config(force_zeros_for_empty_prompt=False)
    model = serve_built(tmp_path, "sdxl", pipe)
    assert model.encode_prompt("").conditions["prompt"].any()
    assert find_difference(walk(model, facts()), draw_stock(pipe)) <= 2


@families
def test_sides_are_multiples_of_the_deepest_level(home, family):
    shape_of = serve(home, family).family.latent_shape
    assert shape_of((16, 16)) == (4, 8, 8)
    assert shape_of((48, 20)) == (4, 10, 24)
    for size in ((18, 16), (16, 18), (0, 16)):
        with pytest.raises(ValueError, match="sides must be multiples of 4"):
            shape_of(size)
    with pytest.raises(CheckpointUnusable, match="sizes: 18 x 20: sides must be multiples of 4"):
        serve(home, family, sizes=[(18, 20)])


def test_xl_is_told_of_height_before_width(home):
    told = serve(home, "sdxl").family.describe_size((48, 20))
    assert told["time_ids"].tolist() == [[20, 48, 0, 0, 20, 48]]


@families
def test_a_unet_of_another_input_is_refused(tmp_path, family):
    pipe = FAMILIES[family](in_channels=8)
    with pytest.raises(CheckpointUnusable, match="unet/config.json: in_channels is 8"):
        serve_built(tmp_path, family, pipe)


@families
def test_an_unknown_prediction_is_refused(tmp_path, family):
    pipe = FAMILIES[family](prediction_type="flow")
    with pytest.raises(CheckpointUnusable, match="scheduler_config.json: prediction_type is flow"):
        serve_built(tmp_path, family, pipe)


@families
def test_what_it_is_conditioned_by_is_told(home, family):
    assert list(serve(home, family).family.describe()) == ["product"]
    told = {"shopper": adapter(family), "product": {"controlnet": f"{family}-controlnet"}}
    said = serve(home, family, **told).family.describe()
    assert list(said) == ["product", "edges", "shopper"] and "12 numbers" in said["shopper"]


def test_a_pipeline_of_another_family_is_refused(home):
    with pytest.raises(CheckpointUnusable, match="_class_name is StableDiffusionXLPipeline"):
        serve(home, "sd15", source="sdxl")


@families
def test_numbers_of_half_the_length_give_about_the_same(home, family):
    told = {"shopper": adapter(family), "product": {"controlnet": f"{family}-controlnet"}}
    exact, rounded = (serve(home, family, dtype=dtype, **told) for dtype in ("float32", "bfloat16"))
    latents = [
        walk_latents(model, facts(), WHO, Wish("restyle", strength=0.5))
        for model in (exact, rounded)
    ]
    assert latents[1].dtype == torch.float32
    error = (latents[0] - latents[1]).square().mean().sqrt() / latents[0].std()
    assert 0 < error < 0.1


def test_xl_decodes_in_float32_where_float16_would_overflow(tmp_path):
    for forced, expected in ((True, torch.float32), (False, torch.float16)):
        pipe = tiny_sdxl(vae=tiny_vae(force_upcast=forced))
        model = serve_built(tmp_path, "sdxl", pipe, dtype="float16")
        assert model.family.vae.dtype == expected
        assert model.family.unet.dtype == torch.float16


class NoSync(TorchDispatchMode):
    """Raises where a tensor's number is read, for which a GPU would have to be waited for."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket.__name__ not in ("_local_scalar_dense", "nonzero", "equal")
        return func(*args, **(kwargs or {}))


@families
def test_a_tick_reads_no_number_back(home, family):
    told = {"shopper": adapter(family), "product": {"controlnet": f"{family}-controlnet"}}
    model = serve(home, family, **told)
    (term, _) = model.plan(model.prepare(facts()), WHO, Wish("preserve"), 0).walk[0].terms
    with NoSync():
        model.denoise(draw_noise(0, (1, 4, 8, 8)), torch.tensor([3.0]), term.cond)
    with pytest.raises(AssertionError), NoSync():
        torch.ones(1).item()
