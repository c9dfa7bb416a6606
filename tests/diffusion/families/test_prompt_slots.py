"""Families without adapters: the shopper enters by the prompt, each in a row of their own."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families.family import Family
from diffusion.families.loading import load_model
from diffusion.families.model import PretrainedDiffusion
from diffusion.families.qwen_image import QwenImage
from diffusion.families.specification import ModelSpecification
from diffusion.families.z_image import ZImage
from diffusion.image_model import Wish
from diffusion.samplers import SAMPLERS
from tests.diffusion.families.tiny_qwen_image import tiny_qwen_image
from tests.diffusion.families.tiny_z_image import tiny_z_image
from tests.diffusion.families.walking import facts, shopper, walk_latents

MAX_TOKENS = 96
SUFFIX = ", for someone who loves {interests}"


@dataclass(frozen=True)
class Kind:
    name: str
    family: type[Family]
    build: Any

    def specify(self, **told: Any) -> ModelSpecification:
        plain: dict[str, Any] = {
            "name": "tiny",
            "family": self.name,
            "source": "nowhere",
            "licence": "Apache-2.0",
            "sizes": [[64, 64], [96, 64], [64, 112]],
            "steps": 4,
            "guidance": 3.0,
            "prompt": "studio {title}",
            "max_prompt_tokens": MAX_TOKENS,
            "shopper": {"kind": "prompt", "suffix": SUFFIX},
            "product": {"preserve": [], "restyle": []},
        }
        return ModelSpecification.model_validate(plain | told)

    def make(self, **told: Any) -> PretrainedDiffusion:
        specification = self.specify(**told)
        return PretrainedDiffusion(self.family(self.build(), specification), specification, "0" * 8)


KINDS = (
    Kind("z_image", ZImage, tiny_z_image),
    Kind("qwen_image", QwenImage, tiny_qwen_image),
)


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def model(kind):
    return kind.make()


def personal(model, strength, *interests):
    who = shopper(8, interests=interests)
    return walk_latents(model, facts(), who, Wish("preserve", strength=strength))


def prompts(model, *texts):
    """Conditions of a row for each text."""
    found = [model.encode_prompt(text).conditions for text in texts]
    return {name: torch.cat([conditions[name] for conditions in found]) for name in found[0]}


def rows_of(model, *strengths_and_interests):
    """Conditions of a row for each shopper, as the engine would batch them."""
    product, found = model.prepare(facts()), []
    for strength, *interests in strengths_and_interests:
        who = shopper(8, interests=tuple(interests))
        route = model.plan(product, who, Wish("preserve", strength=strength), seed=0)
        found.append(route.walk[0].terms[-1].cond)
    return {name: torch.cat([conditions[name] for conditions in found]) for name in found[0]}


@torch.inference_mode()
def denoise(model, cond, sigmas=(3.0, 0.7), seed=0):
    generator = torch.Generator().manual_seed(seed)
    sigma = torch.tensor(sigmas)
    x = torch.randn(len(sigma), *model.latent_shape, generator=generator)
    return model.denoise(x * sigma.reshape(-1, 1, 1, 1), sigma, cond)


def test_without_strength_or_interests_the_walk_is_the_generic_one_to_the_last_bit(model):
    generic = walk_latents(model, facts())
    assert torch.equal(personal(model, 0.0, "jazz", "hiking"), generic)
    assert torch.equal(personal(model, 1.0), generic)


def test_full_strength_is_the_prompt_that_names_the_interests(kind, model):
    named = kind.make(prompt="studio {title}, for someone who loves jazz, hiking", shopper=None)
    assert torch.equal(personal(model, 1.0, "jazz", "hiking"), walk_latents(named, facts()))


def test_only_so_many_interests_are_named(kind):
    few = kind.make(shopper={"kind": "prompt", "suffix": SUFFIX, "max_interests": 1})
    assert torch.equal(personal(few, 1.0, "jazz", "hiking"), personal(few, 1.0, "jazz"))


def test_strength_and_interests_matter(model):
    generic = walk_latents(model, facts())
    half, full = personal(model, 0.5, "jazz"), personal(model, 1.0, "jazz")
    for one, other in ((generic, half), (half, full), (full, personal(model, 1.0, "cats"))):
        assert (one - other).abs().max() > 0.1


def test_what_a_shopper_adds_fades_in(model):
    """A norm stands before the first layer, so that a faint token is as loud as any other; its
    weight in attention is what grows with the strength."""
    interests = ("jazz", "hiking in the hills", "cats")
    generic, faint, full = (rows_of(model, (s, *interests)) for s in (0.0, 1e-5, 1.0))
    start = denoise(model, generic, (3.0,))
    assert (denoise(model, faint, (3.0,)) - start).abs().max() < 1e-3
    loud = {**faint, "prompt_weight": full["prompt_weight"]}
    assert (denoise(model, loud, (3.0,)) - start).abs().max() > 0.1


def test_shoppers_in_one_batch_get_what_they_get_alone(model):
    who = (0.4, "jazz"), (1.0, "hiking", "cats"), (0.0, "cats"), (0.9, "a very long walk by night")
    sigmas = (9.0, 3.0, 3.0, 0.2)
    together = denoise(model, rows_of(model, *who), sigmas)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(len(who), *model.latent_shape, generator=generator)
    for row, (one, sigma) in enumerate(zip(who, sigmas, strict=True)):
        with torch.inference_mode():
            alone = model.denoise(
                x[row : row + 1] * sigma, torch.tensor([sigma]), rows_of(model, one)
            )
        assert (together[row] - alone[0]).abs().max() < 1e-4


def test_another_shopper_beside_one_changes_nothing(model):
    """Stock diffusers holds this as well: it masks what pads a prompt in a batch."""
    beside = [(1.0, "cats"), (0.2, "jazz", "hiking", "a very long walk by night"), (0.0,)]
    found = [denoise(model, rows_of(model, (0.7, "jazz"), other)) for other in beside]
    for other in found[1:]:
        assert (other[0] - found[0][0]).abs().max() < 1e-4
        assert (other[1] - found[0][1]).abs().max() > 0.1


def test_a_row_reads_nothing_back_from_its_device(model, kind):
    """Tensors on "meta" have no values, so that whatever asks for one fails."""
    cond = rows_of(model, (0.4, "jazz"), (1.0, "hiking"))
    cond = {name: value.to("meta") for name, value in cond.items()}
    with pytest.raises(RuntimeError):
        cond["prompt_weight"].sum().item()
    other = kind.make()
    other.family.network.to("meta")
    x, sigma = torch.empty(2, *model.latent_shape, device="meta"), torch.ones(2, device="meta")
    denoised = other.denoise(x, sigma, cond)
    owner = torch.zeros(2, dtype=torch.long, device="meta")
    combined = other.combine(denoised, sigma, owner, x[:1], sigma)
    assert denoised.shape == x.shape and combined.shape == x[:1].shape


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_walks(model, sampler):
    wish = Wish("preserve", sampler=sampler, strength=0.5)
    latents = walk_latents(model, facts(), shopper(8, interests=("jazz",)), wish)
    assert torch.isfinite(latents).all() and latents.std() > 0.1
    if sampler != "heun":  # its trapezoid in sigma is as wide as the first step from t = 1
        assert latents.std() < 10


@pytest.mark.parametrize("task", ["preserve", "restyle"])
def test_the_product_enters_by_its_region_or_its_picture(kind, task):
    model = kind.make(product={"preserve": ["inpaint"], "restyle": ["image"]})
    product = model.prepare(facts())
    latents = walk_latents(model, facts(), None, Wish(task))
    keep = product.conditions[task]["keep"].bool().expand_as(latents)
    assert keep.any() == (task == "preserve")
    assert torch.allclose(latents[keep], product.start[keep], atol=1e-4)
    assert not torch.allclose(latents, walk_latents(kind.make(), facts()), atol=0.1)


def test_prompts_have_one_shape_and_what_finds_no_room_is_counted(model):
    texts = ("", "red shoe", "x" * 60, "x" * 200)
    found = [model.encode_prompt(text) for text in texts]
    assert len({tuple(v.shape for v in p.conditions.values()) for p in found}) == 1
    assert [p.num_lost_tokens for p in found[:3]] == [0, 0, 0]
    longer = model.encode_prompt("x" * 210)
    assert longer.num_lost_tokens == found[3].num_lost_tokens + 10
    assert found[3].num_lost_tokens > 100
    assert all(bool(p.conditions["prompt_weight"].all()) for p in (found[3], longer))
    x, alike = torch.randn(1, *model.latent_shape), prompts(model, "x" * 200, "x" * 210)
    with torch.inference_mode():
        first, second = model.family.denoise(x.repeat(2, 1, 1, 1), torch.ones(2), alike)
    assert torch.allclose(first, second, atol=1e-5)
    title = facts(title="y" * 200)
    assert "tokens were cut" in model.prepare(title).warnings[0]
    assert model.prepare(facts()).warnings == ()


def test_latents_have_the_proportions_of_the_picture(model):
    channels = model.latent_shape[0]
    assert list(model.shapes.values()) == [(channels, 8, 8), (channels, 8, 12), (channels, 14, 8)]
    for aspect_ratio, shape in ((1.0, (64, 64)), (1.5, (64, 96)), (0.5, (112, 64))):
        latents = walk_latents(model, facts(), aspect_ratio=aspect_ratio)
        assert model.decode(latents).shape == (1, *shape, 3)


@pytest.mark.parametrize("size", [(72, 64), (64, 100), (0, 64)])
def test_a_size_that_can_not_be_is_refused(model, size):
    with pytest.raises(ValueError, match=f"{size[0]} x {size[1]}: sides must be multiples of 16"):
        model.family.latent_shape(size)


@pytest.fixture(scope="module")
def published(kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / kind.name
    kind.build().save_pretrained(folder)
    return folder


def test_a_published_folder_serves(kind, model, published):
    loaded = load_model(kind.specify(source=str(published)))
    assert loaded.name.startswith("tiny@") and loaded.digest != model.digest
    expected = personal(model, 0.5, "jazz")
    assert torch.allclose(personal(loaded, 0.5, "jazz"), expected, atol=1e-4)


ADAPTER = {"kind": "ip_adapter", "source": ".", "weights": "a.safetensors"}
UNFIT = [
    ({"shopper": ADAPTER}, "shopper.kind: .* has no image-prompt adapters; use prompt"),
    ({"shopper": {"kind": "blend"}}, "shopper.kind: .* no image embedding to blend"),
    ({"product": {"preserve": ["reference"]}}, "product.preserve: .* can't do reference"),
    ({"product": {"restyle": ["controlnet"], "controlnet": "c"}}, "product.restyle: .*controlnet"),
    ({"sizes": [[64, 72]]}, "sizes: 64 x 72: sides must be multiples of 16"),
]


@pytest.mark.parametrize("told, message", UNFIT)
def test_what_the_family_can_not_do_is_refused_at_load(kind, published, told, message):
    with pytest.raises(CheckpointUnusable, match=message):
        load_model(kind.specify(source=str(published), **told))


def test_a_folder_that_is_not_whole_is_refused_with_the_file(kind, tmp_path):
    kind.build().save_pretrained(tmp_path)
    specification = kind.specify(source=str(tmp_path))
    config = tmp_path / "transformer" / "config.json"
    width = "cap_feat_dim" if kind.name == "z_image" else "joint_attention_dim"
    text = config.read_text()
    config.write_text(json.dumps(json.loads(text) | {width: 24}))
    with pytest.raises(CheckpointUnusable, match=str(tmp_path)):
        load_model(specification)
    config.unlink()
    with pytest.raises(CheckpointUnusable, match=str(config)):
        load_model(specification)
    index = tmp_path / "model_index.json"
    told = json.loads(index.read_text())
    index.write_text(json.dumps(told | {"_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(CheckpointUnusable, match=f"{index}.* family {kind.name} takes"):
        load_model(specification)


def test_a_text_encoder_of_another_width_is_refused(kind):
    message = "source: nowhere: transformer/config.json .* 24, .* hidden_size 16"
    with pytest.raises(CheckpointUnusable, match=message):
        kind.family(kind.build(width=24), kind.specify())
