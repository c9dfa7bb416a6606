"""What serving builds: other encoders by configuration, and a start that refuses what can't fit."""

import asyncio
import hashlib
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from diffusion.checkpoint import DEFAULT_CHECKPOINT, CheckpointUnusable
from diffusion.model import ProductDiffusion
from diffusion.pretrained import load_pretrained
from features.ingest import ingest
from features.store import StoreConfig
from features.vector import fingerprint
from server.commands.building import (
    build,
    choose_dtype,
    count_threads,
    engine_limits,
    load_encoders,
    load_models,
)
from server.commands.serve import StartFailed
from server.configuration import (
    Configuration,
    CreativesSlice,
    EngineSlice,
    FeaturesSlice,
    ModelSlice,
)
from server.core import FAST, QUALITY, ImageRequest, OutputSpec
from server.metrics import Metrics
from server.pipeline import Pipeline
from server.sampling.engine import EngineLimits
from tests.diffusion.encoder_families import save_clip, save_gpt2, save_siglip, save_vit
from tests.diffusion.tiny import WIDTH, save_checkpoint, save_student
from tests.features.pictures import make_shop

PAIRS = {
    "vit and gpt2": lambda folder: (save_vit(folder / "vit"), save_gpt2(folder / "gpt2")),
    "clip": lambda folder: (save_clip(folder),) * 2,
    "siglip": lambda folder: (save_siglip(folder),) * 2,
}


