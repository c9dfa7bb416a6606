"""What is told about a creative, as messages."""

import pytest

from diffusion.cutout import MaskSource
from etalage.v1 import images_pb2 as pb
from server.creative import Fidelity
from server.doors.creatives import fidelity_to_proto


@pytest.mark.parametrize("source", MaskSource)
def test_what_told_the_mask_has_a_word_of_its_own(source):
    told = fidelity_to_proto(Fidelity(0, 1.5, 0.25, 9.0, source))
    assert pb.MaskSource.Name(told.mask_source) == f"MASK_SOURCE_{source.name}"
    assert (told.max_difference, told.growth_percent) == (0, 1.5)
    assert (told.mask_uncertainty, told.sharpness) == (0.25, 9)


def test_without_a_packshot_nothing_is_said_of_a_mask():
    told = fidelity_to_proto(Fidelity(None, None, 0.0, 9.0))
    assert told == pb.Fidelity(sharpness=9)


def test_every_word_of_the_proto_is_said_at_some_time():
    assert len(pb.MaskSource.values()) == len(MaskSource) + 1
