"""What serving builds: other encoders by configuration, and a start that refuses what can't fit."""

import hashlib

import numpy as np
import pytest

from diffusion.model import ProductDiffusion
from diffusion.pretrained import load_pretrained
from features.ingest import ingest
from features.store import StoreConfig
from features.vector import fingerprint
from server.commands.building import build, load_encoders, load_model
from server.commands.serve import StartFailed
from server.configuration import Configuration, EngineSlice, FeaturesSlice, ModelSlice
from server.metrics import Metrics
from tests.diffusion.families import save_clip, save_gpt2, save_siglip, save_vit
from tests.diffusion.tiny import WIDTH, save_checkpoint
from tests.features.pictures import make_shop

PAIRS = {
    "vit and gpt2": lambda folder: (save_vit(folder / "vit"), save_gpt2(folder / "gpt2")),
    "clip": lambda folder: (save_clip(folder),) * 2,
    "siglip": lambda folder: (save_siglip(folder),) * 2,
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def configure(checkpoint, home, image=None, text=None, online_store=None):
    """`online_store`: as a shop that fills its store itself; else the start makes the world."""
    return Configuration(
        model=ModelSlice(checkpoint=checkpoint, image_encoder=image, text_encoder=text),
        engine=EngineSlice(device="cpu", buckets=(1, 3)),
        features=FeaturesSlice(home=home, online_store=online_store or {}),
    )


@pytest.fixture
def metrics():
    made = Metrics({})
    yield made
    made.close()


@pytest.mark.parametrize("family", PAIRS)
async def test_it_starts_with_other_encoders_on_a_store_that_they_filled(
    family, checkpoint, tmp_path, metrics
):
    pair = PAIRS[family](tmp_path)
    home = tmp_path / "home"
    sqlite = {"type": "sqlite", "path": str(home / "store" / "online.db")}
    configuration = configure(checkpoint, home, *pair, online_store=sqlite)
    encoders = load_encoders(configuration.model)
    assert encoders.digest == load_pretrained(*pair).digest and encoders.width == WIDTH
    config = StoreConfig(home=home, online_store=sqlite)
    ingest(make_shop(tmp_path / "shop"), config, encoders, progress=False)
    async with build(configuration, metrics) as built:
        assert built.is_healthy()
        own = ProductDiffusion.load(checkpoint)
        both = f"{own.digest} {encoders.digest}"
        assert built.model.digest == hashlib.sha256(both.encode()).hexdigest()[:16]


async def refusal(configuration, metrics):
    with pytest.raises(StartFailed) as caught:
        async with build(configuration, metrics):
            pass
    return str(caught.value)


async def test_encoders_of_another_width_than_the_generator_s_stop_the_start_with_both(
    checkpoint, tmp_path, metrics
):
    clip = save_clip(tmp_path / "clip", width=24)
    told = await refusal(configure(checkpoint, tmp_path / "home", clip, clip), metrics)
    assert f"vectors of 24 numbers, but the generator tiny reads {WIDTH}" in told


@pytest.mark.parametrize("is_filled_by_the_shop", [True, False])
async def test_a_store_of_other_encoders_stops_the_start_with_both_fingerprints(
    checkpoint, tmp_path, metrics, is_filled_by_the_shop
):
    home = tmp_path / "home"
    sqlite = {"type": "sqlite", "path": str(home / "store" / "online.db")}
    own = load_encoders(ModelSlice(checkpoint=checkpoint))
    ingest(make_shop(tmp_path / "shop"), StoreConfig(home=home), own, progress=False)
    siglip = save_siglip(tmp_path / "siglip")
    told = await refusal(
        configure(checkpoint, home, siglip, siglip, sqlite if is_filled_by_the_shop else None),
        metrics,
    )
    stored = fingerprint(own.width, own.digest)
    expected = fingerprint(WIDTH, load_pretrained(siglip, siglip).digest)
    assert f"the feature store's fingerprint is {stored}" in told and f"make {expected}" in told


async def test_what_is_no_encoder_stops_the_start_with_its_name(checkpoint, tmp_path, metrics):
    nowhere = str(tmp_path / "nowhere")
    told = await refusal(configure(checkpoint, tmp_path / "home", nowhere, nowhere), metrics)
    assert f"{nowhere} for images and {nowhere} for texts are no encoders" in told


def test_without_any_named_the_model_keeps_its_own(checkpoint, tmp_path):
    configuration = configure(checkpoint, tmp_path)
    model, own = load_model(configuration), load_encoders(configuration.model)
    assert model.digest == ProductDiffusion.load(checkpoint).digest
    assert model.encoders.digest == own.digest
    assert np.array_equal(model.encoders.encode_texts(["drum"]), own.encode_texts(["drum"]))
