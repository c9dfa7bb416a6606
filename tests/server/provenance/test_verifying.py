"""Files are signed, read back by c2pa itself, and changed."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import c2pa
import numpy as np
import pytest
from cryptography import x509
from PIL import Image

from diffusion.pictures import PictureUnusable
from server.core import ImageFormat, OutputSpec
from server.imaging.encode import encode
from server.provenance.credentials import load_credentials, load_development
from server.provenance.origin import IPTC, Making, Origin, SourceType, write_xmp
from server.provenance.signing import FileSigner
from server.provenance.verifying import ManifestState, Trust, Verifier
from tests.server.provenance.certificates import certify

SEED = 2**64 - 3
MADE = Making(SourceType.COMPOSITE, "etalage", "abc123", "personalized", "preserve", SEED, 20)
FORMATS = pytest.mark.parametrize("format", list(ImageFormat))


@pytest.fixture(scope="module")
def credentials(tmp_path_factory):
    return load_development(tmp_path_factory.mktemp("home") / "provenance")


@pytest.fixture(scope="module")
def signer(credentials):
    return FileSigner(credentials)


@pytest.fixture(scope="module")
def verifier(credentials):
    return Verifier(x509.load_pem_x509_certificates(credentials.chain), is_development=True)


def draw(format, side=96):
    pixels = np.random.default_rng(1).integers(60, 200, (side, side, 3), np.uint8)
    return encode(pixels, OutputSpec(format), xmp=write_xmp(SourceType.COMPOSITE))


def decode(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@FORMATS
def test_what_is_signed_tells_what_made_it_and_keeps_every_pixel(format, signer, verifier):
    image = draw(format)
    signed = signer.sign(image.data, image.mime_type, MADE)
    assert np.array_equal(decode(signed), decode(image.data))
    verdict = verifier.verify(signed)
    assert (verdict.manifest, verdict.faults) == (ManifestState.VALID, ())
    assert verdict.signer is not None and verdict.signer.trust is Trust.DEVELOPMENT
    assert verdict.origin == Origin(
        "compositeWithTrainedAlgorithmicMedia",
        verdict.origin.software,
        "etalage",
        "abc123",
        "personalized",
        "preserve",
        SEED,
        20,
    )
    assert verdict.origin.software.startswith("Etalage 0.")
    assert len(signed) - len(image.data) < 16_000, "no thumbnail"
    with c2pa.Reader(image.mime_type, io.BytesIO(signed)) as reader:
        told = reader.json()
    assert f'{IPTC}compositeWithTrainedAlgorithmicMedia"' in told
    assert "thumbnail" not in json.loads(told)["manifests"][json.loads(told)["active_manifest"]]


@FORMATS
def test_the_source_type_is_in_the_xmp_as_well(format):
    with Image.open(io.BytesIO(draw(format).data)) as image:
        image.load()
        xmp = image.info["xmp"]
    text = xmp if isinstance(xmp, str) else xmp.decode()
    assert f'DigitalSourceType="{IPTC}compositeWithTrainedAlgorithmicMedia"' in text


@FORMATS
def test_without_a_manifest_there_is_nothing_to_believe(format, verifier):
    verdict = verifier.verify(draw(format).data)
    assert verdict.manifest is ManifestState.ABSENT
    assert (verdict.signer, verdict.origin, verdict.faults) == (None, None, ())


@FORMATS
@pytest.mark.parametrize("place", ["in the pixels", "in the manifest", "at the end"])
def test_one_changed_byte_is_found(format, place, signer, verifier):
    image = draw(format)
    signed = bytearray(signer.sign(image.data, image.mime_type, MADE))
    own = signed.find(b"personalized")
    pixels = 2000 if format is ImageFormat.WEBP else len(signed) - 200
    places = {"in the manifest": own, "at the end": len(signed) - 1, "in the pixels": pixels}
    signed[places[place]] ^= 1
    verdict = verifier.verify(bytes(signed))
    assert verdict.manifest is ManifestState.TAMPERED and verdict.faults


def test_one_changed_pixel_is_found_where_the_manifest_is_put_back(signer, verifier):
    image = draw(ImageFormat.PNG)
    signed = signer.sign(image.data, image.mime_type, MADE)
    length = int.from_bytes(signed[33:37])
    assert signed[37:41] == b"caBX", "right behind the header"
    chunk = signed[33 : 33 + 12 + length]
    pixels = decode(signed).copy()
    pixels[5, 5, 0] += 1
    forged = encode(pixels, OutputSpec(), xmp=write_xmp(SourceType.COMPOSITE)).data
    verdict = verifier.verify(forged[:33] + chunk + forged[33:])
    assert verdict.manifest is ManifestState.TAMPERED
    assert "assertion.dataHash.mismatch" in verdict.faults


def test_a_signer_is_believed_who_leads_to_an_authority_that_is_trusted(tmp_path, verifier):
    certify(tmp_path)
    image = draw(ImageFormat.PNG)
    own = load_credentials(tmp_path / "certificate.pem", tmp_path / "key.pem")
    signed = FileSigner(own).sign(image.data, image.mime_type, MADE)
    stranger = verifier.verify(signed)
    assert stranger.manifest is ManifestState.VALID and stranger.signer is not None
    assert (stranger.signer.name, stranger.signer.trust) == ("Shop images", Trust.UNKNOWN)
    authority = x509.load_pem_x509_certificates((tmp_path / "authority.pem").read_bytes())
    for knowing in (
        Verifier(trusted=authority),
        Verifier(x509.load_pem_x509_certificates(own.chain)),
    ):
        believed = knowing.verify(signed).signer
        assert believed is not None and believed.trust is Trust.TRUSTED


@FORMATS
def test_the_same_image_gets_the_same_bytes_from_any_signer_with_that_key(
    format, credentials, signer
):
    image = draw(format)
    first, again, other = (
        each.sign(image.data, image.mime_type, MADE)
        for each in (signer, signer, FileSigner(credentials))
    )
    assert first == again == other


def test_another_image_or_another_making_has_a_manifest_of_another_name(signer):
    names = set()
    for side, steps in ((96, 20), (64, 20), (96, 4)):
        image = draw(ImageFormat.PNG, side)
        signed = signer.sign(image.data, image.mime_type, replace(MADE, steps=steps))
        with c2pa.Reader(image.mime_type, io.BytesIO(signed)) as reader:
            names.add(json.loads(reader.json())["active_manifest"])
    assert len(names) == 3


def test_many_threads_sign_at_once(signer, verifier):
    image = draw(ImageFormat.WEBP)

    def sign(number):
        made = Making(SourceType.GENERATED, "m", "d", "generic", "create", number, 4)
        return verifier.verify(signer.sign(image.data, image.mime_type, made))

    with ThreadPoolExecutor(4) as pool:
        verdicts = list(pool.map(sign, range(16)))
    assert [each.origin.seed for each in verdicts] == list(range(16))
    assert {each.manifest for each in verdicts} == {ManifestState.VALID}


def test_an_address_in_an_image_is_never_called(verifier):
    remote = 'dcterms:provenance="http://127.0.0.1:9/manifest.c2pa"'
    xmp = write_xmp(SourceType.COMPOSITE).replace(
        'rdf:about=""', f'rdf:about="" xmlns:dcterms="http://purl.org/dc/terms/" {remote}'
    )
    image = encode(np.zeros((9, 9, 3), np.uint8), OutputSpec(ImageFormat.JPEG), xmp=xmp)
    assert verifier.verify(image.data).manifest is not ManifestState.VALID


def animated():
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:])
    return file.getvalue()


def huge():
    file = io.BytesIO()
    Image.new("1", (6000, 6000)).save(file, "PNG")
    return file.getvalue()


def tiff():
    file = io.BytesIO()
    Image.new("RGB", (9, 9)).save(file, "TIFF")
    return file.getvalue()


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: b"no image", "does not decode as PNG, WebP or JPEG"),
        (lambda: draw(ImageFormat.PNG).data[:400], "does not decode"),
        (animated, "is an animated image"),
        (huge, "at most 20 megapixels"),
        (tiff, "does not decode as PNG, WebP or JPEG"),
    ],
)
def test_what_is_no_still_picture_is_refused_by_name(make, fault, verifier):
    with pytest.raises(PictureUnusable, match=fault):
        verifier.verify(make())
