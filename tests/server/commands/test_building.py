"""What serving builds: other encoders by configuration, and a start that refuses what can't fit."""

import asyncio
import hashlib
import io
import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from transformers import SegformerForSemanticSegmentation

from diffusion.checkpoint import DEFAULT_CHECKPOINT, CheckpointUnusable
from diffusion.cutout import MaskSource
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
from server.commands.creatives import describe_safety
from server.commands.start_failed import StartFailed
from server.configuration import (
    Configuration,
    CreativesSlice,
    EngineSlice,
    EnhancementSlice,
    FeaturesSlice,
    ModelSlice,
    VerificationSlice,
)
from server.core import (
    FAST,
    QUALITY,
    CachePolicy,
    ImageRequest,
    InlineProduct,
    OutputSpec,
    Source,
)
from server.enhancement.nouns import EnhanceRequest
from server.metrics import Metrics
from server.pipeline import Pipeline
from server.sampling.engine import EngineLimits
from tests.diffusion.encoder_families import save_clip, save_gpt2, save_siglip, save_vit
from tests.diffusion.test_pretrained_matting import save_segformer
from tests.diffusion.tiny import WIDTH, save_checkpoint, save_student
from tests.features.pictures import draw_on_clutter, make_shop, to_png

PAIRS = {
    "vit and gpt2": lambda folder: (save_vit(folder / "vit"), save_gpt2(folder / "gpt2")),
    "clip": lambda folder: (save_clip(folder),) * 2,
    "siglip": lambda folder: (save_siglip(folder),) * 2,
}


ENGINE = EngineSlice(device="cpu", buckets=(1, 3))
ANYTHING = VerificationSlice(
    max_growth_percent=100, min_sharpness=0, min_contrast=0, max_roughness=1e6
)
"""Passes: nothing was trained here, and what it makes is noise."""


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
        buckets=(2, 6), max_rows=39, patience_s=3.5, strict=True, shared_latents_bytes=77, threads=6
    )
    wanted = EngineLimits((2, 6), 39, 3.5, is_strict=True, shared_latents_bytes=77, num_threads=6)
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
        return configured.model_copy(update={"verification": ANYTHING})

    return configure_shop


def routes(built):
    assert isinstance(built.pipeline, Pipeline)
    return built.pipeline._studio._router


def ask(seed=1):
    output = OutputSpec(longest_side=64)
    return ImageRequest("p1", steps=3, seed=seed, output=output, cache_policy=CachePolicy.BYPASS)


async def test_each_device_has_an_engine_of_its_own_and_any_answers(shop, metrics):
    async with build(shop(devices=("cpu", "cpu")), metrics) as built:
        router = routes(built)
        one, other = router.engines
        assert one.is_healthy and other.is_healthy and set(built.models) == {QUALITY}
        assert one.models["tiny"].transformer is not other.models["tiny"].transformer
        first = await built.pipeline.generate(ask())
        assert first.source is Source.GENERATED and not first.tries
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
    before = file.read_bytes()
    async with build(shop(threads=1, strict=True), metrics):
        pass
    assert file.read_bytes() == before and file.with_stem("cpu-float32-1-strict").exists()


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # its own
async def test_a_compiled_model_paints_the_same_picture(shop, metrics):
    images = []
    for is_compiled in (False, True):
        async with build(shop(compile=is_compiled, buckets=(3,)), metrics) as built:
            network = routes(built).engines[0].models["tiny"]._denoiser.network
            assert hasattr(network, "_orig_mod") is is_compiled
            result = await built.pipeline.generate(ask())
            assert result.source is Source.GENERATED and not result.tries
            images.append(np.asarray(Image.open(io.BytesIO(result.images[0].data))).astype(int))
    assert np.abs(images[0] - images[1]).max() <= 2


