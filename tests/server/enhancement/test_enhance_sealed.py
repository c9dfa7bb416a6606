"""What a repaired picture says of itself."""

import numpy as np
import pytest
from cryptography import x509

from server.core import ImageFormat, OutputSpec
from server.enhancement.enhance import Enhancer
from server.enhancement.nouns import Repair
from server.errors import Unavailable
from server.provenance.credentials import load_development
from server.provenance.origin import Origin
from server.provenance.sealing import UNSIGNED, Sealer
from server.provenance.signing import FileSigner
from server.provenance.verifying import ManifestState, Verifier
from tests.server.enhancement.pictures import expose, open_on_white
from tests.server.enhancement.test_enhance import ask, ask_in_the_product


@pytest.fixture(scope="module")
def credentials(tmp_path_factory):
    return load_development(tmp_path_factory.mktemp("home") / "provenance")


@pytest.fixture(scope="module")
def verifier(credentials):
    return Verifier(x509.load_pem_x509_certificates(credentials.chain), is_development=True)


@pytest.fixture
def seal(reader, restoring, workers, credentials):
    def seal(**changes):
        sealer = Sealer(**{"sign_file": FileSigner(credentials).sign} | changes)
        return Enhancer(reader, restoring, None, workers, sealer=sealer)

    return seal


@pytest.mark.parametrize("format", list(ImageFormat))
async def test_what_was_done_without_a_model_is_told_in_order(seal, verifier, format):
    request = ask(expose(open_on_white(), 0.2), Repair.UPSCALE, Repair.EXPOSURE)
    request = ask(request.source, *request.repairs, output=OutputSpec(format), upscale_factor=2)
    result = await seal().enhance(request)
    verdict = verifier.verify(result.image.data)
    assert result.image.is_signed and verdict.manifest is ManifestState.VALID
    assert isinstance(verdict.origin, Origin) and verdict.origin.repairs[0] == "exposure"
    assert verdict.origin.repairs == tuple(each.value for each in result.repairs)
    assert verdict.origin.arm == verdict.origin.mode == ""


async def test_a_model_that_took_part_is_named_and_one_that_did_not_is_not(seal, verifier):
    painted = await seal().enhance(ask_in_the_product(Repair.INPAINT))
    lit = await seal().enhance(ask(expose(open_on_white(), 0.2), Repair.EXPOSURE))
    told = [verifier.verify(each.image.data).origin for each in (painted, lit)]
    assert [each.repairs for each in told] == [("inpaint",), ("exposure",)]
    assert (told[0].model, told[0].model_digest) == (painted.model.name, painted.model.digest)
    assert told[0].source_type == "compositeWithTrainedAlgorithmicMedia"
    assert (told[1].model, told[1].source_type) == ("", "algorithmicallyEnhanced")
    assert b"algorithmicallyEnhanced" in lit.image.data.partition(b"XML:com.adobe.xmp")[2][:1000]


async def test_a_picture_that_nothing_was_done_to_says_nothing(seal, verifier):
    result = await seal().enhance(ask(open_on_white()))
    assert result.repairs == () and not result.image.is_signed
    assert verifier.verify(result.image.data).manifest is ManifestState.ABSENT
    assert b"xmp" not in result.image.data


async def test_a_picture_that_can_not_be_signed_is_told_or_refused(seal):
    def fail(*_):
        raise ConnectionError("the key service is away")

    request = ask(expose(open_on_white(), 0.2), Repair.EXPOSURE)
    result = await seal(sign_file=fail).enhance(request)
    assert UNSIGNED in result.warnings and not result.image.is_signed
    with pytest.raises(Unavailable) as caught:
        await seal(sign_file=fail, refuses=True).enhance(request)
    assert caught.value.reason == "SIGNING_FAILED"


async def test_the_same_repair_has_the_same_bytes(seal):
    request = ask(expose(open_on_white(), 0.2), Repair.EXPOSURE)
    one, other = [(await seal().enhance(request)).image.data for _ in range(2)]
    assert one == other and np.frombuffer(one, np.uint8).size > 1000
