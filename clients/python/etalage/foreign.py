"""Messages of other people's protos that the client reads: google.rpc's details, gRPC's health.

Declared here under names of our own in a pool of our own: the same bytes on the wire, and no
quarrel with googleapis-common-protos or grpcio-health-checking where these are installed as well.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

_DECLARATION = """
name: "etalage/foreign.proto" package: "etalage.foreign" syntax: "proto3"
message_type { name: "Status"
  field { number: 1 name: "code" type: TYPE_INT32 label: LABEL_OPTIONAL }
  field { number: 2 name: "message" type: TYPE_STRING label: LABEL_OPTIONAL }
  field { number: 3 name: "details" type_name: ".etalage.foreign.Detail" label: LABEL_REPEATED } }
message_type { name: "Detail"
  field { number: 1 name: "type_url" type: TYPE_STRING label: LABEL_OPTIONAL }
  field { number: 2 name: "value" type: TYPE_BYTES label: LABEL_OPTIONAL } }
message_type { name: "ErrorInfo"
  field { number: 1 name: "reason" type: TYPE_STRING label: LABEL_OPTIONAL }
  field { number: 2 name: "domain" type: TYPE_STRING label: LABEL_OPTIONAL }
  field { number: 3 name: "metadata" type_name: ".etalage.foreign.Entry" label: LABEL_REPEATED } }
message_type { name: "Entry"
  field { number: 1 name: "key" type: TYPE_STRING label: LABEL_OPTIONAL }
  field { number: 2 name: "value" type: TYPE_STRING label: LABEL_OPTIONAL } }
message_type { name: "BadRequest"
  field { number: 1 name: "violations" type_name: ".etalage.foreign.Violation"
          label: LABEL_REPEATED } }
message_type { name: "Violation"
  field { number: 1 name: "field" type: TYPE_STRING label: LABEL_OPTIONAL }
  field { number: 2 name: "description" type: TYPE_STRING label: LABEL_OPTIONAL } }
message_type { name: "RetryInfo"
  field { number: 1 name: "delay" type_name: ".etalage.foreign.Duration" label: LABEL_OPTIONAL } }
message_type { name: "Duration"
  field { number: 1 name: "seconds" type: TYPE_INT64 label: LABEL_OPTIONAL }
  field { number: 2 name: "nanos" type: TYPE_INT32 label: LABEL_OPTIONAL } }
message_type { name: "HealthCheckRequest"
  field { number: 1 name: "service" type: TYPE_STRING label: LABEL_OPTIONAL } }
message_type { name: "HealthCheckResponse"
  field { number: 1 name: "status" type: TYPE_INT32 label: LABEL_OPTIONAL } }
"""

_FILE = text_format.Parse(_DECLARATION, descriptor_pb2.FileDescriptorProto())
_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_FILE)


def parse(name: str, data: bytes) -> Any:
    """Raises google.protobuf.message.DecodeError."""
    message = new_message(name)
    message.ParseFromString(data)
    return message


def new_message(name: str, **fields: Any) -> Any:
    descriptor = _POOL.FindMessageTypeByName(f"etalage.foreign.{name}")
    return message_factory.GetMessageClass(descriptor)(**fields)
