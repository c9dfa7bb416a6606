"""A pipeline in a few lines: deterministic, without a model, with products that misbehave."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

from features.records import FeaturesUnavailable, ProductUnknown
from server.core import (
    Accepted,
    Answer,
    Arm,
    EncodedImage,
    Event,
    ImageRequest,
    ImageResult,
    ModelCard,
    Personalization,
    Progress,
    Reason,
    Source,
)
from server.creative import Explanation, Influence
from server.errors import DeadlineExceeded, Overloaded, ProductNotFound, SamplingFailed

SECRET = "the-password-of-the-database"
STEPS = 4

FAILURES: dict[str, Exception] = {
    "unknown": ProductNotFound("unknown"),
    "unknown-to-feast": ProductUnknown("unknown-to-feast"),
    "crowded": Overloaded(0.25),
    "unread": FeaturesUnavailable("unread", SECRET),
    "late": DeadlineExceeded("sampling would take 9 s of the 1 s left"),
    "torn": SamplingFailed("sampling of this image failed"),
    "cursed": ValueError(SECRET),
}


class Sketcher:
    """Answers at once, but "patient" waits until `go` is set, and `pace_s` slows every step.

    `account` is what each result says besides.
    """

    def __init__(self) -> None:
        self.requests: list[ImageRequest] = []
        self.num_running = 0
        self.num_cancelled = 0
        self.pace_s = 0.0
        self.account: dict[str, Any] = {}
        self.go = asyncio.Event()
        self.was_started = asyncio.Event()

    async def generate(
        self, request: ImageRequest, on_event: Callable[[Event], None] | None = None
    ) -> ImageResult:
        self.requests.append(request)
        if isinstance(request.product, str) and request.product in FAILURES:
            raise FAILURES[request.product]
        tell = on_event or (lambda event: None)
        tell(Accepted())
        self.num_running += 1
        self.was_started.set()
        try:
            for step in range(1, STEPS + 1):
                tell(Progress(step, STEPS, _preview(request)))
                await asyncio.sleep(self.pace_s)
            if request.product == "patient":
                await self.go.wait()
        except asyncio.CancelledError:
            self.num_cancelled += 1
            raise
        finally:
            self.num_running -= 1
        return dataclasses.replace(_sketch(request), **self.account)

    async def explain(self, request: ImageRequest, map_side: int) -> Answer:
        self.requests.append(request)
        influence = Influence("profile", "mint", 0.75, 12.5)
        told = Explanation((influence,), "Because.", 4.0, 12.5, b"map", map_side, map_side // 3)
        account = Personalization(Reason.APPLIED, "personalization_v1", "0123456789abcdef")
        return Answer(told, account, Arm.PERSONALIZED, ModelCard("sketch", "0" * 16))


def _sketch(request: ImageRequest) -> ImageResult:
    seed = 7 if request.seed is None else request.seed
    seeds = range(seed, seed + request.num_images)
    return ImageResult(
        images=tuple(_image(f"{request.product} {request.user_id} {each}", each) for each in seeds),
        source=Source.ORIGINAL if request.arm is Arm.ORIGINAL else Source.GENERATED,
        personalization=Personalization(
            Reason.APPLIED if request.user_id else Reason.ANONYMOUS,
            "personalization_v1",
            "0123456789abcdef",
            {"user_profile": 90.5} if request.user_id else {},
        ),
        arm=request.arm or Arm.PERSONALIZED,
        model=None if request.arm is Arm.ORIGINAL else ModelCard("sketch", "fedcba9876543210"),
        sampler=None if request.arm is Arm.ORIGINAL else request.sampler,
        steps=STEPS,
        timings_s={"read": 0.001, "sample": 0.25},
    )


def _image(text: str, seed: int, side: int = 64) -> EncodedImage:
    return EncodedImage(hashlib.sha256(text.encode()).digest(), "image/png", side, side, seed)


def _preview(request: ImageRequest) -> EncodedImage | None:
    return _image("preview", 7, request.preview_side) if request.preview_side else None
