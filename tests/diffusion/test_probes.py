"""One forward that shows what a model predicts, whatever the family."""

import numpy as np
import pytest
import torch

from diffusion.families.model import PretrainedDiffusion
from diffusion.families.specification import ModelSpecification
from diffusion.families.z_image import ZImage
from diffusion.image_model import ShopperFacts, Wish
from diffusion.noise import draw_noise
from diffusion.probes import IMAGE, TITLE, leave_out, probe
from diffusion.samplers import advance
from tests.diffusion.families.tiny_z_image import tiny_z_image
from tests.diffusion.families.walking import facts
from tests.diffusion.tiny import WIDTH, load_model

WISH = Wish("preserve", "euler", 4, strength=0.5)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    return load_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def pretrained():
    told = {
        "name": "tiny",
        "family": "z_image",
        "source": "nowhere",
        "licence": "Apache-2.0",
        "sizes": [[64, 64]],
        "prompt": "studio {title}",
        "max_prompt_tokens": 96,
        "shopper": {"kind": "prompt", "suffix": ", for someone who loves {interests}"},
        "product": {"preserve": [], "restyle": []},
    }
    specification = ModelSpecification.model_validate(told)
    return PretrainedDiffusion(ZImage(tiny_z_image(), specification), specification, "0" * 8)


@pytest.fixture(params=["embedded", "pretrained"])
def model(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def product(model):
    shown = facts()
    if isinstance(model, PretrainedDiffusion):
        return model.prepare(shown)
    vectors = np.random.default_rng(1).normal(size=(2, WIDTH)).astype(np.float32)
    return model.prepare_product(shown.cutout, *vectors)


def somebody(seed=0):
    vector = np.random.default_rng(seed).normal(size=WIDTH).astype(np.float32)
    return ShopperFacts(vector, vector, ("music", "food")[seed : seed + 1])


def key(route):
    return probe(route).walk[0].key


def test_a_probe_is_one_tick_whose_result_is_the_prediction(model, product):
    route = model.plan(product, somebody(), WISH, 7)
    probed = probe(route)
    assert [segment.stop for segment in probed.walk] == [1] == [tick.step for tick in probed.plan]
    assert probed.plan[0].sigma == route.plan[0].sigma
    x, denoised = torch.randn(2, 1, 3, 4, 4)
    assert torch.equal(advance(x, denoised, torch.zeros_like(x), probed.plan)[0], denoised)


def test_a_probe_begins_where_the_image_does(model, product):
    route = model.plan(product, None, WISH, 7)
    probed = probe(route)
    assert (probed.shape, probed.noise_scale) == (route.shape, route.noise_scale)
    assert (probed.image is None) == (route.image is None)


def test_all_that_is_known_at_the_end_is_known_to_a_probe(model, product):
    route = model.plan(product, somebody(), WISH, 7)
    assert probe(route).walk[0].terms is route.walk[-1].terms


def test_equal_walks_have_equal_probes_and_others_do_not(model, product):
    def plan(shopper=None, seed=7):
        return key(model.plan(product, shopper, WISH, seed))

    assert plan() == plan() and plan(somebody()) == plan(somebody())
    assert len({plan(), plan(somebody()), plan(somebody(1)), plan(seed=8)}) == 4


def test_a_probe_is_never_taken_for_a_step_of_a_walk(model, product):
    route = model.plan(product, None, WISH, 7)
    assert key(route) not in {segment.key for segment in route.walk}


def test_a_product_may_lose_its_title(model, product):
    own = model.plan(product, None, WISH, 7)
    untitled = model.plan(leave_out(model, product, {TITLE}), None, WISH, 7)
    assert key(own) != key(untitled)
    assert not torch.equal(predict(model, own), predict(model, untitled))


def test_leaving_nothing_out_changes_nothing(model, product):
    same = leave_out(model, product, set())
    assert key(model.plan(product, None, WISH, 7)) == key(model.plan(same, None, WISH, 7))


def test_the_image_embedding_is_left_out_where_the_model_reads_it(embedded, pretrained):
    vectors = np.ones((2, WIDTH), np.float32)
    product = embedded.prepare_product(facts().cutout, *vectors)
    without = leave_out(embedded, product, {IMAGE})
    assert not without.image_embedding.any() and without.title_embedding.all()
    assert without.digest != product.digest
    unread = pretrained.prepare(facts())
    assert leave_out(pretrained, unread, {IMAGE}) is unread


@torch.inference_mode()
def predict(model, route):
    """Latents [1, C, h, w] of the probe of a route."""
    probed = probe(route)
    x = draw_noise(7, (1, *probed.shape)) * probed.noise_scale
    terms = probed.walk[0].terms
    cond = {name: torch.cat([term.cond[name] for term in terms]) for name in terms[0].cond}
    sigma = torch.full((len(terms),), probed.plan[0].sigma)
    predicted = model.denoise(x.repeat(len(terms), 1, 1, 1), sigma, cond)
    weight = torch.tensor([term.weight for term in terms])
    return model.combine(predicted, weight, torch.zeros(len(terms), dtype=torch.long), x, sigma)
