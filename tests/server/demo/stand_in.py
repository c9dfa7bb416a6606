"""A server process in the shape of `python -m server serve` that answers in flat colours, at once.

python stand_in.py [--behaviour well|dies|fails|bad-exit] --port-file FILE
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import signal
import sys
import threading
from concurrent import futures
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from PIL import Image
from prometheus_client import CollectorRegistry, Counter, start_http_server

from etalage.v1 import images_pb2 as pb
from etalage.v1 import images_pb2_grpc

SERVICE = "etalage.v1.ImageService"
Reason = pb.Personalization


def paint(*key: object) -> bytes:
    colour = hashlib.sha256(repr(key).encode()).digest()
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (colour[0], colour[1], colour[2])).save(file, "PNG")
    return file.getvalue()


def decide(user_id: str, strength: float, original: bool) -> Reason.Reason:
    if not user_id:
        return Reason.REASON_ANONYMOUS
    if original or strength == 0:
        return Reason.REASON_STRENGTH_ZERO
    others = {"silent": Reason.REASON_NO_CONSENT, "new": Reason.REASON_UNKNOWN_USER}
    return others.get(user_id, Reason.REASON_APPLIED)


def answer(request: pb.GenerateImageRequest) -> pb.GenerateImageResponse:
    original = request.experiment.arm == "original"
    reason = decide(request.user_id, request.guidance.strength, original)
    applied = reason == Reason.REASON_APPLIED
    shopper = request.user_id if applied else "generic"
    image = pb.Image(
        data=paint(request.product_id, shopper, request.mode),
        mime_type="image/png",
        width=64,
        height=64,
        seed=request.seed,
    )
    result = pb.GenerateImageResponse(
        images=[image],
        source=pb.SOURCE_ORIGINAL if original else pb.SOURCE_GENERATED,
        personalization=pb.Personalization(
            applied=applied,
            reason=reason,
            feature_service="personalization_v1",
            feature_fingerprint="0123456789abcdef",
        ),
        arm="original" if original else "personalized" if applied else "generic",
        request_id=request.request_id,
    )
    if not original:
        result.model.CopyFrom(pb.Model(name="stand-in", digest="fedcba9876543210"))
        result.sampler, result.steps = pb.SAMPLER_EULER, 4
        timing = result.timings.add(stage="sample")
        timing.duration.FromMilliseconds(12)
    return result


class Service(images_pb2_grpc.ImageServiceServicer):
    def __init__(self, requests: Counter, fails: bool) -> None:
        self.requests = requests
        self.fails = fails

    def StreamImage(self, request, context):
        self.requests.inc()
        if self.fails:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such product")
        yield pb.StreamImageResponse(accepted=pb.Accepted(request_id=request.image.request_id))
        for step in range(1, 5):
            yield pb.StreamImageResponse(progress=pb.Progress(step=step, total_steps=4))
        yield pb.StreamImageResponse(result=answer(request.image))

    def GenerateSlate(self, request, context):
        self.requests.inc()
        for rank, product_id in reversed(list(enumerate(request.product_ids))):
            single = pb.GenerateImageRequest()
            single.CopyFrom(request.template)
            single.product_id = product_id
            yield pb.GenerateSlateResponse(rank=rank, product_id=product_id, result=answer(single))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--behaviour", default="well")
    parser.add_argument("--port-file", type=Path, required=True)
    arguments = parser.parse_args()
    print(f"pid {os.getpid()}", flush=True)
    if arguments.behaviour == "dies":
        print("server.port = 99999: allowed is a whole number from 0 to 65535", file=sys.stderr)
        return 3
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    registry = CollectorRegistry()
    requests = Counter("etalage_requests", "Requests.", registry=registry)
    http, _ = start_http_server(0, "127.0.0.1", registry)
    server = grpc.server(futures.ThreadPoolExecutor(16))
    readiness = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(readiness, server)
    service = Service(requests, fails=arguments.behaviour == "fails")
    images_pb2_grpc.add_ImageServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    ports = {"grpc": port, "admin": 0, "health": 0, "metrics": http.server_port}
    server.start()
    arguments.port_file.write_text(json.dumps(ports))
    readiness.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
    stopping.wait()
    server.stop(1).wait()
    http.shutdown()
    return 9 if arguments.behaviour == "bad-exit" else 0


if __name__ == "__main__":
    sys.exit(main())
