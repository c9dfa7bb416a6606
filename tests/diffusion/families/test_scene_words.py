"""Scenes, diversity and creations of models that read a prompt."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusion.families.model import PretrainedDiffusion
from diffusion.families.scene_words import PALETTE_WORDS, SETTING_WORDS, tell_scene
from diffusion.families.specification import ModelSpecification, SceneWords
from diffusion.families.z_image import ZImage
from diffusion.image_model import Wish
from diffusion.looks import AXES, SceneWish
from tests.diffusion.families import tiny_sd3
from tests.diffusion.families.tiny_unet import (
    SHOPPER_WIDTH,
    adapter,
    furnish,
    serve,
)
from tests.diffusion.families.tiny_z_image import tiny_z_image
from tests.diffusion.families.walking import facts, shopper, walk_latents

WHO = shopper(SHOPPER_WIDTH)
WORDS = SceneWords()
SCENE = SceneWish(palette="sky", setting="shelf", season="winter", brief="calm, with {books}")
SUFFIX = ", on a shelf, in blue tones, in winter, calm, with {books}"
SHOWN = {"preserve": ["inpaint"], "restyle": ["image", "inpaint"]}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = furnish(tmp_path_factory.mktemp("models"))
    tiny_sd3.save_adapter(home / "sd3", SHOPPER_WIDTH)
    return home


@pytest.fixture(scope="module")
def make(home):
    """A model of a family, furnished with an adapter for shoppers."""

    @functools.cache
    def build(family, shown=True, prompt="a {title}", guidance=4.0):
        told = {"prompt": prompt, "guidance": guidance, "product": SHOWN if shown else {}}
        if family == "sd3":
            return tiny_sd3.build("3", home / "sd3", **told)
        return serve(home, family, shopper=adapter(family), **told)

    return build


families = pytest.mark.parametrize("family", ["sd15", "sdxl", "sd3"])


def route_of(model, wish, who=None, seed=0, product=None):
    return model.plan(model.prepare(product or facts()), who, wish, seed)


def keys(route):
    return [segment.key for segment in route.walk]


def prompt_of(route, number=-1):
    return route.walk[0].terms[number].cond["prompt"]


def test_a_scene_is_told_behind_the_prompt():
    told = tell_scene(WORDS, Wish("restyle", scene=SCENE), 0)
    assert told.suffix == SUFFIX and told.look == ("sky", "shelf") and told.avoided == ""
    assert tell_scene(WORDS, Wish("restyle"), 0).suffix == ""


def test_what_is_ruled_out_is_told_apart():
    scene = SceneWish(
        avoided_palettes=frozenset({"rose", "mint"}),
        avoided_settings=frozenset({"night"}),
        avoided="  people,\n cars ",
        kept_out=("knock-off", "blue"),
    )
    told = tell_scene(WORDS, Wish("restyle", scene=scene), 0)
    assert told.suffix == "" and told.look == ()
    hidden = f"mint green, pink, {SETTING_WORDS['night']}, people, cars, knock-off, blue"
    assert told.avoided == hidden


def test_a_seed_draws_its_own_words_and_never_what_is_ruled_out():
    scene = SceneWish(avoided_palettes=frozenset({"rose"}), brief="in a garden")
    looks = [
        tell_scene(WORDS, Wish("restyle", scene=scene, diversity=1.0), seed) for seed in range(80)
    ]
    assert {told.look for told in looks} == {(p,) for p in AXES["palette"] if p != "rose"}
    assert looks[3].suffix == f", in {PALETTE_WORDS[looks[3].look[0]]} tones, in a garden"
    wish = Wish("restyle", diversity=0.75)  # half of the seeds, on each axis
    drawn = [tell_scene(WORDS, wish, seed) for seed in range(80)]
    assert 10 < sum(told.suffix == "" for told in drawn) < 35


@families
def test_where_nothing_is_wished_the_prompt_is_the_plain_one(make, family):
    model = make(family)
    route = route_of(model, Wish("restyle", strength=0.5), WHO)
    assert torch.equal(prompt_of(route), model.encode_prompt("a red shoe").conditions["prompt"])
    assert route.look == () and route.warnings == ()


@families
def test_a_scene_is_the_picture_of_the_prompt_that_tells_it(make, family):
    wish = Wish("restyle", strength=0.5, scene=SCENE)
    escaped = SUFFIX.replace("{", "{{").replace("}", "}}")
    told = make(family, prompt="a {title}" + escaped)
    wished = walk_latents(make(family), facts(), WHO, wish)
    assert torch.equal(wished, walk_latents(told, facts(), WHO, replace(wish, scene=SceneWish())))
    plain = walk_latents(make(family), facts(), WHO, replace(wish, scene=SceneWish()))
    assert (wished - plain).abs().max() > 1e-3


@families
def test_avoided_words_join_the_negative_prompt(make, family):
    model = make(family)
    wish = Wish("restyle", scene=SceneWish(avoided="people"))
    route = route_of(model, wish)
    negative = model.specification.negative_prompt
    text = f"{negative}, people" if negative else "people"
    assert torch.equal(prompt_of(route, 0), model.encode_prompt(text).conditions["prompt"])
    assert route.warnings == ()
    plain = route_of(model, Wish("restyle"))
    assert keys(route) != keys(plain)


@families
def test_without_guidance_nothing_is_avoided_and_that_is_told(make, family):
    wish = Wish("restyle", scene=SceneWish(avoided="people"))
    (warning,) = route_of(make(family, guidance=1.0), wish).warnings
    assert warning == "guidance is 1, so that nothing is avoided: people"


@families
def test_strength_zero_is_nobodys_picture_to_the_last_bit(make, family):
    model = make(family)
    wish = Wish("restyle", strength=0.0, scene=SCENE, diversity=0.7)
    nobody, somebody = (route_of(model, wish, who, seed=5) for who in (None, WHO))
    assert keys(nobody) == keys(somebody) and nobody.look == somebody.look
    assert torch.equal(
        walk_latents(model, facts(), None, wish, 5), walk_latents(model, facts(), WHO, wish, 5)
    )


@families
def test_every_scene_has_keys_of_its_own(make, family):
    model = make(family)
    scenes = [
        SceneWish(),
        SceneWish(palette="sky"),
        SceneWish(setting="shelf"),
        SceneWish(season="winter"),
        SceneWish(brief="calm"),
        SceneWish(avoided="calm"),
        SceneWish(avoided_palettes=frozenset({"sky"})),
    ]
    found = [keys(route_of(model, Wish("restyle", scene=scene)))[0] for scene in scenes]
    assert len(set(found)) == len(scenes)


@families
def test_rows_of_different_scenes_are_what_they_are_alone(make, family):
    model = make(family)
    conds = [
        route_of(model, Wish("restyle", strength=0.5, scene=scene), who).walk[0].terms[-1].cond
        for scene, who in ((SCENE, WHO), (SceneWish(), None), (SceneWish(palette="rose"), WHO))
    ]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, *model.latent_shape, generator=generator)
    sigma = torch.tensor([2.0, 0.6, 1.1])
    together = model.denoise(x, sigma, {n: torch.cat([c[n] for c in conds]) for n in conds[0]})
    for row, cond in enumerate(conds):
        alone = model.denoise(x[row : row + 1], sigma[row : row + 1], cond)
        assert (together[row] - alone[0]).abs().max() < 1e-4


@families
def test_a_creation_is_restyle_without_what_keeps_the_product(make, family):
    model = make(family)
    product = model.prepare(facts())
    assert product.conditions["restyle"]["keep"].any()
    assert not product.conditions["create"]["keep"].any()
    assert model.plan(product, None, Wish("create"), 0).image is not None


@families
def test_a_creation_needs_no_packshot(make, family):
    model = make(family)
    nothing = replace(facts(), cutout=None)
    hidden = replace(facts(), cutout=np.zeros((48, 48, 4), np.uint8))
    wish = Wish("create", strength=0.5, scene=SCENE)
    latents = walk_latents(model, nothing, WHO, wish, seed=2)
    assert torch.isfinite(latents).all() and latents.std() > 0.01
    assert torch.equal(latents, walk_latents(model, hidden, WHO, wish, seed=2))
    assert route_of(model, wish, product=nothing).image is None
    by_prompt = make(family, shown=False) if family != "sd3" else model
    assert by_prompt.prepare(nothing).digest != by_prompt.prepare(facts()).digest
    for task in ("preserve", "restyle"):
        with pytest.raises(ValueError, match=f"needs a packshot to {task} a product"):
            route_of(model, Wish(task), product=nothing)


@families
def test_a_scene_that_leaves_nothing_open_is_refused(make, family):
    scene = SceneWish(avoided_palettes=frozenset(AXES["palette"]))
    with pytest.raises(ValueError, match="no palette is left"):
        route_of(make(family), Wish("restyle", scene=scene))


@families
def test_a_brief_that_is_cut_is_told(make, family):
    wish = Wish("restyle", scene=SceneWish(brief="word " * 200))
    (warning,) = route_of(make(family), wish).warnings
    assert "tokens were cut" in warning


def test_what_a_shopper_likes_stands_behind_the_scene():
    def build(prompt):
        specification = ModelSpecification.model_validate(
            {
                "name": "tiny",
                "family": "z_image",
                "source": "nowhere",
                "licence": "none",
                "sizes": [(64, 64)],
                "steps": 2,
                "guidance": 3.0,
                "prompt": prompt,
                "shopper": {"kind": "prompt", "suffix": ", for {interests}"},
                "product": {"preserve": [], "restyle": []},
            }
        )
        return PretrainedDiffusion(ZImage(tiny_z_image(), specification), specification, "0" * 8)

    who = shopper(8, interests=("jazz",))
    scene = SceneWish(setting="shelf", brief="calm")
    wished = walk_latents(
        build("a {title}"), facts(), who, Wish("restyle", strength=1.0, scene=scene)
    )
    plain = walk_latents(
        build("a {title}, on a shelf, calm"), facts(), who, Wish("restyle", strength=1.0)
    )
    assert torch.equal(wished, plain)


def test_words_can_be_told_in_others():
    words = SceneWords(palette=" in {words}", palettes={"sky": "cobalt"})
    scene = SceneWish(palette="sky", season="spring")
    assert tell_scene(words, Wish("restyle", scene=scene), 0).suffix == " in cobalt, in spring"
    assert words.palettes["rose"] == PALETTE_WORDS["rose"]
    with pytest.raises(ValueError, match="no teal: there are sand"):
        SceneWords(palettes={"teal": "petrol"})
    with pytest.raises(ValueError, match="{title} is no slot"):
        SceneWords(brief="{title}")
    assert set(PALETTE_WORDS) == set(AXES["palette"])
    assert set(SETTING_WORDS) == set(AXES["setting"])
