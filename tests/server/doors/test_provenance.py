"""VerifyImage over a real socket: real verdicts of real files, and what is refused."""

import io
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from cryptography import x509
from PIL import Image

import etalage
from etalage.v1 import provenance_pb2 as pb
from etalage.v1.provenance_pb2_grpc import ProvenanceServiceStub
from server.core import OutputSpec
from server.imaging.encode import encode
from server.provenance.credentials import load_development
from server.provenance.origin import Making, SourceType
from server.provenance.signing import FileSigner
from server.provenance.verifying import Verifier, VerifyingDesk
from server.provenance.watermark import Watermark
from tests.server.doors.conftest import opened_door, refusal_of

INVALID = grpc.StatusCode.INVALID_ARGUMENT
MARK = Watermark([b"k" * 32])
MADE = Making(SourceType.COMPOSITE, "etalage", "abc", "generic", "preserve", 2**64 - 1, 20)


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    """A marked and signed file, and who signed it."""
    credentials = load_development(tmp_path_factory.mktemp("home") / "provenance")
    image = encode(MARK.mark(np.full((256, 256, 3), 200, np.uint8)), OutputSpec())
    return FileSigner(credentials).sign(image.data, image.mime_type, MADE), credentials


@pytest.fixture
async def opened(signed):
    chain = x509.load_pem_x509_certificates(signed[1].chain)
    with ThreadPoolExecutor(1) as workers:
        async with opened_door() as counter:
            verifier = Verifier(chain, is_development=True, watermark=MARK)
            counter.door.open_provenance(VerifyingDesk(verifier, workers))
            yield counter, ProvenanceServiceStub(counter.channel)


async def test_an_image_is_judged(opened, signed):
    _, stub = opened
    reply = await stub.VerifyImage(pb.VerifyImageRequest(image=signed[0]), timeout=20)
    assert reply.manifest == pb.MANIFEST_STATE_VALID and not reply.faults
    assert reply.signer.trust == pb.SIGNER_TRUST_DEVELOPMENT
    assert reply.origin.seed == 2**64 - 1 and reply.origin.arm == "generic"
    assert reply.is_watermarked and reply.watermark_score > reply.watermark_threshold > 7


async def test_the_clients_tell_the_same(opened, signed):
    counter, _ = opened
    async with etalage.AsyncClient(counter.address) as client:
        verified = await client.verify(signed[0])
        changed = await client.verify(signed[0].replace(b"preserve", b"preserVe"))
    assert verified.manifest == "valid" and verified.is_watermarked
    assert verified.signer is not None and verified.signer.trust == "development"
    assert verified.origin is not None and verified.origin.model_digest == "abc"
    assert "signed by Etalage signer" in str(verified) and "watermark found" in str(verified)
    assert changed.manifest == "tampered" and changed.faults


def animated():
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    return file.getvalue()


@pytest.mark.parametrize(
    ("image", "fault"),
    [
        (b"", "is empty"),
        (b"no image", "does not decode as PNG, WebP or JPEG"),
        (animated(), "is an animated image"),
    ],
)
async def test_what_is_no_still_picture_is_refused_by_field(opened, image, fault):
    _, stub = opened
    refusal = await refusal_of(stub.VerifyImage(pb.VerifyImageRequest(image=image), timeout=9))
    assert refusal.code is INVALID and fault in refusal.violations["image"]


async def test_a_file_that_is_too_large_is_refused(signed):
    async with opened_door(max_message_bytes=4096) as counter:
        counter.door.open_provenance(VerifyingDesk(Verifier(), ThreadPoolExecutor(1)))
        stub = ProvenanceServiceStub(counter.channel)
        refusal = await refusal_of(stub.VerifyImage(pb.VerifyImageRequest(image=signed[0])))
        assert (refusal.code, refusal.reason) == (INVALID, "MESSAGE_TOO_LARGE")
        assert "image" in refusal.violations


async def test_without_a_key_nothing_is_said_of_a_mark(signed):
    with ThreadPoolExecutor(1) as workers:
        async with opened_door() as counter:
            counter.door.open_provenance(VerifyingDesk(Verifier(), workers))
            stub = ProvenanceServiceStub(counter.channel)
            reply = await stub.VerifyImage(pb.VerifyImageRequest(image=signed[0]), timeout=9)
    assert not reply.HasField("is_watermarked") and reply.signer.trust == pb.SIGNER_TRUST_UNKNOWN
