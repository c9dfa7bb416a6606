"""Creations by what each family is shown of a product, and without a packshot."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusion.families.specification import ProductConditioning
from diffusion.image_model import Wish
from diffusion.looks import SceneWish
from tests.diffusion.families import tiny_flux
from tests.diffusion.families.tiny_kandinsky import WIDTH, load_kandinsky, save_kandinsky
from tests.diffusion.families.tiny_unet import furnish, serve
from tests.diffusion.families.walking import facts, shopper, walk_latents

NOTHING = replace(facts(), cutout=None)
CREATE = Wish("create")


def test_the_ways_of_a_creation_are_those_of_restyle_if_nothing_is_said():
    told = ProductConditioning(restyle=("inpaint", "image"))
    assert told.of("create") == ("image",) and told.of("restyle") == ("inpaint", "image")
    assert ProductConditioning(create=()).of("create") == ()
    with pytest.raises(ValueError, match="controlnet must be set"):
        ProductConditioning(create=("controlnet",))


def test_attributes_are_read_behind_the_title(tmp_path):
    home = furnish(tmp_path)
    model = serve(home, "sd15", prompt="a photo of {title}, soft light")
    woollen = replace(NOTHING, attributes="colour red, material wool")
    told = model.prepare(woollen)
    read = model.encode_prompt("a photo of red shoe, colour red, material wool, soft light")
    assert torch.equal(told.prompt.conditions["prompt"], read.conditions["prompt"])
    plain = model.prepare(NOTHING)
    assert told.digest != plain.digest, "or one would be taken for the other"
    first, second = (walk_latents(model, product, None, CREATE) for product in (NOTHING, woollen))
    assert (first - second).abs().max() > 1e-3


@pytest.mark.parametrize("scene", [SceneWish(), SceneWish(brief="a quiet morning")])
def test_how_attributes_are_told_is_up_to_the_model(tmp_path, scene):
    """Also where the prompt is read anew, with a scene."""
    woollen, wish = replace(NOTHING, attributes="wool"), replace(CREATE, scene=scene)
    home = furnish(tmp_path)
    model, deaf = serve(home, "sd15", attributes=" of {words}"), serve(home, "sd15", attributes="")
    named = replace(NOTHING, title="red shoe of wool")
    assert torch.equal(
        walk_latents(model, woollen, None, wish), walk_latents(model, named, None, wish)
    )
    assert torch.equal(
        walk_latents(deaf, woollen, None, wish), walk_latents(deaf, NOTHING, None, wish)
    )


def test_without_a_packshot_an_unclip_imagines_the_product_by_its_prompt(tmp_path):
    save_kandinsky(tmp_path / "base")
    model = load_kandinsky(tmp_path)
    cond = model.plan(model.prepare(NOTHING), None, CREATE, 0).walk[0].terms[-1].cond
    assert torch.equal(cond["image_embeds"], cond["prompt_embeds"])
    seen = model.plan(model.prepare(facts()), None, CREATE, 0).walk[0].terms[-1].cond
    assert not torch.allclose(seen["image_embeds"], seen["prompt_embeds"])
    who = model.plan(model.prepare(NOTHING), shopper(WIDTH), Wish("create", strength=1.0), 0)
    assert not torch.allclose(who.walk[0].terms[-1].cond["image_embeds"], cond["image_embeds"])


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_without_a_packshot_no_edges_steer(tmp_path, family):
    ways = {"preserve": [], "restyle": ["controlnet"], "controlnet": f"{family}-controlnet"}
    home = furnish(tmp_path)
    model, plain = serve(home, family, product=ways), serve(home, family)
    steered = walk_latents(model, facts(), None, CREATE)
    unsteered = walk_latents(model, NOTHING, None, CREATE)
    assert torch.equal(steered, walk_latents(model, facts(), None, Wish("restyle")))
    assert torch.allclose(unsteered, walk_latents(plain, facts(), None, CREATE), atol=1e-4)
    assert (steered - unsteered).abs().max() > 0.1


def test_a_map_without_a_packshot_is_not_shown(tmp_path):
    ways = {"preserve": [], "restyle": ["controlnet"], "controlnet": "sd15-controlnet"}
    model = serve(furnish(tmp_path), "sd15", product=ways)
    mapped = replace(NOTHING, control=np.full((48, 48, 3), 255, np.uint8))
    found = [walk_latents(model, product, None, CREATE) for product in (NOTHING, mapped)]
    assert torch.equal(*found)


def test_a_creation_that_refers_to_the_packshot_needs_one():
    always = {"preserve": ["reference"], "restyle": ["reference"]}
    model = tiny_flux.build("kontext", product=always)
    with pytest.raises(ValueError, match="its creations refer to one"):
        model.plan(model.prepare(NOTHING), None, CREATE, 0)
    model = tiny_flux.build("kontext", product={**always, "create": []})
    assert torch.isfinite(walk_latents(model, NOTHING, None, CREATE)).all()
