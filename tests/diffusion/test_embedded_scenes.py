"""Scenes and diversity in a model that knows looks only as tastes."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from diffusion.checkpoint import DEFAULT_CHECKPOINT, FAST_CHECKPOINT
from diffusion.evaluation.generation import Order, generate
from diffusion.evaluation.judge import load_judge
from diffusion.guidance import Guidance
from diffusion.image_model import ProductFacts, ShopperFacts, Wish
from diffusion.looks import ANYWHERE, AXES, SceneWish
from diffusion.model import ProductDiffusion
from diffusion.noise import draw_noise
from diffusion.samplers import SAMPLERS, advance
from diffusion.taste_buckets import TasteBuckets
from diffusion.walks import Intervals, Rules, find_terms
from tests.diffusion.tiny import WIDTH, load_model

PALETTES, PLACES = AXES["palette"], AXES["setting"]
INTERVALS = {"preserve": Intervals(product=5.0, shopper=3.0)}
SEEDS = range(12)


def make_buckets():
    """Palettes lie in the first eight numbers, settings in the last."""
    eye = np.eye(WIDTH, dtype=np.float32)
    rng = np.random.default_rng(0)
    chosen = rng.integers(8, size=(4000, 2))
    shoppers = eye[chosen[:, 0]] + eye[8 + chosen[:, 1]] + 0.05 * rng.normal(size=(4000, WIDTH))
    return TasteBuckets.fit([eye[:8], eye[8:]], (0.3 * shoppers).astype(np.float32))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    model = load_model(tmp_path_factory.mktemp("tiny"))
    model.rules = Rules(INTERVALS, make_buckets())
    return model


@pytest.fixture(scope="module")
def product(model):
    return model.prepare(make_facts())


def make_facts(cutout=True):
    rgba = np.random.default_rng(0).integers(0, 256, (40, 40, 4), dtype=np.uint8)
    rgba[..., 3] = 255
    one = np.ones(WIDTH, np.float32)
    return ProductFacts(rgba if cutout else None, "shoe", one, -one)


def make_shopper(palette="rose", setting="night", length=0.3):
    vector = np.zeros(WIDTH, np.float32)
    vector[PALETTES.index(palette)] = vector[8 + PLACES.index(setting)] = length
    vector[(PALETTES.index(palette) + 1) % 8] = 0.4 * length  # the second choice
    return ShopperFacts(vector + np.float32(0.01), vector)


def scene(**told):
    return SceneWish(**told)


@torch.inference_mode()
def draw(model, route, seed):
    """Latents [1, C, h, w] of one image."""
    x = draw_noise(seed, (1, *route.shape)) * route.noise_scale
    h = torch.zeros_like(x)
    for number, tick in enumerate(route.plan):
        terms = find_terms(route.walk, number)
        cond = {name: torch.cat([term.cond[name] for term in terms]) for name in terms[0].cond}
        sigma = torch.full((len(terms),), tick.sigma)
        predicted = model.denoise(x.repeat(len(terms), 1, 1, 1), sigma, cond)
        weight, owner = torch.tensor([t.weight for t in terms]), torch.zeros(len(terms)).long()
        x, h = advance(x, model.combine(predicted, weight, owner, x, sigma), h, [tick])
    return x


def keys(route):
    return [segment.key for segment in route.walk]


def last_terms(route):
    return route.walk[-1].terms


def leaning(route):
    """Palette and setting that the last row's shopper vector points to."""
    vector = last_terms(route)[-1].cond["shopper"][0].numpy()
    return PALETTES[vector[:8].argmax()], PLACES[vector[8:].argmax()]


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.5, 1.0])
def test_where_nothing_is_wished_the_walk_is_what_it_was(model, product, strength):
    who = make_shopper()
    plan = SAMPLERS["euler"](model.sigmas(6))
    known = model.rules.know(who.vector, who.taste)
    guidance = Guidance(1.0, 2 * strength)
    before = model.rules.plan(product, known, "preserve", guidance, plan, 4)
    route = model.plan(product, who, Wish("preserve", num_steps=6, strength=strength), 4)
    assert keys(route) == [segment.key for segment in before]
    assert route.look == () and route.warnings == ()


def test_a_creation_is_the_surroundings_of_preserve(model, product):
    plain, created = (model.plan(product, None, Wish(task), 1) for task in ("preserve", "create"))
    assert keys(plain) == keys(created)


