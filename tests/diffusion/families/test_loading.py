"""From a specification to a model: what it may ask for, and what does not fit is named."""

import json

import pytest
import torch

from diffusion.checkpoint import CheckpointUnusable
from diffusion.families import loading
from diffusion.families.loading import FAMILIES, find_family, load_model
from diffusion.families.unet import StableDiffusionXL
from tests.diffusion.families.tiny_kandinsky import load_kandinsky, save_kandinsky
from tests.diffusion.families.tiny_unet import adapter, furnish, specify
from tests.diffusion.families.tiny_z_image import tiny_z_image
from tests.diffusion.families.walking import facts, walk

# Stock schedulers hand tensors to numpy.array, of which numpy and torch have different ideas.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = furnish(tmp_path_factory.mktemp("models"))
    tiny_z_image().save_pretrained(home / "z_image")
    return home


def refuse(specification, *words):
    with pytest.raises(CheckpointUnusable) as caught:
        load_model(specification)
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_of_the_specification_is_there(name):
    assert find_family(name).pipelines


def test_what_a_family_can_not_do_is_named(home):
    words = {"preserve": ["reference"]}
    refuse(specify(home, "sd15", product=words), "product.preserve", "sd15", "reference")
    shopper = adapter("sd15")
    refuse(
        specify(home, "z_image", source="z_image", sizes=[(64, 64)], shopper=shopper),
        "shopper.kind: z_image has no image-prompt adapters; use prompt",
    )
    refuse(specify(home, "sd15", shopper={"kind": "blend"}), "shopper.kind", "no image embedding")
    refuse(specify(home, "sd15", sampler="dice"), "sampler: dice is none of euler, heun")
    refuse(specify(home, "sd15", sizes=[(18, 16)]), "sizes: 18 x 16")


def test_too_little_memory_is_said_before_anything_is_loaded(home, monkeypatch):
    monkeypatch.setattr(loading, "ROOM", 1e9)
    refuse(specify(home, "sdxl"), "source:", "GiB", "cpu has")


def test_a_configuration_that_its_weights_do_not_fit_is_refused(home, tmp_path):
    (tmp_path / "sd15").symlink_to(home / "sd15")
    copied = tmp_path / "broken"
    copied.mkdir()
    for part in (home / "sd15").iterdir():
        if part.name != "unet":
            (copied / part.name).symlink_to(part)
    (copied / "unet").mkdir()
    (weights,) = (home / "sd15/unet").glob("*.safetensors")
    (copied / "unet" / weights.name).symlink_to(weights)
    config = json.loads((home / "sd15/unet/config.json").read_text())
    config["cross_attention_dim"] = 24
    (copied / "unet/config.json").write_text(json.dumps(config))
    refuse(specify(tmp_path, "sd15", source="broken"), str(copied))


def test_what_is_asked_for_the_sake_of_pace_changes_no_picture(home):
    plain = walk(load_model(specify(home, "sdxl")), facts())
    speed = {"channels_last": True, "vae_slicing": True, "vae_tiling": True}
    fast = load_model(specify(home, "sdxl", speed=speed))
    assert isinstance(fast.family, StableDiffusionXL)
    assert fast.family.vae.use_slicing and fast.family.vae.use_tiling
    assert abs(walk(fast, facts()).astype(int) - plain).max() <= 1


def test_a_compiled_model_is_told_to_be(home, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda *_, **told: compiled.append(told))
    load_model(specify(home, "sd15", speed={"compile": True}))
    assert compiled == [{"dynamic": False}]


def test_an_autoencoder_that_can_not_be_tiled_is_named(tmp_path):
    save_kandinsky(tmp_path / "base")
    with pytest.raises(CheckpointUnusable, match="speed.vae_tiling: a VQModel"):
        load_kandinsky(tmp_path, speed={"vae_tiling": True})


def test_a_revision_is_of_weights_and_of_what_is_said_of_them(home):
    first = load_model(specify(home, "sd15"))
    assert load_model(specify(home, "sd15")).digest == first.digest
    assert load_model(specify(home, "sd15", steps=7)).digest != first.digest
    assert first.name == f"tiny@{first.digest[:8]}"
    assert first.weights_bytes >= sum(p.nbytes for p in first.family.network.parameters())
