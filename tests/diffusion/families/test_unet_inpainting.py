"""UNets around a product that stays, against the stock inpainting pipelines."""

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInpaintPipeline, StableDiffusionXLInpaintPipeline

from diffusion.families.loading import load_model
from diffusion.image_model import Wish
from tests.diffusion.families.stock_unet import draw_stock, find_difference
from tests.diffusion.families.tiny_unet import FACTOR, FAMILIES, specify
from tests.diffusion.families.walking import facts, walk, walk_latents

# Stock schedulers hand tensors to numpy.array, of which numpy and torch have different ideas.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PIPELINES = {"sd15": StableDiffusionInpaintPipeline, "sdxl": StableDiffusionXLInpaintPipeline}
WAYS = {"preserve": ["inpaint"], "restyle": []}
families = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(autouse=True)
def encode_the_mean(monkeypatch):
    """Stock pipelines encode pictures into a sample of a distribution; here its noise is none."""
    where = "diffusers.models.autoencoders.vae.randn_tensor"
    monkeypatch.setattr(where, lambda shape, **told: torch.zeros(tuple(shape)))


def build(tmp_path, family, in_channels):
    pipe = FAMILIES[family](in_channels)
    pipe.save_pretrained(tmp_path / "built")
    model = load_model(specify(tmp_path, family, source="built", product=WAYS))
    stock = pipe if in_channels == 9 else PIPELINES[family].from_pipe(pipe)
    return model, stock


def draw_around(stock, product, task):
    """The stock picture of a mask that is white where the product is not kept."""
    mask = 1 - product.conditions[task]["keep"]
    mask = mask.repeat_interleave(FACTOR, 2).repeat_interleave(FACTOR, 3)
    told: dict[str, Any] = {"image": torch.full((1, 3, 16, 16), 0.5)}  # all masked, so anything
    if task == "preserve":  # latents are taken as they are
        told = {"image": product.start, "masked_image_latents": product.start}
    return draw_stock(stock, mask_image=mask, strength=1.0, **told)


@families
def test_nothing_kept_is_an_all_white_mask(tmp_path, family):
    model, stock = build(tmp_path, family, 9)
    assert model.family.is_inpainting
    ours = walk(model, facts(), None, Wish("restyle"))
    assert find_difference(ours, draw_around(stock, model.prepare(facts()), "restyle")) <= 2
    model.family._blanks[(16, 16)] = torch.zeros(1, 4, 8, 8)  # which is no blank picture's latents
    with_zeros = walk(model, facts(), None, Wish("restyle"))
    assert np.abs(ours.astype(int) - with_zeros).max() > 2


@families
def test_a_unet_for_inpainting_sees_mask_and_product(tmp_path, family, monkeypatch):
    model, stock = build(tmp_path, family, 9)
    monkeypatch.setattr(model, "denoise", model.family.denoise)  # the product is not put back
    product = model.prepare(facts())
    theirs = draw_around(stock, product, "preserve")
    assert find_difference(walk(model, facts()), theirs) <= 2
    assert find_difference(walk(model, facts(), None, Wish("restyle")), theirs) > 10


@families
def test_a_unet_without_a_mask_paints_around_the_product_that_is_put_back(tmp_path, family):
    model, stock = build(tmp_path, family, 4)
    assert not model.family.is_inpainting and not model.family._blanks
    product = model.prepare(facts())
    theirs = draw_around(stock, product, "preserve")
    assert find_difference(walk(model, facts()), theirs) <= 2
    assert find_difference(walk(model, facts(), None, Wish("restyle")), theirs) > 10


@families
@pytest.mark.parametrize("in_channels", [4, 9])
def test_the_product_stands_where_it_is_kept(tmp_path, family, in_channels):
    model, _ = build(tmp_path, family, in_channels)
    product = model.prepare(facts())
    latents = walk_latents(model, facts())
    keep = product.conditions["preserve"]["keep"].bool().expand_as(latents)
    assert 0.2 < keep.float().mean() < 0.8
    assert torch.allclose(latents[keep], product.start[keep], atol=1e-4)
    assert (latents - product.start).abs()[~keep].mean() > 0.5