@pytest.mark.parametrize("who", [None, make_shopper(), make_shopper(length=0.01)])
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
def test_a_wish_is_followed_for_everybody_at_every_strength(model, product, who, strength):
    wish = Wish("preserve", strength=strength, scene=scene(palette="mint"))
    route = model.plan(product, who, wish, 1)
    assert leaning(route)[0] == "mint" and route.look == ("mint",)
    assert all(term.cond["has_shopper"].all() for term in last_terms(route))


def test_a_wish_for_one_axis_leaves_the_other_to_the_shopper(model, product):
    wish = Wish("preserve", strength=0.5, scene=scene(palette="mint"))
    assert leaning(model.plan(product, make_shopper(), wish, 1)) == ("mint", "night")
    wish = Wish("preserve", strength=0.5, scene=scene(setting="shelf"))
    assert leaning(model.plan(product, make_shopper(), wish, 1)) == ("rose", "shelf")


SCENES = [
    scene(palette="mint"),
    scene(palette="mint", setting="shelf"),
    scene(avoided_palettes=frozenset({"rose"})),
    scene(brief="a garden in winter"),
]


@pytest.mark.parametrize("told", SCENES, ids=lambda told: told.brief or "enums")
@pytest.mark.parametrize("diversity", [0.0, 0.7])
def test_strength_zero_is_nobodys_picture_to_the_last_bit(model, product, told, diversity):
    wish = Wish("preserve", num_steps=4, strength=0.0, scene=told, diversity=diversity)
    for seed in SEEDS:
        nobody = model.plan(product, None, wish, seed)
        somebody = model.plan(product, make_shopper(), wish, seed)
        assert keys(nobody) == keys(somebody) and nobody.look == somebody.look
    assert torch.equal(draw(model, nobody, seed), draw(model, somebody, seed))


def test_full_strength_takes_no_more_rows_with_a_wish_than_without(model, product):
    plain, wished = (
        model.plan(product, make_shopper(), Wish("preserve", strength=0.5, scene=told), 1)
        for told in (scene(), scene(palette="mint"))
    )
    assert len(last_terms(plain)) == len(last_terms(wished)) == 1


def test_a_look_enters_the_keys_of_the_walks_that_it_changes(model, product):
    told = [scene(), scene(palette="mint"), scene(palette="rose"), scene(setting="shelf")]
    for strength in (0.0, 0.3, 0.5):
        routes = [
            model.plan(
                product, make_shopper(), Wish("preserve", None, 4, strength=strength, scene=s), 1
            )
            for s in told
        ]
        assert len({keys(route)[-1] for route in routes}) == len(told)
        pictures = [draw(model, route, 1) for route in routes]
        for other in pictures[1:]:
            assert (pictures[0] - other).abs().max() > 1e-4


def test_the_best_that_is_not_avoided_takes_the_favourites_place(model, product):
    avoiding = scene(avoided_palettes=frozenset({"rose"}), avoided_settings=frozenset({"table"}))
    wish = Wish("preserve", strength=0.5, scene=avoiding)
    route = model.plan(product, make_shopper(), wish, 1)
    assert leaning(route) == ("graphite", "night") and route.look == ("graphite",)


def test_a_taste_that_is_not_avoided_stays_as_it_is(model, product):
    wish = Wish("preserve", strength=0.5, scene=scene(avoided_palettes=frozenset({"sky"})))
    plain = model.plan(product, make_shopper(), Wish("preserve", strength=0.5), 1)
    avoiding = model.plan(product, make_shopper(), wish, 1)
    assert keys(plain) == keys(avoiding) and avoiding.look == ()


def test_at_little_strength_every_row_has_one_palette_the_shoppers_or_the_seeds(model, product):
    """A mixture of two palettes is often a third, which may be the avoided one."""
    scene_ = scene(avoided_palettes=frozenset({"rose"}))
    found: dict[float, list[tuple[str, ...]]] = {strength: [] for strength in (0.1, 0.25, 0.4)}
    for strength, looks in found.items():
        for seed in range(100):
            wish = Wish("preserve", strength=strength, scene=scene_)
            route = model.plan(product, make_shopper(), wish, seed)
            led = {PALETTES[t.cond["shopper"][0, :8].argmax()] for t in last_terms(route)}
            assert led == set(route.look)
            looks.append(route.look)
    shares = [np.mean([look == ("graphite",) for look in looks]) for looks in found.values()]
    assert shares == sorted(shares) and shares[0] < 0.4 and shares[2] > 0.7


def test_nobody_gets_what_is_allowed_by_seed(model, product):
    wish = Wish("preserve", scene=scene(avoided_palettes=frozenset({"sky", "rose"})))
    found = {model.plan(product, None, wish, seed).look for seed in range(200)}
    assert found == {(palette,) for palette in PALETTES if palette not in ("sky", "rose")}


