"""The shopper in UNets: as in the stock pipelines for one, and apart from each other for many."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.adapters.ip_adapter import fits_masks
from diffusion.families.loading import load_model
from diffusion.image_model import Wish
from diffusion.noise import draw_noise
from tests.diffusion.families.stock_unet import PROMPT, draw_stock, find_difference
from tests.diffusion.families.tiny_unet import (
    FAMILIES,
    LAYOUTS,
    SHOPPER_WIDTH,
    adapter,
    furnish,
    save_adapter,
    serve,
    specify,
    tiny_unet,
)
from tests.diffusion.families.walking import facts, shopper, walk, walk_latents

# Stock schedulers hand tensors to numpy.array, of which numpy and torch have different ideas.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ANN, BOB = shopper(SHOPPER_WIDTH, seed=1), shopper(SHOPPER_WIDTH, seed=2)
BLOCKS = {"down": {"block_0": [0.5]}, "up": {"block_1": [0.0, 1.5]}}
families = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return furnish(tmp_path_factory.mktemp("models"))


def adapt(home, family, layout="base", adapting=None, **told):
    return serve(home, family, shopper=adapter(family, layout, **(adapting or {})), **told)


def open_stock(home, family, layout="base", scale=1.0):
    pipe = FAMILIES[family]()
    told = {"weight_name": f"{layout}.safetensors", "image_encoder_folder": None}
    pipe.load_ip_adapter(str(home / f"{family}-adapter"), subfolder="", **told)
    pipe.set_ip_adapter_scale(scale)
    return pipe


def wish(strength):
    return Wish("preserve", strength=strength)


@families
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_shopper_changes_a_picture_as_in_the_stock_pipeline(home, family, layout):
    ours = walk(adapt(home, family, layout), facts(), ANN, wish(0.7))
    theirs = draw_stock(open_stock(home, family, layout, 0.7), ANN)
    assert find_difference(ours, theirs) <= 2
    assert find_difference(ours, draw_stock(open_stock(home, family, layout, 0.7), BOB)) > 10


@families
def test_blocks_are_scaled_as_in_the_stock_pipeline(home, family):
    ours = walk(adapt(home, family, adapting={"blocks": BLOCKS}), facts(), ANN, wish(1.0))
    assert find_difference(ours, draw_stock(open_stock(home, family, scale=BLOCKS), ANN)) <= 2
    assert find_difference(ours, draw_stock(open_stock(home, family), ANN)) > 10
    only_up = adapt(home, family, adapting={"blocks": {"up": 1.0}})
    theirs = draw_stock(open_stock(home, family, scale={"up": 1.0}), ANN)
    assert find_difference(walk(only_up, facts(), ANN, wish(1.0)), theirs) <= 2


@families
def test_the_product_is_kept_from_shoppers_as_in_the_stock_pipeline(home, family, monkeypatch):
    model = adapt(home, family, product={"preserve": ["inpaint"]}, adapting={"scale": 2.0})
    mask = 1 - model.prepare(facts()).conditions["preserve"]["keep"]
    assert mask.unique().tolist() == [0, 1]
    monkeypatch.setattr(model, "denoise", model.family.denoise)  # the product is not put back
    ours = walk(model, facts(), ANN, wish(0.3))
    stock = open_stock(home, family, scale=0.6)
    theirs = draw_stock(stock, ANN, cross_attention_kwargs={"ip_adapter_masks": [mask]})
    assert find_difference(ours, theirs) <= 2
    assert find_difference(ours, draw_stock(stock, ANN)) > 10


def gather_rows(model, title, who, strength, sigma, task="preserve"):
    """Both rows of an image in its first tick: x, sigma and conditions."""
    product = model.prepare(facts(title, seed=len(title)))
    route = model.plan(product, who, Wish(task, strength=strength), 0)
    rows = [term.cond for term in route.walk[0].terms]
    x = draw_noise(len(title), (1, *route.shape)) * sigma
    return [(x, torch.tensor([sigma]), cond) for cond in rows]


def denoise(model, rows):
    cond = {name: torch.cat([cond[name] for _, _, cond in rows]) for name in rows[0][2]}
    x, sigma = (torch.cat([row[place] for row in rows]) for place in (0, 1))
    return model.denoise(x, sigma, cond)


def crowd(home, family, tmp_path, in_channels):
    """A model with all that can be added to it, and rows of three that have nothing in common."""
    pipe = FAMILIES[family](in_channels)
    pipe.save_pretrained(tmp_path / "built")
    product = {
        "preserve": ["inpaint"],
        "restyle": ["controlnet"],
        "controlnet": str(home / f"{family}-controlnet"),
    }
    model = adapt(home, family, source=str(tmp_path / "built"), product=product)
    rows = gather_rows(model, "red shoe", ANN, 0.3, 7.0)
    rows += gather_rows(model, "violin", BOB, 1.0, 0.4, "restyle")
    return model, rows + gather_rows(model, "a lamp", None, 0.0, 2.0)


@families
@pytest.mark.parametrize("in_channels", [4, 9])
def test_rows_of_one_batch_are_what_they_are_alone(home, family, tmp_path, in_channels):
    model, rows = crowd(home, family, tmp_path, in_channels)
    together, alone = denoise(model, rows), torch.cat([denoise(model, [row]) for row in rows])
    assert (together - alone).abs().max() <= 1e-4
    assert (together[::2] - together[1::2]).abs().amax(dim=(1, 2, 3)).min() > 0.1


@families
def test_another_shopper_in_the_batch_changes_no_other_row(home, family, tmp_path):
    model, rows = crowd(home, family, tmp_path, 4)
    before = denoise(model, rows)
    rows[3] = gather_rows(model, "violin", ANN, 0.6, 0.4, "restyle")[1]
    after = denoise(model, rows)
    changes = (after - before).abs().amax(dim=(1, 2, 3))
    assert changes[3] > 0.1 and not changes[[0, 1, 2, 4, 5]].any()


@families
def test_the_stock_preparation_shows_each_row_all_shoppers(home, family):
    """What the test above forbids (huggingface/diffusers#9813): a pipeline repeats the embeddings
    of two prompts twice, and attention folds what is too many into tokens."""
    stock = open_stock(home, family)
    stock.set_progress_bar_config(disable=True)

    def draw_first(other):
        vectors = torch.from_numpy(np.stack([ANN.vector, other.vector]))[:, None]
        both = torch.cat([torch.zeros_like(vectors), vectors])
        latents = draw_noise(0, (1, 4, 8, 8)).repeat(2, 1, 1, 1)
        told = {"latents": latents, "ip_adapter_image_embeds": [both], "output_type": "np"}
        size = {"width": 16, "height": 16, "num_inference_steps": 2}
        return stock(prompt=[PROMPT, PROMPT], **size, **told).images[0]

    assert np.abs(draw_first(BOB) - draw_first(ANN)).max() > 0.1


@families
def test_strength_zero_is_the_generic_picture_to_the_last_bit(home, family):
    model = adapt(home, family)
    generic = walk_latents(model, facts())
    assert torch.equal(walk_latents(model, facts(), ANN, wish(0.0)), generic)
    without = load_model(specify(home, family))
    assert torch.equal(walk_latents(without, facts()), generic)


@families
def test_a_row_of_strength_zero_is_the_generic_row_whatever_its_shopper(home, family):
    model = adapt(home, family)
    (x, sigma, cond) = gather_rows(model, "red shoe", ANN, 1.0, 3.0)[1]
    nobody = gather_rows(model, "red shoe", None, 0.0, 3.0)[1]
    silent = {**cond, "strength": torch.zeros_like(cond["strength"])}
    assert cond["shopper"].any() and not nobody[2]["shopper"].any()
    assert torch.equal(denoise(model, [(x, sigma, silent)]), denoise(model, [nobody]))


@families
def test_strength_is_a_dial(home, family):
    model = adapt(home, family)
    generic, half, full = (
        walk_latents(model, facts(), ANN, wish(strength)) for strength in (0.0, 0.5, 1.0)
    )
    assert (half - generic).abs().max() > 0.5
    assert (full - half).abs().max() > 0.5
    scaled = adapt(home, family, adapting={"scale": 0.5})
    assert torch.allclose(walk_latents(scaled, facts(), ANN, wish(1.0)), half, atol=1e-5)


def test_a_vector_of_another_width_is_refused_before_it_is_in_a_batch(home):
    model = adapt(home, "sd15")
    assert model.family.shopper_width == SHOPPER_WIDTH
    with pytest.raises(ValueError, match="vectors of 12 numbers, and was given 16"):
        walk(model, facts(), shopper(16), wish(1.0))


def test_another_adapter_is_another_model(home, tmp_path):
    digests = set()
    for seed in (1, 2):
        name = save_adapter(tmp_path / "adapter", tiny_unet(), seed=seed)
        told = adapter("sd15", source=str(tmp_path / "adapter"), weights=name)
        digests.add(load_model(specify(home, "sd15", shopper=told)).digest)
    digests.add(adapt(home, "sd15").digest)
    digests.add(load_model(specify(home, "sd15")).digest)
    assert len(digests) == 4


def refusal(home, family="sd15", **adapting):
    with pytest.raises(CheckpointUnusable) as caught:
        adapt(home, family, adapting=adapting)
    return str(caught.value)


def test_an_adapter_of_another_base_is_refused_with_file_and_field(home):
    for family, other in (("sd15", "sdxl"), ("sdxl", "sd15")):
        said = refusal(home, family, source=f"{other}-adapter")
        file = home / f"{other}-adapter" / "base.safetensors"
        assert said.startswith(f"shopper.weights: {file} is an adapter of another base: ")
    assert "makes tokens of 16 numbers, and this UNet reads 32" in said


def change(home, tmp_path, name="base.safetensors", **changes):
    """A copy of a good adapter with some tensors changed, or dropped where None."""
    tensors = load_file(home / "sd15-adapter" / name) | changes
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, tmp_path / "changed.safetensors")
    return refusal(home, source=str(tmp_path), weights="changed.safetensors")


def test_attention_for_other_layers_is_refused(home, tmp_path):
    key = "ip_adapter.1.to_k_ip.weight"
    said = change(home, tmp_path, **{key: torch.zeros(8, 16)})
    assert said.endswith(f"{key} is 8 x 16, and in this UNet 16 x 16")
    said = change(home, tmp_path, **{key: None})
    assert said.endswith(f"{key} is missing, and in this UNet 16 x 16")
    said = change(home, tmp_path, **{"ip_adapter.99.to_k_ip.weight": torch.zeros(16, 16)})
    assert said.endswith("ip_adapter.99.to_k_ip.weight is 16 x 16, and in this UNet missing")
    said = change(home, tmp_path, **{"ip_adapter.0.to_k_lora.down.weight": torch.zeros(4, 16)})
    assert "to_k_lora.down.weight" in said


def test_projections_of_anything_but_one_vector_are_refused(home, tmp_path):
    file = tmp_path / "changed.safetensors"
    plus = {"image_proj.proj.weight": None, "image_proj.latents": torch.zeros(1, 4, 16)}
    said = change(home, tmp_path, **plus)
    assert said.startswith(f"shopper.weights: {file} does not project one vector")
    said = change(home, tmp_path, **{"image_proj.norm.bias": None})
    assert said.startswith(f"shopper.weights: {file} does not load: ")
    uneven = {"image_proj.proj.0.weight": torch.zeros(20, SHOPPER_WIDTH)}
    said = change(home, tmp_path, "faceid.safetensors", **uneven)
    assert said.startswith(f"shopper.weights: {file} does not load: ")


def test_what_is_no_safetensors_file_is_refused(home, tmp_path):
    folder = home / "sd15-adapter"
    said = refusal(home, weights="nothing.safetensors")
    assert said.startswith(f"shopper.weights: {folder / 'nothing.safetensors'} can't be read")
    (tmp_path / "half.safetensors").write_bytes((folder / "base.safetensors").read_bytes()[:500])
    torch.save({}, tmp_path / "pickled.bin")
    assert "half.safetensors can't be read" in refusal(
        home, source=str(tmp_path), weights="half.safetensors"
    )
    said = refusal(home, source=str(tmp_path), weights="pickled.bin")
    assert said.startswith(f"shopper.weights: {tmp_path / 'pickled.bin'} is a pickle")
    assert refusal(home, source="/nowhere").startswith("shopper.source: /nowhere is no folder")


@pytest.mark.parametrize(
    "blocks",
    [{"up": {"block_1": [1, 1, 1]}}, {"up": {"block_0": 1.0}}, {"sideways": 1.0}, {"up": "all"}],
    ids=str,
)
def test_blocks_that_the_unet_does_not_have_are_refused(home, blocks):
    assert refusal(home, blocks=blocks).startswith("shopper.blocks: ")


def test_sizes_that_a_mask_does_not_fit_are_refused(home):
    """sqrt(126 / (36 / 14)) is 7 but for rounding."""
    assert not fits_masks(14, 36, 2) and fits_masks(14, 36, 1) and fits_masks(14, 40, 2)
    with pytest.raises(CheckpointUnusable, match="sizes: 72 x 28: image-prompt attention can't"):
        adapt(home, "sd15", sizes=[(72, 28)])
    model = adapt(home, "sd15", sizes=[(80, 28)])
    assert walk(model, facts(), ANN, wish(1.0)).shape == (28, 80, 3)
