"""Where images come from, along the whole way: with the shipped model, a real engine and c2pa."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from PIL import Image

from server.configuration import ProvenanceSlice
from server.core import Arm, CachePolicy, ImageFormat, ImageRequest, Mode, OutputSpec, Source
from server.creative import Caption, Kind, Layout
from server.errors import Unavailable
from server.provenance.credentials import load_development
from server.provenance.sealing import UNSIGNED, Sealer
from server.provenance.signing import FileSigner
from server.provenance.verifying import ManifestState, Verifier
from server.provenance.watermark import Watermark
from tests.server.opening import open_pipeline
from tests.server.registry import hold

OUTPUT = OutputSpec(longest_side=256)
MARK = Watermark([b"k" * 32])


def ask(**fields) -> ImageRequest:
    told: dict[str, Any] = {"product": "shoe", "user_id": "known", "steps": 3, "seed": 11}
    return ImageRequest(**(told | {"output": OUTPUT} | fields))


def decode(image):
    return np.asarray(Image.open(io.BytesIO(image.data)).convert("RGB"))


@pytest.fixture(scope="module")
def credentials(tmp_path_factory):
    return load_development(tmp_path_factory.mktemp("home") / "provenance")


@pytest.fixture
async def opened(reader, models, engine):
    """Opens a pipeline that seals as it is told, with a cache."""
    encoders = next(iter(models.values())).encoders
    with ThreadPoolExecutor(2) as workers:

        def open_shop(sealer, **settings):
            cache = {"memory_bytes": 2**24}
            told = hold(models), encoders, engine, workers
            return open_pipeline(reader, *told, cache=cache, sealer=sealer, **settings)

        yield open_shop


@pytest.fixture
def sealer(credentials):
    return Sealer(FileSigner(credentials).sign, MARK)


@pytest.fixture
def verifier(credentials):
    return Verifier(
        x509.load_pem_x509_certificates(credentials.chain), is_development=True, watermark=MARK
    )


@pytest.mark.parametrize("format", list(ImageFormat))
async def test_an_image_tells_what_made_it_and_nobody_for_whom(opened, sealer, verifier, format):
    output = replace(OUTPUT, format=format)
    pipeline = opened(sealer)
    request = ask(output=output, request_id="request-4711", session_id="visit-0815")
    result = await pipeline.generate(request)
    image = result.images[0]
    assert image.is_signed and image.is_watermarked and not result.warnings
    assert list(result.timings_s)[-2:] == ["encode", "seal"]
    verdict = verifier.verify(image.data)
    assert verdict.manifest is ManifestState.VALID and verdict.watermark.is_marked
    origin = verdict.origin
    assert origin.source_type == "compositeWithTrainedAlgorithmicMedia"
    assert (origin.model, origin.model_digest) == (result.model.name, result.model.digest)
    assert (origin.arm, origin.mode, origin.seed, origin.steps) == (
        "personalized",
        "preserve",
        11,
        3,
    )
    for secret in (b"known", b"request-4711", b"visit-0815", b"shoe"):
        assert secret not in image.data


async def test_the_products_own_pixels_are_the_same_with_the_mark(opened, sealer):
    plain = (await opened(Sealer()).generate(ask())).images[0]
    marked = (await opened(sealer).generate(ask())).images[0]
    assert not plain.is_watermarked and not plain.is_signed
    assert marked.fidelity == plain.fidelity and marked.fidelity.max_difference == 0
    differs = (decode(plain) != decode(marked)).any(axis=2)
    assert 0.2 < differs.mean() < 0.9
    middle = differs[90:200, 100:150]
    assert not middle.all() and not middle[40:90, 15:35].any(), "here is the shoe"


async def test_a_kept_image_keeps_its_manifest(opened, sealer):
    pipeline = opened(sealer)
    first = await pipeline.generate(ask())
    again = await pipeline.generate(ask(user_id="known", request_id="another"))
    assert again.source is Source.CACHE and again.images == first.images


async def test_a_picture_that_the_model_drew_alone_is_no_composite(opened, sealer, verifier):
    result = await opened(sealer).generate(ask(mode=Mode.RESTYLE))
    origin = verifier.verify(result.images[0].data).origin
    assert (origin.source_type, origin.mode) == ("trainedAlgorithmicMedia", "restyle")


async def test_of_the_merchants_own_picture_nothing_is_claimed(opened, sealer, verifier):
    pipeline = opened(sealer, provenance={"label": True})
    result = await pipeline.generate(ask(arm=Arm.ORIGINAL))
    image = result.images[0]
    assert image.is_original and not image.is_signed and not image.is_watermarked
    assert image.layout is None and b"DigitalSourceType" not in image.data
    assert verifier.verify(image.data).manifest is ManifestState.ABSENT


def fail(*_):
    raise ConnectionError("the key service is away")


async def test_an_image_that_can_not_be_signed_is_told_of_and_made_again(opened, sealer):
    result = await opened(Sealer(fail)).generate(ask())
    assert UNSIGNED in result.warnings and not result.images[0].is_signed
    assert (await opened(Sealer(fail)).generate(ask())).source is Source.GENERATED
    with pytest.raises(Unavailable, match="can't be signed"):
        await opened(Sealer(fail, refuses=True)).generate(ask(cache_policy=CachePolicy.BYPASS))


async def test_a_label_is_one_more_element_of_the_layout_and_comes_back_in_its_place(opened):
    pipeline = opened(Sealer())
    told = await pipeline.generate(ask(caption=Caption(title=True, label=True), locale="zh"))
    image = told.images[0]
    label = image.layout.elements[-1]
    assert label.kind is Kind.LABEL and label.text == "AI 生成"
    assert image.fidelity.max_difference == 0
    again = await pipeline.generate(ask(layout=image.layout, locale="zh"))
    assert np.array_equal(decode(again.images[0]), decode(image))


async def test_where_every_creative_has_a_label_a_layout_without_one_gets_it(opened):
    pipeline = opened(Sealer(), provenance={"label": True})
    image = (await pipeline.generate(ask(locale="ar"))).images[0]
    assert [each.kind for each in image.layout.elements] == [Kind.PRODUCT, Kind.LABEL]
    layout: Layout = replace(image.layout, elements=image.layout.elements[:1])
    again = (await pipeline.generate(ask(layout=layout, locale="ar"))).images[0]
    assert again.layout == image.layout


def test_certificate_and_key_go_together():
    for told in ({"certificate": "a.pem"}, {"key": "b.pem"}, {"key": "b", "signer": "c:d"}):
        with pytest.raises(ValueError, match="go together|exclude each other"):
            ProvenanceSlice.model_validate(told)
