"""ProvenanceService: where an image comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Protocol

import grpc

from diffusion.pictures import PictureUnusable
from etalage.v1 import provenance_pb2 as pb
from server.doors import wire
from server.errors import InvalidRequest, Violation
from server.provenance.verifying import SignedBy, Verdict

SERVICE: str = pb.DESCRIPTOR.services_by_name["ProvenanceService"].full_name
METHODS = tuple(
    f"{SERVICE}/{method.name}"
    for method in pb.DESCRIPTOR.services_by_name["ProvenanceService"].methods
)

Context = grpc.aio.ServicerContext[Any, Any]


class Verification(Protocol):
    """What stands behind the door."""

    async def verify(self, image: bytes) -> Verdict:
        """Raises diffusion.pictures.PictureUnusable."""


class ProvenanceService:
    """Answers once `attach` has given it who verifies; the gate keeps requests out before."""

    def __init__(self, max_message_bytes: int) -> None:
        self._max_bytes = max_message_bytes
        self._verifier: Verification | None = None

    def attach(self, verifier: Verification) -> None:
        self._verifier = verifier

    def handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        """All methods, to be added to a server."""
        answer = grpc.unary_unary_rpc_method_handler(
            self.verify_image, response_serializer=pb.VerifyImageResponse.SerializeToString
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"VerifyImage": answer})

    async def verify_image(self, data: bytes, context: Context) -> pb.VerifyImageResponse:
        message = wire.parse(pb.VerifyImageRequest, data, self._max_bytes)
        if violations := tuple(check_verify(message)):
            raise InvalidRequest(*violations)
        assert self._verifier is not None  # the gate is shut until there is one
        try:
            return verdict_to_proto(await self._verifier.verify(message.image))
        except PictureUnusable as error:
            raise InvalidRequest(Violation("image", str(error))) from error


def check_verify(request: pb.VerifyImageRequest) -> Iterator[Violation]:
    if not request.image:
        yield Violation("image", "is empty")


def verdict_to_proto(verdict: Verdict) -> pb.VerifyImageResponse:
    message = pb.VerifyImageResponse(
        manifest=f"MANIFEST_STATE_{verdict.manifest.name}",
        signer=None if verdict.signer is None else _signer(verdict.signer),
        origin=None if verdict.origin is None else pb.Origin(**asdict(verdict.origin)),
        faults=verdict.faults,
    )
    if (score := verdict.watermark) is not None:
        message.is_watermarked = score.is_marked
        message.watermark_score = score.value
        message.watermark_threshold = score.threshold
    return message


def _signer(signer: SignedBy) -> pb.Signer:
    return pb.Signer(
        name=signer.name,
        organization=signer.organization,
        trust=f"SIGNER_TRUST_{signer.trust.name}",
        algorithm=signer.algorithm,
        serial_number=signer.serial_number,
    )
