"""How the product enters FLUX.1: Kontext's reference tokens, and what Fill keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffusion.noise import draw_noise
from tests.diffusion.families.rows import ask, join, to_picture
from tests.diffusion.families.tiny_flux import (
    REFERENCE,
    build,
    draw_stock,
    save_adapter,
    tiny_flux,
)

NOISE = draw_noise(0, (1, 4, 16, 16))
SIGMA = torch.tensor([2.0])
MIXED = {"preserve": ("reference",), "restyle": ()}
INPAINT = {"preserve": ("inpaint",), "restyle": ()}


def test_rows_without_a_reference_are_as_if_there_were_none():
    kontext, plain = build("kontext", product=MIXED), build("dev")
    with_one, without = ask(kontext), ask(kontext, task="restyle")
    x, sigma = NOISE.repeat(2, 1, 1, 1), SIGMA.repeat(2)
    seen, unseen = kontext.denoise(x, sigma, join(with_one, without))
    expected = plain.denoise(NOISE, SIGMA, ask(plain))[0]
    assert (unseen - expected).abs().max() < 1e-5 and (seen - expected).abs().max() > 0.1
    other = {**without, "reference": without["reference"] + 5}
    assert torch.equal(kontext.denoise(x, sigma, join(with_one, other))[1], unseen)


def test_a_row_with_a_reference_is_the_same_whether_others_have_one():
    """Where every mode has a reference nothing is masked."""
    mixed, always = (build("kontext", product=product) for product in (MIXED, REFERENCE))
    found = [model.denoise(NOISE, SIGMA, ask(model)) for model in (mixed, always)]
    assert (found[0] - found[1]).abs().max() < 1e-5


def test_a_reference_needs_kontext_and_a_mode_that_has_one():
    assert not build("dev", product=REFERENCE).family.has_reference_tokens
    assert not build("kontext").family.has_reference_tokens
    assert build("kontext", product=MIXED).family.has_reference_tokens


@pytest.mark.parametrize("has_product", [False, True])
@torch.inference_mode()
def test_fill_paints_what_its_own_pipeline_paints(has_product):
    """By its network alone: the model around it also puts the product back in each tick."""
    model = build("fill")
    place = torch.zeros(1, 1, 16, 16)
    place[..., 4:12, 6:10] = 1
    covered = place.repeat_interleave(2, 2).repeat_interleave(2, 3)
    pixels = (torch.rand(1, 3, 32, 32) * 2 - 1) * covered
    kept = {"kept": model.family.encode_image(pixels), "keep": place * has_product}
    cond, sigmas = {**ask(model), **kept}, model.sigmas()
    x = NOISE * sigmas[0]
    for sigma, following in zip(sigmas[:-1], sigmas[1:], strict=True):
        denoised = model.family.denoise(x, torch.tensor([sigma]), cond)
        x = denoised + following / sigma * (x - denoised)
    shown = {"image": pixels / 2 + 0.5, "mask_image": 1 - covered * has_product}
    expected = draw_stock(tiny_flux("fill"), NOISE, **shown)
    difference = np.abs(to_picture(model.family.decode(x)) - expected).max()
    print(f"\nfill, product kept {has_product}: {difference:.3f} of 255")
    assert difference <= 2 and expected.std() > 20


@torch.inference_mode()
def test_what_fill_keeps_matters():
    model = build("fill", product=INPAINT)
    seen = [model.family.denoise(NOISE, SIGMA, ask(model, task=task)) for task in MIXED]
    assert model.family.is_inpainting and (seen[0] - seen[1]).abs().max() > 0.1


def test_fill_has_no_adapters(tmp_path):
    """Its pipeline loads none, so that the model is refused where a shopper is asked for."""
    save_adapter(tmp_path)
    assert build("fill", tmp_path).family.shopper_width is None