def test_all_avoided_is_refused(model, product):
    wish = Wish("preserve", scene=scene(avoided_settings=frozenset(PLACES)))
    with pytest.raises(ValueError, match="no setting is left"):
        model.plan(product, None, wish, 1)


def test_what_is_not_read_of_a_brief_is_told(model, product):
    wish = Wish("preserve", scene=scene(brief="mahogany garden"))
    route = model.plan(product, None, wish, 1)
    assert route.look == ("outdoor",)
    assert route.warnings == ("the model does not read: mahogany",)


def test_a_seed_has_its_own_look_whatever_else_is_asked(model, product):
    wish = Wish("preserve", strength=0.5, diversity=1.0)
    looks = [model.plan(product, make_shopper(), wish, seed).look for seed in range(60)]
    assert len(set(looks)) > 30 and all(len(look) == 2 for look in looks)
    again = [model.plan(product, make_shopper(), wish, seed).look for seed in reversed(range(60))]
    assert looks == again[::-1]
    nobody = [model.plan(product, None, wish, seed).look for seed in range(60)]
    assert looks == nobody


def test_only_a_creation_has_treatments(model, product):
    wish = {"diversity": 1.0, "scene": scene(palette="mint", setting="shelf")}
    kept = [model.plan(product, None, Wish("preserve", **wish), seed) for seed in range(60)]
    made = [model.plan(product, None, Wish("create", **wish), seed) for seed in range(60)]
    assert {route.look for route in kept} == {("mint", "shelf")}
    assert {route.look for route in made} == {("mint", "shelf", t) for t in AXES["treatment"]}
    assert [keys(route) for route in kept] == [keys(route) for route in made]


def test_rows_of_different_scenes_are_what_they_are_alone(model, product):
    told = scene(palette="mint"), scene(), scene(setting="shelf", palette="sky")
    conds = [
        last_terms(model.plan(product, None, Wish("preserve", scene=s), 1))[0].cond for s in told
    ]
    x, sigma = torch.randn(3, *model.latent_shape), torch.tensor([2.0, 0.3, 0.9])
    joined = {name: torch.cat([cond[name] for cond in conds]) for name in conds[0]}
    together = model.denoise(x, sigma, joined)
    for row, cond in enumerate(conds):
        alone = model.denoise(x[row : row + 1], sigma[row : row + 1], cond)
        assert (together[row] - alone[0]).abs().max() < 1e-5


def test_a_product_without_a_packshot_is_refused(model):
    with pytest.raises(ValueError, match="needs a packshot"):
        model.prepare(make_facts(cutout=False))


def test_a_model_without_buckets_says_that_it_can_not_be_told(tmp_path):
    model = load_model(tmp_path)
    product = model.prepare(make_facts())
    plain = model.plan(product, None, Wish("create"), 1)
    wish = Wish("create", scene=scene(palette="mint"), diversity=1.0)
    asked = model.plan(product, None, wish, 1)
    assert keys(plain) == keys(asked) and plain.warnings == ()
    assert "can't be told palette or setting" in asked.warnings[0]
    assert len(asked.look) == 1  # a treatment needs no model


@dataclass(frozen=True)
class Routed(Order):
    """A picture of a scene whose walk the model planned itself."""

    scene: SceneWish = ANYWHERE

    def plan(self, model):
        wish = Wish("preserve", scene=self.scene)
        route = model.plan(self.product, None, wish, self.seed)
        return route.plan, route.walk


def test_the_shipped_student_follows_what_is_wished():
    student = ProductDiffusion.load_student(
        FAST_CHECKPOINT, ProductDiffusion.load(DEFAULT_CHECKPOINT)
    )
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[12:52, 12:52] = (200, 60, 60, 255)
    nothing = np.zeros(128, np.float32)
    product = student.prepare(ProductFacts(rgba, "box", nothing, nothing))
    told = [scene(palette=p, setting=s) for p, s in zip(PALETTES, PLACES, strict=True)]
    orders = [
        Routed(product, None, "preserve", 0.0, 4, number, scene=wish)
        for number, wish in enumerate(told)
    ]
    seen = load_judge().read(generate(student, orders))
    palettes = [PALETTES[n] for n in seen.palette.argmax(dim=1)]
    places = [PLACES[n] for n in seen.setting.argmax(dim=1)]
    assert sum(p == s.palette for p, s in zip(palettes, told, strict=True)) >= 7
    assert sum(p == s.setting for p, s in zip(places, told, strict=True)) >= 7
