"""gRPC's own account of its connections, for those who look for what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_channelz.v1._async import ChannelzServicer

SERVICE: str = channelz_pb2.DESCRIPTOR.services_by_name["Channelz"].full_name


def handlers() -> grpc.GenericRpcHandler[Any, Any]:
    """All methods, to be added to a server."""
    kept = _Kept()
    channelz_pb2_grpc.add_ChannelzServicer_to_server(ChannelzServicer(), kept)
    return kept.handlers[0]


class _Kept:
    """What generated code takes for a server."""

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler[Any, Any]] = []

    def add_generic_rpc_handlers(
        self, handlers: Sequence[grpc.GenericRpcHandler[Any, Any]]
    ) -> None:
        self.handlers.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        pass