ENGINE = EngineSlice(device="cpu", buckets=(1, 3))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def configure(checkpoint, home, image=None, text=None, online_store=None, engine=ENGINE):
    """`online_store`: as a shop that fills its store itself; else the start makes the world."""
    return Configuration(
        model=ModelSlice(checkpoint=checkpoint, image_encoder=image, text_encoder=text),
        engine=engine,
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
    models, own = load_models(configuration, "cpu"), load_encoders(configuration.model)
    model = models[QUALITY]
    assert set(models) == {QUALITY}, "the embedded student is no student of this one"
    assert model.digest == ProductDiffusion.load(checkpoint).digest
    assert model.encoders.digest == own.digest
    assert np.array_equal(model.encoders.encode_texts(["drum"]), own.encode_texts(["drum"]))


def test_a_student_is_served_beside_its_teacher(checkpoint, tmp_path):
    teacher = ProductDiffusion.load(checkpoint)
    folder = save_student(tmp_path / "student", teacher)
    settings = ModelSlice(checkpoint=checkpoint, fast_checkpoint=folder)
    models = load_models(Configuration(model=settings), "cpu")
    assert list(models) == [QUALITY, FAST]
    assert models[FAST].digest == ProductDiffusion.load_student(folder, teacher).digest
    assert models[FAST].encoders is models[QUALITY].encoders


async def test_a_student_of_another_model_stops_the_start(checkpoint, tmp_path, metrics):
    other = ProductDiffusion.load(save_checkpoint(tmp_path / "other", seed=1))
    folder = save_student(tmp_path / "student", other)
    settings = ModelSlice(checkpoint=checkpoint, fast_checkpoint=folder)
    told = await refusal(Configuration(model=settings), metrics)
    assert f"{folder} is no student of this model: taught with encoders" in told


def test_other_encoders_leave_the_walk_as_it_is_and_the_embedded_student_out(tmp_path):
    """Tastes of the embedded model's own vectors say nothing of others."""
    clip = save_clip(tmp_path / "clip", width=128)
    settings = ModelSlice(image_encoder=clip, text_encoder=clip)
    models = load_models(Configuration(model=settings), "cpu")
    own = ProductDiffusion.load(DEFAULT_CHECKPOINT)
    assert set(models) == {QUALITY} and own.rules.buckets is not None
    assert models[QUALITY].sigmas(4) == own.sigmas(4)
    assert models[QUALITY].rules.intervals == own.rules.intervals
    assert models[QUALITY].rules.buckets is None


def test_threads_are_those_that_are_there_unless_told(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {2, 5, 7})
    assert count_threads(EngineSlice()) == 3
    assert count_threads(EngineSlice(threads=2)) == 2


@pytest.mark.parametrize(
    ("name", "device", "dtype"),
    [
        ("auto", "cpu", torch.float32),
        ("auto", "cuda", torch.bfloat16),
        ("bfloat16", "cpu", torch.bfloat16),
        ("float32", "cuda", torch.float32),
    ],
)
def test_numbers_are_short_where_that_is_asked_for_or_fast(name, device, dtype):
    assert choose_dtype(name, device) is dtype


def test_short_numbers_are_measured_against_long_ones(checkpoint, tmp_path, monkeypatch):
    configuration = configure(checkpoint, tmp_path, engine=EngineSlice(dtype="bfloat16"))
    model = load_models(configuration, "cpu")[QUALITY]
    assert model.transformer.dtype == torch.bfloat16
    monkeypatch.setattr("server.commands.building.MAX_DTYPE_ERROR", 0.0)
    with pytest.raises(CheckpointUnusable, match="bfloat16 on cpu is .*% from float32") as caught:
        load_models(configuration, "cpu")
    assert str(caught.value).endswith("set engine.dtype to float32")
    load_models(configure(checkpoint, tmp_path), "cpu")  # nothing to measure


def test_the_engine_is_as_the_configuration_says():
    settings = EngineSlice(
        buckets=(2, 6), max_rows=9, patience_s=3.5, strict=True, shared_latents_bytes=77, threads=6
    )
    wanted = EngineLimits((2, 6), 9, 3.5, is_strict=True, shared_latents_bytes=77, num_threads=6)
    assert engine_limits(settings) == wanted
    assert engine_limits(settings, num_engines=2).num_threads == 3, "they share the cores"
    assert engine_limits(settings, num_engines=9).num_threads == 1


@pytest.fixture
def shop(checkpoint, tmp_path):
    """A store that is filled, at home in `home`."""
    home = tmp_path / "home"
    sqlite = {"type": "sqlite", "path": str(home / "store" / "online.db")}
    own = load_encoders(ModelSlice(checkpoint=checkpoint))
    shop = make_shop(tmp_path / "shop")
    ingest(shop, StoreConfig(home=home, online_store=sqlite), own, progress=False)

    def configure_shop(**engine):
        settings = EngineSlice(**{"device": "cpu", "buckets": (1, 3), **engine})
        configured = configure(checkpoint, home, online_store=sqlite, engine=settings)
        # Nothing was trained here: what it makes is broken, and would be tried again.
        return configured.model_copy(update={"creatives": CreativesSlice(max_tries=1)})

    return configure_shop


def routes(built):
    assert isinstance(built.pipeline, Pipeline)
    return built.pipeline._studio._router


def ask(seed=1):
    return ImageRequest("p1", steps=3, seed=seed, output=OutputSpec(longest_side=64))


async def test_each_device_has_an_engine_of_its_own_and_any_answers(shop, metrics):
    async with build(shop(devices=("cpu", "cpu")), metrics) as built:
        router = routes(built)
        one, other = router.engines
        assert one.is_healthy and other.is_healthy and set(built.models) == {QUALITY}
        assert one.models["tiny"].transformer is not other.models["tiny"].transformer
        first = await built.pipeline.generate(ask())
        await asyncio.to_thread(one.close)
        assert built.is_healthy()
        second = await built.pipeline.generate(ask())
        assert first.images == second.images and second.num_forward_rows == 3
        await asyncio.to_thread(other.close)
        assert not built.is_healthy()


async def test_the_pace_is_kept_for_the_next_start(shop, metrics):
    configuration = shop(threads=1)
    async with build(configuration, metrics) as built:
        (engine,) = routes(built).engines
        known = engine.pace.measured_s(engine.key_of("tiny"))
        assert set(known) == {1, 3}
    file = configuration.features.home / "pace" / "cpu-float32-1.json"
    kept = json.loads(file.read_text())
    assert [set(buckets) for buckets in kept.values()] == [{"1", "3"}]
    file.write_text(json.dumps({key: dict.fromkeys(kept[key], 1000.0) for key in kept}))
    async with build(configuration, metrics) as built:
        (engine,) = routes(built).engines
        again = engine.pace.measured_s(engine.key_of("tiny"))
        assert min(again.values()) > 10 * max(known.values()), "what was kept weighs in"


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # its own
async def test_a_compiled_model_paints_the_same_picture(shop, metrics):
    images = []
    for is_compiled in (False, True):
        async with build(shop(compile=is_compiled, buckets=(3,)), metrics) as built:
            network = routes(built).engines[0].models["tiny"]._denoiser.network
            assert hasattr(network, "_orig_mod") is is_compiled
            result = await built.pipeline.generate(ask())
            images.append(np.asarray(Image.open(io.BytesIO(result.images[0].data))).astype(int))
    assert np.abs(images[0] - images[1]).max() <= 2
