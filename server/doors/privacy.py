"""PrivacyService: shoppers erased, told what is held of them, and asked for consent."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from etalage.v1 import privacy_pb2 as pb
from server import logs
from server.doors import wire
from server.doors.fields import check_enum, check_text
from server.doors.validation import MAX_ID
from server.errors import InvalidRequest, Violation
from server.privacy.proof import ErasedStore, Proof

SERVICE: str = pb.DESCRIPTOR.services_by_name["PrivacyService"].full_name
METHODS = tuple(
    f"{SERVICE}/{method.name}"
    for method in pb.DESCRIPTOR.services_by_name["PrivacyService"].methods
)
_MAX_BYTES = 64 * 1024

Context = grpc.aio.ServicerContext[Any, Any]


class Desk(Protocol):
    """What stands behind the door."""

    async def erase(self, user_id: str, *, is_permanent: bool, is_patient: bool) -> Proof: ...

    async def export(self, user_id: str) -> bytes: ...

    async def set_consent(self, user_id: str, is_given: bool) -> datetime: ...


class PrivacyService:
    """Answers once `attach` has given it a desk; the gate keeps requests out before."""

    def __init__(self) -> None:
        self._attached: Desk | None = None

    def attach(self, desk: Desk) -> None:
        self._attached = desk

    def handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        """All methods, to be added to a server."""
        methods: dict[str, tuple[Any, Any]] = {
            "EraseUser": (self.erase_user, pb.EraseUserResponse),
            "ExportUser": (self.export_user, pb.ExportUserResponse),
            "SetConsent": (self.set_consent, pb.SetConsentResponse),
        }
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                answer, response_serializer=kind.SerializeToString
            )
            for name, (answer, kind) in methods.items()
        }
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    async def erase_user(self, data: bytes, context: Context) -> pb.EraseUserResponse:
        request = wire.parse(pb.EraseUserRequest, data, _MAX_BYTES)
        user_id = _check(request)
        proof = await self._desk.erase(
            user_id, is_permanent=request.permanent, is_patient=request.wait
        )
        return pb.EraseUserResponse(proof=proof_to_proto(proof))

    async def export_user(self, data: bytes, context: Context) -> pb.ExportUserResponse:
        user_id = _check(wire.parse(pb.ExportUserRequest, data, _MAX_BYTES))
        return pb.ExportUserResponse(json=await self._desk.export(user_id))

    async def set_consent(self, data: bytes, context: Context) -> pb.SetConsentResponse:
        request = wire.parse(pb.SetConsentRequest, data, _MAX_BYTES)
        found = list(check_enum(request, "consent", ""))
        if request.consent == pb.CONSENT_UNSPECIFIED:
            found.append(Violation("consent", "is not said: CONSENT_GIVEN or CONSENT_WITHDRAWN"))
        user_id = _check(request, *found)
        when = await self._desk.set_consent(user_id, request.consent == pb.CONSENT_GIVEN)
        return pb.SetConsentResponse(time=_time(when.timestamp()))

    @property
    def _desk(self) -> Desk:
        assert self._attached is not None  # the gate is shut until there is one
        return self._attached


def proof_to_proto(proof: Proof) -> pb.ErasureProof:
    return pb.ErasureProof(
        erasure_id=proof.erasure_id,
        tombstone_id=proof.tombstone_id,
        permanent=proof.is_permanent,
        start_time=_time(proof.started_s),
        finish_time=_time(proof.finished_s),
        complete=proof.is_complete,
        stores=map(_store_to_proto, proof.stores),
    )


def _store_to_proto(store: ErasedStore) -> pb.ErasedStore:
    return pb.ErasedStore(
        store=store.store,
        num_removed=store.num_removed,
        finish_time=_time(store.finished_s),
        error=store.error,
        note=store.note,
    )


def _check(request: Any, *others: Violation) -> str:
    """Who it is about, who then stays out of the log. Raises InvalidRequest."""
    user_id: str = request.user_id
    found = [*check_text(user_id, MAX_ID, "user_id"), *others]
    if not user_id:
        found.insert(0, Violation("user_id", "is empty; it says who"))
    if found:
        raise InvalidRequest(*found)
    logs.bind_request(logs.current_request_id(), user_id)
    return user_id


def _time(seconds: float | None) -> Timestamp | None:
    if seconds is None:
        return None
    time = Timestamp()
    time.FromNanoseconds(round(seconds * 1e9))
    return time
