"""EnhancementService: what is wrong with a packshot, and how it looks repaired."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Protocol

import grpc

from etalage.v1 import enhancement_pb2 as pb
from etalage.v1 import images_pb2
from server import logs
from server.access.calls import charge_images
from server.core import OutputSpec
from server.doors import wire
from server.doors.creatives import MASK_SOURCES
from server.doors.fields import check_enum, check_number, check_text
from server.doors.messages import duration_to_proto, image_to_proto, output_from_proto
from server.doors.validation import MAX_ID, MAX_REQUEST_ID
from server.enhancement.nouns import Defect, EnhanceRequest, EnhanceResult, Finding, Repair
from server.errors import InvalidRequest, Violation

SERVICE: str = pb.DESCRIPTOR.services_by_name["EnhancementService"].full_name
METHODS = tuple(
    f"{SERVICE}/{method.name}"
    for method in pb.DESCRIPTOR.services_by_name["EnhancementService"].methods
)
MAX_STEPS = 20
FACTORS = 2, 4

_SOURCES = {
    pb.EnhanceImageRequest.PRODUCT_ID_FIELD_NUMBER,
    pb.EnhanceImageRequest.IMAGE_FIELD_NUMBER,
}
_REPAIRS: dict[Any, Repair] = {
    pb.Repair.Value(f"REPAIR_{repair.name}"): repair for repair in Repair
}
_REPAIRS_BACK = {repair: number for number, repair in _REPAIRS.items()}
_DEFECTS: dict[Defect, Any] = {each: pb.Defect.Value(f"DEFECT_{each.name}") for each in Defect}

Context = grpc.aio.ServicerContext[Any, Any]


class Enhancement(Protocol):
    """What stands behind the door; cancelling the awaiting task frees what it holds."""

    async def enhance(self, request: EnhanceRequest) -> EnhanceResult: ...


class EnhancementService:
    """Answers once `attach` has given it who repairs; the gate keeps requests out before."""

    def __init__(self, max_message_bytes: int) -> None:
        self._max_bytes = max_message_bytes
        self._enhancer: Enhancement | None = None

    def attach(self, enhancer: Enhancement) -> None:
        self._enhancer = enhancer

    def handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        """All methods, to be added to a server."""
        answer = grpc.unary_unary_rpc_method_handler(
            self.enhance_image, response_serializer=pb.EnhanceImageResponse.SerializeToString
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"EnhanceImage": answer})

    async def enhance_image(self, data: bytes, context: Context) -> pb.EnhanceImageResponse:
        message = wire.parse(pb.EnhanceImageRequest, data, self._max_bytes)
        violations = tuple(check_enhance(message, wire.has_all(data, _SOURCES)))
        if message.request_id and not any(v.field == "request_id" for v in violations):
            logs.bind_request(message.request_id, "")
        if violations:
            raise InvalidRequest(*violations)
        assert self._enhancer is not None  # the gate is shut until there is one
        charge_images(1)
        remaining_s: float | None = context.time_remaining()
        deadline_s = None if remaining_s is None else time.monotonic() + remaining_s
        result = await self._enhancer.enhance(enhancement_from_proto(message, deadline_s))
        return enhancement_to_proto(result)


def check_enhance(
    request: pb.EnhanceImageRequest, has_both_sources: bool = False
) -> Iterator[Violation]:
    yield from check_text(request.request_id, MAX_REQUEST_ID, "request_id")
    if has_both_sources:
        yield Violation("source", "has both forms; exactly one of product_id and image is required")
    match request.WhichOneof("source"):
        case None:
            yield Violation("source", "is missing; product_id or image is required")
        case "product_id" if not request.product_id:
            yield Violation("product_id", "is empty")
        case "image" if not request.image:
            yield Violation("image", "is empty")
    yield from check_text(request.product_id, MAX_ID, "product_id")
    yield from _check_repairs(request)
    yield from check_number(request, "steps", 1, MAX_STEPS)
    yield from check_number(request, "upscale_factor", *FACTORS)
    yield from _check_output(request.output)


def _check_repairs(request: pb.EnhanceImageRequest) -> Iterator[Violation]:
    for number, repair in enumerate(request.repairs):
        if repair not in _REPAIRS:
            text = f"is {repair}, which is no repair of this server" if repair else "is unspecified"
            yield Violation(f"repairs[{number}]", text)
    if request.diagnose_only and request.repairs:
        yield Violation("repairs", "contradicts diagnose_only, with which nothing is done")
    if request.defect_mask and request.diagnose_only:
        yield Violation("defect_mask", "contradicts diagnose_only, with which nothing is done")
    elif request.defect_mask and request.repairs and pb.REPAIR_INPAINT not in request.repairs:
        yield Violation("defect_mask", "is set, but repairs does not list REPAIR_INPAINT")
    if request.HasField("upscale_factor") and pb.REPAIR_UPSCALE not in request.repairs:
        yield Violation("upscale_factor", "is set, but repairs does not list REPAIR_UPSCALE")


def _check_output(output: images_pb2.OutputSpec) -> Iterator[Violation]:
    yield from check_enum(output, "format", "output.")
    yield from check_number(output, "quality", 1, 100, "output.")
    for field in ("longest_side", "aspect_ratio"):
        if output.HasField(field):
            yield Violation(f"output.{field}", "is set, but a repair keeps the size")


def enhancement_from_proto(
    request: pb.EnhanceImageRequest, deadline_s: float | None
) -> EnhanceRequest:
    """`deadline_s` is on the monotonic clock. The request has been checked before."""
    is_product = request.WhichOneof("source") == "product_id"
    output: OutputSpec = output_from_proto(request.output)
    return EnhanceRequest(
        source=request.product_id if is_product else request.image,
        repairs=frozenset(_REPAIRS[each] for each in request.repairs),
        is_diagnosed_only=request.diagnose_only,
        defect_mask=request.defect_mask,
        steps=request.steps if request.HasField("steps") else None,
        upscale_factor=request.upscale_factor or FACTORS[0],
        output=output,
        deadline_s=deadline_s,
        request_id=request.request_id,
    )


def enhancement_to_proto(result: EnhanceResult) -> pb.EnhanceImageResponse:
    message = pb.EnhanceImageResponse(
        findings=map(_finding, result.findings),
        repairs=[_REPAIRS_BACK[repair] for repair in result.repairs],
        mask_uncertainty=result.mask_uncertainty,
        timings=[
            images_pb2.StageTiming(stage=stage, duration=duration_to_proto(seconds))
            for stage, seconds in result.timings_s.items()
        ],
        warnings=result.warnings,
        request_id=result.request_id,
        mask_source=MASK_SOURCES[result.mask_source] if result.mask_source else None,
    )
    if result.image is not None:
        message.image.CopyFrom(image_to_proto(result.image))
    if result.difference is not None:
        message.difference.CopyFrom(image_to_proto(result.difference))
    if result.model is not None:
        message.model.CopyFrom(images_pb2.Model(name=result.model.name, digest=result.model.digest))
    return message


def _finding(finding: Finding) -> pb.EnhanceImageResponse.Finding:
    return pb.EnhanceImageResponse.Finding(
        defect=_DEFECTS[finding.defect],
        score_before=finding.score_before,
        score_after=finding.score_after,
        is_found=finding.is_found,
        measured=finding.measured,
    )
