"""What is told about a creative, as messages."""

import pytest

from diffusion.cutout import MaskSource
from etalage.v1 import images_pb2 as pb
from etalage.v1 import layouts_pb2
from server.creative import Fidelity
from server.doors.creatives import fidelity_to_proto
from server.doors.messages import request_from_proto
from server.doors.validation import check_image
from server.imaging.layout_checks import check_layout


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


@pytest.mark.parametrize(
    ("locale", "told", "language"), [("pt-BR", "", "pt-BR"), ("", "", "en"), ("de", "ar", "ar")]
)
def test_a_text_that_names_no_language_is_in_that_of_its_request(locale, told, language):
    style = layouts_pb2.TextStyle(font="Noto Sans Bold", size=20, colour="#112233", language=told)
    box = layouts_pb2.Box(left=20, top=20, width=200, height=40)
    title = layouts_pb2.Layout.Element(kind="KIND_TITLE", box=box, text="Bag", style=style)
    layout = layouts_pb2.Layout(width=400, height=400, safe_area=box, elements=[title])
    message = pb.GenerateImageRequest(product_id="bag", locale=locale, layout=layout)
    assert not list(check_image(message))
    read = request_from_proto(message, deadline_s=None).layout
    assert read is not None and check_layout(read, (400, 400)) == []
    assert [each.style and each.style.language for each in read.elements] == [language]
