from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etalage.v1 import images_pb2 as pb
from server.doors.validation import check_image, check_slate, check_stream
from server.doors.wire import has_both_products, has_both_products_inside, largest_field, parse
from server.errors import InvalidRequest

CHECKS: dict[Any, Any] = {
    pb.GenerateImageRequest: check_image,
    pb.StreamImageRequest: check_stream,
    pb.GenerateSlateRequest: check_slate,
}
BY_ID = pb.GenerateImageRequest(product_id="chair", seed=2**60, steps=3)
INLINE = pb.GenerateImageRequest(inline_product=pb.InlineProduct(title="Chair", packshot=b"x"))


def test_both_forms_of_a_product_are_seen_where_protobuf_keeps_the_last():
    both = BY_ID.SerializeToString() + INLINE.SerializeToString()
    assert pb.GenerateImageRequest.FromString(both).WhichOneof("product") == "inline_product"
    assert has_both_products(both)
    assert not has_both_products(BY_ID.SerializeToString())
    assert not has_both_products(INLINE.SerializeToString())
    assert not has_both_products(b"")


def test_both_forms_are_seen_inside_of_another_message_and_across_its_parts():
    def stream(image):
        return pb.StreamImageRequest(image=image, preview_side=9).SerializeToString()

    both = BY_ID.SerializeToString() + INLINE.SerializeToString()
    nested = b"\x0a" + bytes([len(both)]) + both
    assert pb.StreamImageRequest.FromString(nested).image.steps == 3
    assert has_both_products_inside(nested, 1)
    assert has_both_products_inside(stream(BY_ID) + stream(INLINE), 1)
    assert not has_both_products_inside(stream(BY_ID), 1)


def test_a_flood_of_tiny_fields_is_not_walked_through():
    flood = b"\xf8\x07\x01" * 1_000_000  # a million varints of field 127
    assert not has_both_products(flood + BY_ID.SerializeToString() + INLINE.SerializeToString())


def test_bytes_that_are_no_message_are_an_invalid_request():
    for junk in (b"\xff", b"\x0a\xff", b"\x12\x02\xff\xfe"):
        with pytest.raises(InvalidRequest) as caught:
            parse(pb.GenerateImageRequest, junk, 100)
        assert caught.value.reason == "MALFORMED_MESSAGE"


def test_a_message_that_is_too_large_is_an_invalid_request_that_names_its_largest_field():
    data = pb.GenerateImageRequest(
        product_id="chair", inline_product=pb.InlineProduct(title="t" * 9, packshot=bytes(500))
    ).SerializeToString()
    assert parse(pb.GenerateImageRequest, data, len(data)).inline_product.title == "t" * 9
    with pytest.raises(InvalidRequest) as caught:
        parse(pb.GenerateImageRequest, data, len(data) - 1)
    assert caught.value.reason == "MESSAGE_TOO_LARGE"
    assert [v.field for v in caught.value.violations] == ["inline_product.packshot"]


def test_the_largest_field_may_be_repeated_a_map_or_unknown():
    assert largest_field(pb.GenerateSlateRequest(product_ids=["a" * 50, "b" * 50])) == "product_ids"
    inline = pb.InlineProduct(attributes={"a": "x" * 100})
    assert largest_field(pb.GenerateImageRequest(inline_product=inline)) == (
        "inline_product.attributes"
    )
    unknown = pb.GenerateImageRequest.FromString(b"\xfa\x07\x64" + bytes(100))
    assert largest_field(unknown) == ""


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200), kind=st.sampled_from(list(CHECKS)))
def test_any_bytes_are_a_message_that_can_be_checked_or_an_invalid_request(data, kind):
    try:
        message = parse(kind, data, 1000)
    except InvalidRequest:
        return
    list(CHECKS[kind](message))
    has_both_products(data)
    has_both_products_inside(data, 1)
    largest_field(message)
