"""ControlNets beside UNets: as in the stock pipelines, and as strong as each row asks for."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionControlNetPipeline, StableDiffusionXLControlNetPipeline
from safetensors.torch import load_file, save_file

from diffusion.checkpoint import CheckpointUnusable
from diffusion.composition import place_in
from diffusion.image_model import Wish
from diffusion.noise import draw_noise
from tests.diffusion.families.stock_unet import draw_stock, find_difference
from tests.diffusion.families.tiny_unet import (
    FAMILIES,
    SHOPPER_WIDTH,
    adapter,
    furnish,
    serve,
    tiny_controlnet,
)
from tests.diffusion.families.walking import facts, shopper, walk

# Stock schedulers hand tensors to numpy.array, of which numpy and torch have different ideas.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ANN = shopper(SHOPPER_WIDTH)
DISC = facts()
assert DISC.cutout is not None
DISC.cutout[..., :3] = 255
PIPELINES = {
    "sd15": StableDiffusionControlNetPipeline,
    "sdxl": StableDiffusionXLControlNetPipeline,
}
WEIGHTS = "diffusion_pytorch_model.safetensors"
families = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return furnish(tmp_path_factory.mktemp("models"))


def steer(home, family, controlnet=None, scale=0.8, **told):
    product = {
        "preserve": [],
        "restyle": ["controlnet"],
        "controlnet": controlnet or f"{family}-controlnet",
        "controlnet_scale": scale,
    }
    return serve(home, family, product=product, **told)


def open_stock(family):
    pipe = FAMILIES[family]()
    return PIPELINES[family].from_pipe(pipe, controlnet=tiny_controlnet(pipe.unet))


@families
def test_edges_steer_a_picture_as_in_the_stock_pipeline(home, family):
    model = steer(home, family)
    edges = model.prepare(DISC).conditions["restyle"]["control"]
    assert edges.shape == (1, 3, 16, 16) and 0.1 < edges.mean() < 0.9
    ours = walk(model, DISC, None, Wish("restyle"))
    stock = open_stock(family)
    theirs = draw_stock(stock, image=edges, controlnet_conditioning_scale=0.8)
    assert find_difference(ours, theirs) <= 2
    others = draw_stock(stock, image=1 - edges, controlnet_conditioning_scale=0.8)
    assert find_difference(ours, others) > 10


@families
def test_edges_and_shopper_act_together_as_in_the_stock_pipeline(home, family):
    model = steer(home, family, shopper=adapter(family))
    edges = model.prepare(DISC).conditions["restyle"]["control"]
    ours = walk(model, DISC, ANN, Wish("restyle", strength=0.6))
    stock = open_stock(family)
    told = {"weight_name": "base.safetensors", "image_encoder_folder": None}
    stock.load_ip_adapter(str(home / f"{family}-adapter"), subfolder="", **told)
    stock.set_ip_adapter_scale(0.6)
    theirs = draw_stock(stock, ANN, image=edges, controlnet_conditioning_scale=0.8)
    assert find_difference(ours, theirs) <= 2


@families
def test_each_row_has_its_own_scale_and_none_is_as_without(home, family):
    model, without = steer(home, family), serve(home, family)
    product = model.prepare(DISC)
    cond = product.prompt.conditions | product.conditions["restyle"]
    x, sigma = draw_noise(0, (1, 4, 8, 8)), torch.tensor([3.0])

    def denoise(*scales):
        count = len(scales)
        rows = {name: torch.cat([value] * count) for name, value in cond.items()}
        rows["control_scale"] = torch.tensor(scales)
        return model.denoise(x.repeat(count, 1, 1, 1), sigma.repeat(count), rows)

    together = denoise(0.0, 0.5, 1.0)
    for row, scale in zip(together, (0.0, 0.5, 1.0), strict=True):
        assert (denoise(scale)[0] - row).abs().max() <= 1e-4
    assert (together[0] - together[1]).abs().max() > 0.1
    assert (together[1] - together[2]).abs().max() > 0.1
    assert torch.equal(denoise(0.0), without.denoise(x, sigma, cond))


def test_another_controlnet_is_another_model(home, tmp_path):
    shutil.copytree(home / "sd15-controlnet", tmp_path / "other")
    tensors = load_file(tmp_path / "other" / WEIGHTS)
    tensors["conv_in.bias"] += 1
    save_file(tensors, tmp_path / "other" / WEIGHTS)
    models = steer(home, "sd15"), steer(home, "sd15", str(tmp_path / "other"))
    assert models[0].digest != models[1].digest


def refusal(home, controlnet, family="sd15"):
    with pytest.raises(CheckpointUnusable) as caught:
        steer(home, family, str(controlnet))
    said = str(caught.value)
    assert said.startswith("product.controlnet: ") and str(controlnet) in said
    return said


def test_a_controlnet_of_another_base_is_refused(home, tmp_path):
    said = refusal(home, home / "sdxl-controlnet")
    assert "cross_attention_dim is 32, and that of this UNet 16" in said
    pipe = FAMILIES["sd15"]()
    deeper = tiny_controlnet(pipe.unet, conditioning_embedding_out_channels=(8, 8, 16))
    deeper.save_pretrained(tmp_path / "deeper")
    said = refusal(home, tmp_path / "deeper")
    assert said.endswith("makes pictures 4 times smaller, and this autoencoder 2 times")


def test_what_is_no_controlnet_is_refused(home, tmp_path):
    assert refusal(home, "/nowhere").endswith("is no folder and no name on a hub")
    assert refusal(home, home / "sd15" / "unet").endswith(
        "config.json is of a UNet2DConditionModel"
    )
    assert "does not load" in refusal(home, tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(home / "sd15-controlnet", broken)
    tensors = load_file(broken / WEIGHTS)
    del tensors["conv_in.bias"]
    save_file(tensors, broken / WEIGHTS)
    assert refusal(home, broken).endswith("lacks conv_in.bias")
    (broken / WEIGHTS).write_bytes(b"not weights")
    assert "does not load" in refusal(home, broken)
    (broken / WEIGHTS).unlink()
    torch.save(tensors, broken / "diffusion_pytorch_model.bin")
    assert "does not load" in refusal(home, broken)


@families
def test_a_map_that_comes_along_steers_in_the_place_of_edges(home, family):
    """A depth map, say: placed as the product is, and black around it."""
    model = steer(home, family)
    depth = np.tile(np.linspace(0, 255, 48).astype(np.uint8)[:, None, None], (1, 48, 3))
    told = replace(DISC, control=depth)
    control = model.prepare(told).conditions["restyle"]["control"]
    assert DISC.cutout is not None
    rgb, alpha = place_in(np.dstack([depth, DISC.cutout[..., 3]]), 16, 16)
    expected = torch.from_numpy(rgb / 255 * alpha[..., None]).permute(2, 0, 1)[None]
    assert torch.allclose(control, expected.float(), atol=1e-6) and control.std() > 0.1
    wish = Wish("restyle")
    assert find_difference(walk(model, told, wish=wish), walk(model, DISC, wish=wish)) > 2
    assert model.prepare(told).digest != model.prepare(DISC).digest
