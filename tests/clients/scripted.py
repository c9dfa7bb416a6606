"""A real gRPC server on a loopback socket that answers as the test says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from etalage.v1 import enhancement_pb2_grpc, images_pb2_grpc
from etalage.v1 import images_pb2 as pb

Answer = Callable[[Any, grpc.ServicerContext], Any]

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154"
    "789c63606060000000040001f61738550000000049454e44ae426082"
)


@dataclass
class ScriptedService(
    images_pb2_grpc.ImageServiceServicer, enhancement_pb2_grpc.EnhancementServiceServicer
):
    """Keeps every request and gives the answers of the script in turn, the last one for ever."""

    answers: list[Answer]
    requests: list[Any] = field(default_factory=list)
    freed: threading.Event = field(default_factory=threading.Event)

    def GenerateImage(self, request, context):
        return self._answer(request, context)

    def StreamImage(self, request, context):
        context.add_callback(self.freed.set)
        yield from self._answer(request, context)

    def GenerateSlate(self, request, context):
        context.add_callback(self.freed.set)
        yield from self._answer(request, context)

    def ExplainImage(self, request, context):
        return self._answer(request, context)

    def CancelImage(self, request, context):
        return self._answer(request, context)

    def EnhanceImage(self, request, context):
        return self._answer(request, context)

    def _answer(self, request, context):
        self.requests.append(request)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        return answer(request, context)


@contextmanager
def serve(
    *answers: Answer, credentials: grpc.ServerCredentials | None = None
) -> Iterator[tuple[str, ScriptedService]]:
    service = ScriptedService(list(answers))
    server = grpc.server(futures.ThreadPoolExecutor(8))
    images_pb2_grpc.add_ImageServiceServicer_to_server(service, server)
    enhancement_pb2_grpc.add_EnhancementServiceServicer_to_server(service, server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield f"127.0.0.1:{port}", service
    finally:
        server.stop(0).wait()


def image_of(seed: int = 7) -> pb.Image:
    return pb.Image(data=PIXEL, mime_type="image/png", width=1, height=1, seed=seed)


def result_of(num_images: int = 1, **fields: Any) -> pb.GenerateImageResponse:
    defaults: dict[str, Any] = {
        "images": [image_of(7 + i) for i in range(num_images)],
        "source": pb.SOURCE_GENERATED,
        "personalization": pb.Personalization(
            applied=True,
            reason=pb.Personalization.REASON_APPLIED,
            feature_service="personalization_v1",
            feature_fingerprint="0123456789abcdef",
            feature_ages={"user_profile": duration_pb2.Duration(seconds=90, nanos=500_000_000)},
        ),
        "arm": "personalized",
        "model": pb.Model(name="window", digest="fedcba9876543210"),
        "sampler": pb.SAMPLER_DPMPP_2M,
        "steps": 20,
        "timings": [
            pb.StageTiming(stage="read", duration=duration_pb2.Duration(nanos=1_500_000)),
            pb.StageTiming(stage="sample", duration=duration_pb2.Duration(seconds=1)),
        ],
    }
    return pb.GenerateImageResponse(**(defaults | fields))


def succeed(request: Any, context: grpc.ServicerContext) -> pb.GenerateImageResponse:
    return result_of(request_id=request.request_id)


def cancel_one(request: Any, context: grpc.ServicerContext) -> pb.CancelImageResponse:
    return pb.CancelImageResponse(num_cancelled=1, is_remembered=True)


def sleep_until_cancelled(request: Any, context: grpc.ServicerContext) -> Any:
    gone = threading.Event()
    context.add_callback(gone.set)
    gone.wait(30)
    return result_of()


def fail(code: grpc.StatusCode, message: str = "no", pushback_ms: int | None = None) -> Answer:
    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        if pushback_ms is not None:
            context.set_trailing_metadata((("grpc-retry-pushback-ms", str(pushback_ms)),))
        context.abort(code, message)

    return answer


def fail_with_details(code: int, message: str, *details: Any) -> Answer:
    status = status_pb2.Status(code=code, message=message)
    for detail in details:
        status.details.append(_pack(detail))

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        context.abort_with_status(rpc_status.to_status(status))

    return answer


def _pack(detail: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


INVALID = fail_with_details(
    code_pb2.INVALID_ARGUMENT,
    "steps: 0 is not 1 to 100; guidance.strength: 1.5 is not 0 to 1",
    error_details_pb2.ErrorInfo(
        reason="INVALID_REQUEST", domain="etalage", metadata={"num_fields": "2"}
    ),
    error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(
                field="steps", description="0 is not 1 to 100"
            ),
            error_details_pb2.BadRequest.FieldViolation(
                field="guidance.strength", description="1.5 is not 0 to 1"
            ),
        ]
    ),
)
OVERLOADED = fail_with_details(
    code_pb2.RESOURCE_EXHAUSTED,
    "the server is full",
    error_details_pb2.ErrorInfo(reason="OVERLOADED", domain="etalage"),
    error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=2, nanos=500_000_000)),
)
