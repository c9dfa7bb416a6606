"""What becomes of an image that can't be signed."""

import numpy as np
import pytest

from server.core import OutputSpec
from server.errors import Unavailable
from server.image_cache.stored import is_worth_keeping
from server.imaging.encode import encode
from server.metrics import Metrics
from server.provenance.origin import Making, SourceType
from server.provenance.sealing import UNSEALED, UNSIGNED, Sealer
from tests.server.image_cache.results import result

IMAGE = encode(np.zeros((8, 8, 3), np.uint8), OutputSpec())
MADE = Making(SourceType.GENERATED, "m", "d", "generic", "create", 1, 4)


def fail(*_):
    raise ConnectionError("the key service is away")


def test_without_a_signer_an_image_stays_as_it_is():
    assert UNSEALED.sign(IMAGE, MADE) == (IMAGE, ())
    pixels = np.zeros((600, 600, 3), np.uint8)
    assert UNSEALED.mark(pixels) is pixels


def test_a_failed_signature_is_a_warning_and_counted_and_not_kept():
    metrics = Metrics()
    image, warnings = Sealer(fail, observer=metrics).sign(IMAGE, MADE)
    assert image == IMAGE and not image.is_signed and warnings == (UNSIGNED,)
    get = metrics.registry.get_sample_value
    assert get("etalage_signatures_total", {"result": "failed"}) == 1
    assert get("etalage_signing_seconds_count") == 1
    assert is_worth_keeping(result()) and not is_worth_keeping(result(warnings=warnings))


def test_where_it_must_be_signed_nothing_is_delivered():
    with pytest.raises(Unavailable) as caught:
        Sealer(fail, refuses=True).sign(IMAGE, MADE)
    assert caught.value.reason == "SIGNING_FAILED"