class Refusing:
    """A shop's own check."""

    def __init__(self, word):
        self.word = word

    def check(self, pixels):
        return (self.word,)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"verification": ANYTHING.model_copy(update={"min_sharpness": 1e6})}, "blurred"),
        ({"verification": ANYTHING.model_copy(update={"min_contrast": 128})}, "blank"),
        ({"verification": ANYTHING.model_copy(update={"max_roughness": 1e-6})}, "broken"),
        (
            {
                "creatives": CreativesSlice(
                    safety=f"{__name__}:Refusing", safety_options={"word": "no"}
                )
            },
            "no",
        ),
    ],
)
async def test_images_are_judged_as_the_configuration_says(shop, metrics, changes, reason):
    configuration = shop().model_copy(update=changes)
    async with build(configuration, metrics) as built:
        result = await built.pipeline.generate(ask())
        assert isinstance(built.pipeline, Pipeline)
        kept_by = built.pipeline._defaults
    assert kept_by.safety == describe_safety(configuration.creatives)
    assert [each.reasons for each in result.tries] == [
        (reason,)
    ] * configuration.creatives.max_tries
    assert result.images[0].is_original
    value = metrics.registry.get_sample_value
    assert value("etalage_tries_total", {"reason": reason}) == 2
    assert value("etalage_fallbacks_total") == 1


@pytest.fixture
def certain(tmp_path):
    """A segmentation checkpoint that takes every picture for a product from edge to edge."""
    folder = save_segformer(tmp_path / "segformer", ["background", "product"])
    network = SegformerForSemanticSegmentation.from_pretrained(folder)
    nn.init.zeros_(network.decode_head.classifier.weight)
    network.decode_head.classifier.bias.data = torch.tensor([-20.0, 20.0])
    network.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("label", "source"),
    [("product", MaskSource.MATTING), ("background", MaskSource.WHOLE_PICTURE)],
)
async def test_products_are_found_by_the_matting_model_that_is_configured(
    shop, metrics, certain, label, source
):
    enhancement = EnhancementSlice(photo_matting=certain, product_labels=(label,))
    configuration = shop().model_copy(update={"enhancement": enhancement})
    product = InlineProduct("square", to_png(draw_on_clutter()[0]), {})
    async with build(configuration, metrics) as built:
        result = await built.pipeline.generate(replace(ask(), product=product))
    fidelity = result.images[0].fidelity
    assert fidelity is not None and fidelity.mask_source is source


async def test_a_matting_model_that_does_not_load_stops_the_start(shop, metrics, tmp_path):
    changes = {"enhancement": EnhancementSlice(matting=tmp_path / "nothing")}
    told = await refusal(shop().model_copy(update=changes), metrics)
    assert f"enhancement: {tmp_path / 'nothing'} finds no products" in told


async def test_a_restorer_that_does_not_load_stops_the_start(shop, metrics, tmp_path):
    changes = {"enhancement": EnhancementSlice(restorer=tmp_path / "nothing")}
    told = await refusal(shop().model_copy(update=changes), metrics)
    assert f"enhancement.restorer: {tmp_path / 'nothing'} is no restorer" in told


async def test_packshots_are_looked_at_in_threads_of_their_own(shop, metrics):
    request = EnhanceRequest(to_png(draw_on_clutter()[0]), is_diagnosed_only=True)
    async with build(shop(), metrics) as built:
        assert built.enhancer is not None
        await built.enhancer.enhance(request)
        names = [thread.name.partition("_")[0] for thread in threading.enumerate()]
    assert 1 <= names.count("repairs") <= 2 and "pixels" not in names


async def test_where_strict_mode_can_not_be_kept_the_start_is_refused(shop, metrics, monkeypatch):
    denoise = ProductDiffusion.denoise

    def depend_on_place(model, x, sigma, cond):
        return denoise(model, x, sigma, cond) + torch.arange(len(x))[:, None, None, None]

    monkeypatch.setattr(ProductDiffusion, "denoise", depend_on_place)
    told = await refusal(shop(strict=True), metrics)
    assert "engine: strict mode: a forward of 3 rows" in told and "engine.strict to false" in told
