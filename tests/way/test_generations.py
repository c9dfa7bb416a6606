"""Clients of an older and of a newer proto ask this server, each with descriptors of its own."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pool, duration_pb2, message_factory, timestamp_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from PIL import Image

from etalage.v1 import images_pb2, layouts_pb2, scenes_pb2
from tests.way.conftest import Running

FIRST_FIELDS = {
    "GenerateImageRequest": {*("user_id", "product_id", "inline_product"), *("mode", "seed")},
    "GenerateImageResponse": {*("images", "personalization", "arm")},
    "Image": {"data", "seed"},
    "Personalization": {"applied", "reason"},
}
FIRST_REASONS = 3  # REASON_NO_CONSENT came later
ASKED = {"product_id": "backpack", "seed": 7}

Edit = Callable[[FileDescriptorProto], None]


class Generation:
    """A client's own messages of ImageService, made of the protos as an edit leaves them."""

    def __init__(self, edit: Edit) -> None:
        pool = descriptor_pool.DescriptorPool()
        for module in (duration_pb2, timestamp_pb2, scenes_pb2, layouts_pb2, images_pb2):
            file = FileDescriptorProto()
            module.DESCRIPTOR.CopyToProto(file)
            if module is images_pb2:
                edit(file)
            pool.Add(file)
        names = "GenerateImageRequest", "GenerateImageResponse"
        found = (pool.FindMessageTypeByName(f"etalage.v1.{name}") for name in names)
        kinds: Any = map(message_factory.GetMessageClass, found)
        self.request, self._response = kinds

    def generate(self, address: str, request: Any) -> Any:
        with grpc.insecure_channel(address) as channel:
            call = channel.unary_unary(
                "/etalage.v1.ImageService/GenerateImage",
                request_serializer=self.request.SerializeToString,
                response_deserializer=self._response.FromString,
            )
            return call(request, timeout=60)


def make_older(file: FileDescriptorProto) -> None:
    """As if the first release had been this small."""
    for message in file.message_type:
        if (kept := FIRST_FIELDS.get(message.name)) is not None:
            drop_fields(message, kept)
        for enum in message.enum_type:
            if enum.name == "Reason":
                del enum.value[FIRST_REASONS:]


def drop_fields(message: DescriptorProto, kept: set[str]) -> None:
    fields = [copy.deepcopy(field) for field in message.field if field.name in kept]
    grouped = [field for field in fields if field.HasField("oneof_index")]
    oneofs = [message.oneof_decl[i].name for i in sorted({f.oneof_index for f in grouped})]
    for field in grouped:
        field.oneof_index = oneofs.index(message.oneof_decl[field.oneof_index].name)
    del message.field[:], message.oneof_decl[:]
    message.field.extend(fields)
    for name in oneofs:
        message.oneof_decl.add(name=name)


def make_newer(file: FileDescriptorProto) -> None:
    """Every message has one more field, and every enum one more value."""
    text = {"type": FieldDescriptorProto.TYPE_STRING, "label": FieldDescriptorProto.LABEL_OPTIONAL}
    for message in file.message_type:
        message.field.add(name="of_tomorrow", number=1000, **text)
        for enum in message.enum_type:
            enum.value.add(name=f"{enum.name.upper()}_OF_TOMORROW", number=1000)
    for enum in file.enum_type:
        enum.value.add(name=f"{enum.name.upper()}_OF_TOMORROW", number=1000)


def read(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(np.int16)


@pytest.fixture(scope="module")
def shopper(running: Running) -> str:
    return next(iter(running.shoppers.tastes))


@pytest.fixture
def expected(client, shopper) -> np.ndarray:
    """What a client of today gets."""
    result = client.generate("backpack", user=shopper, seed=7)
    return read(result.image.data)


def test_a_client_of_an_older_proto_gets_the_same_image(running, shopper, expected):
    older = Generation(make_older)
    reply = older.generate(running.address, older.request(user_id=shopper, **ASKED))
    assert {each.name for each in reply.DESCRIPTOR.fields} == FIRST_FIELDS["GenerateImageResponse"]
    assert reply.arm == "personalized" and reply.personalization.applied
    assert reply.images[0].seed == 7
    assert np.abs(read(reply.images[0].data) - expected).max() <= 1


def test_a_client_of_an_older_proto_lives_with_a_value_that_it_does_not_know(running):
    older = Generation(make_older)
    user = running.shoppers.no_consent
    reply = older.generate(running.address, older.request(user_id=user, **ASKED))
    assert reply.personalization.reason == images_pb2.Personalization.REASON_NO_CONSENT
    assert reply.images[0].data and not reply.personalization.applied


def test_what_a_client_of_a_newer_proto_says_besides_is_passed_over(running, shopper, expected):
    newer = Generation(make_newer)
    request = newer.request(user_id=shopper, of_tomorrow="new", **ASKED)
    request.guidance.of_tomorrow = "new"
    request.output.of_tomorrow = "new"
    reply = newer.generate(running.address, request)
    assert reply.arm == "personalized" and not reply.of_tomorrow
    assert np.abs(read(reply.images[0].data) - expected).max() <= 1


def test_a_wish_of_a_newer_proto_that_this_server_can_not_grant_is_refused_by_name(running):
    newer = Generation(make_newer)
    with pytest.raises(grpc.RpcError) as refused:
        newer.generate(running.address, newer.request(mode=1000, **ASKED))
    error: Any = refused.value
    status = rpc_status.from_call(error)
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in status.details)
    assert [(each.field, each.description) for each in bad.field_violations] == [
        ("mode", "1000 is no Mode")
    ]
